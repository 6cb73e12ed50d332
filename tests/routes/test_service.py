"""GET / and GET /health: what this is, and whether it can work."""

import time

import pytest
from helpers import PASSWORD, client_without_postgres

from instantly.config import VERSION


@pytest.fixture
def anybody(app):
    """Calls the service without its key."""
    return app.test_client()


def test_the_index_names_the_service_and_its_version(anybody, upstreams):
    answer = anybody.get("/")
    body = {"service": "instantly-service", "version": VERSION}
    assert (answer.status_code, answer.get_json()) == (200, body)
    assert upstreams.calls() == 0


def test_health_is_ok_while_postgres_answers(anybody, upstreams):
    answer = anybody.get("/health")
    body = {"status": "ok", "service": "instantly-service", "database": "ok"}
    assert (answer.status_code, answer.get_json()) == (200, body)
    assert upstreams.calls() == 0


@pytest.mark.parametrize("silent", [False, True], ids=["refuses", "never answers"])
def test_health_says_within_three_seconds_that_postgres_is_not_there(settings, silent):
    with client_without_postgres(settings, silent=silent) as client:
        started = time.monotonic()
        answer = client.get("/health")
        assert time.monotonic() - started < 3
        told = {"status": "degraded", "database": "unreachable"}
        body = {"service": "instantly-service", **told}
        assert (answer.status_code, answer.get_json()) == (503, body)
        assert PASSWORD not in answer.text


def test_without_postgres_the_index_is_there_and_head_tells_that_it_is_not(settings):
    with client_without_postgres(settings) as client:
        assert client.get("/").status_code == 200
        answer = client.head("/health")
        assert (answer.status_code, answer.data) == (503, b"")
