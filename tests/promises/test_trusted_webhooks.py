"""What comes from the webhook that we registered counts, and what a stranger makes up does not."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from flask import Flask
from harness import HANGING_SECONDS
from helpers import configure
from stand_in import StandIn
from world import Campaign, World

NEW, OLD = "the-new-secret-1234", "the-old-secret-1234"
LEAD = "ada@example.com"
UNVERIFIED = {"success": True, "recorded": False, "reason": "unverified"}


class Trust:
    """The service on a socket of its own, to which the sandbox's Instantly delivers."""

    def __init__(self, world: World, app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
        self.world = world
        self._app = app
        self._monkeypatch = monkeypatch
        self.http = StandIn(app)
        self._number = 0

    def expect(self, *secrets: str) -> None:
        """The service is started again with these."""
        configure(
            self._app, self._monkeypatch, webhook_base_url=self.http.url, webhook_secrets=secrets
        )

    def register(self) -> list[str]:
        """What was done."""
        body = {"clerkOrgId": "clerk-1"}
        answer = self.world.send("POST", "/webhooks/instantly/register", body)
        assert answer.status_code == 200, answer.text
        return [name for name, is_done in answer.get_json().items() if is_done is True][1:]

    def happens(self, event_type: str = "email_opened") -> bool:
        """Whether an event of our campaign at Instantly is recorded here."""
        self._number += 1
        before = self.world.db.count("instantly_events")
        payload = self.world.payload(event_type, lead_email=LEAD, number=self._number)
        instantly = self.world.upstreams.instantly
        instantly.deliver(instantly.workspace("clerk-1"), payload)
        # Whatever becomes of it here, it is no failure to Instantly.
        assert all(event["success"] for event in instantly.workspace("clerk-1").events)
        return self.world.db.count("instantly_events") > before


@pytest.fixture
def trust(
    world: World, campaign: Campaign, app: Flask, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Trust]:
    world.add([LEAD])
    trust = Trust(world, app, monkeypatch)
    with trust.http:
        yield trust


def test_events_of_the_registered_webhook_are_recorded_and_a_forged_one_changes_nothing(
    trust: Trust,
) -> None:
    trust.expect(NEW)
    assert trust.register() == ["created"]
    assert trust.happens("email_opened")
    world = trust.world
    before = world.state(), world.shown(), world.listed_leads()
    assert before[2][0]["status"] == "opened"
    for event_type in ("email_bounced", "lead_unsubscribed", "campaign_completed"):
        forged = world.payload(event_type, lead_email=LEAD)
        for headers in ({}, {"X-Webhook-Secret": OLD}, {"X-Webhook-Secret": "guessed"}):
            answer = world.deliver(forged, headers=headers)
            assert (answer.status_code, answer.get_json()) == (200, UNVERIFIED)
    assert (world.state(), world.shown(), world.listed_leads()) == before
    assert world.db.count("instantly_events") == 1


def test_while_a_secret_is_rotated_out_both_count_and_then_only_the_new_one(trust: Trust) -> None:
    trust.expect(OLD)
    assert trust.register() == ["created"]
    assert trust.happens()
    trust.expect(NEW, OLD)
    assert trust.happens()
    assert trust.register() == ["updated"]
    assert trust.happens()
    trust.expect(NEW)
    assert trust.happens()
    assert trust.register() == []
    trust.expect("yet-another-secret-1")
    assert not trust.happens()


def test_an_organisation_that_was_not_registered_again_is_told_by_its_health(trust: Trust) -> None:
    def is_verified() -> bool:
        answer = trust.world.send("GET", "/webhooks/instantly/health?clerkOrgId=clerk-1")
        (webhook,) = answer.get_json()["webhooks"]
        return bool(webhook["verified"])

    trust.expect(OLD)
    trust.register()
    assert is_verified()
    trust.expect(NEW)
    assert not is_verified()
    assert not trust.happens()
    trust.register()
    assert is_verified()
    assert trust.happens()


def test_before_there_was_a_secret_everything_counted_and_the_webhook_is_taken_over(
    trust: Trust,
) -> None:
    trust.expect()
    assert trust.register() == ["created"]
    assert trust.happens()
    # A process that has the secret already registers, while the one that serves has none yet.
    trust.expect(NEW)
    assert trust.register() == ["updated"]
    trust.expect()
    assert trust.happens()
    trust.expect(NEW)
    assert trust.happens()


def test_what_instantly_could_not_deliver_is_recovered_without_a_secret(trust: Trust) -> None:
    trust.expect(NEW)
    trust.register()
    instantly = trust.world.upstreams.instantly
    instantly.delivery_retry_seconds = 0.0
    trust.http.fail("POST", "/webhooks/instantly", status=503, times=None)
    instantly.deliver(instantly.workspace("clerk-1"), trust.world.payload())
    day = instantly.workspace("clerk-1").events[0]["timestamp_created_date"]
    body = {"clerkOrgId": "clerk-1", "from": day, "to": day}
    answer = trust.world.send("POST", "/webhooks/instantly/recover", body)
    assert answer.get_json()["recorded"] == 1
    assert trust.world.db.count("instantly_events") == 1


def test_many_who_register_at_once_create_one_webhook(world: World, other_process: Flask) -> None:
    world.upstreams.instantly_http.latency_seconds = 0.05
    worlds = [world.beside(), world.beside(other_process)] * 3
    start = threading.Barrier(len(worlds))

    def register(beside: World) -> bool:
        start.wait(HANGING_SECONDS)
        body = {"clerkOrgId": "clerk-1"}
        answer = beside.send("POST", "/webhooks/instantly/register", body)
        assert answer.status_code == 200, answer.text
        return bool(answer.get_json()["created"])

    with ThreadPoolExecutor(len(worlds)) as pool:
        assert sorted(pool.map(register, worlds)) == [False] * 5 + [True]
    assert len(world.upstreams.instantly.workspace("clerk-1").webhooks) == 1
