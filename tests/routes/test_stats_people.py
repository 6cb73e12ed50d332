"""`people` and `replies` in POST /stats: how many persons, and what each was labelled last."""

from typing import Any

import pytest
from flask import Flask
from hand_count import NO_ONE, PEOPLE
from helpers import configure
from world import World

LEAD = "ada@x.example"
WITHOUT_REPLY = "campaign_completed_for_lead_without_reply"
BODY = {"appId": "app-1"}


def people(ours: World, **conditions: str) -> dict[str, int]:
    """Those figures that are not 0."""
    found = ours.statistics(**(conditions or BODY))["people"]
    assert list(found) == list(PEOPLE)
    return {name: count for name, count in found.items() if count}


def replies(ours: World, **conditions: str) -> dict[str, int]:
    found = ours.statistics(**(conditions or BODY))["replies"]
    assert list(found) == list(NO_ONE["replies"])
    return {name: count for name, count in found.items() if count}


def facts(*names: str) -> dict[str, int]:
    return dict.fromkeys(names, 1)


# People


@pytest.mark.parametrize(
    ("event_type", "expected"),
    [
        ("email_sent", facts("contacted", "delivered")),
        ("email_opened", facts("contacted", "delivered", "opened")),
        ("link_clicked", facts("contacted", "delivered", "opened", "clicked")),
        ("reply_received", facts("contacted", "delivered", "opened", "replied")),
        ("email_bounced", facts("contacted", "bounced")),
        ("lead_unsubscribed", facts("unsubscribed")),
        (WITHOUT_REPLY, facts("contacted", "delivered")),
        ("lead_interested", facts("contacted", "delivered")),
        ("lead_skipped", {}),
        ("auto_reply_received", {}),
        ("Call back in Q4", {}),
    ],
)
@pytest.mark.parametrize("is_held", [True, False])
def test_a_later_fact_implies_the_earlier(
    ours: World, event_type: str, expected: dict[str, int], is_held: bool
) -> None:
    held = facts("leads") if is_held else {}
    if is_held:
        ours.hold(LEAD)
        assert people(ours) == held
    for step in (2, 3):
        ours.receive(event_type, lead="Ada@x.example", step=step)
    assert people(ours) == expected | held
    # The sending account itself is nobody, and neither is nobody.
    ours.receive(event_type, lead="marc@y.example", email_account="Marc@Y.example")
    ours.receive(event_type, lead=None)
    assert people(ours) == expected | held


def test_a_person_is_one_over_steps_and_campaigns(ours: World) -> None:
    other = ours.another()
    ours.hold(LEAD, "bea@x.example")
    other.hold("Ada@X.example", "carl@x.example")
    for campaign, event_type in ((ours, "email_opened"), (other, "email_bounced")):
        campaign.receive("email_sent", event_type, lead=LEAD, step=1)
        campaign.receive("email_sent", lead=LEAD, step=2)
    assert people(ours) == {"leads": 3, "contacted": 1, "opened": 1, "bounced": 1}
    assert people(ours, campaignId=other.campaign["id"]) == {
        "leads": 2,
        "contacted": 1,
        "bounced": 1,
    }


def test_excluded_addresses_are_nobody(
    ours: World, app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(app, monkeypatch, stats_excluded=("ours.example", "Me@x.example".lower()))
    emails = ["a@OURS.example", "b@eu.ours.example", "Me@x.example"]
    ours.hold(*emails)
    for email in emails:
        ours.receive("reply_received", "lead_interested", lead=email)
    assert (people(ours), replies(ours)) == ({}, {})
    ours.hold("a@notours.example")
    assert people(ours) == facts("leads")


# Replies


def labelled(ours: World, label: str, day: int, **fields: Any) -> None:
    at = f"2026-08-{day:02}T00:00:00Z"
    ours.receive(f"lead_{label}", **{"lead": LEAD, "timestamp": at, **fields})


@pytest.mark.parametrize(
    ("label", "name"),
    [
        *((name, name) for name in ("interested", "closed", "neutral", "lost")),
        ("meeting_booked", "meetingBooked"),
        ("meeting_completed", "meetingCompleted"),
        ("not_interested", "notInterested"),
        ("wrong_person", "wrongPerson"),
        ("out_of_office", "outOfOffice"),
        ("no_show", "noShow"),
        ("won", "closed"),
    ],
)
def test_each_label_has_its_figure(ours: World, label: str, name: str) -> None:
    labelled(ours, label, 1)
    labelled(ours, label, 2, lead="bea@x.example")
    assert replies(ours) == {name: 2}


def test_a_lead_counts_by_its_latest_label_whatever_order_labels_arrive_in(ours: World) -> None:
    labelled(ours, "neutral", 5)
    labelled(ours, "interested", 3)
    assert replies(ours) == {"neutral": 1}
    labelled(ours, "meeting_booked", 5)  # at the same time: the later arrival
    assert replies(ours) == {"meetingBooked": 1}
    labelled(ours, "lost", 6, step=2)
    assert replies(ours) == {"lost": 1}
    # A raw count, as before.
    labelled(ours, "not_interested", 7)
    assert ours.statistics(**BODY)["stats"]["repliesNotInterested"] == 1
    labelled(ours, "closed", 8)
    assert ours.statistics(**BODY)["stats"]["repliesNotInterested"] == 1
    assert replies(ours) == {"closed": 1}


def test_a_label_stays_the_latest_whatever_comes_after_that_is_none(ours: World) -> None:
    ours.hold(LEAD)
    labelled(ours, "interested", 1)
    ours.receive("email_bounced", "lead_unsubscribed", "Call back in Q4", lead=LEAD)
    assert ours.statuses() == {LEAD: "unsubscribed"}
    assert replies(ours) == {"interested": 1}
    labelled(ours, "skipped", 2)
    assert replies(ours) == {}


def test_a_lead_has_a_label_in_each_campaign(ours: World) -> None:
    other = ours.another()
    labelled(ours, "interested", 1)
    labelled(other, "interested", 2)
    assert replies(ours) == {"interested": 2}
    labelled(ours, "lost", 3)
    assert replies(ours) == {"interested": 1, "lost": 1}
    assert replies(ours, campaignId=other.campaign["id"]) == {"interested": 1}


def test_what_is_labelled_and_no_lead_is_no_reply(ours: World) -> None:
    labelled(ours, "interested", 1, lead=None)
    labelled(ours, "interested", 2, lead="me@y.example", email_account="me@y.example")
    assert replies(ours) == {}


@pytest.mark.parametrize(
    ("label", "day", "fields", "found"),
    [
        (None, 0, {}, {"interested": 1}),
        (None, 0, {"status": -2}, {"interested": 1}),
        ("lost", 4, {}, {"interested": 1}),
        ("lost", 6, {}, {"lost": 1}),
    ],
)
def test_what_a_reconcile_proves_counts(
    world: World, campaign: Any, label: str | None, day: int, fields: Any, found: Any
) -> None:
    world.put_into_instantly(LEAD)
    if label:
        labelled(world, label, day)
    (lead,) = world.upstreams.instantly.workspace("clerk-1").leads.values()
    lead |= {
        "lt_interest_status": 1,
        "timestamp_last_interest_change": "2026-08-05T00:00:00Z",
        "email_click_count": 2,
        **fields,
    }
    for _ in range(2):
        assert world.send("POST", world.path("/reconcile"), {}).status_code == 200
        assert replies(world) == found
        expected = facts("leads", "contacted", "delivered", "opened", "clicked")
        unsubscribed = facts("unsubscribed") if fields else {}
        assert people(world) == expected | unsubscribed
    assert world.statistics(**BODY)["stats"]["emailsClicked"] == 0


# Groups


@pytest.mark.parametrize("group_by", ["campaignId", "brandId", "appId", "clerkOrgId"])
def test_groups_are_where_leads_are(ours: World, group_by: str) -> None:
    empty, other = ours.another(brandId="brand-2"), ours.another(brandId="brand-3")
    ours.hold(LEAD, "bea@x.example")
    other.receive("email_sent", "lead_interested", lead=LEAD)
    answer = ours.statistics(**BODY, groupBy=group_by)
    found = {group["key"]: group for group in answer["groups"]}
    name = "id" if group_by == "campaignId" else group_by
    keys = {ours.campaign[name], other.campaign[name]}
    assert (found.keys(), answer["groupsTotal"]) == (keys, len(keys))
    assert empty.campaign["id"] not in found
    of_ours = found[ours.campaign[name]]
    assert of_ours["people"]["leads"] == 2
    assert found[other.campaign[name]]["replies"]["interested"] == 1
    if len(found) == 2:
        assert answer["groups"][0]["key"] == other.campaign[name]  # more was sent
        assert of_ours | {"key": ""} == {
            "key": "",
            "stats": dict.fromkeys(of_ours["stats"], 0),
            "recipients": 0,
            **NO_ONE,
            "people": {**NO_ONE["people"], "leads": 2},
        }


def test_the_people_of_a_step_are_those_of_whom_it_has_something(ours: World) -> None:
    ours.hold(LEAD, "bea@x.example", "carl@x.example")
    for lead in (LEAD, "bea@x.example", "dora@x.example"):
        ours.receive("email_sent", lead=lead, step=1)
    ours.receive("reply_received", lead=LEAD, step=2)
    labelled(ours, "interested", 1)
    ours.receive("lead_unsubscribed", lead=LEAD)
    groups = ours.statistics(**BODY, groupBy="step")["groups"]
    found = {
        group["key"]: {name: n for name, n in group["people"].items() if n} for group in groups
    }
    assert found == {
        1: {"leads": 2, "contacted": 3, "delivered": 3},
        2: facts("leads", "contacted", "delivered", "opened", "replied"),
        None: facts("leads", "contacted", "delivered", "unsubscribed"),
    }
    assert [group["replies"]["interested"] for group in groups if group["key"] is None] == [1]
