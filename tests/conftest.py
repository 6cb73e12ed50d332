"""What the tests share: a real PostgreSQL, the service on it, and stand-ins on real sockets."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from answers_check import CheckedClient
from flask import Flask
from flask.testing import FlaskClient
from instantly_check import check_request
from psycopg.rows import dict_row
from stand_in import StandIn

import instantly.clients.http
from instantly import application
from instantly.config import Settings
from instantly.context import EXTENSION
from instantly.migrate import migrate
from instantly.sandbox.instantly_api import InstantlyStandIn
from instantly.sandbox.internal_services import KeyServiceStandIn, RunsServiceStandIn
from instantly.sandbox.postgres import LocalPostgres

# Whichever app a test makes: none of its answers may differ from /openapi.json.
Flask.test_client_class = CheckedClient

API_KEY = "service-key"
ORG = {"orgId": "org-1", "clerkOrgId": "clerk-1", "brandId": "brand-1", "appId": "app-1"}


@dataclass
class Upstreams:
    """Each service, and its socket (`…_http`), which records requests and fails on demand."""

    instantly: InstantlyStandIn
    instantly_http: StandIn
    keys: KeyServiceStandIn
    keys_http: StandIn
    runs: RunsServiceStandIn
    runs_http: StandIn

    def reset(self) -> None:
        """As on the first day: no state, no faults, no recorded requests."""
        self.instantly = InstantlyStandIn({"key-1": "clerk-1", "app-key": "app"}, plays=False)
        self.keys = KeyServiceStandIn("keys-key", {"clerk-1": "key-1"}, "app-key")
        self.runs = RunsServiceStandIn("runs-key")
        for http, service in (
            (self.instantly_http, self.instantly),
            (self.keys_http, self.keys),
            (self.runs_http, self.runs),
        ):
            http.heal()
            http.clear()
            http.latency_seconds = 0.0
            http.app = service.app

    def leads_in_instantly(self, instantly_campaign_id: str) -> set[str]:
        leads = self.instantly.workspace("clerk-1").leads_of(instantly_campaign_id)
        return {lead["email"].lower() for lead in leads}

    def run_statuses(self) -> list[str]:
        return [run["status"] for run in self.runs.runs.values()]


@pytest.fixture(scope="session")
def postgres() -> Iterator[LocalPostgres]:
    with LocalPostgres() as server:
        yield server


@pytest.fixture(scope="session")
def database_url(postgres: LocalPostgres) -> str:
    url = str(postgres.url())
    migrate(url)
    return url


@pytest.fixture(scope="session")
def sockets() -> Iterator[Upstreams]:
    services = [
        InstantlyStandIn({}, plays=False),
        KeyServiceStandIn("keys-key", {}),
        RunsServiceStandIn("runs-key"),
    ]
    https = [StandIn(service.app).start() for service in services]
    instantly_api, keys, runs = services
    yield Upstreams(instantly_api, https[0], keys, https[1], runs, https[2])
    for http in https:
        http.stop()


@pytest.fixture
def upstreams(sockets: Upstreams) -> Iterator[Upstreams]:
    """The stand-ins, empty. Whatever a test sends to Instantly must be valid by our schemas."""
    sockets.reset()
    yield sockets
    sockets.instantly_http.heal()
    for request in sockets.instantly_http.requests:
        assert not check_request(
            request.method, request.path, request.query, request.headers, request.body
        )


@pytest.fixture(scope="session")
def settings(database_url: str, sockets: Upstreams) -> Settings:
    return Settings(
        database_url=database_url,
        api_key=API_KEY,
        key_service_url=sockets.keys_http.url,
        key_service_api_key="keys-key",
        runs_service_url=sockets.runs_http.url,
        runs_service_api_key="runs-key",
        instantly_api_url=sockets.instantly_http.url,
        webhook_base_url="https://instantly-service.example",
    )


@pytest.fixture(scope="session")
def session_app(settings: Settings) -> Iterator[Flask]:
    app = application.create_app(settings)
    yield app
    app.extensions[EXTENSION].database.close()


@pytest.fixture
def app(session_app: Flask, db: "Rows") -> Flask:
    """The service on an empty database."""
    return session_app


@pytest.fixture
def client(app: Flask, upstreams: Upstreams, waits: list[float]) -> FlaskClient:
    """Calls the service with its key."""
    client = app.test_client()
    client.environ_base["HTTP_X_API_KEY"] = API_KEY
    return client


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses before retries, in seconds, noted instead of waited for."""
    noted: list[float] = []
    monkeypatch.setattr(instantly.clients.http, "sleep", noted.append)
    return noted


class Rows:
    """Looks at the tables past the service."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self.connection = connection

    def all(self, sql: str, *parameters: object) -> list[dict[str, Any]]:
        with self.connection.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(sql, parameters).fetchall()

    def count(self, table: str) -> int:
        return int(self.all(f"SELECT count(*) AS n FROM {table}")[0]["n"])  # noqa: S608


@pytest.fixture(scope="session")
def connection(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def db(connection: psycopg.Connection[Any]) -> Rows:
    """The tables, empty at first."""
    connection.execute(
        "DELETE FROM instantly_campaigns; DELETE FROM instantly_accounts;"
        " DELETE FROM instantly_open_runs; DELETE FROM instantly_idempotency_keys;"
        " DELETE FROM instantly_leases"
    )
    return Rows(connection)


def campaign_request(**changes: Any) -> dict[str, Any]:
    """The smallest useful body of POST /campaigns."""
    return {**ORG, "name": "Autumn", **changes}


@pytest.fixture
def campaign(client: FlaskClient) -> dict[str, Any]:
    """A campaign that the service has created: id, instantlyCampaignId, name, status."""
    answer = client.post("/campaigns", json=campaign_request())
    assert answer.status_code == 201
    created: dict[str, Any] = answer.get_json()["campaign"]
    return created
