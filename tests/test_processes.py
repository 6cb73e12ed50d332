"""Four processes side by side on one database keep every promise that one keeps."""

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from conftest import Upstreams, campaign_request
from harness import Places, Service, fresh_database, looking_at, running

from instantly.sandbox.postgres import LocalPostgres

PROCESSES = 4
LEADS = [{"email": f"lead{number}@example.com"} for number in range(200)]


@pytest.fixture
def places(postgres: LocalPostgres, upstreams: Upstreams) -> Iterator[Places]:
    with fresh_database(postgres) as url, looking_at(url) as db:
        yield Places(db, upstreams)


@pytest.fixture
def services(places: Places, tmp_path: Path) -> Iterator[list[Service]]:
    url = places.db.connection.info.dsn
    with ExitStack() as stack:
        started = []
        for number in range(PROCESSES):
            folder = tmp_path / str(number)
            folder.mkdir()
            # Few connections each: pool size times processes is what PostgreSQL must allow.
            service = Service(url, places.upstreams, folder, DATABASE_POOL_SIZE="2")
            started.append(stack.enter_context(running(service)))
        yield started


@pytest.fixture
def campaign(services: list[Service]) -> dict[str, Any]:
    answer = services[0].call("POST", "/campaigns", json=campaign_request())
    created: dict[str, Any] = answer.json()["campaign"]
    return created


def test_a_list_is_stored_and_billed_once_over_all_processes(
    services: list[Service], campaign: dict[str, Any], places: Places
) -> None:
    path = f"/campaigns/{campaign['id']}/leads"
    body = {"orgId": "org-1", "leads": LEADS}
    with ThreadPoolExecutor(8) as threads:
        answers = [
            task.result()
            for task in [
                threads.submit(partial(services[n % PROCESSES].call, "POST", path, json=body))
                for n in range(8)
            ]
        ]
    assert [answer.status_code for answer in answers] == [201] * 8
    assert sum(answer.json()["added"] for answer in answers) == len(LEADS)
    assert places.lead_rows() == places.leads()
    assert len(places.lead_rows()) == len(LEADS)
    assert places.billed() == 1 + len(LEADS)


def test_a_key_acts_once_over_all_processes(services: list[Service], places: Places) -> None:
    key = {"Idempotency-Key": "once"}
    with ThreadPoolExecutor(8) as threads:
        tasks = [
            threads.submit(
                partial(
                    services[n % PROCESSES].call,
                    "POST",
                    "/campaigns",
                    json=campaign_request(),
                    headers=key,
                )
            )
            for n in range(8)
        ]
        statuses = [task.result().status_code for task in tasks]
    assert set(statuses) <= {201, 409}
    assert 201 in statuses
    assert len(places.campaign_rows()) == len(places.campaigns()) == places.billed() == 1


def test_deliveries_count_once_over_all_processes(
    services: list[Service], campaign: dict[str, Any], places: Places
) -> None:
    payloads = [
        {
            "event_type": "email_opened",
            "campaign_id": campaign["instantlyCampaignId"],
            "lead_email": f"lead{number % 20}@example.com",
            "step": 1,
            "n": number,
        }
        for number in range(200)
    ]
    deliveries = payloads * 2
    random.Random(3).shuffle(deliveries)
    with ThreadPoolExecutor(16) as threads:
        recorded = sum(
            threads.map(
                lambda pair: (
                    services[pair[0] % PROCESSES]
                    .call("POST", "/webhooks/instantly", json=pair[1])
                    .json()["recorded"]
                ),
                enumerate(deliveries),
            )
        )
    assert recorded == places.db.count("instantly_events") == len(payloads)
    stats = services[0].call("POST", "/stats", json={"campaignId": campaign["id"]}).json()
    assert stats["stats"]["emailsOpened"] == 20
    opened = places.db.all("SELECT sum(opened)::integer AS n FROM instantly_lead_activity")
    assert opened[0]["n"] == len(payloads)
