"""gunicorn's settings: `gunicorn --config python:instantly.server 'app:create_app()'`.

One process with threads. Reading the settings here stops a misconfigured start before gunicorn
forks, with one message.
"""

import ctypes
import json
import os
import socket
import struct
import sys
import time
from contextlib import suppress
from http import HTTPStatus
from uuid import uuid4

from gunicorn import util
from gunicorn.arbiter import Arbiter
from gunicorn.workers.gthread import TConn, ThreadWorker

from instantly.affinity import claim_cpu
from instantly.config import ConfigurationError, Settings

# A client has this long to send a request, headers and body, before its thread is freed.
SEND_SECONDS = 30
# And its socket may be full for this long before the answer is given up.
RECEIVE_SECONDS = 30
M_ARENA_MAX = -8  # malloc.h

try:
    settings = Settings.from_environment(os.environ)
except ConfigurationError as error:
    sys.exit(str(error))


class Worker(ThreadWorker):  # type: ignore[misc]
    """gunicorn's threads, but slow clients do not hold one for ever."""

    def init_process(self) -> None:
        self.deadlines: dict[TConn, float] = {}
        self.next_look = 0.0
        super().init_process()

    def handle(self, conn: TConn) -> object:
        timeout = struct.pack("ll", RECEIVE_SECONDS, 0)
        conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, timeout)
        self.deadlines[conn] = time.monotonic() + SEND_SECONDS
        try:
            keep_open = super().handle(conn)
        finally:
            del self.deadlines[conn]
        if not keep_open:
            say_farewell(conn.sock)
        return keep_open

    def handle_quit(self, sig: int, frame: object) -> None:
        """SIGQUIT and SIGINT: at once, as a crash would, after which the cleanup is there.

        gunicorn's own would wait for the requests, and for a lock of the thread pool that the main
        thread may hold: it is this thread that the signal interrupts.
        """
        os._exit(0)

    def notify(self) -> None:
        """Called at least once a second. Ends the reading of overdue requests; one that was read
        in time only loses its keep-alive by that, and can still be answered.
        """
        super().notify()
        now = time.monotonic()
        if now < self.next_look:
            return
        self.next_look = now + 1.0
        for conn, deadline in list(self.deadlines.items()):
            if now > deadline:
                with suppress(OSError):  # the client is gone
                    conn.sock.shutdown(socket.SHUT_RD)


def share_one_heap() -> None:
    """glibc gives threads heaps of their own, and each keeps what a large request once needed.

    They would be there to allocate at the same time, which the interpreter's lock rules out.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_ARENA_MAX, 1)


def when_ready(server: Arbiter) -> None:
    """Claims a CPU for as long as the arbiter lives: a worker that replaces another inherits it."""
    wanted = settings.web_cpu == "auto" and server.cfg.workers == 1
    server.cpu_claim = claim_cpu() if wanted else None


def post_fork(server: Arbiter, worker: Worker) -> None:
    """Binds the process to one CPU: the one that is set, or the one that is claimed."""
    share_one_heap()
    if isinstance(settings.web_cpu, int):
        os.sched_setaffinity(0, {settings.web_cpu})
    elif server.cpu_claim and server.num_workers == 1:
        with suppress(OSError):  # the platform does not let us
            os.sched_setaffinity(0, {server.cpu_claim.cpu})


def say_farewell(sock: socket.socket) -> None:
    """Lets the client read the answer to its end before the connection goes.

    gunicorn does it on its main thread, which accepts nobody as long as the client takes.
    """
    with suppress(OSError):
        util.close_graceful(sock.dup())
        sock.shutdown(socket.SHUT_RDWR)


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

bind = f"0.0.0.0:{settings.port}"
workers = 1
worker_class = "instantly.server.Worker"
threads = settings.web_threads
keepalive = 75
graceful_timeout = 30
control_socket_disable = True
