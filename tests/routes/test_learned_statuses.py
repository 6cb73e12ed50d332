"""A campaign's status that Instantly tells by the way becomes ours."""

from collections.abc import Callable
from threading import Thread
from typing import Any

import pytest
from world import Campaign, World

from instantly.translation.campaigns import STATUSES
from instantly.translation.sending_status import EXPLANATIONS

Json = dict[str, Any]
Tell = Callable[[World, Any], None]

COUNTS = ("leads_count", "contacted_count", "open_count", "reply_count", "bounced_count")
ANALYTICS = ("GET", "/api/v2/campaigns/analytics")
SENDING = ("GET", "/api/v2/campaigns/[^/]+/sending-status")


def by_figures(world: World, status: Any) -> None:
    """The number of a status, told by GET …/analytics."""
    body = {
        **dict.fromkeys((*COUNTS, "unsubscribed_count"), 0),
        "campaign_id": world.campaign["instantlyCampaignId"],
        "campaign_status": status,
    }
    world.upstreams.instantly_http.fail(*ANALYTICS, status=200, body=[body])
    assert world.send("GET", world.path("/analytics")).status_code == 200


def by_word(world: World, status: Any) -> None:
    """A word, told by GET …/sending-status."""
    body = {"diagnostics": None, "summary": {"status": status}}
    world.upstreams.instantly_http.fail(*SENDING, status=200, body=body)
    assert world.send("GET", world.path("/sending-status")).status_code == 200


def told(status: str) -> list[tuple[Tell, Any]]:
    """The ways to tell a status."""
    number = next(number for number, name in STATUSES.items() if name == status)
    ways: list[tuple[Tell, Any]] = [(by_figures, number)]
    ways.append((by_figures, str(number)))
    return ways if status == "active" else [*ways, (by_word, f"campaign_{status}")]


TOLD = [(status, *way) for status in STATUSES.values() for way in told(status)]


def put(world: World, status: str) -> None:
    world.db.connection.execute("UPDATE instantly_campaigns SET status = %s", [status])


@pytest.mark.parametrize(("status", "tell", "what"), TOLD, ids=str)
def test_our_campaign_takes_the_status(
    world: World, campaign: Campaign, status: str, tell: Tell, what: Any
) -> None:
    for was in ("draft", "active"):
        put(world, was)
        before = world.shown()
        tell(world, what)
        assert world.shown()["status"] == status
        assert (world.shown()["updatedAt"] > before["updatedAt"]) is (was != status)
    assert world.db.count("instantly_leases") == 0


@pytest.mark.parametrize(
    ("tell", "what"),
    [
        *((by_figures, odd) for odd in (None, "on", True, 5, -3, 1.5, [1], {})),
        *((by_word, word) for word in EXPLANATIONS if not word.startswith("campaign_")),
        *((by_word, odd) for odd in (None, "", "paused", "campaign_", "campaign_moon")),
    ],
    ids=str,
)
def test_what_tells_no_status_surely_changes_nothing(
    world: World, campaign: Campaign, tell: Tell, what: Any
) -> None:
    put(world, "bounce_protect")
    before = world.shown()
    tell(world, what)
    assert world.shown() == before


def test_figures_that_are_not_there_tell_nothing(world: World, campaign: Campaign) -> None:
    put(world, "active")
    assert world.send("GET", world.path("/analytics")).get_json()["analytics"] is None
    assert world.shown()["status"] == "active"


@pytest.mark.parametrize(("tell", "what"), told("paused"), ids=str)
def test_what_we_completed_by_pausing_stays_completed(
    world: World, campaign: Campaign, tell: Tell, what: Any
) -> None:
    world.switch("completed")
    tell(world, what)
    assert world.shown()["status"] == "completed"


@pytest.mark.parametrize("meanwhile", ["delivery", "switch", "switch to and fro"])
def test_what_was_changed_meanwhile_stays(world: World, campaign: Campaign, meanwhile: str) -> None:
    """Also when it is again what it was: Instantly spoke of a moment between."""
    world.switch("active")
    world.upstreams.instantly_http.fail(*SENDING, how="hang_after")
    world.campaigns()[campaign["instantlyCampaignId"]]["status"] = 2
    beside = world.beside()
    asking = Thread(target=lambda: beside.send("GET", beside.path("/sending-status")))
    asking.start()
    world.upstreams.instantly_http.wait_until_hanging()
    if meanwhile == "delivery":
        assert world.records("campaign_completed")
    else:
        for status in ("paused", "active")[meanwhile == "switch" :]:
            world.switch(status)
    world.upstreams.instantly_http.release()
    asking.join(60)
    assert world.shown()["status"] == ("completed" if meanwhile == "delivery" else "active")
