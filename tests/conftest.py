"""The fixtures that tests share: a real PostgreSQL, the service on it, stand-ins on real sockets.

What tests import by name is in `world`, `harness` and `helpers`.

Most tests run the app in this process, where what waits is a thread. In production it is a greenlet
of gevent's: `served` is the real worker, and what `@pytest.mark.greenlets` proves is proved by it a
second time. Tests that patch the service, or look into it, prove it with threads alone.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from inspect import signature
from typing import Any

import psycopg
import pytest
from answers_check import CheckedClient
from flask import Flask
from flask.testing import FlaskClient
from harness import Service, fresh_database, looking_at, running
from instantly_check import check_request
from stand_in import StandIn
from world import (
    API_KEY,
    Act,
    Campaign,
    Rows,
    Statements,
    Upstreams,
    World,
    client_of,
    creating,
    opened_app,
    shorten_timeouts,
    uploading,
)

import instantly.billing.upload
import instantly.clients.http
from instantly.config import Settings
from instantly.migrate import migrate
from instantly.sandbox.instantly_api import InstantlyStandIn
from instantly.sandbox.internal_services import KeyServiceStandIn, RunsServiceStandIn
from instantly.sandbox.postgres import LocalPostgres

# A test that asks for one of these looks into the app or its database, or changes it.
INSIDE = {"app", "database_url", "monkeypatch", "settings", "statements"}

# Whichever app a test makes: none of its answers may differ from /openapi.json.
Flask.test_client_class = CheckedClient


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "greenlets: once more by the real worker, where that can be")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if metafunc.definition.get_closest_marker("greenlets") and "world" in metafunc.fixturenames:
        is_inside = INSIDE & signature(metafunc.function).parameters.keys()
        ways = ["threads"] if is_inside else ["threads", "greenlets"]
        metafunc.parametrize("world", ways, indirect=True)


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
    instantly_api = InstantlyStandIn({"key-1": "clerk-1", "app-key": "app"}, plays=False)
    keys, runs = KeyServiceStandIn("keys-key", {}), RunsServiceStandIn("runs-key")
    with (
        StandIn(instantly_api.app) as instantly_http,
        StandIn(keys.app) as keys_http,
        StandIn(runs.app) as runs_http,
    ):
        yield Upstreams(instantly_api, instantly_http, keys, keys_http, runs, runs_http)


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
        api_keys=(API_KEY,),
        key_service_url=sockets.keys_http.url,
        key_service_api_key="keys-key",
        runs_service_url=sockets.runs_http.url,
        runs_service_api_key="runs-key",
        instantly_api_url=sockets.instantly_http.url,
        webhook_base_url="https://instantly-service.example",
    )


@pytest.fixture(scope="session")
def session_app(settings: Settings) -> Iterator[Flask]:
    with opened_app(settings) as app:
        yield app


@pytest.fixture(scope="session")
def impatient_app(settings: Settings) -> Iterator[Flask]:
    """The service, which soon has enough of other services that are silent."""
    with ExitStack() as stack:
        with pytest.MonkeyPatch.context() as patch:
            shorten_timeouts(patch, 0.3)
            app = stack.enter_context(opened_app(settings))
        yield app


@pytest.fixture(scope="module")
def other_process(settings: Settings) -> Iterator[Flask]:
    """The service as another process has it."""
    with opened_app(settings) as app:
        yield app


@pytest.fixture
def app(session_app: Flask, db: Rows) -> Flask:
    """The service on an empty database."""
    return session_app


@pytest.fixture
def client(app: Flask, upstreams: Upstreams, waits: list[float]) -> FlaskClient:
    return client_of(app)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses before retries, in seconds, noted instead of waited for."""
    noted: list[float] = []
    monkeypatch.setattr(instantly.clients.http, "sleep", noted.append)
    return noted


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
        " DELETE FROM instantly_leases; DELETE FROM instantly_erased"
    )
    return Rows(connection)


@pytest.fixture
def world(
    request: pytest.FixtureRequest, client: FlaskClient, upstreams: Upstreams, db: Rows
) -> World:
    """Empty."""
    if getattr(request, "param", "threads") == "greenlets":
        return request.getfixturevalue("greenlets")
    return World(db, upstreams, client)


@pytest.fixture
def campaign(world: World) -> Campaign:
    """A campaign that was created long ago: id, instantlyCampaignId, name, status.

    The world's verbs act upon it.
    """
    world.campaign = world.created()
    world.upstreams.forget_requests()
    world.upstreams.runs.runs.clear()
    return world.campaign


@pytest.fixture
def ours(world: World) -> World:
    """The world of a campaign that stands in our tables alone."""
    return world.another()


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> Statements:
    return Statements(monkeypatch)


# Billing POSTs


@pytest.fixture(params=[creating, uploading], ids=["campaigns", "leads"])
def act(request: pytest.FixtureRequest, world: World) -> Act:
    make: Callable[[World], Act] = request.param
    return make(world)


@pytest.fixture
def create_act(world: World) -> Act:
    return creating(world)


@pytest.fixture
def upload_act(world: World, monkeypatch: pytest.MonkeyPatch) -> Act:
    """An upload of three leads in two calls."""
    monkeypatch.setattr(instantly.billing.upload, "MAX_LEADS_A_CALL", 2)
    return uploading(world)


# The server as a process


@pytest.fixture(scope="module")
def service_of_the_module(
    postgres: LocalPostgres, sockets: Upstreams, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    with fresh_database(postgres) as url, looking_at(url) as db:
        service = Service(url, sockets, tmp_path_factory.mktemp("server"))
        with running(service):
            yield World(db, sockets, service)


@pytest.fixture
def served(service_of_the_module: World, upstreams: Upstreams) -> World:
    """The world of the real server on a database of its own, empty. Its client is the server."""
    service_of_the_module.db.empty()
    return service_of_the_module


@pytest.fixture
def greenlets(served: World) -> World:
    """Which world of the real worker the tests of a module have."""
    return served
