"""GET / and GET /health: what this is, and whether it can work."""

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from conftest import Upstreams
from flask import Flask
from flask.testing import FlaskClient

from instantly import application
from instantly.config import VERSION, Settings
from instantly.context import EXTENSION

PASSWORD = "hush-hush"


@contextmanager
def app_without_postgres(settings: Settings, *, silent: bool) -> Iterator[Flask]:
    """The service with a port that refuses connections, or one (silent) that never answers."""
    with socket.socket() as port:
        port.bind(("127.0.0.1", 0))
        if silent:
            port.listen()
        url = f"postgresql://postgres:{PASSWORD}@127.0.0.1:{port.getsockname()[1]}/instantly"
        app = application.create_app(replace(settings, database_url=url))
        try:
            yield app
        finally:
            port.close()
            app.extensions[EXTENSION].database.close()


@pytest.fixture
def anybody(app: Flask) -> FlaskClient:
    """Calls the service without its key."""
    return app.test_client()


def test_the_index_names_the_service_and_its_version(anybody: FlaskClient) -> None:
    answer = anybody.get("/")
    assert answer.status_code == 200
    assert answer.get_json() == {"service": "instantly-service", "version": VERSION}


def test_health_is_ok_while_postgres_answers(anybody: FlaskClient) -> None:
    answer = anybody.get("/health")
    assert answer.status_code == 200
    assert answer.get_json() == {
        "status": "ok",
        "service": "instantly-service",
        "database": "ok",
    }


@pytest.mark.parametrize("silent", [False, True], ids=["refuses", "never answers"])
def test_health_says_within_three_seconds_that_postgres_is_not_there(
    settings: Settings, silent: bool
) -> None:
    with app_without_postgres(settings, silent=silent) as app:
        started = time.monotonic()
        answer = app.test_client().get("/health")
        assert time.monotonic() - started < 3
        assert answer.status_code == 503
        assert answer.get_json() == {
            "status": "degraded",
            "service": "instantly-service",
            "database": "unreachable",
        }
        assert PASSWORD not in answer.text


def test_the_index_needs_no_postgres(settings: Settings) -> None:
    with app_without_postgres(settings, silent=False) as app:
        assert app.test_client().get("/").status_code == 200


@pytest.mark.parametrize("path", ["/", "/health"])
def test_head_is_answered_like_get(anybody: FlaskClient, path: str) -> None:
    head, get = anybody.head(path), anybody.get(path)
    assert head.status_code == get.status_code
    assert head.content_type == get.content_type
    assert head.content_length == get.content_length
    assert head.data == b""


def test_head_tells_that_postgres_is_not_there(settings: Settings) -> None:
    with app_without_postgres(settings, silent=False) as app:
        answer = app.test_client().head("/health")
        assert answer.status_code == 503
        assert answer.data == b""


@pytest.mark.parametrize("path", ["/", "/health"])
def test_neither_calls_another_service(
    anybody: FlaskClient, upstreams: Upstreams, path: str
) -> None:
    anybody.get(path)
    for http in (upstreams.instantly_http, upstreams.keys_http, upstreams.runs_http):
        assert http.requests == []
