"""GET /campaigns/{campaignId}/leads/{email}: a lead, what is known of it, and its mails."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from helpers import UNKNOWN_ID
from world import World

from instantly.routes import leads as leads_module

LEAD = "Ada+x@x.example"
SAMPLES = json.loads((Path(__file__).parents[1] / "webhook_samples.json").read_text())
SENT = {"email_subject": "Hello", "email_text": "Hi Ada", "email_html": "<p>Hi Ada</p>"}
REPLY = {
    "reply_subject": "Re: Hello",
    "reply_text_snippet": "Sounds good",
    "reply_text": "Sounds good\n\n> Hi Ada",
    "reply_html": "<p>Sounds good</p>",
}


def shown(ours: World, email: str = LEAD) -> dict[str, Any]:
    answer = ours.send("GET", ours.path(f"/leads/{quote(email)}"))
    assert answer.status_code == 200, answer.text
    assert answer.get_json().keys() == {"lead", "facts", "messages"}
    return answer.get_json()


def messages(ours: World) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = shown(ours)["messages"]
    return found


def texts(ours: World) -> list[str | None]:
    return [message["text"] for message in messages(ours)]


def arrive(ours: World, event_type: str, minute: int = 0, **fields: Any) -> None:
    timestamp = f"2026-08-18T07:{minute:02}:00.000Z"
    assert ours.records(event_type, **{"lead_email": LEAD, "timestamp": timestamp, **fields})


# The lead and what is known of it


@pytest.mark.parametrize("spelling", ["ada+x@x.example", "ADA+X@X.EXAMPLE", " Ada+x@x.example "])
def test_a_lead_is_found_by_any_spelling_of_its_address(ours: World, spelling: str) -> None:
    ours.hold("b@x.example", LEAD)
    other = ours.another(brandId="brand-2")
    other.hold(LEAD)
    other.records("lead_unsubscribed", lead_email=LEAD)
    found = shown(ours, spelling)
    assert found["lead"] == ours.listed_leads()[1]
    asked = {"clerkOrgId": ours.campaign["clerkOrgId"], "emails": [spelling.strip()]}
    (facts,) = ours.send("POST", "/leads/status", asked).get_json()["leads"]
    assert {**found["facts"], "email": spelling.strip()} == facts
    assert (facts["unsubscribed"], len(facts["campaigns"])) == (True, 2)
    assert found["messages"] == []


def test_any_address_that_is_held_can_be_asked_for(ours: World) -> None:
    for email in ("a/b/c@x.example", "50%@x.example", "a?b#c@x.example", "jürgen@straße.example"):
        ours.hold(email)
        assert shown(ours, email)["lead"]["email"] == email


@pytest.mark.parametrize(
    ("path", "status", "error"),
    [
        ("/campaigns/{id}/leads/nobody@x.example", 404, "Lead not found"),
        ("/campaigns/{id}/leads/elsewhere@x.example", 404, "Lead not found"),
        ("/campaigns/{id}/leads/" + "a" * 3000, 404, "Lead not found"),
        ("/campaigns/{id}/leads/", 404, "Not found"),
        (f"/campaigns/{UNKNOWN_ID}/leads/{LEAD}", 404, "Campaign not found"),
        (f"/campaigns/none/leads/{LEAD}", 404, "Campaign not found"),
        ("/campaigns/{id}/leads/a%00@x.example", 400, "Invalid request"),
    ],
)
def test_what_is_not_held_is_not_found(ours: World, path: str, status: int, error: str) -> None:
    ours.another().hold("elsewhere@x.example")
    ours.records("email_sent", lead_email="nobody@x.example")
    answer = ours.send("GET", path.format(id=ours.campaign["id"]))
    assert (answer.status_code, answer.get_json()["error"]) == (status, error)


# Its mails


def test_mails_are_told_in_their_order_whatever_order_they_arrive_in(ours: World) -> None:
    ours.hold(LEAD)
    arrive(ours, "reply_received", 9, step=2, email_account="Lena@y.example", **REPLY)
    arrive(ours, "email_opened", 1, email_subject="no mail")
    arrive(ours, "email_sent", 0, step=1, email_account="Lena@y.example", **SENT)
    arrive(ours, "auto_reply_received", 5, reply_subject="Away", reply_text_snippet="Till May")
    arrive(ours, "email_sent", 8, lead_email="b@x.example")
    arrive(ours.another(), "email_sent", 8)
    assert messages(ours) == [
        {
            "direction": "sent",
            "step": 1,
            "subject": "Hello",
            "text": "Hi Ada",
            "html": "<p>Hi Ada</p>",
            "accountEmail": "lena@y.example",
            "at": "2026-08-18T07:00:00.000Z",
        },
        {
            "direction": "auto",
            "step": None,
            "subject": "Away",
            "text": "Till May",
            "html": None,
            "accountEmail": None,
            "at": "2026-08-18T07:05:00.000Z",
        },
        {
            "direction": "received",
            "step": 2,
            "subject": "Re: Hello",
            "text": "Sounds good\n\n> Hi Ada",
            "html": "<p>Sounds good</p>",
            "accountEmail": "lena@y.example",
            "at": "2026-08-18T07:09:00.000Z",
        },
    ]


@pytest.mark.parametrize(
    ("event_type", "first", "second", "count"),
    [
        ("email_sent", {"email_id": "m1"}, {"email_id": "m1", "is_first": True}, 1),
        ("reply_received", {"email_id": "m1"}, {"email_id": "m1"}, 1),
        ("auto_reply_received", {"email_id": "m1"}, {"email_id": "m1"}, 1),
        ("email_sent", {"email_id": "m1"}, {"email_id": "m2"}, 2),
        # Two replies to one mail, should the id be that of the mail.
        ("reply_received", {"email_id": "m1"}, {"email_id": "m1", "reply_text": "And more"}, 2),
        ("email_sent", {}, {}, 2),
        ("reply_received", {"email_id": None}, {"email_id": 5}, 2),
    ],
)
def test_a_mail_that_is_delivered_twice_stands_once(
    ours: World, event_type: str, first: Any, second: Any, count: int
) -> None:
    ours.hold(LEAD)
    arrive(ours, event_type, 3, **{**SENT, **REPLY, **first})
    arrive(ours, event_type, 2, **{**SENT, **REPLY, **second})
    found = messages(ours)
    assert (len(found), found[0]["at"]) == (count, "2026-08-18T07:02:00.000Z")


def test_a_mail_and_the_reply_to_it_may_share_an_id(ours: World) -> None:
    ours.hold(LEAD)
    arrive(ours, "email_sent", 0, email_id="m1")
    arrive(ours, "reply_received", 1, email_id="m1")
    assert [message["direction"] for message in messages(ours)] == ["sent", "received"]


@pytest.mark.parametrize("text", ["NUL \x00", "half \ud83d", "é\u200f𝄞", "x" * 100_000])
def test_texts_are_told_as_they_were_delivered(ours: World, text: str) -> None:
    ours.hold(LEAD)
    arrive(ours, "email_sent", email_text=text, long=10**1000)
    assert texts(ours) == [text]


@pytest.mark.parametrize("text", [None, 5, ["Hi"], {"a": 1}])
def test_what_is_no_text_is_null(ours: World, text: object) -> None:
    ours.hold(LEAD)
    arrive(ours, "email_sent", email_text=text, email_subject=text, email_html=text)
    assert [(m["text"], m["subject"], m["html"]) for m in messages(ours)] == [(None,) * 3]


def test_the_latest_mails_are_told_where_they_are_too_many(
    ours: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours.hold(LEAD)
    for minute in range(6):
        event_type = ("email_sent", "reply_received")[minute % 2]
        arrive(ours, event_type, minute, email_text=str(minute), reply_text=str(minute))
    arrive(ours, "email_sent", 6, email_text="x" * 1000)
    assert len(texts(ours)) == 7
    assert (leads_module.MAX_MESSAGES, leads_module.MAX_PAYLOAD_BYTES) == (1000, 16 * 1024 * 1024)
    monkeypatch.setattr(leads_module, "MAX_MESSAGES", 3)
    assert texts(ours) == ["4", "5", "x" * 1000]
    monkeypatch.setattr(leads_module, "MAX_PAYLOAD_BYTES", 1500)
    assert texts(ours) == ["5", "x" * 1000]


def test_real_deliveries_are_read(ours: World) -> None:
    """The samples that hold texts, of one lead."""
    ours.hold(LEAD)
    wanted = []
    for number, sample in enumerate(SAMPLES):
        payload = sample["payload"]
        kind = "reply" if payload.get("reply_text") else "email"
        if not payload.get(f"{kind}_text"):
            continue
        campaign_id = ours.campaign["instantlyCampaignId"]
        ours.deliver({**payload, "campaign_id": campaign_id, "lead_email": LEAD, "n": number})
        wanted.append([payload.get(f"{kind}_{part}") for part in ("subject", "text", "html")])
    found = [[m["subject"], m["text"], m["html"]] for m in messages(ours)]
    assert len(wanted) >= 5
    assert sorted(found, key=str) == sorted(wanted, key=str)
