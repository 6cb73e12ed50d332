"""The service as the Procfile starts it: gunicorn, a real database, a real environment."""

import json
import re
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests
from harness import Service, procfile_command, running
from helpers import ENVIRONMENT
from world import API_KEY, campaign_request

from instantly.config import VERSION

SECRETS = (API_KEY, "keys-key", "runs-key")
REQUIRED = {*ENVIRONMENT, "INSTANTLY_SERVICE_DATABASE_URL"}
WITHOUT_KEY = {"X-API-Key": None}
WITHOUT_OUR_SETTINGS = ["gunicorn", "app:create_app()"]


@pytest.fixture
def service(database_url, sockets, tmp_path) -> Iterator[Service]:
    """Not started yet."""
    service = Service(database_url, sockets, tmp_path)
    yield service
    service.kill()


@pytest.fixture(scope="module")
def server(database_url, sockets, tmp_path_factory) -> Iterator[Service]:
    """Started, for all tests that leave it running."""
    with running(Service(database_url, sockets, tmp_path_factory.mktemp("server"))) as server:
        yield server


def request_log(server: Service) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in server.output.splitlines()]
    return [line for line in lines if "route" in line]


def named_in(message: str) -> set[str]:
    return set(re.findall(r"[A-Z_]+", message)) & {*REQUIRED, "PORT"}


@pytest.mark.parametrize(
    "command", [procfile_command(), WITHOUT_OUR_SETTINGS], ids=["Procfile", "without --config"]
)
def test_a_bad_environment_stops_the_start_with_one_message_that_names_all(service, command):
    del service.environment["RUNS_SERVICE_API_KEY"]
    service.environment["KEY_SERVICE_URL"] = "nonsense-hush"
    service.launch(command)
    assert service.ends() > 0
    # Without our settings gunicorn repeats what stopped its worker.
    (message,) = {
        line.partition("Configuration: ")[2]
        for line in service.errors.splitlines()
        if "RUNS_SERVICE" in line or "KEY_SERVICE" in line
    }
    assert named_in(message) == {"RUNS_SERVICE_API_KEY", "KEY_SERVICE_URL"}
    assert service.errors.count("Booting worker") <= 1
    for hidden in ("nonsense-hush", *SECRETS):
        assert hidden not in service.output + service.errors


def test_an_empty_environment_is_told_every_required_name_in_a_single_line(service):
    service.environment = {"PATH": service.environment["PATH"], "PORT": "many"}
    service.launch()
    assert service.ends() > 0
    assert named_in(service.errors) == {*REQUIRED, "PORT"}
    assert len(service.errors.splitlines()) == 1
    assert service.output == ""


def test_it_answers_on_its_port(server):
    assert server.call("GET", "/").json()["version"] == VERSION
    assert server.call("GET", "/health").json()["database"] == "ok"
    assert server.call("GET", "/campaigns/by-org/org-1", headers=WITHOUT_KEY).status_code == 401


def test_it_starts_without_a_database_and_says_so(service):
    url = "postgresql://postgres@127.0.0.1:1/test"
    service.environment["INSTANTLY_SERVICE_DATABASE_URL"] = url
    assert service.start().call("GET", "/health").status_code == 503


@pytest.fixture
def answer(service, upstreams) -> Iterator[Any]:
    """The answer of the service to a request, which waits for key-service until the release."""
    upstreams.keys_http.fail("GET", "/internal/keys/.*", how="hang")
    service.start()
    with ThreadPoolExecutor(1) as caller:
        answer = caller.submit(service.call, "POST", "/campaigns", json=campaign_request())
        upstreams.keys_http.wait_until_hanging()
        yield answer
        upstreams.keys_http.release()
    assert "Logging error" not in service.errors  # gunicorn's own lines are whole


def test_a_request_in_flight_is_finished_before_it_stops(service, answer, upstreams):
    service.signal(signal.SIGTERM)
    time.sleep(0.3)
    assert service.is_running()
    upstreams.keys_http.release()
    assert answer.result().status_code == 201
    assert service.ends() == 0
    assert upstreams.run_statuses() == ["completed"]
    assert [line["route"] for line in request_log(service)].count("/campaigns") == 1


def test_sigquit_ends_it_at_once_whatever_it_is_doing(service, answer):
    # What is no HTTP is refused, and logged.
    with socket.create_connection(("127.0.0.1", service.port)) as broken:
        broken.sendall(b"BROKEN\r\n\r\n")
        assert broken.recv(100).startswith(b"HTTP/1.1 400 ")
    service.signal(signal.SIGQUIT)
    with pytest.raises(requests.ConnectionError):
        answer.result()
    assert service.ends() == 0


def test_each_request_is_one_line_of_json_on_stdout_without_secrets(
    server, upstreams, database_url
):
    calls = [
        ("GET", "/health", WITHOUT_KEY),
        ("GET", "/campaigns/by-org/org-1?limit=1", {"X-Request-Id": "asked-id"}),
        ("GET", "/campaigns/by-org/org-1", {"X-API-Key": "wrong-key-hush"}),
        ("GET", "/nowhere/ada@example.com", {}),
        ("POST", "/campaigns", {}),
    ]
    before = len(request_log(server))
    body = campaign_request(name="Hush")
    answers = [server.call(*call, headers=headers, json=body) for *call, headers in calls]
    lines = request_log(server)[before:]
    assert [answer.status_code for answer in answers] == [200, 200, 401, 404, 201]
    assert [(line["method"], line["route"], line["status"]) for line in lines] == [
        ("GET", "/health", 200),
        ("GET", "/campaigns/by-org/<org_id>", 200),
        ("GET", "/campaigns/by-org/<org_id>", 401),
        ("GET", None, 404),
        ("POST", "/campaigns", 201),
    ]
    ids = [answer.headers["X-Request-Id"] for answer in answers]
    assert [line["requestId"] for line in lines] == ids
    assert ids[1] == "asked-id"
    assert all(line["milliseconds"] >= 0 for line in lines)
    for hidden in (*SECRETS, database_url, "key-1", "wrong-key-hush", "ada@example.com", "org-1"):
        assert hidden not in server.output + server.errors


def test_what_is_no_request_leaves_none_of_its_words_in_the_log(server):
    for words in (
        b"GET /accounts/ada@secret.example/warmup\r\n\r\n",
        b"GET / HTTP/1.1\r\nX-API-Key service-key\r\n\r\n",
        b"SERVICE-KEY / HTTP/1.1\r\nHost: x\r\n\r\n",
    ):
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
            connection.sendall(words)
            assert connection.recv(4096).startswith(b"HTTP/1.1 4")
    assert server.call("GET", "/health").status_code == 200
    for hidden in ("ada@secret.example", "service-key", "SERVICE-KEY"):
        assert hidden not in server.output + server.errors
