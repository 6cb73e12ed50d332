"""The service as the Procfile starts it: gunicorn, a real database, a real environment."""

import json
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from conftest import Upstreams, campaign_request
from harness import PROGRAMS, ROOT, free_port, wait_until, web_command
from helpers import ENVIRONMENT

from instantly.config import VERSION

# No step may take longer, on whatever machine: a bound against hanging, not a promise of speed.
HANGING_SECONDS = 20.0
SECRETS = {
    "INSTANTLY_SERVICE_API_KEY": "own-key-hush",
    "KEY_SERVICE_API_KEY": "keys-key",
    "RUNS_SERVICE_API_KEY": "runs-key",
}
REQUIRED = {*ENVIRONMENT, "INSTANTLY_SERVICE_DATABASE_URL"}
KEY_HEADER = {"X-API-Key": SECRETS["INSTANTLY_SERVICE_API_KEY"]}
WITHOUT_OUR_SETTINGS = ["gunicorn", "app:create_app()"]


class Server:
    """The started command. Its output goes to files, so that no pipe fills up."""

    def __init__(self, command: list[str], environment: dict[str, str], folder: Path) -> None:
        program = shutil.which(command[0], path=PROGRAMS)
        self._out, self._err = folder / "stdout", folder / "stderr"
        with self._out.open("w") as out, self._err.open("w") as err:
            self.process = subprocess.Popen(
                [program, *command[1:]],
                cwd=ROOT,
                env={"PATH": PROGRAMS, "HOME": str(folder), **environment},
                stdout=out,
                stderr=err,
            )
        self.port = int(environment["PORT"])
        self.session = requests.Session()
        self.session.trust_env = False

    @property
    def output(self) -> str:
        return self._out.read_text()

    @property
    def errors(self) -> str:
        return self._err.read_text()

    def call(self, method: str, path: str, **more: Any) -> requests.Response:
        url = f"http://127.0.0.1:{self.port}{path}"
        return self.session.request(method, url, timeout=HANGING_SECONDS, **more)

    def answers(self) -> bool:
        assert self.process.poll() is None, self.errors
        try:
            return self.call("GET", "/").ok
        except requests.ConnectionError:
            return False

    def request_log(self) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.output.splitlines()]
        return [line for line in lines if "route" in line]

    def ends(self) -> int:
        return self.process.wait(HANGING_SECONDS)


@contextmanager
def started(
    environment: dict[str, str],
    folder: Path,
    command: list[str] | None = None,
    *,
    waits: bool = True,
) -> Iterator[Server]:
    """The server of the Procfile; with `waits` once it answers."""
    server = Server(command or web_command(), environment, folder)
    try:
        if waits:
            wait_until(server.answers, HANGING_SECONDS)
        yield server
    finally:
        server.session.close()
        server.process.send_signal(signal.SIGQUIT)
        server.ends()


@pytest.fixture(scope="module")
def settings_of_the_services(database_url: str, sockets: Upstreams) -> dict[str, str]:
    return {
        **SECRETS,
        "INSTANTLY_SERVICE_DATABASE_URL": database_url,
        "KEY_SERVICE_URL": sockets.keys_http.url,
        "RUNS_SERVICE_URL": sockets.runs_http.url,
        "INSTANTLY_API_URL": sockets.instantly_http.url,
    }


@pytest.fixture
def environment(settings_of_the_services) -> dict[str, str]:
    return {**settings_of_the_services, "PORT": str(free_port())}


@pytest.fixture(scope="module")
def server(settings_of_the_services, tmp_path_factory) -> Iterator[Server]:
    environment = {**settings_of_the_services, "PORT": str(free_port())}
    with started(environment, tmp_path_factory.mktemp("server")) as server:
        yield server


def named_in(message: str) -> set[str]:
    return set(re.findall(r"[A-Z_]+", message)) & {*REQUIRED, "PORT"}


@pytest.mark.parametrize(
    "command", [web_command(), WITHOUT_OUR_SETTINGS], ids=["Procfile", "without --config"]
)
def test_a_bad_environment_stops_the_start_with_one_message_that_names_all(
    environment, tmp_path, command
):
    del environment["RUNS_SERVICE_API_KEY"]
    environment["KEY_SERVICE_URL"] = "nonsense-hush"
    with started(environment, tmp_path, command, waits=False) as server:
        assert server.ends() > 0
    # Without our settings gunicorn repeats what stopped its worker.
    (message,) = {
        line.partition("Configuration: ")[2]
        for line in server.errors.splitlines()
        if "RUNS_SERVICE" in line or "KEY_SERVICE" in line
    }
    assert named_in(message) == {"RUNS_SERVICE_API_KEY", "KEY_SERVICE_URL"}
    assert server.errors.count("Booting worker") <= 1
    for hidden in ("nonsense-hush", *SECRETS.values()):
        assert hidden not in server.output + server.errors


def test_an_empty_environment_is_told_every_required_name_in_a_single_line(tmp_path):
    with started({"PORT": "0"}, tmp_path, waits=False) as server:
        assert server.ends() > 0
    assert named_in(server.errors) == {*REQUIRED, "PORT"}
    assert len(server.errors.splitlines()) == 1
    assert server.output == ""


def test_it_answers_on_its_port(server):
    assert server.call("GET", "/").json()["version"] == VERSION
    assert server.call("GET", "/health").json()["database"] == "ok"
    assert server.call("GET", "/campaigns/by-org/org-1").status_code == 401


def test_it_starts_without_a_database_and_says_so(environment, tmp_path):
    environment["INSTANTLY_SERVICE_DATABASE_URL"] = "postgresql://postgres@127.0.0.1:1/test"
    with started(environment, tmp_path) as server:
        assert server.call("GET", "/health").status_code == 503


@pytest.fixture
def in_flight(environment, tmp_path, upstreams) -> Iterator[tuple[Server, Any]]:
    """A server, and the answer to its request, which waits for key-service until the release."""
    upstreams.keys_http.fail("GET", "/internal/keys/.*", how="hang")
    request = {"json": campaign_request(), "headers": KEY_HEADER}
    with ThreadPoolExecutor(1) as caller, started(environment, tmp_path) as server:
        answer = caller.submit(server.call, "POST", "/campaigns", **request)
        upstreams.keys_http.wait_until_hanging()
        yield server, answer
        upstreams.keys_http.release()
    assert "Logging error" not in server.errors  # gunicorn's own lines are whole


def test_a_request_in_flight_is_finished_before_it_stops(in_flight, upstreams):
    server, answer = in_flight
    server.process.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    assert server.process.poll() is None
    upstreams.keys_http.release()
    assert answer.result(HANGING_SECONDS).status_code == 201
    assert server.ends() == 0
    assert upstreams.run_statuses() == ["completed"]
    assert [line["route"] for line in server.request_log()].count("/campaigns") == 1


def test_sigquit_ends_it_at_once_whatever_it_is_doing(in_flight):
    server, answer = in_flight
    # What is no HTTP is refused, and logged.
    with socket.create_connection(("127.0.0.1", server.port)) as broken:
        broken.sendall(b"BROKEN\r\n\r\n")
        assert broken.recv(100).startswith(b"HTTP/1.1 400 ")
    server.process.send_signal(signal.SIGQUIT)
    with pytest.raises(requests.ConnectionError):
        answer.result(HANGING_SECONDS)
    assert server.ends() == 0


def test_each_request_is_one_line_of_json_on_stdout_without_secrets(
    server, upstreams, database_url
):
    calls = [
        ("GET", "/health", {}),
        ("GET", "/campaigns/by-org/org-1?limit=1", {"X-Request-Id": "asked-id", **KEY_HEADER}),
        ("GET", "/campaigns/by-org/org-1", {"X-API-Key": "wrong-key-hush"}),
        ("GET", "/nowhere/ada@example.com", KEY_HEADER),
        ("POST", "/campaigns", KEY_HEADER),
    ]
    before = len(server.request_log())
    body = campaign_request(name="Hush")
    answers = [server.call(*call, headers=headers, json=body) for *call, headers in calls]
    lines = server.request_log()[before:]
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
    hidden = (
        *SECRETS.values(),
        database_url,
        "key-1",
        "wrong-key-hush",
        "ada@example.com",
        "org-1",
    )
    for secret in hidden:
        assert secret not in server.output + server.errors
