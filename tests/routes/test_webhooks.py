"""Deliveries: every one of ours recorded once, whatever it holds and whenever it comes."""

import json
import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from io import BytesIO
from itertools import permutations
from pathlib import Path
from threading import Barrier
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from harness import wait_until
from helpers import UNKNOWN_ID, configure, stats
from werkzeug.test import TestResponse
from world import World

SAMPLES = json.loads((Path(__file__).parents[1] / "webhook_samples.json").read_text())
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
LEAD = "a@x.example"
WITHOUT_REPLY = "campaign_completed_for_lead_without_reply"


def raw(ours: World, member: str) -> str:
    """A delivery's text with one member that json.dumps would not write."""
    return f"{json.dumps(ours.payload())[:-1]}, {member}}}"


def kept_texts(ours: World) -> list[str]:
    rows = ours.db.all("SELECT payload::text AS text FROM instantly_events ORDER BY id")
    return [row["text"] for row in rows]


def at(hours: float) -> str:
    return (LABEL_TIME + timedelta(hours=hours)).isoformat()


# Every sample of Instantly's deliveries, in their order

DUPLICATES = {
    "email_opened first open, delivered a second time unchanged",
    "email_opened first open, delivered a third time with the keys in another order",
}
NOT_OURS = {
    "supersearch_enrichment_completed without campaign_id",
    "email_sent for a campaign we do not know",
}
# The status of the sample's lead afterwards, in the order of the samples.
LEAD_STATUSES = [
    "contacted",
    "contacted",
    "contacted",
    "opened",
    "opened",
    "opened",
    "opened",
    "opened",
    None,
    "clicked",
    "clicked",
    "replied",
    "replied",
    "replied",
    "active",
    "bounced",
    "unsubscribed",
    None,
    None,
    "bounced",
    "interested",
    "not_interested",
    "meeting_booked",
    "meeting_completed",
    "closed",
    "out_of_office",
    "bounced",
    "no_show",
    "out_of_office",
    "out_of_office",
    "bounced",
    "lost",
    None,
    None,
    "out_of_office",
]


def test_every_sample_is_answered_and_recorded_as_expected(ours):
    campaigns = {}
    for instantly_id, emails in SAMPLE_LEADS.items():
        campaigns[instantly_id] = ours.another(instantlyCampaignId=instantly_id)
        campaigns[instantly_id].hold(*emails)

    assert {sample["name"] for sample in SAMPLES} >= DUPLICATES | NOT_OURS
    for sample, lead_status in zip(SAMPLES, LEAD_STATUSES, strict=True):
        name, payload = sample["name"], sample["payload"]
        event_type = payload["event_type"]
        if event_type == "link_clicked":
            event_type = "email_link_clicked"
        count = ours.db.count("instantly_events")
        answer = ours.deliver(payload)
        if name in NOT_OURS:
            assert (answer.status_code, answer.get_json()) == (200, UNKNOWN), name
            assert ours.db.count("instantly_events") == count, name
            continue
        is_new = name not in DUPLICATES
        body = {"success": True, "recorded": is_new, "eventType": event_type}
        expected = body if is_new else {**body, "reason": "duplicate"}
        assert (answer.status_code, answer.get_json()) == (200, expected), name
        assert ours.db.count("instantly_events") == count + is_new, name
        campaign = campaigns[payload["campaign_id"]]
        if is_new:
            event = campaign.events()[-1]
            assert (event["event_type"], event["payload"]) == (event_type, payload), name
            assert event["occurred_at"] == datetime.fromisoformat(payload["timestamp"]), name
            for column in ("step", "variant"):
                assert event[column] == payload.get(column), name
            for column, field in (("lead_email", "lead_email"), ("account_email", "email_account")):
                assert (event[column] or "") == payload.get(field, "").lower(), name
        assert campaign.statuses().get(payload.get("lead_email", "").lower()) == lead_status, name

    assert campaigns[LOGISTICS].status() == "completed"
    assert campaigns[FOUNDERS].status() == "draft"
    counted = ours.statistics(appId="app-1")
    assert counted["stats"] == stats(3, 2, 2, 2, 3, 1, 1, 1, 1, 1)
    assert counted["recipients"] == 2


# What a lead's events make of it


@pytest.mark.parametrize(
    ("events", "status"),
    [
        ("email_sent email_opened link_clicked reply_received", "replied"),
        ("email_sent email_opened email_opened link_clicked", "clicked"),
        (f"email_opened link_clicked {WITHOUT_REPLY} auto_reply_received", "completed"),
        (f"link_clicked {WITHOUT_REPLY} reply_received", "replied"),
        ("auto_reply_received account_error Later", "active"),
        ("reply_received lead_interested lead_not_interested lead_lost", "lost"),
        ("lead_neutral lead_won auto_reply_received email_opened", "closed"),
        ("lead_skipped reply_received email_sent", "skipped"),
        ("email_sent email_bounced lead_interested email_opened", "bounced"),
        ("email_bounced lead_unsubscribed lead_closed reply_received", "unsubscribed"),
    ],
)
def test_a_leads_events_end_in_one_status_whatever_order_they_arrive_in(ours, events, status):
    orders = list(permutations(enumerate(events.split())))
    leads = [f"lead{number}@x.example" for number in range(len(orders))]
    ours.hold(*leads)
    for lead, order in zip(leads, orders, strict=True):
        for hour, event_type in order:
            assert ours.records(event_type, lead_email=lead, timestamp=at(hour), id=hour)
    assert ours.statuses() == dict.fromkeys(leads, status)


@pytest.mark.parametrize(
    ("arrivals", "status"),
    [
        ([("lead_interested", "2024-08-01"), ("lead_lost", "2024-08-01")], "lost"),
        ([("lead_lost", "2024-08-01"), ("lead_interested", "2024-08-01")], "interested"),
        ([("lead_lost", "2024-08-02"), ("lead_interested", "2024-08-01")], "lost"),
        # A repeated label has the time of its last event.
        (
            [("lead_lost", "2024-08-01"), ("lead_lost", "2024-08-03"), ("lead_won", "2024-08-02")],
            "lost",
        ),
        # An event without a time happened when it arrived.
        ([("lead_neutral", None), ("lead_interested", "2024-08-02")], "neutral"),
        # Times are compared as moments.
        (
            [
                ("lead_lost", "2024-08-18T10:00:00-05:00"),
                ("lead_neutral", "2024-08-18T14:59:59Z"),
                ("lead_no_show", "2024-08-18T16:30:00+02:00"),
            ],
            "lost",
        ),
    ],
)
def test_labels_follow_the_time_of_the_event_and_on_a_tie_the_later_arrival(ours, arrivals, status):
    ours.hold(LEAD)
    for event_type, timestamp in arrivals:
        ours.records(event_type, lead_email=LEAD, id=str(uuid4()), timestamp=timestamp)
    assert ours.statuses() == {LEAD: status}


def test_a_repeated_event_does_not_bring_its_status_back(ours):
    ours.hold(LEAD)
    assert ours.records("lead_interested", lead_email=LEAD, timestamp=at(1))
    assert ours.records("lead_lost", lead_email=LEAD, timestamp=at(1))
    assert not ours.records("lead_interested", lead_email=LEAD, timestamp=at(1))
    assert ours.statuses() == {LEAD: "lost"}


def test_an_event_touches_its_lead_alone_whatever_the_case_of_the_address(ours):
    other = ours.another()
    for campaign in (ours, other):
        campaign.hold("Petra@GRÜN.example", "b@x.example")
    ours.records("email_bounced", lead_email="PETRA@grün.example")
    assert ours.statuses() == {"Petra@GRÜN.example": "bounced", "b@x.example": "active"}
    assert other.statuses() == {"Petra@GRÜN.example": "active", "b@x.example": "active"}


def test_the_event_of_a_lead_that_we_do_not_hold_is_recorded(ours):
    assert ours.records("reply_received", lead_email="new@x.example")
    assert [event["lead_email"] for event in ours.events()] == ["new@x.example"]
    assert ours.statuses() == {}


def test_a_completed_campaign_is_completed_once(ours):
    bystander = ours.another()
    ours.records(WITHOUT_REPLY, lead_email=LEAD)
    assert ours.status() == "draft"
    assert ours.records("campaign_completed", timestamp=at(1))
    assert (ours.status(), bystander.status()) == ("completed", "draft")
    ours.db.connection.execute("UPDATE instantly_campaigns SET status = 'active'")
    assert not ours.records("campaign_completed", timestamp=at(1))
    assert ours.status() == "active"


# Duplicates


def test_the_same_payload_is_recorded_once_however_it_is_written(ours):
    payload = ours.payload("link_clicked", nested={"a": [1, {"b": None, "c": "é\u2028"}], "d": 1.5})
    backwards = {name: payload[name] for name in reversed(payload)}
    backwards["nested"] = {"d": 1.5, "a": [1, {"c": "é\u2028", "b": None}]}
    assert ours.deliver(payload).get_json()["recorded"]
    duplicate = {"success": True, "recorded": False, "reason": "duplicate"}
    for body in (
        json.dumps(payload),
        json.dumps(backwards, indent=4),
        json.dumps(payload, ensure_ascii=False).encode(),
        json.dumps(payload, separators=(",", ":")) + "\r\n ",
    ):
        answer = ours.deliver(body)
        assert answer.status_code == 200
        assert answer.get_json() == {**duplicate, "eventType": "email_link_clicked"}
    assert len(ours.events()) == 1


def test_another_payload_is_another_event(ours):
    payload = {"lead_email": LEAD, "timestamp": at(1), "text": "\x00"}
    for changes in ({}, {"timestamp": at(2)}, {"lead_email": "A@x.example"}, {"text": "\\u0000"}):
        assert ours.records(**payload | changes), changes
    assert len(ours.events()) == 4


# Whose delivery it is


def test_a_delivery_of_no_campaign_of_ours_is_welcome_and_not_kept(ours):
    # Our own id of a campaign is not Instantly's.
    for campaign_id in (None, 7, "campaign", UNKNOWN_ID, ours.campaign["id"]):
        answer = ours.deliver({"event_type": "email_sent", "campaign_id": campaign_id})
        assert (answer.status_code, answer.get_json()) == (200, UNKNOWN), campaign_id
    assert ours.db.count("instantly_events") == 0


def test_an_unknown_delivery_counts_once_its_campaign_is_ours(ours):
    campaign_id = str(uuid4())
    assert not ours.records(campaign_id=campaign_id)
    ours.another(instantlyCampaignId=campaign_id)
    assert ours.records(campaign_id=campaign_id)


def test_a_delivery_waits_while_its_campaign_is_deleted_and_is_of_none_then(ours, database_url):
    ours.hold(LEAD)
    with ThreadPoolExecutor() as executor, psycopg.connect(database_url) as undo:
        undo.execute("DELETE FROM instantly_campaigns")
        answer = executor.submit(ours.deliver, ours.payload(lead_email=LEAD))
        wait_until(lambda: ours.db.all("SELECT FROM pg_locks WHERE NOT granted"))
        undo.commit()
    assert (answer.result().status_code, answer.result().get_json()) == (200, UNKNOWN)


# What is refused


@pytest.mark.parametrize("event_type", [{}, *({"event_type": name} for name in ("", None, 5, []))])
def test_a_delivery_that_names_no_event_is_answered_with_success(ours, event_type):
    """A test of the webhook may be such a delivery, and refusals switch the webhook off."""
    answer = ours.deliver({"campaign_id": ours.campaign["instantlyCampaignId"], **event_type})
    no_event = {"success": True, "recorded": False, "reason": "no event"}
    assert (answer.status_code, answer.get_json()) == (200, no_event)
    assert ours.events() == []


def padded(ours: World, size: int) -> bytes:
    start = raw(ours, '"reply_html": "')[:-1].encode()
    return start + b"x" * (size - len(start) - 2) + b'"}'


def test_a_delivery_of_four_mebibytes_is_recorded_and_a_larger_one_is_413(ours):
    body = padded(ours, FOUR_MIB)
    assert ours.deliver(body).get_json()["recorded"] is True
    assert ours.events()[0]["payload"] == json.loads(body)
    body = padded(ours, FOUR_MIB + 1)
    of_undeclared_length = {
        "input_stream": BytesIO(body),
        "headers": {"Transfer-Encoding": "chunked"},
        "environ_overrides": {"wsgi.input_terminated": True},
    }
    for answer in (ours.deliver(body), ours.deliver("", **of_undeclared_length)):
        assert (answer.status_code, answer.get_json()) == (413, {"error": "Request body too large"})
    assert len(ours.events()) == 1


@pytest.mark.parametrize(
    "content_type",
    [None, "text/html; charset=utf-16", "multipart/form-data; boundary=x", ";;;="],
)
def test_any_content_type_will_do(ours, content_type):
    answer = ours.deliver(ours.payload(lead_email="ü@x.example"), content_type=content_type)
    assert (answer.status_code, answer.get_json()["recorded"]) == (200, True)
    assert ours.events()[0]["lead_email"] == "ü@x.example"


# What a payload may hold


@pytest.mark.parametrize("text", ["a\x00b", "\ud83d🚚\udc00\u2028"], ids=ascii)
def test_no_text_loses_an_event(ours, text):
    nested = [{"deeper": [[{f"key {text}": [text, None]}]]}]
    fields = {"nested": nested, f"key {text}": text}
    assert ours.records(**fields)
    assert not ours.records(**fields)
    assert ours.events()[0]["payload"] == ours.payload(**fields)


@pytest.mark.parametrize("text", ["\x00", "a\ud800b", "🚚" * 200_000], ids=["NUL", "half", "long"])
def test_no_text_in_a_field_that_is_read_loses_the_event(ours, text):
    fields = ["event_type", "lead_email", "email_account", "timestamp", "step", "variant"]
    for field in fields:
        assert ours.records(**{field: text}), field
    assert len(ours.events()) == len(fields)
    assert ours.statistics(campaignId=ours.campaign["id"])


def test_the_payload_is_kept_as_it_came(ours):
    numbers = [0, -1, 10**30, -(10**30), 10**300, 2**53 + 1, 0.1, -1.5e-7, 1e20]
    others = [None, True, "", [], {}, [[], {}, None], {"": {"": None}}]
    # A lead's own data may be called like anything.
    named = {"": 1, "id": "x", "success": False, "recorded": None, "fingerprint": "\\x00"}
    fields = {"numbers": numbers, "others": others, "payload": named, "campaign": 1, **named}
    assert ours.records(**fields)
    assert ours.events()[0]["payload"] == ours.payload(**fields)


ODD_NUMBERS = [
    "1e400",
    "-1e999999999",
    "1e-400",
    "-0.0",
    "1e2",
    "1.50",
    "3.14159265358979323846264338328",
    "0." + "1" * 5000,
    "1" * 640,
    "1" * 641,
    "-" + "9" * 200_000,
]


@pytest.mark.parametrize("number", ODD_NUMBERS, ids=lambda number: number[:12] + str(len(number)))
def test_no_number_is_an_error_of_ours(ours, number):
    for field in ("price", "step", "timestamp", "lead_email"):
        body = raw(ours, f'"{field}": {number}')
        answer = ours.deliver(body)
        assert (answer.status_code, answer.get_json()["recorded"]) == (200, True)
        assert ours.deliver(body).get_json()["reason"] == "duplicate"
        assert kept_texts(ours)[-1] == body


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
@pytest.mark.parametrize("depth", [100, 500, *range(900, 1001, 10), 5000, 20_000])
def test_no_depth_is_an_error_of_ours(ours, depth, opening, closing):
    answer = ours.deliver(raw(ours, f'"nested": {opening * depth}1{closing * depth}'))
    # How deep is too deep depends on Python.
    assert answer.status_code in ((200,) if depth <= 500 else (200, 400))
    rows = ours.db.all("SELECT FROM instantly_events WHERE payload ->> 'nested' <> ''")
    assert len(rows) == (answer.status_code == 200)


def test_a_step_or_variant_that_is_no_positive_integer_is_null(ours):
    for step, kept in ((2**63 - 1, 2**63 - 1), (2**63, None), ("one", None)):
        for field, other in (("step", "variant"), ("variant", "step")):
            assert ours.records(**{field: step})
            event = ours.events()[-1]
            assert (event[field], event[other], event["payload"][field]) == (kept, None, step)


def test_a_timestamp_is_the_time_of_the_event(ours):
    for timestamp, moment in (
        ("2026-08-18T10:11:12.123456789+02:00", "2026-08-18T08:11:12.123456+00:00"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00+00:00"),
    ):
        assert ours.records(timestamp=timestamp)
        assert ours.events()[-1]["occurred_at"] == datetime.fromisoformat(moment)


@pytest.mark.parametrize("time", [{}, {"timestamp": "9999-12-31T23:59:59-14:00"}])
def test_an_event_without_a_readable_time_happened_when_it_arrived(ours, time):
    before = datetime.now(UTC) - timedelta(minutes=1)
    assert ours.records(**time)
    assert not ours.records(**time)
    (event,) = ours.events()
    assert before < event["occurred_at"] < datetime.now(UTC) + timedelta(minutes=1)


@pytest.mark.parametrize("letter", ["x", "🚚", "İ", "\x00", "\ud800"], ids=ascii)
def test_no_address_is_too_long_for_its_event(ours, letter):
    chance = random.Random(320)
    for length in (319, 320, 321):
        assert ours.records("email_sent", step=1, lead_email=letter * length)
        # One that Postgres cannot compress into an index.
        varied = "".join(chr(chance.randint(0x4E00, 0x9FFF)) for _ in range(length))
        assert ours.records("email_sent", step=1, lead_email=varied)


# Where webhooks must point


def test_the_config_route_says_where_webhooks_must_point(app, ours, monkeypatch):
    answer = app.test_client().get("/webhooks/instantly/config")
    assert (answer.status_code, answer.get_json()) == (200, {"webhookUrl": URL})
    # Without a base URL this route fails, and no other.
    configure(app, monkeypatch, webhook_base_url=None)
    answer = app.test_client().get("/webhooks/instantly/config")
    error = {"error": "WEBHOOK_BASE_URL not configured"}
    assert (answer.status_code, answer.get_json()) == (500, error)
    assert ours.records()


# A storm of deliveries


RANDOM_TYPES = [
    *["email_sent", "email_opened", "link_clicked"] * 3,
    "email_link_clicked",
    "reply_received",
    "auto_reply_received",
    WITHOUT_REPLY,
    "account_error",
    "Call back in Q4",
    "lead_interested",
    "lead_neutral",
    "lead_won",
    "lead_not_interested",
    "lead_meeting_booked",
    "lead_meeting_completed",
    "lead_closed",
    "lead_lost",
    "lead_out_of_office",
    "lead_wrong_person",
    "lead_no_show",
    "lead_skipped",
]
STRONG_TYPES = ["email_bounced", "lead_unsubscribed"]
LEADS_A_CAMPAIGN = 150


def recorded(world: World, payload: dict[str, Any]) -> bool:
    answer = world.deliver(payload)
    assert answer.status_code == 200
    return answer.get_json()["recorded"]


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


def everything(world: World) -> list[object]:
    """What the deliveries have left: rows, statuses and statistics."""
    events = world.db.all(
        "SELECT instantly_campaign_id, event_type, lead_email, step, occurred_at, fingerprint,"
        " payload FROM instantly_events AS event"
        " JOIN instantly_campaigns AS campaign ON campaign.id = event.campaign_id"
        " ORDER BY fingerprint"
    )
    leads = world.db.all(
        "SELECT instantly_campaign_id, email, lead.status FROM instantly_leads AS lead"
        " JOIN instantly_campaigns AS campaign ON campaign.id = lead.campaign_id"
        " ORDER BY instantly_campaign_id, email"
    )
    campaigns = world.db.all(
        "SELECT instantly_campaign_id, id, status FROM instantly_campaigns"
        " ORDER BY instantly_campaign_id"
    )
    conditions = [{"appId": "app-1"}]
    conditions += [{"campaignId": str(campaign.pop("id"))} for campaign in campaigns]
    counted = [world.statistics(**condition) for condition in conditions]
    return [events, leads, campaigns, counted]


def test_a_storm_of_repeated_and_shuffled_deliveries_leaves_what_one_orderly_pass_leaves(world):
    chance = random.Random(7)
    campaign_ids = [str(UUID(int=chance.getrandbits(128), version=4)) for _ in range(3)]
    history = random_history(chance, 2000, campaign_ids)

    def begin():
        world.db.connection.execute("TRUNCATE instantly_campaigns CASCADE")
        for campaign_id in campaign_ids:
            leads = (f"lead{number}@x.example" for number in range(LEADS_A_CAMPAIGN))
            world.another(instantlyCampaignId=campaign_id).hold(*leads)

    begin()
    assert all(recorded(world, payload) for payload in history)
    orderly = everything(world)

    begin()
    storm = history * 2
    chance.shuffle(storm)

    def some(number):
        start.wait()
        beside = world.beside()
        return sum(recorded(beside, payload) for payload in storm[number::16])

    start = Barrier(16)
    with ThreadPoolExecutor(16) as threads:
        assert sum(threads.map(some, range(16))) == len(history)
    assert everything(world) == orderly


# Recovery


@dataclass
class Outage:
    """What Instantly could not deliver to us, and its recovery."""

    ours: World

    def miss(self, payload: object, /, **changes: Any) -> dict[str, Any]:
        """Lets Instantly hold a delivery to us that failed."""
        workspace = self.ours.upstreams.instantly.workspace("clerk-1")
        delivery = {
            "id": workspace.ids.uuid(),
            "timestamp_created": "2026-08-18T07:13:00.000Z",
            "timestamp_created_date": "2026-08-18",
            "payload": payload,
            "success": False,
            "webhook_url": URL,
            **changes,
        }
        workspace.events.append(delivery)
        return delivery

    def miss_several(self, count: int) -> None:
        for number in range(count):
            self.miss(self.ours.payload(timestamp=at(number)))

    def webhook(self, url: str = URL, status: int = -1) -> dict[str, Any]:
        """One of Instantly's; -1 is switched off."""
        webhook = self.ours.upstreams.instantly.add_webhook("clerk-1", url)
        webhook["status"] = status
        return webhook

    def recover(self, **changes: Any) -> TestResponse:
        body = {"clerkOrgId": "clerk-1", "from": "2026-08-17", "to": "2026-08-19", **changes}
        return self.ours.send("POST", "/webhooks/instantly/recover", body)

    def recovered(self, **changes: Any) -> dict[str, Any]:
        answer = self.recover(**changes)
        assert answer.status_code == 200
        return answer.get_json()


@pytest.fixture
def outage(ours):
    return Outage(ours)


def outcome(**changes: Any) -> dict[str, Any]:
    counts = dict.fromkeys(("found", "recorded", "duplicates", "ignored"), 0)
    return {"success": True, **counts, "resumedWebhooks": [], **changes}


def test_missed_deliveries_are_recorded_as_if_they_had_arrived(outage):
    ours = outage.ours
    ours.hold("a@x.example", "b@x.example")
    missed = [
        ours.payload("link_clicked", lead_email="A@x.example", timestamp=at(1), step=2),
        ours.payload("lead_interested", lead_email="b@x.example", timestamp=at(2)),
        ours.payload("campaign_completed", timestamp=at(3)),
    ]
    for payload in missed:
        outage.miss(payload)
    assert outage.recovered() == outcome(found=3, recorded=3)
    assert [event["payload"] for event in ours.events()] == missed
    first = ours.events()[0]
    assert (first["event_type"], first["step"]) == ("email_link_clicked", 2)
    assert first["occurred_at"] == LABEL_TIME + timedelta(hours=1)
    assert ours.statuses() == {"a@x.example": "clicked", "b@x.example": "interested"}
    assert ours.status() == "completed"


def test_recovery_is_safe_to_repeat_and_each_attempt_at_a_delivery_is_found(outage):
    outage.miss_several(3)
    outage.miss_several(1)
    assert outage.recovered() == outcome(found=4, recorded=3, duplicates=1)
    assert outage.recovered() == outcome(found=4, duplicates=4)
    assert len(outage.ours.events()) == 3


def test_what_arrived_after_all_is_a_duplicate(outage):
    odd = {
        "text": "優希 🚚 a\x00b\ud800c\\u0000",
        "\x00": ["\udfff"],
        "numbers": [42, 1.5, 0.1, 10**30, 1e-7],
        "nested": {"b": [1, {"a": None}], "a": {}},
        "step": "1",
        "timestamp": 5,
    }
    assert outage.ours.records(**odd)
    payload = outage.ours.payload(**odd)
    outage.miss({name: payload[name] for name in reversed(payload)})
    assert outage.recovered() == outcome(found=1, duplicates=1)


def test_exactly_the_failed_deliveries_of_these_days_are_asked_for(outage):
    for day in ("2026-08-16", "2026-08-17", "2026-08-19", "2026-08-20"):
        outage.miss(outage.ours.payload(day=day), timestamp_created_date=day)
    outage.miss(outage.ours.payload(day="delivered"), success=True)
    assert outage.recovered() == outcome(found=2, recorded=2)
    days = {event["payload"]["day"] for event in outage.ours.events()}
    assert days == {"2026-08-17", "2026-08-19"}
    # One day is a range.
    assert outage.recovered(to="2026-08-17") == outcome(found=1, duplicates=1)


MISSING = object()


@pytest.mark.parametrize(
    "changes",
    [
        {"webhook_url": "https://somebody-else.example/webhooks/instantly"},
        {"webhook_url": f"{URL}-other"},
        {"webhook_url": MISSING},
        {"payload": {"event_type": "email_sent", "campaign_id": UNKNOWN_ID}},
        {"payload": {"event_type": 5}},
        {"payload": []},
        {"payload": MISSING},
    ],
    ids=lambda changes: ascii(changes)[:60],
)
def test_what_is_not_ours_is_ignored(outage, changes):
    delivery = outage.miss(outage.ours.payload(number=1), **changes)
    for name in changes:
        if delivery[name] is MISSING:
            del delivery[name]
    outage.miss(outage.ours.payload(number=2))
    assert outage.recovered() == outcome(found=2, recorded=1, ignored=1)
    assert [event["payload"]["number"] for event in outage.ours.events()] == [2]


def test_a_secret_in_the_url_leaves_it_ours(outage):
    outage.miss(outage.ours.payload(), webhook_url=f"{URL}?secret=1")
    webhook = outage.webhook(f"{URL}?secret=1")
    assert outage.recovered() == outcome(found=1, recorded=1, resumedWebhooks=[webhook["id"]])


def test_webhooks_of_ours_that_were_switched_off_are_resumed_and_no_others(outage):
    others = [
        outage.webhook("https://somebody-else.example/webhooks/instantly"),
        # More than a page.
        *(outage.webhook(status=1) for _ in range(104)),
    ]
    off = [outage.webhook(), outage.webhook()]
    body = outage.recovered()
    assert sorted(body["resumedWebhooks"]) == sorted(webhook["id"] for webhook in off)
    assert [webhook["status"] for webhook in (*off, *others)] == [1, 1, -1] + [1] * 104
    assert (
        len(outage.ours.upstreams.instantly_http.calls("POST", "/api/v2/webhooks/.*/resume")) == 2
    )
    assert outage.recovered() == outcome()


def test_without_a_base_url_every_delivery_is_considered_and_no_webhook_resumed(
    app, outage, monkeypatch
):
    configure(app, monkeypatch, webhook_base_url=None)
    outage.miss(outage.ours.payload(number=1), webhook_url="https://somebody-else.example/")
    outage.miss(outage.ours.payload(number=2))
    webhook = outage.webhook()
    assert outage.recovered() == outcome(found=2, recorded=2)
    assert webhook["status"] == -1
    assert not outage.ours.upstreams.instantly_http.calls("POST", "/api/v2/webhooks/.*")


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"status": 200, "body": {"items": 5}}, (502, "Instantly unavailable")),
        ({"status": 403}, (422, "Instantly rejected the request")),
        ({"status": 429, "times": None}, (503, "Instantly rate limit reached")),
    ],
)
def test_what_was_recorded_before_an_error_stays_and_then_every_page_is_read(outage, fault, error):
    outage.miss_several(201)
    outage.ours.upstreams.instantly_http.fail("GET", "/api/v2/webhook-events", after=1, **fault)
    answer = outage.recover()
    assert (answer.status_code, answer.get_json()["error"]) == error
    assert len(outage.ours.events()) == 100
    outage.ours.upstreams.instantly_http.heal()
    assert outage.recovered() == outcome(found=201, recorded=101, duplicates=100)


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/api/v2/webhooks"), ("POST", "/api/v2/webhooks/.*/resume")]
)
def test_events_stay_when_the_webhook_cannot_be_resumed(outage, method, path):
    outage.miss(outage.ours.payload())
    webhook = outage.webhook()
    outage.ours.upstreams.instantly_http.fail(method, path, status=403, body={"message": "no plan"})
    answer = outage.recover()
    assert answer.status_code == 422
    assert answer.get_json()["details"] == {"status": 403, "message": "no plan"}
    assert len(outage.ours.events()) == 1
    again = outcome(found=1, duplicates=1, resumedWebhooks=[webhook["id"]])
    assert outage.recovered() == again


@pytest.mark.parametrize("number", ODD_NUMBERS, ids=lambda number: number[:12] + str(len(number)))
def test_a_number_tells_what_arrived_after_all_as_any_other_value_does(outage, number):
    text = raw(outage.ours, f'"price": {number}')
    missed = f'{{"items": [{{"webhook_url": "{URL}", "payload": {text}}}]}}'
    outage.ours.upstreams.instantly_http.fail(
        "GET", "/api/v2/webhook-events", status=200, body=missed, times=3
    )
    assert outage.recovered() == outcome(found=1, recorded=1)
    assert outage.recovered() == outcome(found=1, duplicates=1)
    assert outage.ours.deliver(text).get_json()["reason"] == "duplicate"
    assert len(kept_texts(outage.ours)) == 1


def test_what_is_no_json_number_in_a_missed_delivery_is_no_error_of_ours(outage):
    outage.miss(outage.ours.payload(prices=[float("nan"), float("-inf")]))
    assert outage.recover().status_code in (200, 502)
