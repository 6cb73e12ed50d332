"""A lead has the state that its events and Instantly prove, whoever came first."""

from concurrent.futures import ThreadPoolExecutor
from itertools import permutations
from typing import Any

import psycopg
import pytest
from harness import wait_until
from world import World

TESS = "tess@widgets.example"
EARLY, LATE = "2026-03-01T00:00:00.000Z", "2026-03-02T00:00:00.000Z"


@pytest.fixture
def world(world: World, campaign: Any) -> World:
    return world


def upload(world: World) -> None:
    assert world.upload([{"email": TESS}], refuse=[]).get_json()["added"] == 1


def adopt(world: World) -> None:
    world.put_into_instantly(TESS)
    answer = world.send("POST", world.path("/reconcile"), {}).get_json()
    assert answer["leads"]["adopted"] == 1


@pytest.mark.parametrize("come", [upload, adopt])
@pytest.mark.parametrize(
    ("events", "status"),
    [
        ([("lead_unsubscribed", EARLY)], "unsubscribed"),
        ([("email_bounced", EARLY), ("email_opened", LATE)], "bounced"),
        ([("email_sent", EARLY), ("link_clicked", EARLY), ("email_opened", LATE)], "clicked"),
        ([("campaign_completed_for_lead_without_reply", EARLY)], "completed"),
        ([("lead_interested", EARLY), ("lead_not_interested", LATE)], "not_interested"),
        ([("reply_received", LATE), ("lead_interested", EARLY)], "interested"),
        ([("auto_reply_received", EARLY)], "active"),
    ],
    ids=str,
)
def test_events_may_come_before_their_lead(world, come, events, status):
    for number, order in enumerate(permutations(events)):
        for event_type, at in order:
            assert world.records(event_type, lead_email=TESS.upper(), timestamp=at, n=number)
        come(world)
        assert world.statuses() == {TESS: status}
        # What is older than the label that the lead has got changes nothing.
        world.records("lead_neutral", lead_email=TESS, timestamp="2026-02-01T00:00:00Z", n=number)
        if status not in ("completed", "clicked", "active"):
            assert world.statuses() == {TESS: status}
        assert world.delete([TESS]).get_json()["deleted"] == 1
        world.db.connection.execute("DELETE FROM instantly_events")
        world.db.connection.execute("DELETE FROM instantly_lead_activity")


@pytest.mark.parametrize("come", [upload, adopt])
def test_a_delivery_and_its_lead_may_come_at_the_same_time(world, database_url, come):
    """Either is held open while the other is on its way."""
    hold = "SELECT FROM instantly_campaigns WHERE id = %s FOR "

    def waiting() -> bool:
        return bool(world.db.all("SELECT FROM pg_locks WHERE NOT granted"))

    for strength in ("KEY SHARE", "UPDATE"):
        with ThreadPoolExecutor(2) as executor, psycopg.connect(database_url) as other:
            # As a delivery that is recorded at this moment holds it, or an upload that is stored.
            other.execute(hold + strength, [world.campaign["id"]])
            first, second = (
                (lambda: come(world), lambda: unsubscribe(world.beside()))
                if strength == "KEY SHARE"
                else (lambda: unsubscribe(world.beside()), lambda: come(world))
            )
            begun = executor.submit(first)
            wait_until(waiting)
            later = executor.submit(second)
            if strength == "KEY SHARE":
                later.result(10)
            other.rollback()
            begun.result(10)
            later.result(10)
        assert world.statuses() == {TESS: "unsubscribed"}, strength
        assert world.delete([TESS]).get_json()["deleted"] == 1
        world.db.connection.execute("DELETE FROM instantly_events")
        world.db.connection.execute("DELETE FROM instantly_lead_activity")


def unsubscribe(world: World) -> None:
    assert world.records("lead_unsubscribed", lead_email=TESS)


def test_a_delivery_that_waited_for_an_upload_sees_its_leads(world, database_url):
    """Its statement began before the leads were there."""
    insert = (
        "INSERT INTO instantly_leads (campaign_id, instantly_lead_id, email, org_id)"
        " VALUES (%s, 'x', %s, 'org-1')"
    )
    with ThreadPoolExecutor(1) as executor, psycopg.connect(database_url) as stored:
        stored.execute(
            "SELECT FROM instantly_campaigns WHERE id = %s FOR UPDATE", [world.campaign["id"]]
        )
        stored.execute(insert, [world.campaign["id"], TESS])
        delivered = executor.submit(unsubscribe, world.beside())
        wait_until(lambda: world.db.all("SELECT FROM pg_locks WHERE NOT granted"))
        stored.commit()
        delivered.result(10)
    assert world.statuses() == {TESS: "unsubscribed"}


# Labels that Instantly's own fields tell


@pytest.mark.parametrize(
    ("event", "fields", "status"),
    [
        (None, {"lt_interest_status": 1, "timestamp_last_interest_change": EARLY}, "interested"),
        (
            None,
            {"lt_interest_status": "-1", "timestamp_last_interest_change": EARLY},
            "not_interested",
        ),
        (None, {"lt_interest_status": 0, "timestamp_last_interest_change": EARLY}, "out_of_office"),
        (None, {"lt_interest_status": 1}, "active"),
        (None, {"lt_interest_status": 77, "timestamp_last_interest_change": EARLY}, "active"),
        (None, {"lt_interest_status": None, "timestamp_last_interest_change": EARLY}, "active"),
        (
            None,
            {"lt_interest_status": 1, "timestamp_last_interest_change": EARLY, "status": -2},
            "unsubscribed",
        ),
        (
            ("lead_not_interested", LATE),
            {"lt_interest_status": 1, "timestamp_last_interest_change": EARLY},
            "not_interested",
        ),
        (
            ("lead_not_interested", EARLY),
            {"lt_interest_status": 1, "timestamp_last_interest_change": LATE},
            "interested",
        ),
        (None, {"status_summary": {"lastStep": {"timestamp_executed": EARLY}}}, "contacted"),
        (None, {"status_summary": {"lastStep": {"timestamp_executed": None}}}, "active"),
    ],
    ids=str,
)
@pytest.mark.parametrize("is_held", [True, False], ids=["ours", "adopted"])
def test_a_reconcile_takes_labels_and_the_last_step(world, event, fields, status, is_held):
    if is_held:
        upload(world)
    else:
        world.put_into_instantly(TESS)
    if event:
        assert world.records(event[0], lead_email=TESS, timestamp=event[1])
    (lead,) = world.upstreams.instantly.workspace("clerk-1").leads.values()
    lead |= fields
    for _ in range(2):
        assert world.send("POST", world.path("/reconcile"), {}).status_code == 200
        assert world.statuses() == {TESS: status}
