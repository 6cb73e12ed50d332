"""Four processes side by side on one database keep every promise that one keeps."""

import random
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace

import pytest
from harness import Service, fresh_database, looking_at, running
from world import World, addresses, campaign_request

PROCESSES = 4


@pytest.fixture(scope="module")
def processes(postgres, sockets, tmp_path_factory):
    """One world, by way of each process."""
    with fresh_database(postgres) as url, looking_at(url) as db, ExitStack() as stack:
        services = [
            # Few connections each: pool size times processes is what PostgreSQL must allow.
            Service(url, sockets, tmp_path_factory.mktemp("process"), DATABASE_POOL_SIZE="2")
            for _ in range(PROCESSES)
        ]
        yield [World(db, sockets, stack.enter_context(running(each))) for each in services]


@pytest.fixture
def worlds(processes, upstreams):
    """They hold a campaign each test, and nothing else."""
    processes[0].db.empty()
    campaign = processes[0].created()
    return [replace(world, campaign=campaign) for world in processes]


def test_a_list_is_stored_and_billed_once_over_all_processes(worlds):
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda world: world.add(addresses(200)), worlds * 2))
    assert sum(answer["added"] for answer in answers) == 200
    assert worlds[0].agrees()
    assert len(worlds[0].lead_rows()) == 200
    assert worlds[0].billed() == 1 + 200


def test_a_key_acts_once_over_all_processes(worlds):
    def create(world):
        key = {"Idempotency-Key": "once"}
        return world.send("POST", "/campaigns", campaign_request(), headers=key).status_code

    with ThreadPoolExecutor(8) as threads:
        statuses = set(threads.map(create, worlds * 2))
    assert statuses in ({201}, {201, 409})
    assert worlds[0].agrees()
    assert len(worlds[0].campaigns()) == worlds[0].billed() == 1 + 1


def test_deliveries_count_once_over_all_processes(worlds):
    payloads = [
        {"lead_email": f"lead{number % 20}@example.com", "step": 1, "n": number}
        for number in range(200)
    ]
    deliveries = payloads * 2
    random.Random(3).shuffle(deliveries)

    def records(number):
        return worlds[number % PROCESSES].records(**deliveries[number])

    with ThreadPoolExecutor(16) as threads:
        recorded = sum(threads.map(records, range(len(deliveries))))
    db = worlds[0].db
    assert recorded == db.count("instantly_events") == len(payloads)
    counted = worlds[0].statistics(campaignId=worlds[0].campaign["id"])
    assert counted["stats"]["emailsOpened"] == 20
    opened = db.all("SELECT sum(opened)::integer AS n FROM instantly_lead_activity")
    assert opened[0]["n"] == len(payloads)
