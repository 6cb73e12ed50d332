"""Deliveries: every one of ours recorded once, whatever it holds and whenever it comes."""

import json
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import BytesIO
from itertools import permutations
from pathlib import Path
from threading import Barrier
from typing import Any
from uuid import UUID, uuid4

import pytest
from conftest import API_KEY, Rows, Upstreams
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from instantly import application
from instantly.config import Settings
from instantly.context import EXTENSION

SAMPLES: list[dict[str, Any]] = json.loads(
    (Path(__file__).parent / "webhook_samples.json").read_text()
)
PAYLOADS: dict[str, dict[str, Any]] = {sample["name"]: sample["payload"] for sample in SAMPLES}
LOGISTICS = "2458e540-24e4-46e5-b2cf-6caac4b9c637"
FOUNDERS = "a15919aa-5727-4fb9-84e9-2980007cfc58"
SAMPLE_LEADS = {
    LOGISTICS: [
        "jonas.becker@spedition-becker.example",
        "s.okafor@lagoslogix.example",
        "petra.voß@grün-transport.example",
        "nina.weiss@alpencargo.example",
    ],
    FOUNDERS: ["amelia.ruiz@harborlight.example", "yuki.tanaka@sakura-freight.example"],
}
URL = "https://instantly-service.example/webhooks/instantly"
FOUR_MIB = 4 * 1024 * 1024
UNKNOWN = {"success": True, "recorded": False, "reason": "unknown campaign"}
LABEL_TIME = datetime(2026, 8, 18, tzinfo=UTC)


class Ours:
    """A campaign of ours and its leads, put into the tables directly."""

    def __init__(
        self, db: Rows, instantly_campaign_id: str | None = None, clerk_org_id: str = "clerk-1"
    ) -> None:
        self.db = db
        self.id = str(uuid4())
        self.instantly_id = instantly_campaign_id or str(uuid4())
        db.connection.execute(
            "INSERT INTO instantly_campaigns (id, instantly_campaign_id, org_id, clerk_org_id,"
            " brand_id, app_id, name, run_id)"
            " VALUES (%s, %s, 'org-1', %s, 'brand-1', 'app-1', 'Autumn', %s)",
            (self.id, self.instantly_id, clerk_org_id, uuid4()),
        )

    def hold(self, *emails: str) -> None:
        with self.db.connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO instantly_leads"
                " (campaign_id, instantly_lead_id, email, org_id, run_id)"
                " VALUES (%s, %s, %s, 'org-1', %s)",
                [(self.id, str(uuid4()), email, uuid4()) for email in emails],
            )

    def payload(self, event_type: str = "email_opened", /, **fields: Any) -> dict[str, Any]:
        return {"event_type": event_type, "campaign_id": self.instantly_id, **fields}

    def statuses(self) -> dict[str, str]:
        """Address → status of its lead."""
        rows = self.db.all(
            "SELECT email, status FROM instantly_leads WHERE campaign_id = %s", self.id
        )
        return {row["email"]: row["status"] for row in rows}

    def status(self) -> str:
        rows = self.db.all("SELECT status FROM instantly_campaigns WHERE id = %s", self.id)
        return str(rows[0]["status"])

    def events(self) -> list[dict[str, Any]]:
        return self.db.all(
            "SELECT * FROM instantly_events WHERE campaign_id = %s ORDER BY id", self.id
        )


@pytest.fixture
def ours(db: Rows) -> Ours:
    return Ours(db)


@pytest.fixture
def anyone(app: Flask) -> FlaskClient:
    """Calls the service as Instantly does: without a key."""
    return app.test_client()


def post(client: FlaskClient, body: bytes | str | dict[str, Any], **more: Any) -> TestResponse:
    """One delivery. The JSON is plain ASCII, so that it can hold half surrogate pairs."""
    data = json.dumps(body) if isinstance(body, dict) else body
    return client.post(
        "/webhooks/instantly", data=data, **{"content_type": "application/json", **more}
    )


def recorded(client: FlaskClient, payload: dict[str, Any]) -> bool:
    answer = post(client, payload)
    assert answer.status_code == 200
    return bool(answer.get_json()["recorded"])


def raw(ours: Ours, member: str) -> str:
    """A delivery's text with one member that json.dumps would not write."""
    return f'{{"event_type": "email_opened", "campaign_id": "{ours.instantly_id}", {member}}}'


def at(hours: float) -> str:
    return (LABEL_TIME + timedelta(hours=hours)).isoformat()


def configured(app: Flask, monkeypatch: pytest.MonkeyPatch, base_url: str | None) -> None:
    parts = app.extensions[EXTENSION]
    settings = replace(parts.settings, webhook_base_url=base_url)
    monkeypatch.setitem(app.extensions, EXTENSION, replace(parts, settings=settings))


# Every sample of Instantly's deliveries, in their order

# name → recorded or why not, the event's recorded name, the status of its lead afterwards
EXPECTED: dict[str, tuple[str, str | None, str | None]] = {
    "email_sent step 1 variant 1 with custom variables": ("recorded", "email_sent", "contacted"),
    "email_sent step 2 variant 2 follow-up": ("recorded", "email_sent", "contacted"),
    "email_sent minimal, all optional fields missing": ("recorded", "email_sent", "contacted"),
    "email_opened first open": ("recorded", "email_opened", "opened"),
    "email_opened first open, delivered a second time unchanged": (
        "duplicate",
        "email_opened",
        "opened",
    ),
    "email_opened first open, delivered a third time with the keys in another order": (
        "duplicate",
        "email_opened",
        "opened",
    ),
    "email_opened again two seconds later, a genuine second open": (
        "recorded",
        "email_opened",
        "opened",
    ),
    "email_opened without step, variant and is_first": ("recorded", "email_opened", "opened"),
    "email_opened where the lead is the sending account itself": (
        "recorded",
        "email_opened",
        None,
    ),
    "link_clicked (payload spelling of the subscription email_link_clicked)": (
        "recorded",
        "email_link_clicked",
        "clicked",
    ),
    "email_link_clicked (subscription spelling inside a payload)": (
        "recorded",
        "email_link_clicked",
        "clicked",
    ),
    "reply_received with the key set of a captured event, no reply_html": (
        "recorded",
        "reply_received",
        "replied",
    ),
    "reply_received with a very long reply_html": ("recorded", "reply_received", "replied"),
    "reply_received with CJK, right-to-left marks, emoji sequence and a combining accent": (
        "recorded",
        "reply_received",
        "replied",
    ),
    "auto_reply_received out-of-office notice with an internationalised address": (
        "recorded",
        "auto_reply_received",
        "active",
    ),
    "email_bounced": ("recorded", "email_bounced", "bounced"),
    "lead_unsubscribed with the address in mixed case": (
        "recorded",
        "lead_unsubscribed",
        "unsubscribed",
    ),
    "account_error without a lead": ("recorded", "account_error", None),
    "campaign_completed without a lead": ("recorded", "campaign_completed", None),
    "lead_neutral": ("recorded", "lead_neutral", "bounced"),
    "lead_interested": ("recorded", "lead_interested", "interested"),
    "lead_not_interested": ("recorded", "lead_not_interested", "not_interested"),
    "lead_meeting_booked": ("recorded", "lead_meeting_booked", "meeting_booked"),
    "lead_meeting_completed": ("recorded", "lead_meeting_completed", "meeting_completed"),
    "lead_closed": ("recorded", "lead_closed", "closed"),
    "lead_out_of_office": ("recorded", "lead_out_of_office", "out_of_office"),
    "lead_wrong_person": ("recorded", "lead_wrong_person", "bounced"),
    "lead_no_show (in the subscription list, absent from the payload guide)": (
        "recorded",
        "lead_no_show",
        "no_show",
    ),
    "custom label as event_type": ("recorded", "Call back in Q4", "out_of_office"),
    "custom label as event_type with unicode and punctuation": (
        "recorded",
        "Später melden ☎️ / « prioritaire »",
        "out_of_office",
    ),
    "campaign_completed_for_lead_without_reply (not in any official list)": (
        "recorded",
        "campaign_completed_for_lead_without_reply",
        "bounced",
    ),
    "lead_lost (not in any official list)": ("recorded", "lead_lost", "lost"),
    "supersearch_enrichment_completed without campaign_id": ("unknown campaign", None, None),
    "email_sent for a campaign we do not know": ("unknown campaign", None, None),
    "email_opened with nulls and a timestamp with an offset and no milliseconds": (
        "recorded",
        "email_opened",
        "out_of_office",
    ),
}


def test_every_sample_has_an_expected_outcome() -> None:
    assert [sample["name"] for sample in SAMPLES] == list(EXPECTED)


def test_every_sample_is_answered_and_recorded_as_expected(anyone: FlaskClient, db: Rows) -> None:
    campaigns = {}
    for instantly_id, emails in SAMPLE_LEADS.items():
        campaigns[instantly_id] = Ours(db, instantly_id)
        campaigns[instantly_id].hold(*emails)

    for name, (outcome, event_type, lead_status) in EXPECTED.items():
        payload = PAYLOADS[name]
        count = db.count("instantly_events")
        answer = post(anyone, payload)
        body: dict[str, Any] = {"success": True, "recorded": outcome == "recorded"}
        if outcome != "recorded":
            body["reason"] = outcome
        if event_type is not None:
            body["eventType"] = event_type
        assert (answer.status_code, answer.get_json()) == (200, body), name
        assert db.count("instantly_events") == count + (outcome == "recorded"), name
        if outcome == "unknown campaign":
            continue
        campaign = campaigns[payload["campaign_id"]]
        if outcome == "recorded":
            event = campaign.events()[-1]
            assert event["event_type"] == event_type, name
            assert event["payload"] == payload, name
            assert event["occurred_at"] == datetime.fromisoformat(payload["timestamp"]), name
            for column, field in (("step", "step"), ("variant", "variant")):
                assert event[column] == payload.get(field), name
            for column, field in (("lead_email", "lead_email"), ("account_email", "email_account")):
                assert (event[column] or "") == payload.get(field, "").lower(), name
        address = payload.get("lead_email", "").lower()
        assert campaign.statuses().get(address) == lead_status, name

    assert campaigns[LOGISTICS].status() == "completed"
    assert campaigns[FOUNDERS].status() == "draft"
    stats = {
        "emailsSent": 3,
        "emailsDelivered": 2,
        "emailsOpened": 2,
        "emailsClicked": 2,
        "emailsReplied": 3,
        "emailsBounced": 1,
        "repliesAutoReply": 1,
        "repliesNotInterested": 1,
        "repliesOutOfOffice": 1,
        "repliesUnsubscribe": 1,
    }
    answer = anyone.post("/stats", json={"appId": "app-1"}, headers={"X-API-Key": API_KEY})
    assert (answer.get_json()["stats"], answer.get_json()["recipients"]) == (stats, 2)


# What a lead's events make of it


@pytest.mark.parametrize(
    ("events", "status"),
    [
        (["email_sent", "email_opened", "link_clicked", "reply_received"], "replied"),
        (["email_sent", "email_opened", "email_opened", "link_clicked"], "clicked"),
        (
            [
                "email_opened",
                "link_clicked",
                "campaign_completed_for_lead_without_reply",
                "auto_reply_received",
            ],
            "completed",
        ),
        (
            ["link_clicked", "campaign_completed_for_lead_without_reply", "reply_received"],
            "replied",
        ),
        (["auto_reply_received", "account_error", "Call back in Q4"], "active"),
        (
            ["reply_received", "lead_interested", "lead_not_interested", "lead_meeting_booked"],
            "meeting_booked",
        ),
        (["lead_won", "lead_lost", "lead_skipped", "lead_no_show"], "no_show"),
        (["lead_skipped", "reply_received", "email_sent"], "skipped"),
        (["lead_neutral", "lead_won", "auto_reply_received", "email_opened"], "closed"),
        (["email_sent", "email_bounced", "lead_interested", "email_opened"], "bounced"),
        (["email_bounced", "lead_unsubscribed", "lead_closed", "reply_received"], "unsubscribed"),
        (
            [
                "email_sent",
                "reply_received",
                "lead_out_of_office",
                "lead_interested",
                "auto_reply_received",
            ],
            "interested",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_leads_events_end_in_one_status_whatever_order_they_arrive_in(
    anyone: FlaskClient, ours: Ours, events: list[str], status: str
) -> None:
    orders = list(permutations(enumerate(events)))
    leads = [f"lead{number}@x.example" for number in range(len(orders))]
    ours.hold(*leads)
    for lead, order in zip(leads, orders, strict=True):
        for hour, event_type in order:
            assert recorded(
                anyone, ours.payload(event_type, lead_email=lead, timestamp=at(hour), id=hour)
            )
    assert ours.statuses() == dict.fromkeys(leads, status)


LABELLED = {
    "lead_interested": "interested",
    "lead_neutral": "neutral",
    "lead_not_interested": "not_interested",
    "lead_meeting_booked": "meeting_booked",
    "lead_meeting_completed": "meeting_completed",
    "lead_closed": "closed",
    "lead_won": "closed",
    "lead_lost": "lost",
    "lead_out_of_office": "out_of_office",
    "lead_wrong_person": "wrong_person",
    "lead_no_show": "no_show",
    "lead_skipped": "skipped",
}


@pytest.mark.parametrize(("event_type", "label"), LABELLED.items())
def test_a_label_beats_delivery_facts_and_earlier_labels(
    anyone: FlaskClient, ours: Ours, event_type: str, label: str
) -> None:
    ours.hold("a@x.example")
    earlier = "lead_neutral" if event_type == "lead_interested" else "lead_interested"
    for name, hour in (("reply_received", 3), (event_type, 2), (earlier, 1), ("email_opened", 4)):
        recorded(anyone, ours.payload(name, lead_email="a@x.example", timestamp=at(hour)))
    assert ours.statuses() == {"a@x.example": label}


@pytest.mark.parametrize(
    ("arrivals", "status"),
    [
        ([("lead_interested", 1), ("lead_lost", 1)], "lost"),
        ([("lead_lost", 1), ("lead_interested", 1)], "interested"),
        ([("lead_lost", 2), ("lead_interested", 1)], "lost"),
        ([("lead_lost", 1), ("lead_neutral", 3), ("lead_interested", 2)], "neutral"),
        ([("lead_lost", 1), ("lead_neutral", 3), ("lead_interested", 3)], "interested"),
        ([("lead_lost", 1), ("lead_lost", 3), ("lead_interested", 2)], "lost"),
        # An event without a time happened when it arrived.
        ([("lead_lost", 1), ("lead_neutral", None), ("lead_interested", 2)], "neutral"),
    ],
)
def test_labels_follow_the_time_of_the_event_and_on_a_tie_the_later_arrival(
    anyone: FlaskClient,
    ours: Ours,
    arrivals: list[tuple[str, int | None]],
    status: str,
) -> None:
    ours.hold("a@x.example")
    for event_type, day in arrivals:
        payload = ours.payload(event_type, lead_email="a@x.example", id=str(uuid4()))
        if day is not None:
            payload["timestamp"] = f"2024-08-0{day}T00:00:00.000Z"
        recorded(anyone, payload)
    assert ours.statuses() == {"a@x.example": status}


def test_times_of_labels_are_compared_as_moments(anyone: FlaskClient, ours: Ours) -> None:
    ours.hold("a@x.example")
    for event_type, timestamp in (
        ("lead_lost", "2026-08-18T10:00:00-05:00"),
        ("lead_neutral", "2026-08-18T14:59:59Z"),
        ("lead_no_show", "2026-08-18T16:30:00+02:00"),
    ):
        recorded(anyone, ours.payload(event_type, lead_email="a@x.example", timestamp=timestamp))
    assert ours.statuses() == {"a@x.example": "lost"}


def test_a_repeated_event_does_not_bring_its_status_back(anyone: FlaskClient, ours: Ours) -> None:
    ours.hold("a@x.example")
    first = ours.payload("lead_interested", lead_email="a@x.example", timestamp=at(1))
    assert recorded(anyone, first)
    again = ours.payload("lead_lost", lead_email="a@x.example", timestamp=at(1))
    assert recorded(anyone, again)
    assert not recorded(anyone, first)
    assert ours.statuses() == {"a@x.example": "lost"}


@pytest.mark.parametrize(
    ("held", "delivered"),
    [
        ("Jonas.Becker@X.example", "jonas.becker@x.example"),
        ("jonas.becker@x.example", "JONAS.BECKER@X.EXAMPLE"),
        ("jonas.becker@x.example", "  jonas.becker@x.example "),
        ("petra.voß@grün.example", "PETRA.VOß@GRÜN.example"),
        ("PETRA@GRÜN.example", "petra@grün.example"),
    ],
)
def test_a_lead_is_known_by_its_address_whatever_its_case(
    anyone: FlaskClient, ours: Ours, held: str, delivered: str
) -> None:
    ours.hold(held)
    recorded(anyone, ours.payload(lead_email=delivered))
    assert ours.statuses() == {held: "opened"}


def test_an_event_touches_its_lead_alone(anyone: FlaskClient, ours: Ours, db: Rows) -> None:
    other = Ours(db)
    for campaign in (ours, other):
        campaign.hold("a@x.example", "b@x.example")
    recorded(anyone, ours.payload("email_bounced", lead_email="a@x.example"))
    assert ours.statuses() == {"a@x.example": "bounced", "b@x.example": "active"}
    assert other.statuses() == {"a@x.example": "active", "b@x.example": "active"}


def test_the_event_of_a_lead_that_we_do_not_hold_is_recorded(
    anyone: FlaskClient, ours: Ours
) -> None:
    assert recorded(anyone, ours.payload("reply_received", lead_email="new@x.example"))
    assert [event["lead_email"] for event in ours.events()] == ["new@x.example"]
    assert ours.statuses() == {}


def test_a_completed_campaign_is_completed_once(anyone: FlaskClient, ours: Ours, db: Rows) -> None:
    bystander = Ours(db)
    payload = ours.payload("campaign_completed", timestamp=at(1))
    assert recorded(anyone, payload)
    assert (ours.status(), bystander.status()) == ("completed", "draft")
    db.connection.execute("UPDATE instantly_campaigns SET status = 'active'")
    assert not recorded(anyone, payload)
    assert ours.status() == "active"


@pytest.mark.parametrize(
    "event_type", ["email_sent", "account_error", "campaign_completed_for_lead_without_reply", "x"]
)
def test_no_other_event_changes_the_campaign(
    anyone: FlaskClient, ours: Ours, event_type: str
) -> None:
    recorded(anyone, ours.payload(event_type, lead_email="a@x.example"))
    assert ours.status() == "draft"


# Duplicates


def test_the_same_payload_is_recorded_once_however_it_is_written(
    anyone: FlaskClient, ours: Ours
) -> None:
    payload = ours.payload(
        lead_email="a@x.example", nested={"a": [1, {"b": None, "c": "é\u2028"}], "d": 1.5}
    )
    backwards = {name: payload[name] for name in reversed(payload)}
    backwards["nested"] = {"d": 1.5, "a": [1, {"c": "é\u2028", "b": None}]}
    assert recorded(anyone, payload)
    for body in (
        json.dumps(payload),
        json.dumps(backwards),
        json.dumps(backwards, indent=4),
        json.dumps(payload, ensure_ascii=False).encode(),
        json.dumps(payload, separators=(",", ":")) + "\r\n ",
    ):
        answer = post(anyone, body)
        assert answer.status_code == 200
        assert answer.get_json() == {
            "success": True,
            "recorded": False,
            "reason": "duplicate",
            "eventType": "email_opened",
        }
    assert len(ours.events()) == 1


def test_a_duplicate_is_told_under_its_recorded_name(anyone: FlaskClient, ours: Ours) -> None:
    payload = ours.payload("link_clicked")
    assert post(anyone, payload).get_json()["eventType"] == "email_link_clicked"
    assert post(anyone, payload).get_json()["eventType"] == "email_link_clicked"


@pytest.mark.parametrize(
    "changes",
    [
        {"timestamp": "2026-08-18T07:12:44.319Z"},
        {"lead_email": "A@x.example"},
        {"step": 1},
        {"step": None},
        {"list": [2, 1]},
        {"text": "\x01"},
        {"text": "\\u0000"},
        {"text": "\ud801"},
    ],
    ids=ascii,
)
def test_another_payload_is_another_event(
    anyone: FlaskClient, ours: Ours, changes: dict[str, Any]
) -> None:
    payload = ours.payload(lead_email="a@x.example", list=[1, 2], text="\x00")
    payload["timestamp"] = "2026-08-18T07:12:44.318Z"
    assert recorded(anyone, payload)
    assert recorded(anyone, payload | changes)
    assert len(ours.events()) == 2


# Whose delivery it is


@pytest.mark.parametrize("spelling", [str, str.upper, str.title])
def test_a_campaign_is_found_whatever_the_case_of_its_id(
    anyone: FlaskClient, ours: Ours, spelling: Any
) -> None:
    assert recorded(anyone, ours.payload() | {"campaign_id": spelling(ours.instantly_id)})
    assert len(ours.events()) == 1


@pytest.mark.parametrize(
    "campaign_id",
    [
        None,
        "",
        "campaign",
        7,
        1.5,
        True,
        10**40,
        [],
        {},
        ["2458e540-24e4-46e5-b2cf-6caac4b9c637"],
        "2458e540-24e4-46e5-b2cf-6caac4b9c63",
        "2458e540-24e4-46e5-b2cf-6caac4b9c637\x00",
        "\x00",
        "\ud800",
        "x" * 100_000,
        "7ec7b7c3-126b-412a-babf-fd79d002e921",
        "00000000-0000-0000-0000-000000000000",
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_a_delivery_of_no_campaign_of_ours_is_welcome_and_not_kept(
    anyone: FlaskClient, ours: Ours, db: Rows, campaign_id: object
) -> None:
    answer = post(anyone, {"event_type": "email_sent", "campaign_id": campaign_id})
    assert (answer.status_code, answer.get_json()) == (200, UNKNOWN)
    assert db.count("instantly_events") == 0


def test_a_delivery_without_a_campaign_is_welcome_and_not_kept(
    anyone: FlaskClient, db: Rows
) -> None:
    answer = post(anyone, {"event_type": "supersearch_enrichment_completed"})
    assert (answer.status_code, answer.get_json()) == (200, UNKNOWN)
    assert db.count("instantly_events") == 0


def test_our_own_id_of_a_campaign_is_not_instantlys(anyone: FlaskClient, ours: Ours) -> None:
    answer = post(anyone, {"event_type": "email_sent", "campaign_id": ours.id})
    assert answer.get_json() == UNKNOWN


def test_an_unknown_delivery_counts_once_its_campaign_is_ours(
    anyone: FlaskClient, db: Rows
) -> None:
    payload = {"event_type": "email_sent", "campaign_id": str(uuid4())}
    assert not recorded(anyone, payload)
    Ours(db, payload["campaign_id"])
    assert recorded(anyone, payload)


def test_instantly_needs_no_key_and_a_wrong_one_does_not_matter(
    anyone: FlaskClient, ours: Ours
) -> None:
    assert post(anyone, ours.payload(), headers={"X-API-Key": "wrong"}).status_code == 200
    assert len(ours.events()) == 1


# What is refused


@pytest.mark.parametrize(
    "event_type", [None, "", 5, 0, 1.5, True, [], ["email_sent"], {}, {"name": "email_sent"}]
)
def test_an_event_type_that_is_no_text_is_400(
    anyone: FlaskClient, ours: Ours, event_type: object
) -> None:
    answer = post(anyone, ours.payload() | {"event_type": event_type})
    assert answer.status_code == 400
    assert answer.get_json()["error"] == "Invalid request"
    assert list(answer.get_json()["details"]) == ["event_type"]
    assert ours.events() == []


@pytest.mark.parametrize("payload", [{}, {"campaign_id": LOGISTICS}, {"eventType": "email_sent"}])
def test_a_missing_event_type_is_400(anyone: FlaskClient, payload: dict[str, Any]) -> None:
    assert post(anyone, payload).status_code == 400


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b"null",
        b"5",
        b'"email_sent"',
        b"[]",
        b'[{"event_type": "email_sent"}]',
        b'{"event_type": "email_sent"} x',
        b'{"event_type": "email_sent",}',
        b"{'event_type': 'email_sent'}",
        b"event_type=email_sent",
        b'{"event_type": "\xff"}',
        b'{"event_type": "\xed\xa0\x80"}',
        '{"event_type": "email_sent"}'.encode("utf-16"),
        b'{"event_type": "a\x00b"}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"event_type": "email_sent", "a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
    ids=lambda body: ascii(body)[2:40],
)
def test_what_is_no_json_object_is_400(anyone: FlaskClient, body: bytes) -> None:
    answer = post(anyone, body)
    assert (answer.status_code, answer.get_json()) == (400, {"error": "Invalid JSON"})


def padded(ours: Ours, size: int) -> bytes:
    start = raw(ours, '"reply_html": "')[:-1].encode()
    return start + b"x" * (size - len(start) - 2) + b'"}'


def test_a_delivery_of_four_mebibytes_is_recorded(anyone: FlaskClient, ours: Ours) -> None:
    body = padded(ours, FOUR_MIB)
    assert len(body) == FOUR_MIB
    assert post(anyone, body).get_json()["recorded"] is True
    assert ours.events()[0]["payload"] == json.loads(body)


@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_larger_delivery_is_413(anyone: FlaskClient, ours: Ours, is_chunked: bool) -> None:
    body = padded(ours, FOUR_MIB + 1)
    if is_chunked:
        answer = anyone.post(
            "/webhooks/instantly",
            input_stream=BytesIO(body),
            headers={"Transfer-Encoding": "chunked"},
            environ_overrides={"wsgi.input_terminated": True},
        )
    else:
        answer = post(anyone, body)
    assert (answer.status_code, answer.get_json()) == (413, {"error": "Request body too large"})
    assert ours.events() == []


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
def test_deliveries_are_posted(client: FlaskClient, method: str) -> None:
    answer = client.open("/webhooks/instantly", method=method)
    assert (answer.status_code, answer.get_json()) == (405, {"error": "Method not allowed"})


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "",
        "application/json; charset=utf-8",
        "application/json; charset=utf-16",
        "application/problem+json",
        "text/plain",
        "text/html; charset=iso-8859-1",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
        "multipart/form-data; boundary=x",
        "nonsense",
        ";;;=",
    ],
)
def test_any_content_type_will_do(
    anyone: FlaskClient, ours: Ours, content_type: str | None
) -> None:
    answer = post(anyone, ours.payload(lead_email="ü@x.example"), content_type=content_type)
    assert (answer.status_code, answer.get_json()["recorded"]) == (200, True)
    assert ours.events()[0]["lead_email"] == "ü@x.example"


# What a payload may hold


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("a\x00b", "a\\u0000b"),
        ("\x00", "\\u0000"),
        ("\x00" * 1000, "\\u0000" * 1000),
        ("a\ud800b", "a\\ud800b"),
        ("\udfff", "\\udfff"),
        ("\udc00\ud800", "\\udc00\\ud800"),
        ("a\\u0000b", "a\\u0000b"),
        ("\\\\u0000", "\\\\u0000"),
        ("\\\x00", "\\\\u0000"),
        ("\\\ud800", "\\\\ud800"),
        ("\\ud800", "\\ud800"),
        ("\\ud83d\\ude9a", "\\ud83d\\ude9a"),
        ("🚚\x00🚚\ud83d", "🚚\\u0000🚚\\ud83d"),
        ("\ud83d🚚\udc00", "\\ud83d🚚\\udc00"),
        ("\U0010ffff\ufffe\uffff", "\U0010ffff\ufffe\uffff"),
        ("\x01\x1f\x7f\x85\u2028\u2029\ufeff", "\x01\x1f\x7f\x85\u2028\u2029\ufeff"),
        ('"\\/\b\f\n\r\t', '"\\/\b\f\n\r\t'),
        (
            "👩\u200d💻 e\u0301 \u200f\u05e9\u05dc\u200f",
            "👩\u200d💻 e\u0301 \u200f\u05e9\u05dc\u200f",
        ),
    ],
    ids=lambda text: ascii(text)[:30],
)
def test_no_text_loses_an_event_and_what_can_be_kept_is_kept(
    anyone: FlaskClient, ours: Ours, sent: str, kept: str
) -> None:
    ours.hold("a@x.example")
    payload = ours.payload(
        lead_email="a@x.example",
        **{f"key {sent}": sent},
        nested=[{"deeper": [[{f"key {sent}": [sent, None]}]]}],
    )
    assert recorded(anyone, payload)
    assert not recorded(anyone, payload)
    (event,) = ours.events()
    assert event["payload"] == ours.payload(
        lead_email="a@x.example",
        **{f"key {kept}": kept},
        nested=[{"deeper": [[{f"key {kept}": [kept, None]}]]}],
    )
    assert ours.statuses() == {"a@x.example": "opened"}


READ_FIELDS = ["event_type", "lead_email", "email_account", "timestamp", "step", "variant"]


@pytest.mark.parametrize(
    "text",
    ["\x00", "\ud800", "a\x00b", "\udc00\x00", "\x00" * 320],
    ids=lambda text: ascii(text)[:20],
)
def test_no_odd_text_in_a_field_that_is_read_loses_the_event(
    anyone: FlaskClient, client: FlaskClient, ours: Ours, text: str
) -> None:
    for field in READ_FIELDS:
        assert recorded(anyone, ours.payload() | {field: text}), field
    assert len(ours.events()) == len(READ_FIELDS)
    assert client.post("/stats", json={"campaignId": ours.id}).status_code == 200


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        0,
        -1,
        10**30,
        -(10**30),
        10**300,
        2**53 + 1,
        0.1,
        -1.5e-7,
        1e22,
        "",
        [],
        {},
        [[], {}, None],
        {"": {"": None}},
    ],
    ids=lambda value: str(value)[:20],
)
def test_the_payload_is_kept_as_it_came(anyone: FlaskClient, ours: Ours, value: object) -> None:
    payload = ours.payload() | {"custom": value, "": value}
    assert recorded(anyone, payload)
    assert ours.events()[0]["payload"] == payload


@pytest.mark.parametrize(
    "number",
    [
        "1e400",
        "-1e400",
        "1e999999999",
        "1e-400",
        "-0.0",
        "0." + "1" * 5000,
        "1" * 1000,
        "1" * 1001,
        "1" * 5000,
        "-" + "9" * 200_000,
        "NaN",
        "Infinity",
        "-Infinity",
    ],
    ids=lambda number: number[:12] + str(len(number)),
)
def test_no_number_is_an_error_of_ours(anyone: FlaskClient, ours: Ours, number: str) -> None:
    for field in ("price", "step", "timestamp", "lead_email"):
        body = raw(ours, f'"{field}": {number}')
        answer = post(anyone, body)
        # NaN and Infinity are no JSON; whether they are taken all the same is nobody's promise.
        if number.lstrip("-").isalpha() and answer.status_code == 400:
            continue
        assert (answer.status_code, answer.get_json()["recorded"]) == (200, True)
        assert post(anyone, body).get_json()["reason"] == "duplicate"
        assert ours.events()[-1]["payload"].keys() == {"event_type", "campaign_id", field}


@pytest.mark.parametrize("opening", ["[", '{"a":'])
@pytest.mark.parametrize("depth", [100, 500, *range(900, 1001, 10), 5000, 20_000])
def test_no_depth_is_an_error_of_ours(
    anyone: FlaskClient, ours: Ours, depth: int, opening: str
) -> None:
    closing = "]" if opening == "[" else "}"
    nested = opening * depth + "1" + closing * depth
    answer = post(anyone, raw(ours, f'"nested": {nested}'))
    # How deep is too deep depends on Python.
    assert answer.status_code in ((200,) if depth <= 500 else (200, 400))
    count = ours.db.all(
        "SELECT count(*) AS n FROM instantly_events WHERE payload ->> 'nested' <> ''"
    )[0]["n"]
    assert count == (1 if answer.status_code == 200 else 0)


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (1, 1),
        (7, 7),
        (99999999999, 99999999999),
        (2**63 - 1, 2**63 - 1),
        (2**63, None),
        (10**30, None),
        (0, None),
        (-1, None),
        (1.5, None),
        (1.0, None),
        ("1", None),
        ("", None),
        (True, None),
        (False, None),
        (None, None),
        ([1], None),
        ({"step": 1}, None),
    ],
)
def test_a_step_or_variant_that_is_no_positive_integer_is_null(
    anyone: FlaskClient, ours: Ours, value: object, number: int | None
) -> None:
    for field, other in (("step", "variant"), ("variant", "step")):
        payload = ours.payload() | {field: value}
        assert recorded(anyone, payload)
        event = ours.events()[-1]
        assert (event[field], event[other]) == (number, None)
        assert event["payload"] == payload


@pytest.mark.parametrize(
    ("timestamp", "moment"),
    [
        ("2026-08-18T07:12:44.318Z", "2026-08-18T07:12:44.318+00:00"),
        ("2026-08-18T10:11:12+02:00", "2026-08-18T08:11:12+00:00"),
        ("2026-08-18T10:11:12", "2026-08-18T10:11:12+00:00"),
        ("2026-08-18T07:12:44.123456789Z", "2026-08-18T07:12:44.123456+00:00"),
        ("2026-08-18", "2026-08-18T00:00:00+00:00"),
        ("1970-01-01T00:00:00Z", "1970-01-01T00:00:00+00:00"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00+00:00"),
        ("9999-12-31T23:59:59Z", "9999-12-31T23:59:59+00:00"),
    ],
)
def test_a_timestamp_is_the_time_of_the_event(
    anyone: FlaskClient, ours: Ours, timestamp: str, moment: str
) -> None:
    assert recorded(anyone, ours.payload(timestamp=timestamp))
    assert ours.events()[0]["occurred_at"] == datetime.fromisoformat(moment)


@pytest.mark.parametrize(
    "timestamp",
    [
        None,
        "",
        " ",
        "yesterday",
        "2026-02-30T00:00:00Z",
        "2026-08-18T25:00:00Z",
        "2026-08-18T07:12:60Z",
        "2026-08-18T07:12:44+99:00",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
        "0000-01-01T00:00:00Z",
        "10000-01-01T00:00:00Z",
        "-2026-08-18T00:00:00Z",
        "1787000000",
        "\x00",
        "\ud800",
        "9" * 100_000,
        1787000000,
        1787000000123,
        -1,
        10**30,
        1.5,
        True,
        [],
        ["2026-08-18T07:12:44.318Z"],
        {},
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_an_event_without_a_readable_time_happened_when_it_arrived(
    anyone: FlaskClient, ours: Ours, timestamp: object
) -> None:
    before = datetime.now(UTC) - timedelta(minutes=1)
    assert recorded(anyone, ours.payload(timestamp=timestamp))
    (event,) = ours.events()
    assert before < event["occurred_at"] < datetime.now(UTC) + timedelta(minutes=1)


def test_an_event_without_a_time_is_recorded_once(anyone: FlaskClient, ours: Ours) -> None:
    assert recorded(anyone, ours.payload())
    assert not recorded(anyone, ours.payload())


@pytest.mark.parametrize("letter", ["x", "@", "ü", "🚚"], ids=ascii)
def test_no_length_loses_the_event(
    anyone: FlaskClient, client: FlaskClient, ours: Ours, letter: str
) -> None:
    for field in READ_FIELDS:
        payload = ours.payload() | {field: letter * 200_000}
        assert recorded(anyone, payload), field
        assert ours.events()[-1]["payload"] == payload
    assert client.post("/stats", json={"campaignId": ours.id}).status_code == 200


@pytest.mark.parametrize("letter", ["x", "ü", "優", "🚚", "İ", "\x00", "\ud800"], ids=ascii)
@pytest.mark.parametrize("length", [319, 320, 321])
def test_no_address_is_too_long_for_its_event(
    anyone: FlaskClient, ours: Ours, letter: str, length: int
) -> None:
    chance = random.Random(length)
    payload = ours.payload("email_sent", step=1, lead_email=letter * length, id=chance.random())
    assert recorded(anyone, payload)
    # One that Postgres cannot compress into an index.
    varied = "".join(chr(chance.randint(0x4E00, 0x9FFF)) for _ in range(length))
    assert recorded(anyone, ours.payload("email_sent", step=1, lead_email=varied))


@pytest.mark.parametrize("value", [5, True, None, [], {}, ["a@x.example"], {"email": "a"}])
@pytest.mark.parametrize("field", ["lead_email", "email_account"])
def test_an_address_that_is_no_text_is_none(
    anyone: FlaskClient, ours: Ours, field: str, value: object
) -> None:
    assert recorded(anyone, ours.payload() | {field: value})
    (event,) = ours.events()
    assert (event["lead_email"], event["account_email"]) == (None, None)


def test_a_leads_own_data_may_be_called_like_anything(anyone: FlaskClient, ours: Ours) -> None:
    payload = ours.payload(
        "Call back",
        id="x",
        success=False,
        recorded=None,
        payload={"event_type": "lead_lost"},
        campaign={"id": 1},
        fingerprint="\\x00",
        __proto__="x",
    )
    assert recorded(anyone, payload)
    assert ours.events()[0]["payload"] == payload


# Postgres down


@contextmanager
def service_without_postgres(settings: Settings) -> Iterator[Flask]:
    app = application.create_app(
        replace(settings, database_url="postgresql://postgres@127.0.0.1:1/none")
    )
    try:
        yield app
    finally:
        app.extensions[EXTENSION].database.close()


def test_while_postgres_is_down_instantly_is_told_to_come_again(settings: Settings) -> None:
    with service_without_postgres(settings) as app:
        answer = post(app.test_client(), PAYLOADS["email_bounced"])
        assert answer.status_code == 503
        assert answer.get_json() == {"error": "Database unavailable"}
        assert int(answer.headers["Retry-After"]) > 0
        assert post(app.test_client(), {"campaign_id": LOGISTICS}).status_code == 400


# Where webhooks must point


@pytest.mark.parametrize(
    ("base_url", "url"),
    [
        ("https://service.example", "https://service.example/webhooks/instantly"),
        ("https://service.example/", "https://service.example/webhooks/instantly"),
        ("https://service.example//", "https://service.example/webhooks/instantly"),
        ("http://host:8080/base/", "http://host:8080/base/webhooks/instantly"),
    ],
)
def test_the_url_for_webhooks_has_no_doubled_slash(
    anyone: FlaskClient, app: Flask, monkeypatch: pytest.MonkeyPatch, base_url: str, url: str
) -> None:
    environment = {
        "INSTANTLY_SERVICE_DATABASE_URL": "postgresql://postgres@127.0.0.1:1/none",
        "INSTANTLY_SERVICE_API_KEY": "key",
        "KEY_SERVICE_URL": "http://127.0.0.1:1",
        "KEY_SERVICE_API_KEY": "key",
        "RUNS_SERVICE_URL": "http://127.0.0.1:1",
        "RUNS_SERVICE_API_KEY": "key",
        "WEBHOOK_BASE_URL": base_url,
    }
    read = Settings.from_environment(environment)
    configured(app, monkeypatch, read.webhook_base_url)
    answer = anyone.get("/webhooks/instantly/config")
    assert (answer.status_code, answer.get_json()) == (200, {"webhookUrl": url})


def test_without_a_base_url_only_the_config_route_fails(
    anyone: FlaskClient, app: Flask, ours: Ours, monkeypatch: pytest.MonkeyPatch
) -> None:
    configured(app, monkeypatch, None)
    answer = anyone.get("/webhooks/instantly/config")
    assert answer.status_code == 500
    assert answer.get_json() == {"error": "WEBHOOK_BASE_URL not configured"}
    assert recorded(anyone, ours.payload())


# A storm of deliveries


RANDOM_TYPES = [
    *["email_sent", "email_opened", "link_clicked"] * 3,
    "email_link_clicked",
    "reply_received",
    "auto_reply_received",
    "campaign_completed_for_lead_without_reply",
    "account_error",
    "Call back in Q4",
    *LABELLED,
]
STRONG_TYPES = ["email_bounced", "lead_unsubscribed"]
LEADS_A_CAMPAIGN = 150


def random_history(chance: random.Random, count: int, campaign_ids: list[str]) -> list[Any]:
    """Distinct payloads, no two of the same time: labels have no ties."""
    history = []
    for number in range(count):
        event_type = chance.choice(RANDOM_TYPES if chance.random() < 0.98 else STRONG_TYPES)
        if number == count // 2:
            event_type = "campaign_completed"
        payload = {
            "event_type": event_type,
            "campaign_id": chance.choice(campaign_ids),
            "timestamp": (LABEL_TIME + timedelta(seconds=number)).isoformat(),
            "step": chance.choice([1, 2, 3, None]),
        }
        if event_type != "campaign_completed" and chance.random() < 0.95:
            lead = f"Lead{chance.randrange(LEADS_A_CAMPAIGN + 5)}@x.example"
            payload["lead_email"] = chance.choice((lead, lead.upper(), lead.lower()))
        history.append(payload)
    return history


def everything(db: Rows, client: FlaskClient, campaign_ids: list[str]) -> list[object]:
    """What the deliveries have left: rows, statuses and statistics."""
    events = db.all(
        "SELECT instantly_campaign_id, event_type, lead_email, step, occurred_at, fingerprint,"
        " payload FROM instantly_events AS event"
        " JOIN instantly_campaigns AS campaign ON campaign.id = event.campaign_id"
        " ORDER BY fingerprint"
    )
    leads = db.all(
        "SELECT instantly_campaign_id, email, lead.status FROM instantly_leads AS lead"
        " JOIN instantly_campaigns AS campaign ON campaign.id = lead.campaign_id"
        " ORDER BY instantly_campaign_id, email"
    )
    campaigns = db.all(
        "SELECT instantly_campaign_id, id, status FROM instantly_campaigns"
        " ORDER BY instantly_campaign_id"
    )
    conditions: list[dict[str, Any]] = [{"appId": "app-1"}]
    conditions += [{"campaignId": str(campaign.pop("id"))} for campaign in campaigns]
    stats = [client.post("/stats", json=condition).get_json() for condition in conditions]
    return [events, leads, campaigns, stats]


def test_a_storm_of_repeated_and_shuffled_deliveries_leaves_what_one_orderly_pass_leaves(
    client: FlaskClient, app: Flask, db: Rows
) -> None:
    chance = random.Random(7)
    campaign_ids = [str(UUID(int=chance.getrandbits(128), version=4)) for _ in range(3)]
    history = random_history(chance, 2000, campaign_ids)

    def begin() -> None:
        db.connection.execute("TRUNCATE instantly_campaigns CASCADE")
        for campaign_id in campaign_ids:
            Ours(db, campaign_id).hold(
                *(f"lead{number}@x.example" for number in range(LEADS_A_CAMPAIGN))
            )

    begin()
    assert all(recorded(client, payload) for payload in history)
    orderly = everything(db, client, campaign_ids)

    begin()
    storm = history * 2
    chance.shuffle(storm)
    threads = 16
    start = Barrier(threads)

    def deliver(part: list[dict[str, Any]]) -> list[bool]:
        thread_client = app.test_client()
        start.wait()
        return [recorded(thread_client, payload) for payload in part]

    with ThreadPoolExecutor(threads) as pool:
        outcomes = list(pool.map(deliver, [storm[number::threads] for number in range(threads)]))
    assert sum(map(sum, outcomes)) == len(history)
    assert everything(db, client, campaign_ids) == orderly


def test_one_payload_from_everywhere_at_once_is_recorded_once(
    client: FlaskClient, app: Flask, ours: Ours
) -> None:
    ours.hold("a@x.example")
    payload = ours.payload("email_sent", lead_email="a@x.example", step=1)
    threads = 16
    start = Barrier(threads)

    def deliver(_: int) -> bool:
        thread_client = app.test_client()
        start.wait()
        return recorded(thread_client, payload)

    with ThreadPoolExecutor(threads) as pool:
        outcomes = list(pool.map(deliver, range(threads)))
    assert outcomes.count(True) == 1
    assert len(ours.events()) == 1
    stats = client.post("/stats", json={"campaignId": ours.id}).get_json()["stats"]
    assert stats["emailsSent"] == 1


# Recovery


def miss(upstreams: Upstreams, payload: object, /, **changes: Any) -> dict[str, Any]:
    """Lets Instantly hold a delivery to us that failed."""
    workspace = upstreams.instantly.workspace("clerk-1")
    delivery = {
        "id": workspace.ids.uuid(),
        "timestamp_created": "2026-08-18T07:13:00.000Z",
        "timestamp_created_date": "2026-08-18",
        "organization_id": workspace.id,
        "payload": payload,
        "success": False,
        "retry_count": 3,
        "will_retry": False,
        "webhook_url": URL,
        "status_code": 503,
        "error_message": "Request failed with status code 503",
        "timestamp_next_retry": None,
        "retry_group_id": workspace.ids.uuid(),
        "retry_successful": None,
        "lead_email": None,
        "response_time_ms": 12,
        **changes,
    }
    workspace.events.append(delivery)
    return delivery


def recover(client: FlaskClient, **changes: Any) -> TestResponse:
    body = {"clerkOrgId": "clerk-1", "from": "2026-08-17", "to": "2026-08-19", **changes}
    return client.post("/webhooks/instantly/recover", json=body)


def outcome(**counts: Any) -> dict[str, Any]:
    return {
        "success": True,
        "found": 0,
        "recorded": 0,
        "duplicates": 0,
        "ignored": 0,
        "resumedWebhooks": [],
        **counts,
    }


def recovered(client: FlaskClient, **changes: Any) -> dict[str, Any]:
    answer = recover(client, **changes)
    assert answer.status_code == 200
    body: dict[str, Any] = answer.get_json()
    return body


def test_nothing_missed_is_nothing_found(client: FlaskClient) -> None:
    assert recovered(client) == outcome()


def test_missed_deliveries_are_recorded_as_if_they_had_arrived(
    client: FlaskClient, ours: Ours, upstreams: Upstreams
) -> None:
    ours.hold("a@x.example", "b@x.example")
    missed = [
        ours.payload("link_clicked", lead_email="A@x.example", timestamp=at(1), step=2),
        ours.payload("lead_interested", lead_email="b@x.example", timestamp=at(2)),
        ours.payload("campaign_completed", timestamp=at(3)),
    ]
    for payload in missed:
        miss(upstreams, payload)
    assert recovered(client) == outcome(found=3, recorded=3)
    assert [event["payload"] for event in ours.events()] == missed
    first = ours.events()[0]
    assert (first["event_type"], first["step"]) == ("email_link_clicked", 2)
    assert first["occurred_at"] == LABEL_TIME + timedelta(hours=1)
    assert ours.statuses() == {"a@x.example": "clicked", "b@x.example": "interested"}
    assert ours.status() == "completed"


def test_recovery_is_safe_to_repeat(client: FlaskClient, ours: Ours, upstreams: Upstreams) -> None:
    for number in range(3):
        miss(upstreams, ours.payload(timestamp=at(number)))
    assert recovered(client) == outcome(found=3, recorded=3)
    assert recovered(client) == outcome(found=3, duplicates=3)
    assert len(ours.events()) == 3


def test_each_attempt_at_one_delivery_is_found_and_one_is_recorded(
    client: FlaskClient, ours: Ours, upstreams: Upstreams
) -> None:
    for retry in range(4):
        miss(upstreams, ours.payload(), retry_count=retry)
    assert recovered(client) == outcome(found=4, recorded=1, duplicates=3)


@pytest.mark.parametrize(
    "odd",
    [
        {},
        {"firstName": "優希 🚚", "fleetSize": 42, "rate": 1.5, "isCustomer": False, "x": None},
        {"text": "a\x00b\ud800c\\u0000", "\x00": ["\udfff"]},
        {"price": 0.1, "big": 10**30, "small": 1e-7, "nested": {"b": [1, {"a": 2}], "a": {}}},
        {"step": "1", "timestamp": 5, "variant": 0},
    ],
    ids=lambda odd: ascii(odd)[:30],
)
def test_what_arrived_after_all_is_a_duplicate(
    client: FlaskClient, ours: Ours, upstreams: Upstreams, odd: dict[str, Any]
) -> None:
    payload = ours.payload(lead_email="a@x.example", **odd)
    assert recorded(client, payload)
    miss(upstreams, {name: payload[name] for name in reversed(payload)})
    assert recovered(client) == outcome(found=1, duplicates=1)


@pytest.mark.parametrize("count", [1, 99, 100, 101, 250])
def test_every_page_is_read(
    client: FlaskClient, ours: Ours, upstreams: Upstreams, count: int
) -> None:
    for number in range(count):
        miss(upstreams, ours.payload(timestamp=at(number)))
    assert recovered(client) == outcome(found=count, recorded=count)
    assert len(ours.events()) == count


def test_exactly_the_failed_deliveries_of_these_days_are_asked_for(
    client: FlaskClient, ours: Ours, upstreams: Upstreams
) -> None:
    for day in ("2026-08-16", "2026-08-17", "2026-08-19", "2026-08-20"):
        miss(upstreams, ours.payload(day=day), timestamp_created_date=day)
    miss(upstreams, ours.payload(day="delivered"), success=True)
    assert recovered(client) == outcome(found=2, recorded=2)
    days = {event["payload"]["day"] for event in ours.events()}
    assert days == {"2026-08-17", "2026-08-19"}
    for request in upstreams.instantly_http.calls("GET", "/api/v2/webhook-events"):
        assert request.query["success"] == ["false"]
        assert request.query["from"] == ["2026-08-17"]
        assert request.query["to"] == ["2026-08-19"]


def test_one_day_is_a_range(client: FlaskClient, ours: Ours, upstreams: Upstreams) -> None:
    miss(upstreams, ours.payload())
    body = recovered(client, **{"from": "2026-08-18", "to": "2026-08-18"})
    assert body == outcome(found=1, recorded=1)


@pytest.mark.parametrize(
    "changes",
    [
        {"webhook_url": "https://somebody-else.example/webhooks/instantly"},
        {"webhook_url": "https://instantly-service.example/webhooks/other"},
        {"webhook_url": "https://instantly-service.example.evil.example/webhooks/instantly"},
        {"webhook_url": ""},
        {"webhook_url": None},
        {"payload": {"event_type": "email_sent", "campaign_id": str(uuid4())}},
        {"payload": {"event_type": "supersearch_enrichment_completed"}},
        {"payload": {}},
        {"payload": None},
        {"payload": []},
        {"payload": "text"},
        {"payload": {"event_type": 5}},
    ],
    ids=lambda changes: ascii(changes)[:60],
)
def test_what_is_not_ours_is_ignored(
    client: FlaskClient, ours: Ours, upstreams: Upstreams, changes: dict[str, Any]
) -> None:
    miss(upstreams, ours.payload(number=1), **changes)
    miss(upstreams, ours.payload(number=2))
    assert recovered(client) == outcome(found=2, recorded=1, ignored=1)
    assert [event["payload"]["number"] for event in ours.events()] == [2]


@pytest.mark.parametrize("name", ["payload", "webhook_url"])
def test_a_delivery_that_lacks_a_field_is_ignored(
    client: FlaskClient, ours: Ours, upstreams: Upstreams, name: str
) -> None:
    del miss(upstreams, ours.payload())[name]
    assert recovered(client) == outcome(found=1, ignored=1)


def test_a_secret_in_the_url_leaves_it_ours(
    client: FlaskClient, ours: Ours, upstreams: Upstreams
) -> None:
    miss(upstreams, ours.payload(), webhook_url=f"{URL}?secret=1")
    webhook = upstreams.instantly.add_webhook("clerk-1", f"{URL}?secret=1")
    webhook["status"] = -1
    assert recovered(client) == outcome(found=1, recorded=1, resumedWebhooks=[webhook["id"]])


def test_webhooks_of_ours_that_were_switched_off_are_resumed_and_no_others(
    client: FlaskClient, upstreams: Upstreams
) -> None:
    urls = [URL, URL, URL, "https://somebody-else.example/webhooks/instantly"]
    webhooks = [upstreams.instantly.add_webhook("clerk-1", url) for url in urls]
    for webhook in (webhooks[0], webhooks[2], webhooks[3]):
        webhook["status"] = -1
    body = recovered(client)
    assert sorted(body["resumedWebhooks"]) == sorted([webhooks[0]["id"], webhooks[2]["id"]])
    assert [webhook["status"] for webhook in webhooks] == [1, 1, 1, -1]
    resumed = upstreams.instantly_http.calls("POST", "/api/v2/webhooks/.*/resume")
    assert len(resumed) == 2
    assert recovered(client) == outcome()


def test_webhooks_on_later_pages_are_resumed(client: FlaskClient, upstreams: Upstreams) -> None:
    webhooks = [upstreams.instantly.add_webhook("clerk-1", URL) for _ in range(105)]
    webhooks[-1]["status"] = -1
    assert recovered(client) == outcome(resumedWebhooks=[webhooks[-1]["id"]])


def test_without_a_base_url_every_delivery_is_considered_and_no_webhook_resumed(
    client: FlaskClient,
    app: Flask,
    ours: Ours,
    upstreams: Upstreams,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    configured(app, monkeypatch, None)
    miss(upstreams, ours.payload(number=1), webhook_url="https://somebody-else.example/")
    miss(upstreams, ours.payload(number=2))
    webhook = upstreams.instantly.add_webhook("clerk-1", URL)
    webhook["status"] = -1
    assert recovered(client) == outcome(found=2, recorded=2)
    assert webhook["status"] == -1
    assert not upstreams.instantly_http.calls("POST", "/api/v2/webhooks/.*")


def test_the_organizations_own_key_is_used(client: FlaskClient, upstreams: Upstreams) -> None:
    recovered(client)
    keys = {request.headers["Authorization"] for request in upstreams.instantly_http.requests}
    assert keys == {"Bearer key-1"}
    (request,) = upstreams.keys_http.requests
    assert request.path == "/internal/keys/instantly/decrypt"
    assert request.query == {"clerkOrgId": ["clerk-1"]}


def test_an_organization_without_a_key_has_nothing_to_recover(
    client: FlaskClient, upstreams: Upstreams
) -> None:
    answer = recover(client, clerkOrgId="clerk-2")
    assert answer.status_code == 422
    assert answer.get_json() == {"error": "BYOK key not configured for this organization"}
    assert upstreams.instantly_http.requests == []


def test_recovery_needs_the_key_of_the_service(anyone: FlaskClient) -> None:
    answer = recover(anyone)
    assert (answer.status_code, answer.get_json()) == (401, {"error": "Unauthorized"})


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"from": "2026-08-20"}, "to"),
        ({"to": "2026-08-16"}, "to"),
        ({"from": None}, "from"),
        ({"from": ""}, "from"),
        ({"from": "yesterday"}, "from"),
        ({"from": "2026-02-30"}, "from"),
        ({"from": 20260818}, "from"),
        ({"from": ["2026-08-18"]}, "from"),
        ({"to": None}, "to"),
        ({"to": "18.08.2026"}, "to"),
        ({"to": True}, "to"),
        ({"clerkOrgId": None}, "clerkOrgId"),
        ({"clerkOrgId": ""}, "clerkOrgId"),
        ({"clerkOrgId": 5}, "clerkOrgId"),
        ({"clerkOrgId": "a\x00b"}, "clerkOrgId"),
        ({"clerkOrgId": "\ud800"}, "clerkOrgId"),
    ],
    ids=ascii,
)
def test_a_bad_range_or_organization_is_400(
    client: FlaskClient, upstreams: Upstreams, changes: dict[str, Any], field: str
) -> None:
    answer = recover(client, **changes)
    assert answer.status_code == 400
    assert answer.get_json()["error"] == "Invalid request"
    assert list(answer.get_json()["details"]) == [field]
    assert upstreams.instantly_http.requests == []


@pytest.mark.parametrize("missing", ["clerkOrgId", "from", "to"])
def test_range_and_organization_are_required(client: FlaskClient, missing: str) -> None:
    body = {"clerkOrgId": "clerk-1", "from": "2026-08-17", "to": "2026-08-19"}
    del body[missing]
    answer = client.post("/webhooks/instantly/recover", json=body)
    assert answer.status_code == 400
    assert list(answer.get_json()["details"]) == [missing]


@pytest.mark.parametrize(
    ("fault", "status", "error"),
    [
        ({"status": 500, "times": None}, 502, "Instantly unavailable"),
        ({"how": "drop", "times": None}, 502, "Instantly unavailable"),
        ({"status": 200, "body": {"items": 5}}, 502, "Instantly unavailable"),
        ({"status": 200, "body": [], "times": None}, 502, "Instantly unavailable"),
        ({"status": 401}, 422, "Instantly API key was rejected"),
        ({"status": 403, "body": {"message": "scope"}}, 422, "Instantly rejected the request"),
        ({"status": 429, "times": None}, 503, "Instantly rate limit reached"),
    ],
)
def test_what_was_recorded_before_an_error_stays(
    client: FlaskClient,
    ours: Ours,
    upstreams: Upstreams,
    fault: dict[str, Any],
    status: int,
    error: str,
) -> None:
    for number in range(150):
        miss(upstreams, ours.payload(timestamp=at(number)))
    upstreams.instantly_http.fail("GET", "/api/v2/webhook-events", after=1, **fault)
    answer = recover(client)
    assert (answer.status_code, answer.get_json()["error"]) == (status, error)
    assert len(ours.events()) == 100
    upstreams.instantly_http.heal()
    assert recovered(client) == outcome(found=150, recorded=50, duplicates=100)


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/api/v2/webhooks"), ("POST", "/api/v2/webhooks/.*/resume")],
)
def test_events_stay_when_the_webhook_cannot_be_resumed(
    client: FlaskClient, ours: Ours, upstreams: Upstreams, method: str, path: str
) -> None:
    miss(upstreams, ours.payload())
    webhook = upstreams.instantly.add_webhook("clerk-1", URL)
    webhook["status"] = -1
    upstreams.instantly_http.fail(method, path, status=403, body={"message": "no plan"})
    answer = recover(client)
    assert answer.status_code == 422
    assert answer.get_json()["details"] == {"status": 403, "message": "no plan"}
    assert len(ours.events()) == 1
    assert recovered(client) == outcome(found=1, duplicates=1, resumedWebhooks=[webhook["id"]])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_is_no_json_number_in_a_missed_delivery_is_no_error_of_ours(
    client: FlaskClient, ours: Ours, upstreams: Upstreams, value: float
) -> None:
    miss(upstreams, ours.payload(price=value))
    assert recover(client).status_code in (200, 502)


def test_a_cursor_that_repeats_ends_the_recovery(
    client: FlaskClient, ours: Ours, upstreams: Upstreams
) -> None:
    delivery = miss(upstreams, ours.payload())
    page = {"items": [delivery], "next_starting_after": "again"}
    upstreams.instantly_http.fail("GET", "/api/v2/webhook-events", times=20, status=200, body=page)
    assert recovered(client)["recorded"] == 1
    assert len(upstreams.instantly_http.calls("GET", "/api/v2/webhook-events")) < 20


def test_an_organization_recovers_its_own_workspace(
    client: FlaskClient, db: Rows, upstreams: Upstreams
) -> None:
    elsewhere = Ours(db, clerk_org_id="clerk-2")
    miss(upstreams, elsewhere.payload())
    upstreams.keys.organizations["clerk-2"] = "key-1"
    assert recovered(client, clerkOrgId="clerk-2") == outcome(found=1, recorded=1)
    assert len(elsewhere.events()) == 1
