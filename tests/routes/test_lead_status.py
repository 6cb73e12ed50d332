"""POST /leads/status: what addresses are to an organisation, over all its campaigns."""

from typing import Any
from uuid import uuid4

import pytest
from world import World

from instantly.translation.events import LABELS

LEAD = "Ada@x.example"
FACTS = ("contacted", "opened", "clicked", "replied", "bounced", "unsubscribed")
UNKNOWN = {
    "known": False,
    "status": None,
    **dict.fromkeys(FACTS, False),
    "lastEventAt": None,
    "campaigns": [],
}


def entries(ours: World, *emails: str, **narrowed: str) -> list[dict[str, Any]]:
    body = {"clerkOrgId": ours.campaign["clerkOrgId"], "emails": list(emails), **narrowed}
    answer = ours.send("POST", "/leads/status", body)
    assert answer.status_code == 200, answer.text
    assert answer.get_json().keys() == {"leads"}
    leads: list[dict[str, Any]] = answer.get_json()["leads"]
    return leads


def entry_of(ours: World, email: str = LEAD, **narrowed: str) -> dict[str, Any]:
    (entry,) = entries(ours, email, **narrowed)
    return entry


def facts(entry: dict[str, Any]) -> set[str]:
    return {fact for fact in FACTS if entry[fact]}


def set_status(world: World, status: str, labelled_at: str | None = None) -> None:
    world.hold(LEAD)
    world.db.connection.execute(
        "UPDATE instantly_leads SET status = %s, labelled_at = %s WHERE campaign_id = %s",
        [status, labelled_at, world.campaign["id"]],
    )


def test_there_is_an_entry_for_each_address_in_the_order_asked_for(ours: World) -> None:
    ours.hold("ada@x.example", "b@x.example")
    asked = ["c@x.example", " ADA@x.example ", "b@x.example", "ada@X.example", "c@x.example"]
    found = entries(ours, *asked)
    assert [entry["email"] for entry in found] == [email.strip() for email in asked]
    assert [entry["known"] for entry in found] == [False, True, True, True, False]
    assert found[0] == {"email": "c@x.example", **UNKNOWN}
    assert found[1] | {"email": ""} == found[3] | {"email": ""}


def test_a_lead_without_events_is_known_and_nothing_else(ours: World) -> None:
    ours.hold(LEAD)
    campaigns = [{"campaignId": ours.campaign["id"], "status": "active"}]
    assert entry_of(ours) == {
        "email": LEAD,
        **UNKNOWN,
        "known": True,
        "status": "active",
        "campaigns": campaigns,
    }


@pytest.mark.parametrize(
    ("event_type", "status", "fact"),
    [
        ("email_sent", "contacted", {"contacted"}),
        ("email_opened", "opened", {"contacted", "opened"}),
        ("link_clicked", "clicked", {"contacted", "clicked"}),
        ("reply_received", "replied", {"contacted", "replied"}),
        ("email_bounced", "bounced", {"contacted", "bounced"}),
        ("lead_unsubscribed", "unsubscribed", {"unsubscribed"}),
        ("lead_interested", "interested", {"contacted"}),
        ("auto_reply_received", "active", set()),
        ("campaign_completed_for_lead_without_reply", "completed", {"contacted"}),
    ],
)
def test_events_and_states_are_facts(
    ours: World, event_type: str, status: str, fact: set[str]
) -> None:
    ours.hold(LEAD)
    ours.records(event_type, lead_email=LEAD, step=2)
    entry = entry_of(ours)
    assert (entry["status"], facts(entry)) == (status, fact)
    # So it is when Instantly said so and no event arrived.
    ours.db.connection.execute("DELETE FROM instantly_lead_activity")
    entry = entry_of(ours)
    assert (entry["status"], facts(entry)) == (status, fact)


def test_what_happened_stays_a_fact_whatever_the_status_is(ours: World) -> None:
    ours.hold(LEAD)
    for step, event_type in enumerate(
        ["email_sent", "email_opened", "link_clicked", "reply_received", "email_bounced"], 1
    ):
        ours.records(event_type, lead_email=LEAD, step=step)
    ours.records("lead_unsubscribed", lead_email=LEAD)
    entry = entry_of(ours)
    assert (entry["status"], facts(entry)) == ("unsubscribed", set(FACTS))


@pytest.mark.parametrize(
    ("statuses", "strongest"),
    [
        (["active", "contacted"], "contacted"),
        (["completed", "clicked"], "completed"),
        (["replied", "completed", "active"], "replied"),
        (["neutral", "replied"], "neutral"),
        (["bounced", "interested"], "bounced"),
        (["bounced", "unsubscribed", "closed"], "unsubscribed"),
    ],
)
def test_the_status_is_the_strongest_of_all_campaigns(
    ours: World, statuses: list[str], strongest: str
) -> None:
    expected = []
    for number, status in enumerate(statuses):
        world = ours if number == 0 else ours.another()
        set_status(world, status)
        expected.append({"campaignId": world.campaign["id"], "status": status})
    entry = entry_of(ours)
    assert (entry["status"], entry["campaigns"]) == (strongest, expected)


def test_of_two_labels_the_latest_counts(ours: World) -> None:
    for world, label, day in (
        (ours, "interested", 3),
        (ours.another(), "lost", 9),
        (ours.another(), "neutral", 5),
    ):
        set_status(world, label, f"2026-08-0{day}T00:00:00Z")
    set_status(ours.another(), sorted(LABELS)[-1], None)
    assert entry_of(ours)["status"] == "lost"


def test_the_last_event_is_the_latest_by_its_own_time(ours: World) -> None:
    ours.hold(LEAD)
    for event_type, hour in (("email_sent", 7), ("Call back in Q4", 9), ("email_opened", 8)):
        time = f"2026-08-18T0{hour}:00:00.000Z"
        ours.records(event_type, lead_email=LEAD, timestamp=time)
    other = ours.another()
    other.records("email_opened", lead_email="b@x.example", timestamp="2026-08-19T00:00:00Z")
    assert entry_of(ours)["lastEventAt"] == "2026-08-18T09:00:00.000Z"


# Whose campaigns count


@pytest.fixture
def elsewhere(ours: World) -> World:
    """A campaign of another brand of the same organisation."""
    return ours.another(brandId="brand-2")


@pytest.mark.parametrize("by", ["brandId", "campaignId"])
def test_a_question_can_be_narrowed(ours: World, elsewhere: World, by: str) -> None:
    ours.hold(LEAD)
    elsewhere.hold(LEAD, "b@x.example")
    elsewhere.records("reply_received", lead_email=LEAD)
    here = {"brandId": "brand-1", "campaignId": ours.campaign["id"].upper()}[by]
    there = {"brandId": "brand-2", "campaignId": elsewhere.campaign["id"]}[by]
    entry = entry_of(ours, **{by: here})
    assert (entry["status"], facts(entry), entry["lastEventAt"]) == ("active", set(), None)
    assert [campaign["campaignId"] for campaign in entry["campaigns"]] == [ours.campaign["id"]]
    assert entry_of(ours, "b@x.example", **{by: here}) == {"email": "b@x.example", **UNKNOWN}
    entry = entry_of(ours, **{by: there})
    assert (entry["status"], facts(entry)) == ("replied", {"contacted", "replied"})
    assert entry_of(ours, brandId="brand-1", campaignId=elsewhere.campaign["id"])["known"] is False


@pytest.mark.parametrize(
    ("event_type", "fact"), [("email_bounced", "bounced"), ("lead_unsubscribed", "unsubscribed")]
)
@pytest.mark.parametrize("is_held", [True, False])
@pytest.mark.parametrize("known_by", ["event", "status"])
def test_who_must_not_be_written_to_is_told_however_narrow_the_question(
    ours: World,
    elsewhere: World,
    event_type: str,
    fact: str,
    is_held: bool,
    known_by: str,
) -> None:
    if is_held:
        ours.hold(LEAD)
    if known_by == "event":
        elsewhere.records(event_type, lead_email=LEAD)
    else:
        set_status(elsewhere, fact)
    for narrowed in (
        {"brandId": "brand-1"},
        {"campaignId": ours.campaign["id"]},
        {"brandId": "none"},
    ):
        entry = entry_of(ours, **narrowed)
        assert facts(entry) == {fact}
        assert entry["status"] == (
            "active" if is_held and "none" not in narrowed.values() else None
        )


def test_who_unsubscribed_is_told_after_the_lead_was_deleted(ours: World) -> None:
    ours.hold(LEAD)
    ours.records("email_sent", lead_email=LEAD, timestamp="2026-08-18T07:00:00Z")
    ours.records("lead_unsubscribed", lead_email=LEAD, timestamp="2026-08-18T08:00:00Z")
    ours.db.connection.execute("DELETE FROM instantly_leads")
    assert entry_of(ours) == {
        "email": LEAD,
        **UNKNOWN,
        "contacted": True,
        "unsubscribed": True,
        "lastEventAt": "2026-08-18T08:00:00.000Z",
    }


def test_another_organizations_leads_are_unknown(ours: World) -> None:
    other = ours.another(clerkOrgId="clerk-2")
    other.hold(LEAD)
    for event_type in ("email_sent", "email_bounced", "lead_unsubscribed"):
        other.records(event_type, lead_email=LEAD)
    assert entry_of(ours) == {"email": LEAD, **UNKNOWN}
    assert entry_of(ours, campaignId=other.campaign["id"]) == {"email": LEAD, **UNKNOWN}
    assert entry_of(other)["known"] is True


# What can be asked


@pytest.mark.parametrize(
    ("body", "name"),
    [
        ({"clerkOrgId": None}, "clerkOrgId"),
        ({"clerkOrgId": ""}, "clerkOrgId"),
        ({"emails": []}, "emails"),
        ({"emails": None}, "emails"),
        ({"emails": LEAD}, "emails"),
        ({"emails": [" "]}, "emails.0"),
        ({"emails": [LEAD, 5]}, "emails.1"),
        ({"emails": [LEAD] * 1001}, "emails"),
        ({"emails": ["a\x00@x.example"]}, "emails.0"),
        ({"brandId": 5}, "brandId"),
        ({"brandId": "a\x00"}, "brandId"),
        ({"campaignId": "none"}, "campaignId"),
    ],
)
def test_what_cannot_be_asked_is_a_bad_request(
    ours: World, body: dict[str, Any], name: str
) -> None:
    asked = {"clerkOrgId": "clerk-1", "emails": [LEAD], **body}
    answer = ours.send("POST", "/leads/status", asked)
    assert (answer.status_code, answer.get_json()["error"]) == (400, "Invalid request")
    assert list(answer.get_json()["details"]) == [name]


def test_a_thousand_addresses_can_be_asked_for_at_once(ours: World) -> None:
    emails = [f"{uuid4()}@x.example" for _ in range(999)]
    ours.hold(*emails[::2])
    found = entries(ours, *emails, LEAD)
    assert [entry["known"] for entry in found] == [*([True, False] * 499), True, False]
