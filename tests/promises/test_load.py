"""What one process holds, with the Procfile's settings and nothing in front of it: many who wait,
many who are slow, and large uploads, beside requests that are answered at once.
"""

import json
import resource
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import replace
from http.client import HTTPResponse
from threading import Event
from typing import Any

import pytest
from harness import HANGING_SECONDS, Service, patched_command, running
from world import API_KEY, World, campaign_request

pytestmark = pytest.mark.outage

FEW_MAY_WAIT = """
import instantly.limits
assert instantly.limits.MAX_WAITING == 1000
instantly.limits.MAX_WAITING = 8
"""
# The bounds are those of the contract, but for its 500 acts, which only two idle cores hold:
# `python tests/benchmarks` measures these.
ACTS = 300
SLOW, IDLE = 1000, 1000
LEADS = 10_000
WAIT_FOR_SLOW_CLIENTS_SECONDS, WAIT_FOR_UPLOADS_SECONDS = 3.0, 1.0
# A machine that is busy with other things may spoil a round, a service that blocks spoils each.
ROUNDS = 3
BUSY = {"error": "Too many requests in progress"}


@pytest.fixture(scope="module", autouse=True)
def many_files():
    """The clients of these tests, and the stand-ins, are in this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = 8 * (SLOW + IDLE)
    limit = enough if hard == resource.RLIM_INFINITY else min(enough, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, limit), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def request(method: str, path: str, body: Any = None) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: x", f"X-API-Key: {API_KEY}"]
    data = b"" if body is None else json.dumps(body).encode()
    if data:
        lines += ["Content-Type: application/json", f"Content-Length: {len(data)}"]
    return "\r\n".join([*lines, "", ""]).encode() + data


def answered_status(connection: socket.socket) -> int:
    answer = HTTPResponse(connection)
    answer.begin()
    answer.read()
    return answer.status


class Clients:
    """Sockets, each with a request on its way."""

    def __init__(self, service: Service, count: int, sent: bytes) -> None:
        address = ("127.0.0.1", service.port)
        self.sockets = [
            socket.create_connection(address, timeout=HANGING_SECONDS) for _ in range(count)
        ]
        self.send(sent)

    def close(self) -> None:
        for each in self.sockets:
            each.close()

    def send(self, data: bytes) -> None:
        for each in self.sockets:
            with suppress(ConnectionError):
                each.sendall(data)

    def statuses(self) -> Counter[int]:
        """Of the answers, once they are there."""
        return Counter(map(answered_status, self.sockets))


@contextmanager
def meanwhile(task: Callable[[], object]) -> Iterator[None]:
    """A thread does it again and again as long as the block lasts."""
    is_over = Event()

    def go_on() -> None:
        while not is_over.is_set():
            task()

    with ThreadPoolExecutor(1) as thread:
        done = thread.submit(go_on)
        try:
            yield
        finally:
            is_over.set()
        done.result(HANGING_SECONDS)


@contextmanager
def bystanders(world: World) -> Iterator[list[float]]:
    """Short requests, one after the other, as long as the block lasts; the seconds of each so far.

    All are served.
    """
    world, seconds = replace(world, campaign=world.created()), []

    def ask() -> None:
        for method, path, body in (
            ("GET", "/health", None),
            ("GET", world.path(), None),
            ("POST", "/webhooks/instantly", world.payload(number=len(seconds))),
        ):
            begin = time.monotonic()
            assert world.client.call(method, path, json=body).status_code == 200
            seconds.append(time.monotonic() - begin)

    with meanwhile(ask):
        yield seconds


def test_hundreds_of_acts_that_wait_are_all_done_and_keep_nobody_waiting(served):
    act = request("POST", "/campaigns", campaign_request(name="One of many"))
    with bystanders(served) as seconds:
        served.upstreams.instantly_http.latency_seconds = 0.5
        with closing(Clients(served.client, ACTS, act)) as clients:
            before = len(seconds)
            assert clients.statuses() == {201: ACTS}
            assert len(seconds) > before + 3
    assert len(served.campaign_rows()) == ACTS + 1
    assert served.agrees()
    assert served.billed() == ACTS + 1


def test_acts_beyond_what_one_process_holds_are_refused_and_the_others_done(served, tmp_path):
    service = Service(served.db.connection.info.dsn, served.upstreams, tmp_path)
    keys_http = served.upstreams.keys_http
    keys_http.fail("GET", "/internal/keys/.*", times=None, how="hang")
    with running(service, patched_command(FEW_MAY_WAIT)):
        act = request("POST", "/campaigns", campaign_request())
        with closing(Clients(service, 8, act)) as waiting:
            keys_http.wait_until_hanging(8)
            refused = service.call("POST", "/campaigns", json=campaign_request())
            assert (refused.status_code, refused.json()) == (503, BUSY)
            assert int(refused.headers["Retry-After"]) > 0
            assert service.call("GET", "/health").status_code == 200
            keys_http.heal()
            assert waiting.statuses() == {201: 8}


def test_hundreds_of_slow_and_idle_clients_keep_nobody_waiting(served):
    half_headers = b"POST /webhooks/instantly HTTP/1.1\r\nHost: x\r\nX-Slow: "
    half_body = b"POST /webhooks/instantly HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"
    with ExitStack() as stack:
        slow = [
            stack.enter_context(closing(Clients(served.client, SLOW // 2, sent)))
            for sent in (half_headers, half_body)
        ]

        def trickle():
            for clients in slow:
                clients.send(b" ")
            time.sleep(0.5)

        stack.enter_context(meanwhile(trickle))
        sent = request("GET", "/")
        idle = stack.enter_context(closing(Clients(served.client, IDLE, sent)))
        assert idle.statuses() == {200: IDLE}
        with bystanders(served) as seconds:
            time.sleep(1.5)
        assert max(seconds) < WAIT_FOR_SLOW_CLIENTS_SECONDS
        # Nobody was thrown out to make room.
        idle.send(sent)
        assert idle.statuses() == {200: IDLE}


def test_large_uploads_keep_short_requests_waiting_for_a_second_at_most(served):
    def upload(campaign):
        emails = (f"lead{n}@{campaign['id']}.example" for n in range(LEADS))
        return served.add(emails, campaign)["added"]

    for _ in range(ROUNDS):
        campaigns = [served.created(name="Large") for _ in range(3)]
        with bystanders(served) as seconds, ThreadPoolExecutor(3) as callers:
            served.upstreams.instantly_http.latency_seconds = 0.1
            assert list(callers.map(upload, campaigns)) == [LEADS] * 3
        if max(seconds) < WAIT_FOR_UPLOADS_SECONDS:
            break
    assert max(seconds) < WAIT_FOR_UPLOADS_SECONDS
    assert served.agrees()
