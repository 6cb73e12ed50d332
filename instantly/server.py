"""gunicorn's settings: `gunicorn --config python:instantly.server 'app:create_app()'`.

One process, and in it gevent's loop: a request that waits, for its client or for another service,
holds a little memory and no thread. Reading the settings here stops a misconfigured start before
gunicorn forks, with one message.
"""

# ruff: noqa: E402  (what waits must be patched before anything imports it)
from gevent import monkey

monkey.patch_all()

import json
import logging
import os
import resource
import select
import socket
import sys
from contextlib import AbstractContextManager, nullcontext
from functools import partialmethod
from http import HTTPStatus
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import urllib3.util.wait
from gevent.socket import socket as GeventSocket
from gunicorn import util
from gunicorn.http.parser import Parser
from gunicorn.sock import TCP6Socket
from gunicorn.workers.ggevent import GeventWorker

from instantly.config import ConfigurationError, Settings
from instantly.connection import Connection

MAX_UNREAD_BYTES = 64 * 1024
MAX_CONNECTIONS = 8000

try:
    settings = Settings.from_environment(os.environ)
except ConfigurationError as error:
    sys.exit(str(error))


def without_words_of_clients(record: logging.LogRecord) -> bool:
    """Takes out of gunicorn's lines what a client sent: a key or an address may stand there."""
    if str(record.msg).startswith("Error handling request"):
        record.msg, record.args = "Error handling request", ()
    return not str(record.msg).startswith("Invalid request")


Connection.keep_alive_seconds = float(settings.keep_alive_seconds)


class Worker(GeventWorker):  # type: ignore[misc]
    def init_process(self) -> None:
        self.connections = 0
        self.idle: dict[Connection, None] = {}
        self.log.error_log.addFilter(without_words_of_clients)
        super().init_process()

    def handle(self, listener: socket.socket, client: GeventSocket, address: Any) -> None:
        connection = Connection(client.family, client.type, fileno=client.detach())
        self.connections += 1
        if self.idle and self.connections >= self.worker_connections:
            # Room for the next client, at the cost of the one that has been idle for longest.
            longest_idle = next(iter(self.idle))
            del self.idle[longest_idle]
            longest_idle.stop_reading()
        connection.idle = self.idle
        self.idle[connection] = None
        try:
            super().handle(listener, connection, address)
        finally:
            self.connections -= 1
            self.idle.pop(connection, None)

    def timeout_ctx(self) -> AbstractContextManager[None]:
        """gunicorn's limit on reading a request's headers: the connection has its own."""
        return nullcontext()

    def notify(self) -> None:
        """Called every second. A worker that stops lets go of who is not sending a request."""
        super().notify()
        if not self.alive:
            for connection in self.idle:
                connection.stop_reading()


def write_error(sock: socket.socket, status: int, reason: str, message: str) -> None:
    """gunicorn's own refusals (a malformed request line, headers too large) as JSON too."""
    body = json.dumps({"error": HTTPStatus(status).phrase}) + "\n"
    head = (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n"
        "Connection: close\r\n"
        "Content-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n"
        f"X-Request-Id: {uuid4()}\r\n\r\n"
    )
    util.write_nonblock(sock, (head + body).encode())


util.write_error = write_error
# A body that nobody read (of a request without the key, for one) is thrown away up to here, then
# the connection ends: gunicorn would read on for as long as the client sends, and nobody else run.
Parser.finish_body = partialmethod(Parser.finish_body, max_bytes=MAX_UNREAD_BYTES)

# Whether a kept connection is still open is asked without waiting; gevent's poll would go round its
# loop for that, which is a twentieth of the CPU of a billed act.
urllib3.util.wait.select = SimpleNamespace(  # type: ignore[assignment, attr-defined]
    poll=monkey.get_original("select", "poll"), POLLIN=select.POLLIN, POLLOUT=select.POLLOUT
)

# A client, and what its request may need: a connection to another service, and some to spare.
_, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
files = 3 * MAX_CONNECTIONS
if most_files != resource.RLIM_INFINITY:
    files = min(files, most_files)
resource.setrlimit(resource.RLIMIT_NOFILE, (files, most_files))


def bind_to_both_families(listener: TCP6Socket, sock: socket.socket) -> None:
    """An IPv6 socket that takes IPv4 too, whatever is the machine's default."""
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    sock.bind(listener.cfg_addr)


def any_address() -> str:
    """That of IPv6 and IPv4 together, or of IPv4 alone where there is no IPv6."""
    try:
        socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True).close()
    except (OSError, ValueError):
        return "0.0.0.0"  # noqa: S104
    return "[::]"


TCP6Socket.bind = bind_to_both_families
bind = f"{any_address()}:{settings.port}"
workers = 1
worker_class = "instantly.server.Worker"
# What proxies say of a request is of no use here, and contradicting words would refuse it.
secure_scheme_headers: dict[str, str] = {}
forwarder_headers = ""
worker_connections = files // 3
graceful_timeout = 30
control_socket_disable = True
