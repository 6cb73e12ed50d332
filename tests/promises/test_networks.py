"""What networks, routers and platforms do to connections, by the real server on real sockets."""

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress

import pytest
import requests
from harness import HANGING_SECONDS, ROOT, Service, fresh_database, looking_at, running
from helpers import ENVIRONMENT
from relay import Relay
from world import API_KEY, World

from instantly.clients import connections as connections_module
from instantly.clients import http as http_module
from instantly.clients.connections import MAX_REST_SECONDS
from instantly.clients.http import UpstreamError
from instantly.clients.keys import KeyServiceClient

POOL_SIZE = 8
REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
HAS_IPV6 = socket.has_dualstack_ipv6() and os.path.exists("/proc/net/if_inet6")


# Families


@pytest.mark.skipif(not HAS_IPV6, reason="this machine has no IPv6")
@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_it_listens_on_both_families(served, host):
    with requests.Session() as session:
        session.trust_env = False
        answer = session.get(f"http://{host}:{served.client.port}/health")
    assert answer.json()["status"] == "ok"


WITHOUT_IPV6 = """
import socket
from gevent.socket import socket as gevent_socket
of_any_family = gevent_socket.__init__
def of_ipv4(self, family=-1, *more, **named):
    if family == socket.AF_INET6:
        raise OSError(97, "Address family not supported by protocol")
    of_any_family(self, family, *more, **named)
gevent_socket.__init__ = of_ipv4
import instantly.server
print(instantly.server.bind)
"""


def test_without_ipv6_it_listens_on_ipv4_alone():
    environment = {
        **ENVIRONMENT,
        "INSTANTLY_SERVICE_DATABASE_URL": "postgresql://127.0.0.1:1/x",
        "PATH": os.environ["PATH"],
        "PORT": "3099",
    }
    said = subprocess.run(
        [sys.executable, "-c", WITHOUT_IPV6],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=HANGING_SECONDS,
    )
    assert said.stdout == "0.0.0.0:3099\n", said.stderr


# Routers


@pytest.fixture
def served_with(served, tmp_path, request) -> Iterator[Callable[..., Service]]:
    """Starts another server on the same database, as it is told."""
    with ExitStack() as stack:

        def start(command: list[str] | None = None, **environment: str) -> Service:
            url = served.db.connection.info.dsn
            service = Service(url, served.upstreams, tmp_path, **environment)
            stack.callback(service.kill)
            return service.start(command)

        yield start


def connected(stack: ExitStack, service: Service) -> socket.socket:
    address = ("127.0.0.1", service.port)
    return stack.enter_context(socket.create_connection(address, timeout=HANGING_SECONDS))


def is_served(connection: socket.socket) -> bool:
    try:
        connection.sendall(REQUEST)
        return connection.recv(65536).startswith(b"HTTP/1.1 200 ")
    except ConnectionError:
        return False


def test_a_connection_is_kept_as_long_as_it_is_said_and_no_longer(served_with):
    service = served_with(KEEP_ALIVE_SECONDS="5")
    with ExitStack() as stack:
        connection = connected(stack, service)
        assert is_served(connection)
        time.sleep(4)
        assert is_served(connection)
        begin = time.monotonic()
        assert connection.recv(1) == b""
        assert 4.5 < time.monotonic() - begin < HANGING_SECONDS


# As the process would be with `worker_connections` of so many; it is a third of the files' limit.
CROWDED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (180, 180))
from gunicorn.app.wsgiapp import run
sys.argv = ["gunicorn", *sys.argv[1:]]
run()
"""
MOST = 180 // 3


def test_those_that_have_been_idle_for_longest_make_room_for_others(served_with):
    arguments = ["--config", "python:instantly.server", "app:create_app()"]
    service = served_with([sys.executable, "-c", CROWDED, *arguments])
    with ExitStack() as stack:
        strangers = [connected(stack, service) for _ in range(2 * MOST)]
        clients = [connected(stack, service) for _ in range(3)]
        begin = time.monotonic()
        assert [is_served(client) for client in clients] == [True] * 3
        assert time.monotonic() - begin < 3
        assert service.call("GET", "/health").status_code == 200
        # They are not idle as the strangers are, who came first and went first.
        assert [is_served(client) for client in clients] == [True] * 3
        assert not any(is_served(stranger) for stranger in strangers[:MOST])


def test_sigterm_to_every_process_at_once_lets_acts_end(served, served_with):
    """As a platform stops a container that has no init."""
    served.campaign = served.created()
    service = served_with()
    instantly = served.upstreams.instantly_http
    instantly.fail("POST", "/api/v2/leads/add", how="hang")
    other = World(served.db, served.upstreams, service, served.campaign)
    with ThreadPoolExecutor(1) as caller:
        upload = caller.submit(other.add, ["ada@example.com"])
        instantly.wait_until_hanging()
        service.signal_all(signal.SIGTERM)
        time.sleep(1)
        instantly.release()
        assert upload.result(HANGING_SECONDS)["added"] == 1
    assert service.ends() == 0
    assert served.agrees()
    assert served.runs()[-1] == "completed"


# Connections that are forgotten without a word


@pytest.fixture
def far(postgres, upstreams, tmp_path) -> Iterator[tuple[World, list[Relay]]]:
    """The server, with a network between it and everything that it calls."""
    https = {"KEY_SERVICE_URL": upstreams.keys_http, "RUNS_SERVICE_URL": upstreams.runs_http}
    https["INSTANTLY_API_URL"] = upstreams.instantly_http
    with ExitStack() as stack:
        url = stack.enter_context(fresh_database(postgres))
        relay = stack.enter_context(Relay.to(url))
        relays, environment = [relay], {}
        for name, http in https.items():
            relays.append(stack.enter_context(Relay.to(http.url)))
            environment[name] = relays[-1].instead(http.url)
        service = Service(relay.instead(url), upstreams, tmp_path, **environment)
        stack.enter_context(running(service))
        db = stack.enter_context(looking_at(url))
        yield World(db, upstreams, service), relays


def seconds_of(one: Callable[[], int]) -> tuple[int, float]:
    begin = time.monotonic()
    return one(), time.monotonic() - begin


@pytest.mark.outage
def test_connections_that_were_forgotten_while_they_rested_cost_nobody_an_answer(far):
    world, relays = far
    world.campaign = world.created()

    def rest_and_be_forgotten() -> None:
        time.sleep(MAX_REST_SECONDS + 0.5)
        assert min([relay.forget() for relay in relays]) > 0

    event = {"event_type": "email_opened", "campaign_id": world.campaign["instantlyCampaignId"]}
    requests_ = [
        lambda: world.send("GET", world.path()).status_code,
        lambda: world.send("POST", "/webhooks/instantly", {**event, "n": time.time()}).status_code,
        lambda: world.send("POST", "/stats", {"brandId": "brand-1"}).status_code,
        lambda: world.client.call("GET", "/health").status_code,
    ] * POOL_SIZE
    with ThreadPoolExecutor(len(requests_)) as callers:
        for round_ in range(2):
            answers = list(callers.map(seconds_of, requests_))
            assert {status for status, _ in answers} == {200}
            if round_ == 0:
                rest_and_be_forgotten()
    assert max(seconds for _, seconds in answers) < 3.5
    assert world.create().status_code == 201
    for number in range(2):
        rest_and_be_forgotten()
        leads = [{"email": f"lead{number}@example.com"}]
        status, seconds = seconds_of(lambda leads=leads: world.upload(leads).status_code)
        assert (status, seconds < 5) == (201, True)
    assert world.agrees()
    assert set(world.runs()) == {"completed"}
    metrics = world.client.call("GET", "/metrics").text
    assert "instantly_service_left_over_total 0.0" in metrics


# Other services that drip


class Dripping:
    """Says its answer a byte at a time, with a pause before each; counts who asks."""

    def __init__(self, answer: bytes, pause: float) -> None:
        self.asked = 0
        self._answer, self._pause = answer, pause
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> "Dripping":
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._listener.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.asked += 1
                threading.Thread(target=self._drip, args=(connection,), daemon=True).start()

    def _drip(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.recv(65536)
            for number in range(len(self._answer)):
                connection.sendall(self._answer[number : number + 1])
                time.sleep(self._pause)


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


def answer_of_key_service(key: str) -> bytes:
    body = json.dumps({"provider": "instantly", "key": key}).encode()
    return HEAD + b"Content-Length: %d\r\n\r\n%s" % (len(body), body)


IN_BODY = answer_of_key_service("k" * 400)
IN_HEAD = HEAD + b"X-Long: " + b"a" * 400 + b"\r\n\r\n"
UNTIL_CLOSED = HEAD + b"Connection: close\r\n\r\n" + b" " * 400


@pytest.mark.parametrize("answer", [IN_BODY, IN_HEAD, UNTIL_CLOSED], ids=lambda a: repr(a[54:70]))
@pytest.mark.parametrize("bound", ["always", "undo"])
def test_an_answer_that_drips_is_a_read_timeout(monkeypatch, waits, answer, bound):
    """Also where an undo must end before its lock can be somebody else's."""
    assert http_module.ANSWER_SECONDS == 60
    with Dripping(answer, 0.02) as service:
        client = KeyServiceClient(service.url, "keys-key")
        if bound == "always":
            monkeypatch.setattr(http_module, "ANSWER_SECONDS", 0.5)
        else:
            client = client.until(time.monotonic() + 0.5)
        begin = time.monotonic()
        with pytest.raises(UpstreamError) as failed:
            client.decrypt_app_key(caller_method="GET", caller_path="/accounts")
        assert failed.value.status is None
        assert time.monotonic() - begin < 0.5 * service.asked + 2
        assert service.asked == (3 if bound == "always" else 1)


def test_a_slow_answer_in_time_is_complete(waits):
    with Dripping(IN_BODY, 0.0005) as service:
        key = KeyServiceClient(service.url, "k").decrypt_app_key(caller_method="", caller_path="")
    assert key == "k" * 400


def test_a_connection_that_has_rested_is_opened_anew(monkeypatch, upstreams, waits):
    """Node's servers close theirs after 5 s, maybe while a request is on its way."""
    assert MAX_REST_SECONDS < 5
    monkeypatch.setattr(connections_module, "MAX_REST_SECONDS", 0.2)
    with Relay.to(upstreams.keys_http.url) as relay:
        client = KeyServiceClient(relay.instead(upstreams.keys_http.url), "keys-key")
        for pause, connections in ((0, 1), (0, 1), (0.5, 2)):
            time.sleep(pause)
            client.decrypt_app_key(caller_method="GET", caller_path="/accounts")
            assert relay.accepted == connections
        relay.forget()


# Certificates of one's own


@pytest.fixture(scope="module")
def authority(tmp_path_factory) -> tuple[str, ssl.SSLContext]:
    """A certificate that no public authority signed, and the server's side of it."""
    folder = tmp_path_factory.mktemp("certificates")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    words += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    words += ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(words, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return str(certificate), context


@contextmanager
def answering_over_tls(context: ssl.SSLContext, answer: bytes) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    plain, _ = listener.accept()
                    with suppress(OSError), context.wrap_socket(plain, server_side=True) as client:
                        while client.recv(65536):
                            client.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        yield f"https://127.0.0.1:{listener.getsockname()[1]}"


def test_calls_trust_the_certificates_that_are_named_and_no_others(authority, waits):
    certificate, context = authority
    with answering_over_tls(context, IN_BODY) as url:
        client = KeyServiceClient(url, "keys-key", certificate)
        for _ in range(2):
            assert client.decrypt_app_key(caller_method="GET", caller_path="/") == "k" * 400
        with pytest.raises(UpstreamError):
            KeyServiceClient(url, "keys-key").decrypt_app_key(caller_method="", caller_path="")


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"])
def test_the_server_trusts_the_certificates_that_the_environment_names(
    authority, served, served_with, name
):
    certificate, context = authority
    campaign = served.created()
    with answering_over_tls(context, answer_of_key_service("key-1")) as url:
        for environment, status in (({name: certificate}, 200), ({}, 502)):
            service = served_with(KEY_SERVICE_URL=url, **environment)
            answer = service.call("GET", f"/campaigns/{campaign['id']}/sending-status")
            assert answer.status_code == status, answer.text
            service.kill()


# Keys that are rotated


def test_both_keys_count_while_callers_move_from_one_to_the_other(served, served_with):
    service = served_with(INSTANTLY_SERVICE_API_KEY=f"new-key,{API_KEY}")
    path = served.path("", served.created())
    for key, status in (("new-key", 200), (API_KEY, 200), (f"new-key,{API_KEY}", 401), ("", 401)):
        assert service.call("GET", path, headers={"X-API-Key": key}).status_code == status
        bearer = {"X-API-Key": "", "Authorization": f"Bearer {key}"}
        assert service.call("GET", "/metrics", headers=bearer).status_code == status
