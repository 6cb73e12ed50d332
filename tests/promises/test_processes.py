"""Four processes side by side on one database keep every promise that one keeps."""

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from harness import Service, fresh_database, looking_at, running
from world import Upstreams, World, addresses, campaign_request

from instantly.sandbox.postgres import LocalPostgres

PROCESSES = 4


@pytest.fixture
def worlds(postgres: LocalPostgres, upstreams: Upstreams, tmp_path: Path) -> Iterator[list[World]]:
    """The same world, by way of each process."""
    with fresh_database(postgres) as url, looking_at(url) as db, ExitStack() as stack:
        started = []
        for number in range(PROCESSES):
            folder = tmp_path / str(number)
            folder.mkdir()
            # Few connections each: pool size times processes is what PostgreSQL must allow.
            service = Service(url, upstreams, folder, DATABASE_POOL_SIZE="2")
            started.append(World(db, upstreams, stack.enter_context(running(service))))
        campaign = started[0].created()
        yield [replace(world, campaign=campaign) for world in started]


def test_a_list_is_stored_and_billed_once_over_all_processes(worlds: list[World]) -> None:
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda world: world.add(addresses(200)), worlds * 2))
    assert sum(answer["added"] for answer in answers) == 200
    assert worlds[0].agrees()
    assert len(worlds[0].lead_rows()) == 200
    assert worlds[0].billed() == 1 + 200


def test_a_key_acts_once_over_all_processes(worlds: list[World]) -> None:
    def create(world: World) -> int:
        key = {"Idempotency-Key": "once"}
        return world.send("POST", "/campaigns", campaign_request(), headers=key).status_code

    with ThreadPoolExecutor(8) as threads:
        statuses = set(threads.map(create, worlds * 2))
    assert statuses in ({201}, {201, 409})
    assert worlds[0].agrees()
    assert len(worlds[0].campaigns()) == worlds[0].billed() == 1 + 1


def test_deliveries_count_once_over_all_processes(worlds: list[World]) -> None:
    payloads = [
        {
            "event_type": "email_opened",
            "campaign_id": worlds[0].campaign["instantlyCampaignId"],
            "lead_email": f"lead{number % 20}@example.com",
            "step": 1,
            "n": number,
        }
        for number in range(200)
    ]
    deliveries = payloads * 2
    random.Random(3).shuffle(deliveries)

    def deliver(number: int) -> int:
        world = worlds[number % PROCESSES]
        answer = world.send("POST", "/webhooks/instantly", deliveries[number])
        return int(answer.get_json()["recorded"])

    with ThreadPoolExecutor(16) as threads:
        recorded = sum(threads.map(deliver, range(len(deliveries))))
    db = worlds[0].db
    assert recorded == db.count("instantly_events") == len(payloads)
    stats = worlds[0].send("POST", "/stats", {"campaignId": worlds[0].campaign["id"]})
    assert stats.get_json()["stats"]["emailsOpened"] == 20
    opened = db.all("SELECT sum(opened)::integer AS n FROM instantly_lead_activity")
    assert opened[0]["n"] == len(payloads)
