"""Four processes side by side on one database keep every promise that one keeps."""

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from conftest import Upstreams, campaign_request
from harness import Places, Service, fresh_database, looking_at, running
from requests import Response

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


def everywhere(
    services: list[Service], threads: int, path: str, bodies: list[dict[str, Any]], **more: Any
) -> list[Response]:
    """Posts the bodies to all processes in turn, from several threads."""

    def post(number: int) -> Response:
        service = services[number % PROCESSES]
        return service.call("POST", path, json=bodies[number], **more)

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(post, range(len(bodies))))


@pytest.fixture
def campaign(services: list[Service]) -> dict[str, Any]:
    answer = services[0].call("POST", "/campaigns", json=campaign_request())
    created: dict[str, Any] = answer.json()["campaign"]
    return created


def test_a_list_is_stored_and_billed_once_over_all_processes(
    services: list[Service], campaign: dict[str, Any], places: Places
) -> None:
    body = {"orgId": "org-1", "leads": LEADS}
    answers = everywhere(services, 8, f"/campaigns/{campaign['id']}/leads", [body] * 8)
    assert [answer.status_code for answer in answers] == [201] * 8
    assert sum(answer.json()["added"] for answer in answers) == len(LEADS)
    assert places.lead_rows() == places.leads()
    assert len(places.lead_rows()) == len(LEADS)
    assert places.billed() == 1 + len(LEADS)


def test_a_key_acts_once_over_all_processes(services: list[Service], places: Places) -> None:
    key = {"Idempotency-Key": "once"}
    answers = everywhere(services, 8, "/campaigns", [campaign_request()] * 8, headers=key)
    statuses = {answer.status_code for answer in answers}
    assert {201} <= statuses <= {201, 409}
    assert len(places.campaign_rows()) == len(places.campaigns()) == places.billed() == 1


def test_deliveries_count_once_over_all_processes(
    services: list[Service], campaign: dict[str, Any], places: Places
) -> None:
    event = {"event_type": "email_opened", "campaign_id": campaign["instantlyCampaignId"]}
    payloads = [
        {**event, "lead_email": f"lead{number % 20}@example.com", "step": 1, "n": number}
        for number in range(200)
    ]
    deliveries = payloads * 2
    random.Random(3).shuffle(deliveries)
    answers = everywhere(services, 16, "/webhooks/instantly", deliveries)
    recorded = sum(answer.json()["recorded"] for answer in answers)
    assert recorded == places.db.count("instantly_events") == len(payloads)
    stats = services[0].call("POST", "/stats", json={"campaignId": campaign["id"]}).json()
    assert stats["stats"]["emailsOpened"] == 20
    opened = places.db.all("SELECT sum(opened)::integer AS n FROM instantly_lead_activity")
    assert opened[0]["n"] == len(payloads)
