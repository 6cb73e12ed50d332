"""Postgres or another service is away, or clients misbehave: quick refusals, nothing lost, and full
service soon after.
"""

import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests
from flask.testing import FlaskClient
from harness import HANGING_SECONDS, Service, looking_at, running, wait_until
from stand_in import StandIn
from world import (
    API_KEY,
    CALLS,
    Act,
    Campaign,
    Upstreams,
    World,
    creating,
    uploading,
)

from instantly.migrate import migrate
from instantly.sandbox.postgres import LocalPostgres
from instantly.web.services import EXTENSION

pytestmark = pytest.mark.outage

# The whole promise is 30.
OUTAGE_SECONDS = float(os.environ.get("OUTAGE_SECONDS", "6"))
RECOVERY_SECONDS = 5.0
# A refusal comes within a few seconds: twice that is allowed on a busy machine.
QUICK_SECONDS = 14.0

HTML = "<html><body>Bad gateway</body></html>"
SHORT_TIMEOUT = (3, 0.3)


# PostgreSQL


@dataclass
class Answer:
    path: str
    at: float
    seconds: float
    status: int
    retry_after: str | None


@dataclass
class Traffic:
    """Clients that do not stop: events, each repeated until it is answered 200, and reads."""

    service: Service
    instantly_campaign_id: str
    is_over: threading.Event = field(default_factory=threading.Event)
    events: list[Answer] = field(default_factory=list)
    reads: list[Answer] = field(default_factory=list)
    received: set[str] = field(default_factory=set)
    """the events that were answered with 200"""

    def deliver(self, name: str) -> None:
        with client() as session:
            for number in range(20_000):
                event = f"{name}-{number}"
                while not self.is_over.is_set():
                    answer = self.call(
                        session, "POST", "/webhooks/instantly", json=self.event(event)
                    )
                    self.events.append(answer)
                    if answer.status == 200:
                        self.received.add(event)
                        break
                    time.sleep(0.1)
                if self.is_over.is_set():
                    return
                time.sleep(0.005)

    def read(self, path: str) -> None:
        with client() as session:
            while not self.is_over.is_set():
                self.reads.append(self.call(session, "GET", path))
                time.sleep(0.05)

    def event(self, name: str) -> dict[str, Any]:
        return {
            "event_type": "email_opened",
            "campaign_id": self.instantly_campaign_id,
            "lead_email": "ada@example.com",
            "name": name,
        }

    def call(self, session: requests.Session, method: str, path: str, **more: Any) -> Answer:
        begin = time.monotonic()
        answer = session.request(
            method,
            self.service.url + path,
            headers={"X-API-Key": API_KEY},
            timeout=HANGING_SECONDS,
            **more,
        )
        seconds = time.monotonic() - begin
        return Answer(path, begin, seconds, answer.status_code, answer.headers.get("Retry-After"))


@contextmanager
def client() -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.trust_env = False
        yield session


@pytest.fixture(scope="module")
def own_postgres() -> Iterator[LocalPostgres]:
    """A server that may be stopped."""
    with LocalPostgres() as server:
        migrate(str(server.url()))
        yield server
        server.terminate(signal.SIGINT)


@pytest.fixture(scope="module")
def service_on_own_postgres(
    own_postgres: LocalPostgres, sockets: Upstreams, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("outage")
    with running(Service(str(own_postgres.url()), sockets, folder)) as service:
        yield service


@pytest.fixture
def mortal(
    own_postgres: LocalPostgres, service_on_own_postgres: Service, upstreams: Upstreams
) -> Iterator[World]:
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
        try:
            words = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        parents[int(stat.parent.name)] = int(words[1])
    return [
        server.server_pid,
        *(pid for pid, parent in parents.items() if parent == server.server_pid),
    ]


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


@pytest.mark.parametrize("away", [frozen, stopped])
def test_without_postgres_all_are_refused_quickly_and_nothing_is_lost(
    own_postgres: LocalPostgres, mortal: World, away: Callable[[LocalPostgres], Any]
) -> None:
    campaign = mortal.created()
    traffic = Traffic(mortal.client, campaign["instantlyCampaignId"])
    with ThreadPoolExecutor(8) as threads:
        clients = [threads.submit(traffic.deliver, f"client{n}") for n in range(5)]
        for path in (f"/campaigns/{campaign['id']}", "/campaigns/by-org/org-1", "/health"):
            clients.append(threads.submit(traffic.read, path))
        time.sleep(1)
        with away(own_postgres):
            gone = time.monotonic()
            time.sleep(OUTAGE_SECONDS)
            back = time.monotonic()
        # A real start takes its time, too.
        back = max(back, time.monotonic()) if away is stopped else back
        time.sleep(RECOVERY_SECONDS + 1)
        traffic.is_over.set()
        for one in clients:
            one.result(HANGING_SECONDS)

    answers = [*traffic.events, *traffic.reads]
    assert {answer.status for answer in answers} == {200, 503}
    refusals = [answer for answer in answers if answer.status == 503]
    assert all(answer.retry_after for answer in refusals if answer.path != "/health")
    assert 503 in {answer.status for answer in answers if gone <= answer.at < back}
    assert max(answer.seconds for answer in answers) < QUICK_SECONDS
    assert max(a.seconds for a in answers if a.path == "/health") < QUICK_SECONDS / 2
    late = [answer for answer in answers if answer.at > back + RECOVERY_SECONDS]
    assert {answer.status for answer in late} == {200}
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
def test_an_act_that_postgres_did_not_store_is_taken_back(
    own_postgres: LocalPostgres, mortal: World, make: Callable[[World], Act], is_back: bool
) -> None:
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
    with risen(mortal, own_postgres):
        assert (mortal.runs(), mortal.billed()) == (["failed"], 0)
        for place in ("our campaigns", "our leads", "Instantly's campaigns", "Instantly's leads"):
            assert mortal.state()[place] == act.before[place]
        # Its row and leases are the cleanup's, when Postgres was away for too long.
        act.succeeds()


# The other services, in this process: silence is shortened

UNAVAILABLE = {
    "keys": (502, "key-service unavailable"),
    "runs": (502, "runs-service unavailable"),
    "instantly": (502, "Instantly unavailable"),
}
FAULTS: dict[str, dict[str, Any]] = {
    "silent": {"how": "hang"},
    "drops": {"how": "drop"},
    "HTML": {"status": 200, "body": HTML},
    "HTML 502": {"status": 502, "body": HTML},
    "429": {"status": 429},
    "429 come back in 2 s": {"status": 429, "headers": {"Retry-After": "2"}},
    "429 come back in 60 s": {"status": 429, "headers": {"Retry-After": "60"}},
}


@pytest.fixture
def short_timeouts(client: FlaskClient) -> Iterator[None]:
    parts = client.application.extensions[EXTENSION]
    clients = [parts.keys, parts.runs, parts.instantly]
    before = [one._timeout for one in clients]
    for one in clients:
        one._timeout = SHORT_TIMEOUT
    yield
    for one, timeout in zip(clients, before, strict=True):
        one._timeout = timeout


@contextmanager
def broken(stand_in: StandIn, call: tuple[str, str], fault: str) -> Iterator[None]:
    if fault == "unreachable":
        stand_in.stop()
    else:
        stand_in.fail(*call, times=None, **FAULTS[fault])
    try:
        yield
    finally:
        stand_in.heal()
        if fault == "unreachable":
            stand_in.start()
        wait_until(lambda: stand_in.hanging == 0)


@pytest.mark.parametrize("fault", ["unreachable", *FAULTS])
@pytest.mark.parametrize("name", ["keys", "runs", "instantly"])
def test_while_a_service_is_away_nothing_is_done_and_then_all_is_well(
    act: Act, short_timeouts: None, waits: list[float], name: str, fault: str
) -> None:
    stand_in: StandIn = getattr(act.world.upstreams, f"{name}_http")
    status, error = UNAVAILABLE[name]
    if name == "instantly" and fault.startswith("429"):
        status, error = 503, "Instantly rate limit reached"
    with broken(stand_in, act.calls[name], fault):
        act.fails(status, error, runs=["failed"] if name == "instantly" else [])
    # A longer wait than 30 s in all is not begun.
    assert sum(waits) <= 30
    act.succeeds()


# Stuck uploads and webhooks


def webhook_rate(world: World, campaign: Campaign, seconds: float) -> float:
    """Events answered 200 in a second, by four clients."""

    def deliver(_: int) -> int:
        count = 0
        with client() as session:
            deadline = time.monotonic() + seconds
            while time.monotonic() < deadline and count < 10_000:
                event = {
                    "event_type": "email_opened",
                    "campaign_id": campaign["instantlyCampaignId"],
                    "lead_email": f"{count}@example.com",
                    "at": time.time_ns(),
                }
                url = f"{world.client.url}/webhooks/instantly"
                assert session.post(url, json=event, timeout=30).status_code == 200
                count += 1
        return count

    with ThreadPoolExecutor(4) as clients:
        return sum(clients.map(deliver, range(4))) / seconds


@pytest.mark.parametrize(
    ("name", "campaigns"), [("keys", 16), ("runs", 16), ("instantly", 16), ("instantly", 1)]
)
def test_uploads_that_are_stuck_do_not_keep_webhooks_waiting(
    served: World, name: str, campaigns: int
) -> None:
    another, *own = [served.created() for _ in range(1 + campaigns)]

    def upload(number: int) -> dict[str, Any]:
        return served.add([f"lead{number}@example.com"], own[number % campaigns])

    stand_in: StandIn = getattr(served.upstreams, f"{name}_http")
    calls = {**CALLS, "instantly": ("POST", "/api/v2/leads/add")}
    webhook_rate(served, another, 0.5)
    before = webhook_rate(served, another, 1.5)
    stand_in.fail(*calls[name], times=None, how="hang")
    with ThreadPoolExecutor(16) as callers:
        stuck = [callers.submit(upload, number) for number in range(16)]
        stand_in.wait_until_hanging(campaigns)
        during = webhook_rate(served, another, 1.5)
        assert not any(upload.done() for upload in stuck)
        stand_in.heal()
        assert [upload.result(HANGING_SECONDS)["added"] for upload in stuck] == [1] * 16
    after = webhook_rate(served, another, 1.5)
    assert during / ((before + after) / 2) >= 0.5


# Clients that are slow, or talk nonsense

IMPATIENT = """
import sys
import instantly.server
instantly.server.SEND_SECONDS = 1
instantly.server.RECEIVE_SECONDS = 1
from gunicorn.app.wsgiapp import run
sys.argv = ["gunicorn", *sys.argv[1:]]
run()
"""


@pytest.fixture
def service(served: World) -> Service:
    running_service: Service = served.client
    return running_service


@pytest.fixture(scope="module")
def impatient_service(
    service_of_the_module: World, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """One second for a client to send its request, and one to take its answer."""
    world, folder = service_of_the_module, tmp_path_factory.mktemp("impatient")
    service = Service(world.db.connection.info.dsn, world.upstreams, folder)
    arguments = ["--config", "python:instantly.server", "app:create_app()"]
    try:
        service.start([sys.executable, "-c", IMPATIENT, *arguments])
        yield service
    finally:
        service.kill()


@contextmanager
def raw(service: Service) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", service.port), timeout=HANGING_SECONDS) as one:
        yield one


def request_head(method: str, path: str, *headers: str) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: x", f"X-API-Key: {API_KEY}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


JSON_TYPE = "Content-Type: application/json"
HALF_HEADERS = b"POST /webhooks/instantly HTTP/1.1\r\nHost: x\r\nContent-Ty"
HALF_BODY = request_head("POST", "/webhooks/instantly", JSON_TYPE, "Content-Length: 100") + b'{"a'
HALF_CHUNK = (
    request_head("POST", "/webhooks/instantly", JSON_TYPE, "Transfer-Encoding: chunked")
    + b'64\r\n{"a'
)
UNREAD_ANSWERS = request_head("GET", "/openapi.json") * 400


def read_to_the_end(connection: socket.socket) -> bytes:
    """What the server says until it closes; a reset counts as closing."""
    said = b""
    try:
        while part := connection.recv(65536):
            said += part
    except ConnectionError:
        pass
    return said


@pytest.mark.parametrize("sent", [HALF_HEADERS, HALF_BODY, HALF_CHUNK], ids=lambda s: s[-12:])
def test_who_does_not_send_on_is_ended(impatient_service: Service, sent: bytes) -> None:
    with raw(impatient_service) as connection:
        connection.sendall(sent)
        answered = read_to_the_end(connection)
    assert not answered or answered.startswith(b"HTTP/1.1 4"), answered


@pytest.mark.parametrize("sent", [HALF_HEADERS, HALF_BODY], ids=lambda s: s[-12:])
def test_a_trickle_is_slow_sending_too(impatient_service: Service, sent: bytes) -> None:
    """However lively it looks."""
    with raw(impatient_service) as connection:
        connection.sendall(sent)
        begin = time.monotonic()
        with suppress(ConnectionError):
            while time.monotonic() < begin + HANGING_SECONDS:
                connection.sendall(b"E")
                time.sleep(0.1)
        assert time.monotonic() < begin + HANGING_SECONDS


def test_a_client_between_two_requests_has_longer(impatient_service: Service) -> None:
    with raw(impatient_service) as connection:
        for _ in range(2):
            connection.sendall(request_head("GET", "/"))
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
            time.sleep(1.5)


def test_who_does_not_read_is_ended(impatient_service: Service) -> None:
    with raw(impatient_service) as connection:
        connection.sendall(UNREAD_ANSWERS)
        time.sleep(2.5)
        assert read_to_the_end(connection).count(b"HTTP/1.1 200 ") < 400


def test_refused_clients_that_stay_keep_nobody_waiting(service: Service) -> None:
    with ExitStack() as stack:
        for _ in range(30):
            connection = stack.enter_context(raw(service))
            connection.sendall(b"NONSENSE\r\n\r\n")
        begin = time.monotonic()
        for _ in range(5):
            assert service.call("GET", "/health").status_code == 200
        assert time.monotonic() - begin < QUICK_SECONDS


@dataclass
class RawAnswer:
    status: int
    headers: dict[str, str]
    body: bytes


def ask(service: Service, sent: bytes) -> RawAnswer:
    """The one answer to these bytes; the client sends no more and goes on listening."""
    with raw(service) as connection:
        connection.sendall(sent)
        said = b""
        while b"\r\n\r\n" not in said:
            part = connection.recv(65536)
            assert part, f"closed after {said!r}"
            said += part
        head, _, body = said.partition(b"\r\n\r\n")
        status_line, *lines = head.decode("latin-1").split("\r\n")
        headers = {
            name.lower(): value.strip() for name, _, value in (s.partition(":") for s in lines)
        }
        while len(body) < int(headers["content-length"]):
            part = connection.recv(65536)
            assert part
            body += part
    return RawAnswer(int(status_line.split()[1]), headers, body)


def is_a_clean_refusal(answer: RawAnswer) -> bool:
    return (
        400 <= answer.status < 500
        and answer.headers["content-type"] == "application/json"
        and isinstance(json.loads(answer.body)["error"], str)
        and len(answer.headers["x-request-id"]) == 36
    )


MIB = 1024 * 1024


@pytest.mark.parametrize(
    ("path", "length"),
    [
        ("/campaigns", 16 * MIB + 1),
        ("/campaigns", 10**18),
        ("/campaigns/11111111-1111-4111-8111-111111111111/leads", 17 * MIB),
        ("/stats", 17 * MIB),
        ("/webhooks/instantly", 4 * MIB + 1),
    ],
)
def test_a_body_over_the_limit_is_refused_before_it_is_sent(
    service: Service, path: str, length: int
) -> None:
    sent = request_head("POST", path, JSON_TYPE, f"Content-Length: {length}") + b'{"a":'
    begin = time.monotonic()
    answer = ask(service, sent)
    assert time.monotonic() - begin < QUICK_SECONDS
    assert (answer.status, json.loads(answer.body)) == (413, {"error": "Request body too large"})
    assert is_a_clean_refusal(answer)


@pytest.mark.parametrize(
    ("path", "limit"), [("/campaigns", 16 * MIB), ("/webhooks/instantly", 4 * MIB)]
)
def test_a_body_over_the_limit_is_refused_without_a_declared_length(
    service: Service, path: str, limit: int
) -> None:
    chunk = b"%x\r\n%s\r\n" % (MIB, b" " * MIB)
    head = request_head("POST", path, JSON_TYPE, "Transfer-Encoding: chunked")
    answer = ask(service, head + chunk * (limit // MIB + 1) + b"0\r\n\r\n")
    assert (answer.status, json.loads(answer.body)) == (413, {"error": "Request body too large"})


def test_a_caller_without_the_key_is_refused_before_its_body_is_sent(service: Service) -> None:
    head = b"POST /campaigns HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n"
    answer = ask(service, head + b"Content-Type: application/json\r\n\r\n")
    assert (answer.status, json.loads(answer.body)) == (401, {"error": "Unauthorized"})


@pytest.mark.parametrize("length", ["Content-Length: 1000000000000", "Transfer-Encoding: chunked"])
def test_a_body_that_nobody_reads_keeps_nobody_waiting_however_fast_it_comes(
    service: Service, length: str
) -> None:
    with raw(service) as connection, ThreadPoolExecutor(1) as sender:
        connection.sendall(f"POST /campaigns HTTP/1.1\r\nHost: x\r\n{length}\r\n\r\n".encode())

        def send_on() -> None:
            with suppress(ConnectionError):
                while True:
                    connection.sendall(b"10000\r\n" + b"a" * 0x10000 + b"\r\n")

        sending = sender.submit(send_on)
        begin = time.monotonic()
        while not sending.done():
            assert service.call("GET", "/health").status_code == 200
        assert time.monotonic() - begin < QUICK_SECONDS


NONSENSE = [
    b"NONSENSE\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    b"GET\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"G\x00T / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /" + b"a" * 10_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: " + b"a" * 100_000 + b"\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X-Many: a\r\n" * 1000 + b"\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nNo colon\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nBad Name: a\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nX-Nul: a\x00b\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nX-Folded: a\r\n b\r\n\r\n",
    request_head("POST", "/stats", "Content-Length: many"),
    request_head("POST", "/stats", "Content-Length: -1"),
    request_head("POST", "/stats", "Content-Length: 1", "Content-Length: 2"),
    request_head("POST", "/stats", "Content-Length: 1", "Transfer-Encoding: chunked"),
    request_head("POST", "/stats", JSON_TYPE, "Transfer-Encoding: chunked") + b"zz\r\n{}\r\n",
    *(
        request_head("GET", path)
        for path in (
            *("/%00", "/campaigns/%00", "/campaigns/by-org/a%00b?limit=1", "//campaigns//"),
            *("/campaigns/by-org/%ff%fe/x", "/campaigns/by-org/org?limit=%ff", "/campaigns/%zz"),
            *("/campaigns/by-org/org?cursor=%00", "/campaigns/..%2f..%2fetc%2fpasswd"),
            *("/../../etc/passwd", "/campaigns/" + "%41" * 1000),
        )
    ),
    request_head("POST", "/accounts/%00/warmup", JSON_TYPE, "Content-Length: 16")
    + b'{"enabled":true}',
    request_head("DELETE", "/"),
    request_head("TRACE", "/health"),
    request_head("FOO", "/campaigns"),
    b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /campaigns HTTP/1.1\r\nHost: x\r\nX-API-Key: \xff\xfe\r\n\r\n",
]


@pytest.mark.parametrize("sent", NONSENSE, ids=lambda sent: repr(sent[:60] + sent[-30:])[:90])
def test_nonsense_is_refused_in_clean_json(service: Service, sent: bytes) -> None:
    answer = ask(service, sent)
    assert is_a_clean_refusal(answer), answer
    assert b"\x00" not in answer.body
    assert service.call("GET", "/health").status_code == 200
