"""GET / and GET /health: what this is, and whether it can work."""

import time

import pytest
from helpers import PASSWORD, client_without_postgres

from instantly.config import VERSION


@pytest.fixture
def anybody(app):
    """Calls the service without its key."""
    return app.test_client()


def test_the_index_names_the_service_and_its_version(anybody):
    answer = anybody.get("/")
    assert answer.status_code == 200
    assert answer.get_json() == {"service": "instantly-service", "version": VERSION}


def test_health_is_ok_while_postgres_answers(anybody):
    answer = anybody.get("/health")
    assert answer.status_code == 200
    assert answer.get_json() == {
        "status": "ok",
        "service": "instantly-service",
        "database": "ok",
    }


@pytest.mark.parametrize("silent", [False, True], ids=["refuses", "never answers"])
def test_health_says_within_three_seconds_that_postgres_is_not_there(settings, silent):
    with client_without_postgres(settings, silent=silent) as client:
        started = time.monotonic()
        answer = client.get("/health")
        assert time.monotonic() - started < 3
        assert answer.status_code == 503
        assert answer.get_json() == {
            "status": "degraded",
            "service": "instantly-service",
            "database": "unreachable",
        }
        assert PASSWORD not in answer.text


def test_the_index_needs_no_postgres(settings):
    with client_without_postgres(settings) as client:
        assert client.get("/").status_code == 200


def test_head_tells_that_postgres_is_not_there(settings):
    with client_without_postgres(settings) as client:
        answer = client.head("/health")
        assert answer.status_code == 503
        assert answer.data == b""


def test_neither_calls_another_service(anybody, upstreams):
    for path in ("/", "/health"):
        anybody.get(path)
    for http in (upstreams.instantly_http, upstreams.keys_http, upstreams.runs_http):
        assert http.requests == []
