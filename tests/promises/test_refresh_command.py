"""`python -m instantly.refresh`, as a schedule starts it beside the running service."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from helpers import run_python
from world import World

Json = dict[str, Any]

URL = "https://instantly-service.example/webhooks/instantly"
ANALYTICS = ("GET", "/api/v2/campaigns/analytics")
OTHERS = ("GET", "/api/v2/webhook.*")
LAST = (
    "{}: {} organisations, {} of them failed, {} campaigns refreshed, {} deliveries recovered,"
    " {} campaigns reconciled, {} webhooks resumed"
)


def refresh(world: World, *, fails: bool = False, **environment: str) -> list[str]:
    """What it prints, without the log."""
    done = world.client.command("refresh", **environment)
    assert (done.returncode, done.stderr) == (int(fails), "")
    return [line for line in done.stdout.splitlines() if not line.startswith("{")]


def at_instantly(world: World) -> Any:
    return world.upstreams.instantly.workspace("clerk-1")


def count(world: World, **counts: int) -> None:
    """From now on Instantly counts this of the campaign."""
    at_instantly(world).analytics[world.campaign["instantlyCampaignId"]].update(counts)


def miss(world: World, days_ago: int, **fields: Any) -> None:
    """Instantly holds a delivery to us that failed."""
    moment = datetime.now(UTC) - timedelta(days=days_ago)
    workspace = at_instantly(world)
    workspace.events.append(
        {
            "id": workspace.ids.uuid(),
            "timestamp_created": moment.isoformat(),
            "timestamp_created_date": moment.date().isoformat(),
            "payload": world.payload("email_sent", lead_email="ada@x.example", **fields),
            "success": False,
            "webhook_url": URL,
        }
    )


def hook(world: World, url: str, status: int) -> Json:
    webhook: Json = world.upstreams.instantly.add_webhook("clerk-1", url)
    webhook["status"] = status
    return webhook


@pytest.fixture
def two(served: World) -> World:
    """A campaign each of two organisations; of the first, Instantly knows more than we do."""
    served.upstreams.keys.organizations["clerk-2"] = "key-1"
    served.another(clerkOrgId="clerk-2")
    served.campaign = served.created()
    served.add(["ada@x.example"])
    (lead,) = at_instantly(served).leads.values()
    lead.update(email_reply_count=1)
    count(served, emails_sent_count=2, reply_count=1, reply_count_unique=1)
    at_instantly(served).campaigns[served.campaign["instantlyCampaignId"]]["status"] = 1
    served.upstreams.forget_requests()
    return served


def test_what_was_missed_is_made_good(two: World) -> None:
    for days_ago in (0, 2, 3, 5):
        miss(two, days_ago, step=days_ago + 1)
    ours, theirs = hook(two, URL, -1), hook(two, "https://other.example/hook", -1)
    first, second, last = refresh(two)
    assert last == LAST.format("done", 2, 0, 1, 3, 1, 1)
    assert first == "'clerk-1': " + last.partition("failed, ")[2]
    assert second == "'clerk-2': " + LAST.format("", 0, 0, 0, 0, 0, 0).partition("failed, ")[2]
    assert two.statuses() == {"ada@x.example": "replied"}
    assert [event["step"] for event in two.events()] == [1, 3, 4]
    assert two.shown()["status"] == "active"
    assert (ours["status"], theirs["status"], len(at_instantly(two).webhooks)) == (1, -1, 2)
    snapshots = two.db.all("SELECT campaign_id::text AS id FROM instantly_analytics_snapshots")
    assert [row["id"] for row in snapshots] == [two.campaign["id"]]
    assert two.db.count("instantly_leases") == 0
    # As for a caller of the route: key-service is told no other.
    for call in two.upstreams.keys_http.requests:
        told = [call.headers[f"X-Caller-{name}"] for name in ("Method", "Path")]
        assert told == ["POST", "/analytics/refresh"]


def test_a_second_time_repeats_nothing_but_the_look(two: World) -> None:
    miss(two, 1)
    hook(two, URL, -1)
    assert refresh(two)[-1] == LAST.format("done", 2, 0, 1, 1, 1, 1)
    before = two.state(), two.events(), two.statuses()
    assert refresh(two)[-1].startswith("done: 2 organisations, 0 of them failed, 1 campaigns")
    assert (two.state(), two.events(), two.statuses()) == before


def test_without_any_campaign_there_is_nothing_to_do(served: World) -> None:
    assert refresh(served) == [LAST.format("done", 0, 0, 0, 0, 0, 0)]
    assert served.upstreams.calls() == 0


def test_an_organisation_that_fails_does_not_stop_the_others(two: World) -> None:
    two.another(clerkOrgId="clerk-0\n")
    first, second, _, last = refresh(two, fails=True)
    message = "nothing was done: BYOK key not configured for this organization"
    assert first.startswith("'clerk-0\\n': 0 campaigns") and first.endswith(f"; {message}")
    assert second.startswith("'clerk-1': 1 campaigns")
    assert last == LAST.format("failed", 3, 1, 1, 0, 1, 0)


@pytest.mark.parametrize(
    ("calls", "failures"),
    [
        ([ANALYTICS], ["figures"]),
        ([OTHERS], ["deliveries", "webhooks"]),
        ([("POST", "/api/v2/leads/list")], ["campaign {id}"]),
    ],
    ids=str,
)
def test_what_fails_does_not_stop_the_rest_of_an_organisation(
    two: World, calls: list[tuple[str, str]], failures: list[str]
) -> None:
    miss(two, 1)
    hook(two, URL, -1)
    for call in calls:
        two.upstreams.instantly_http.fail(*call, times=None, status=403)
    first, _, last = refresh(two, fails=True)
    told = "; ".join(f"{name}: Instantly rejected the request" for name in failures)
    assert first.endswith("resumed; " + told.format(id=two.campaign["id"]))
    assert last.startswith("failed: 2 organisations, ")
    assert two.db.count("instantly_analytics_snapshots") == (calls != [ANALYTICS])
    assert len(two.events()) == (calls != [OTHERS])


def test_it_runs_beside_itself_and_beside_deliveries(two: World) -> None:
    for step in range(1, 200):
        miss(two, 1, step=step)
    beside = two.beside()

    def deliver() -> None:
        for number in range(1, 200):
            fields = {"lead_email": "ada@x.example", "step": number}
            assert beside.deliver(beside.payload("email_sent", **fields)).status_code == 200

    with ThreadPoolExecutor() as executor:
        delivering = executor.submit(deliver)
        last = list(executor.map(lambda _: refresh(two)[-1], range(2)))
        delivering.result(60)
    assert all(line.startswith("done: ") for line in last)
    assert sorted(event["step"] for event in two.events()) == list(range(1, 200))


def test_without_the_database_it_says_so(served: World) -> None:
    url = "postgresql://postgres@127.0.0.1:1/none"
    last = refresh(served, fails=True, INSTANTLY_SERVICE_DATABASE_URL=url)[-1]
    nothing = LAST.format("failed", 0, 0, 0, 0, 0, 0)
    assert last == f"{nothing}; the list of organisations: Database unavailable"


def test_without_its_settings_it_does_not_start() -> None:
    done = run_python("-m", "instantly.refresh")
    assert done.returncode == 1
    assert "KEY_SERVICE_URL" in done.stderr
