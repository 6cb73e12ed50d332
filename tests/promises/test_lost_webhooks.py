"""What webhooks did not bring, a reconcile does."""

import threading
from collections import Counter
from collections.abc import Iterator
from functools import partial
from itertools import count
from typing import Any

import pytest
from flask import Flask, request
from harness import wait_until
from stand_in import StandIn
from world import World, addresses

Json = dict[str, Any]

LEADS = 200
SEQUENCE = [
    {"subject": "Hello", "bodyHtml": "<p>Hi</p>"},
    {"subject": "Again", "bodyHtml": "<p>Any thoughts?</p>", "daysSinceLastStep": 3},
]


@pytest.fixture
def hooked(world: World) -> Iterator[World]:
    """The sandbox's Instantly plays what is activated, and its webhook arrives at the service."""
    app = Flask("webhook")
    beside = world.beside()

    @app.post("/hook")
    def hook() -> tuple[bytes, int]:
        answer = beside.deliver(request.get_data())
        return answer.data, answer.status_code

    instantly = world.upstreams.instantly
    instantly.plays = True
    instantly.player.pause_seconds = 0.0
    with StandIn(app) as receiver:
        instantly.add_webhook("clerk-1", f"{receiver.url}/hook")
        yield world
        wait_until(lambda: not instantly.player.playing)


def as_instantly_has_it(lead: Json) -> str:
    """A second opinion, read from top to bottom."""
    if lead["status"] == -2:
        return "unsubscribed"
    if lead["status"] == -1:
        return "bounced"
    if lead["email_reply_count"]:
        return "replied"
    if lead["status"] == 3:
        return "completed"
    if lead["email_click_count"]:
        return "clicked"
    if lead["email_open_count"]:
        return "opened"
    return "contacted" if lead.get("timestamp_last_contact") else "active"


def expected(world: World) -> dict[str, str]:
    leads = world.upstreams.instantly.workspace("clerk-1").leads_of(
        world.campaign["instantlyCampaignId"]
    )
    return {lead["email"]: as_instantly_has_it(lead) for lead in leads}


def start(world: World) -> None:
    world.campaign = world.created(accountIds=["lena@x.example"], sequence=SEQUENCE)
    world.add(addresses(LEADS))
    assert world.switch("active").status_code == 200


def test_after_a_reconcile_our_leads_are_as_instantly_has_them_though_a_tenth_of_it_was_lost(
    hooked: World,
) -> None:
    player = hooked.upstreams.instantly.player
    player.lost_share = 0.1
    start(hooked)
    wait_until(lambda: not player.playing)
    assert len(Counter(expected(hooked).values())) == 3
    before = hooked.statuses()
    lost = [email for email, status in expected(hooked).items() if before[email] != status]
    assert {expected(hooked)[email] for email in lost} >= {"replied", "bounced"}
    reconciled = hooked.send("POST", hooked.path("/reconcile"), {}).get_json()
    assert reconciled["leads"]["raised"] == len(lost)
    assert hooked.statuses() == expected(hooked)
    assert reconciled["campaignStatus"] == hooked.shown()["status"] == "completed"


def test_reconciling_again_and_again_while_deliveries_arrive_ends_in_the_same(
    hooked: World,
) -> None:
    player = hooked.upstreams.instantly.player
    player.lost_share = 0.1
    start(hooked)
    answers = Counter[int]()
    raised = count()

    def reconcile(world: World) -> None:
        while player.playing:
            answer = world.send("POST", world.path("/reconcile"), {})
            answers[answer.status_code] += 1
            if answer.status_code == 200 and answer.get_json()["leads"]["raised"]:
                next(raised)

    threads = [threading.Thread(target=partial(reconcile, hooked.beside())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    wait_until(lambda: not player.playing)
    assert set(answers) == {200}
    assert next(raised) > 0
    assert hooked.send("POST", hooked.path("/reconcile"), {}).status_code == 200
    assert hooked.statuses() == expected(hooked)
