"""Postgres or another service is away, or clients misbehave: refusals, nothing lost, and soon full
service.
"""

import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from http.client import HTTPResponse
from pathlib import Path
from threading import Event
from typing import Any, NamedTuple

import pytest
import requests
from harness import HANGING_SECONDS, Service, looking_at, patched_command, running, wait_until
from world import API_KEY, CALLS, World, creating, uploading

from instantly.migrate import migrate
from instantly.sandbox.postgres import LocalPostgres

pytestmark = pytest.mark.outage

# The whole promise is 30.
OUTAGE_SECONDS = float(os.environ.get("OUTAGE_SECONDS", "6"))
RECOVERY_SECONDS = 5.0
HEALTH_SECONDS = 3.0
# Against standing still, on whatever machine: nobody promises it.
STANDSTILL_SECONDS = 14.0


# PostgreSQL


class Answer(NamedTuple):
    client: str
    begin: float
    end: float
    status: int
    retry_after: str | None


class Traffic:
    """Clients that do not stop: events, each repeated until it is answered 200, and reads."""

    def __init__(self, world: World) -> None:
        self.world = replace(world, campaign=world.created())
        self.is_over = Event()
        self.answers: list[Answer] = []
        self.received: set[str] = set()
        """the events that were answered with 200"""
        reads = (self.world.path(), "/campaigns/by-org/org-1", "/health")
        self.clients = [
            *(lambda name=f"client{n}": self.deliver(name) for n in range(5)),
            *(lambda path=path: self.read(path) for path in reads),
        ]

    def deliver(self, name: str) -> None:
        with client() as session:
            number = 0
            while not self.is_over.is_set():
                event = self.world.payload(lead_email="ada@example.com", name=f"{name}-{number}")
                if self.call(session, name, "POST", "/webhooks/instantly", json=event) == 200:
                    self.received.add(event["name"])
                    number += 1
                    time.sleep(0.005)
                else:
                    time.sleep(0.1)

    def read(self, path: str) -> None:
        with client() as session:
            while not self.is_over.is_set():
                self.call(session, path, "GET", path)
                time.sleep(0.05)

    def call(
        self, session: requests.Session, client: str, method: str, path: str, **more: Any
    ) -> int:
        begin = time.monotonic()
        url = self.world.client.url + path
        answer = session.request(method, url, timeout=HANGING_SECONDS, **more)
        status, retry_after = answer.status_code, answer.headers.get("Retry-After")
        self.answers.append(Answer(client, begin, time.monotonic(), status, retry_after))
        return status

    def all_are_served(self, since: float) -> bool:
        """Whether every client has asked something since then, and got it."""
        served = {answer.client for answer in self.answered(since) if answer.status == 200}
        return len(served) == len(self.clients)

    def answered(self, since: float) -> list[Answer]:
        return [answer for answer in list(self.answers) if answer.begin > since]

    @contextmanager
    def going_on(self) -> Iterator[None]:
        with ThreadPoolExecutor(len(self.clients)) as threads:
            clients = [threads.submit(each) for each in self.clients]
            try:
                wait_until(lambda: self.all_are_served(since=0))
                yield
            finally:
                self.is_over.set()
            for each in clients:
                each.result(HANGING_SECONDS)


@contextmanager
def client() -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.trust_env = False
        session.headers["X-API-Key"] = API_KEY
        yield session


@pytest.fixture(scope="module")
def own_postgres():
    """A server that may be stopped."""
    with LocalPostgres() as server:
        migrate(str(server.url()))
        yield server
        server.terminate(signal.SIGINT)


@pytest.fixture(scope="module")
def service_on_own_postgres(own_postgres, sockets, tmp_path_factory):
    folder = tmp_path_factory.mktemp("outage")
    with running(Service(str(own_postgres.url()), sockets, folder)) as service:
        yield service


@pytest.fixture
def mortal(own_postgres, service_on_own_postgres, upstreams):
    """A world whose PostgreSQL may be stopped; looking at it is a new connection then."""
    with looking_at(str(own_postgres.url())) as db:
        db.empty()
        yield World(db, upstreams, service_on_own_postgres)


@contextmanager
def risen(world: World, server: LocalPostgres) -> Iterator[World]:
    """The same world after the server's new start."""
    with looking_at(str(server.url())) as db:
        world.db = db
        yield world


def processes_of(server: LocalPostgres) -> list[int]:
    """Postgres and its children."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has just ended
            words = stat.read_text().rpartition(")")[2].split()
            parents[int(stat.parent.name)] = int(words[1])
    children = [pid for pid, parent in parents.items() if parent == server.server_pid]
    return [server.server_pid, *children]


@contextmanager
def frozen(server: LocalPostgres) -> Iterator[None]:
    """It answers nothing, and refuses nothing."""
    pids = processes_of(server)
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


@contextmanager
def stopped(server: LocalPostgres) -> Iterator[None]:
    """Shut down, and started again on the same data and port."""
    server.terminate(signal.SIGINT)
    try:
        yield
    finally:
        server.start()


# A frozen server is noticed after 5 s only, one that is stopped at once.
@pytest.mark.parametrize(("away", "share"), [(frozen, 1), (stopped, 0.5)])
def test_without_postgres_all_are_refused_and_nothing_is_lost(own_postgres, mortal, away, share):
    traffic = Traffic(mortal)
    with traffic.going_on():
        with away(own_postgres):
            gone = time.monotonic()
            time.sleep(OUTAGE_SECONDS * share)
            back = time.monotonic()
        # A real start takes its time, too.
        back = max(back, time.monotonic()) if away is stopped else back
        wait_until(lambda: traffic.all_are_served(since=back), RECOVERY_SECONDS)
        well = time.monotonic()
        time.sleep(1)

    answers = traffic.answers
    assert {answer.status for answer in answers} == {200, 503}
    refusals = [answer for answer in answers if answer.status == 503]
    assert any(gone <= answer.begin < back for answer in refusals)
    assert all(answer.retry_after for answer in refusals if answer.client != "/health")
    assert all(answer.begin < well for answer in refusals)
    assert max(answer.end - answer.begin for answer in answers) < STANDSTILL_SECONDS
    health = [answer.end - answer.begin for answer in answers if answer.client == "/health"]
    assert max(health) < HEALTH_SECONDS
    with risen(mortal, own_postgres) as world:
        rows = world.db.all(
            "SELECT payload->>'name' AS name, count(*) AS n FROM instantly_events GROUP BY 1"
        )
        # Those who were at it when all stopped may have been recorded as well.
        assert traffic.received <= {row["name"] for row in rows}
        assert {row["n"] for row in rows} == {1}
        (activity,) = world.db.all("SELECT sum(opened) AS n FROM instantly_lead_activity")
        assert activity["n"] == len(rows)
    assert mortal.client.is_running()


@pytest.mark.parametrize("is_back", [True, False], ids=["back at once", "still away"])
@pytest.mark.parametrize("make", [creating, uploading], ids=["campaigns", "leads"])
def test_an_act_that_postgres_did_not_store_is_taken_back(own_postgres, mortal, make, is_back):
    """Leads while Postgres is still away, too: nobody can have taken the lock so soon."""
    act = make(mortal)
    instantly_http = act.fail("instantly", how="hang_after")
    with ThreadPoolExecutor(1) as caller:
        first = caller.submit(act.send)
        instantly_http.wait_until_hanging()
        with stopped(own_postgres):
            instantly_http.release()
            if is_back:
                time.sleep(0.5)
            else:
                first.result(HANGING_SECONDS)
                assert set(mortal.campaigns()) == act.before["Instantly's campaigns"]
                assert mortal.in_instantly() == act.before["Instantly's leads"]
                assert (mortal.runs(), mortal.billed()) == (["failed"], 0)
        answer = first.result(HANGING_SECONDS)
    assert (answer.status_code, answer.get_json()) == (503, {"error": "Database unavailable"})
    assert answer.headers["Retry-After"]
    with risen(mortal, own_postgres) as world:
        assert (world.runs(), world.billed()) == (["failed"], 0)
        for place in ("our campaigns", "our leads", "Instantly's campaigns", "Instantly's leads"):
            assert world.state()[place] == act.before[place]
        # Its row and leases are the cleanup's, and in the way for no longer than they last.
        world.db.fall_silent()
        act.succeeds()


# The other services, in this process: silence is shortened

UNAVAILABLE = {
    "keys": (502, "key-service unavailable"),
    "runs": (502, "runs-service unavailable"),
    "instantly": (502, "Instantly unavailable"),
}


@pytest.mark.parametrize("is_reachable", [False, True], ids=["unreachable", "silent"])
@pytest.mark.parametrize("name", ["keys", "runs", "instantly"])
def test_while_a_service_is_away_nothing_is_done_and_then_all_is_well(
    act, impatient_app, waits, name, is_reachable
):
    act.world = act.world.beside(impatient_app)
    stand_in = act.fail(name, times=None, how="hang")
    if not is_reachable:
        stand_in.stop()
    try:
        act.fails(*UNAVAILABLE[name], runs=["failed"] if name == "instantly" else [])
    finally:
        stand_in.heal()
        if not is_reachable:
            stand_in.start()
    wait_until(lambda: stand_in.hanging == 0)
    # A longer wait than 30 s in all is not begun.
    assert sum(waits) <= 30
    act.succeeds()


# Stuck uploads and webhooks

STUCK = 10  # more than there are connections to the database


@pytest.mark.parametrize(
    ("name", "campaigns"),
    [("keys", STUCK), ("runs", STUCK), ("instantly", STUCK), ("instantly", 1)],
)
def test_uploads_that_are_stuck_do_not_keep_webhooks_waiting(served, name, campaigns):
    traffic, own = Traffic(served), [served.created() for _ in range(campaigns)]
    stand_in = getattr(served.upstreams, f"{name}_http")
    calls = {**CALLS, "instantly": ("POST", "/api/v2/leads/add")}

    def upload(number):
        return served.add([f"lead{number}@example.com"], own[number % campaigns])["added"]

    stand_in.fail(*calls[name], times=None, how="hang")
    with ThreadPoolExecutor(STUCK) as callers, traffic.going_on():
        stuck = [callers.submit(upload, number) for number in range(STUCK)]
        stand_in.wait_until_hanging(campaigns)
        begin = time.monotonic()
        wait_until(lambda: len(traffic.answered(since=begin)) > 300, STANDSTILL_SECONDS)
        assert not any(upload.done() for upload in stuck)
        stand_in.heal()
        assert [upload.result(HANGING_SECONDS) for upload in stuck] == [1] * STUCK
    assert {answer.status for answer in traffic.answers} == {200}
    assert max(answer.end - answer.begin for answer in traffic.answers) < STANDSTILL_SECONDS


# Clients that are slow, or talk nonsense

IMPATIENT = """
assert (instantly.connection.SEND_SECONDS, instantly.connection.RECEIVE_SECONDS) == (30, 30)
instantly.connection.SEND_SECONDS = 0.6
instantly.connection.RECEIVE_SECONDS = 0.6
"""


@pytest.fixture
def service(served):
    return served.client


@pytest.fixture(scope="module")
def impatient_service(service_of_the_module, tmp_path_factory):
    """A moment for a client to send its request, and one to take its answer."""
    world, folder = service_of_the_module, tmp_path_factory.mktemp("impatient")
    service = Service(world.db.connection.info.dsn, world.upstreams, folder)
    with running(service, patched_command(IMPATIENT)):
        yield service


@contextmanager
def raw(service: Service) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", service.port), timeout=HANGING_SECONDS) as one:
        yield one


def request_head(method: str, path: str, *headers: str) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: x", f"X-API-Key: {API_KEY}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


JSON_TYPE = "Content-Type: application/json"
CHUNKED = "Transfer-Encoding: chunked"
HALF_HEADERS = b"POST /webhooks/instantly HTTP/1.1\r\nHost: x\r\nContent-Ty"
HALF_BODY = request_head("POST", "/webhooks/instantly", JSON_TYPE, "Content-Length: 100") + b'{"a'
HALF_CHUNK = request_head("POST", "/webhooks/instantly", JSON_TYPE, CHUNKED) + b'64\r\n{"a'
UNREAD_ANSWERS = request_head("GET", "/openapi.json") * 400


def read_to_the_end(connection: socket.socket) -> bytes:
    """What the server says until it closes; a reset counts as closing."""
    said = b""
    with suppress(ConnectionError):
        while part := connection.recv(65536):
            said += part
    return said


@pytest.mark.parametrize("sent", [HALF_HEADERS, HALF_BODY, HALF_CHUNK], ids=lambda s: s[-12:])
def test_who_does_not_send_on_is_ended(impatient_service, sent):
    with raw(impatient_service) as connection:
        connection.sendall(sent)
        answered = read_to_the_end(connection)
    assert not answered or answered.startswith(b"HTTP/1.1 4"), answered


@pytest.mark.parametrize("sent", [HALF_HEADERS, HALF_BODY], ids=lambda s: s[-12:])
def test_a_trickle_is_slow_sending_too(impatient_service, sent):
    """However lively it looks."""
    with raw(impatient_service) as connection:
        connection.sendall(sent)
        with pytest.raises(ConnectionError):
            for _ in range(int(HANGING_SECONDS / 0.05)):
                connection.sendall(b"E")
                time.sleep(0.05)


def test_a_client_between_two_requests_has_longer(impatient_service):
    with raw(impatient_service) as connection:
        for pause in (1.2, 0):
            connection.sendall(request_head("GET", "/"))
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
            time.sleep(pause)


def test_who_does_not_read_is_ended(impatient_service):
    with raw(impatient_service) as connection:
        connection.sendall(UNREAD_ANSWERS)
        time.sleep(2)
        assert read_to_the_end(connection).count(b"HTTP/1.1 200 ") < 400


def test_refused_clients_that_stay_keep_nobody_waiting(service):
    with ExitStack() as stack:
        for _ in range(30):
            stack.enter_context(raw(service)).sendall(b"NONSENSE\r\n\r\n")
        begin = time.monotonic()
        assert service.call("GET", "/health").status_code == 200
        assert time.monotonic() - begin < STANDSTILL_SECONDS


def test_a_body_that_nobody_reads_keeps_nobody_waiting_however_fast_it_comes(service):
    def send_on(connection):
        with suppress(ConnectionError):
            while True:
                connection.sendall(b"10000\r\n" + b"a" * 0x10000 + b"\r\n")

    with ExitStack() as stack, ThreadPoolExecutor(2) as senders:
        sending = []
        for length in ("Content-Length: 1000000000000", CHUNKED):
            connection = stack.enter_context(raw(service))
            connection.sendall(f"POST /campaigns HTTP/1.1\r\nHost: x\r\n{length}\r\n\r\n".encode())
            sending.append(senders.submit(send_on, connection))
        begin = time.monotonic()
        while not all(one.done() for one in sending):
            assert service.call("GET", "/health").status_code == 200
        assert time.monotonic() - begin < STANDSTILL_SECONDS


def refusal(service: Service, sent: bytes) -> tuple[int, str]:
    """Status and error of the one answer to these bytes, which is clean JSON.

    The client sends no more and goes on listening.
    """
    with raw(service) as connection:
        connection.sendall(sent)
        answer = HTTPResponse(connection)
        answer.begin()
        body = answer.read()
    assert answer.headers["Content-Type"] == "application/json"
    assert len(answer.headers["X-Request-Id"]) == 36
    assert b"\x00" not in body
    return answer.status, json.loads(body)["error"]


MIB = 1024 * 1024
TOO_LARGE = (413, "Request body too large")


@pytest.mark.parametrize(
    ("path", "limit"), [("/campaigns", 16 * MIB), ("/webhooks/instantly", 4 * MIB)]
)
def test_a_body_over_the_limit_is_refused_before_it_is_sent_and_without_a_length(
    service, path, limit
):
    begin = time.monotonic()
    for length in (limit + 1, 10**18):
        head = request_head("POST", path, JSON_TYPE, f"Content-Length: {length}")
        assert refusal(service, head + b'{"a":') == TOO_LARGE
    assert time.monotonic() - begin < STANDSTILL_SECONDS
    chunk = b"%x\r\n%s\r\n" % (MIB, b" " * MIB)
    chunks = chunk * (limit // MIB + 1) + b"0\r\n\r\n"
    assert refusal(service, request_head("POST", path, JSON_TYPE, CHUNKED) + chunks) == TOO_LARGE


def test_a_caller_without_the_key_is_refused_before_its_body_is_sent(service):
    head = f"POST /campaigns HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n{JSON_TYPE}\r\n\r\n"
    assert refusal(service, head.encode()) == (401, "Unauthorized")


GET = b"GET / HTTP/1.1\r\nHost: x\r\n"
NONSENSE = [
    b"NONSENSE\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"G\x00T / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /" + b"a" * 10_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    GET + b"X-Long: " + b"a" * 100_000 + b"\r\n\r\n",
    GET + b"X-Many: a\r\n" * 1000 + b"\r\n",
    GET + b"No colon\r\n\r\n",
    GET + b"Bad Name: a\r\n\r\n",
    GET + b"X-Nul: a\x00b\r\n\r\n",
    GET + b"X-Folded: a\r\n b\r\n\r\n",
    request_head("POST", "/stats", "Content-Length: many"),
    request_head("POST", "/stats", "Content-Length: -1"),
    request_head("POST", "/stats", "Content-Length: 1", "Content-Length: 2"),
    request_head("POST", "/stats", "Content-Length: 1", CHUNKED),
    request_head("POST", "/stats", JSON_TYPE, CHUNKED) + b"zz\r\n{}\r\n",
    *(
        request_head("GET", path)
        for path in (
            "/campaigns/%00",
            "/campaigns/by-org/a%00b?limit=1",
            "//campaigns//",
            "/campaigns/by-org/org?limit=%ff",
            "/campaigns/by-org/org?cursor=%00",
            "/campaigns/by-org/%ff%fe/x",
            "/campaigns/%zz",
            "/../../etc/passwd",
        )
    ),
    request_head("POST", "/accounts/%00/warmup", JSON_TYPE, "Content-Length: 16")
    + b'{"enabled":true}',
    request_head("TRACE", "/health"),
    request_head("FOO", "/campaigns"),
    b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /campaigns HTTP/1.1\r\nHost: x\r\nX-API-Key: \xff\xfe\r\n\r\n",
]


@pytest.mark.parametrize("sent", NONSENSE, ids=lambda sent: repr(sent[:60] + sent[-30:])[:90])
def test_nonsense_is_refused_in_clean_json(service, sent):
    status, error = refusal(service, sent)
    assert 400 <= status < 500
    assert isinstance(error, str)
    assert service.call("GET", "/health").status_code == 200
