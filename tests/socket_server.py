"""An HTTP/1.1 server on a real socket that can keep, cut and drop its connections.

Not a test: what `stand_in` serves with.
"""

import io
import select
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, cast

from flask import Flask
from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler
from werkzeug.wrappers import Response

HOST = "127.0.0.1"
BACKLOG = 128


@dataclass(frozen=True)
class Reply:
    """What goes back through the socket; `cut` means only half of the body does."""

    response: Response
    cut: bool = False


# Acts on one request (environ, body, connection); None: close the connection unanswered.
Answer = Callable[[dict[str, Any], bytes, socket.socket], Reply | None]


class Server(ThreadedWSGIServer):
    """A threaded server that knows its open connections, to be able to drop them."""

    def __init__(self, app: Flask, port: int, answer: Answer) -> None:
        """OSError when the port is taken; 0 takes any free one."""
        self.answer = answer
        self._connections: set[socket.socket] = set()
        self._connections_lock = threading.Lock()
        # Bound here, since werkzeug ends the process when the port is taken.
        with socket.create_server((HOST, port), backlog=BACKLOG) as listener:
            super().__init__(HOST, 0, app, handler=Handler, fd=listener.fileno())

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._connections_lock:
            self._connections.add(request)
        super().process_request(request, client_address)

    def close_request(self, request: Any) -> None:
        with self._connections_lock:
            self._connections.discard(request)
        super().close_request(request)

    def drop_connections(self) -> None:
        with self._connections_lock:
            for connection in self._connections:
                shut_down(connection)


class Handler(WSGIRequestHandler):
    """Werkzeug's handler, but with connections that stay open.

    Werkzeug's own closes the connection after each answer and swallows whatever arrives next.
    """

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # headers and body leave in one packet

    def finish(self) -> None:
        with suppress(OSError):  # the other side may be gone already
            super().finish()

    def run_wsgi(self) -> None:
        """Read one request to its end, answer it, and leave the connection open."""
        environ = self.make_environ()
        body = self._read_body(environ)
        reply = None
        if body is not None:
            reply = cast(Server, self.server).answer(environ, body, self.connection)
        if reply is None:
            self._close()
        else:
            self._send(reply)

    def _read_body(self, environ: dict[str, Any]) -> bytes | None:
        """The whole body, put back for the app; None when the client went away meanwhile."""
        length = int(environ.get("CONTENT_LENGTH") or 0)
        body = self.rfile.read(length)
        if len(body) < length:
            return None
        environ["wsgi.input"] = io.BytesIO(body)
        return body

    def _send(self, reply: Reply) -> None:
        body = reply.response.get_data()
        self.send_response(reply.response.status_code)
        for name, value in reply.response.headers:
            self.send_header(name, value)
        if "Content-Length" not in reply.response.headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if reply.cut else body)
        self.wfile.flush()
        if reply.cut:
            self._close()

    def _close(self) -> None:
        self.close_connection = True
        shut_down(self.connection)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Log nothing: the requests are recorded."""


def shut_down(connection: socket.socket) -> None:
    with suppress(OSError):  # the other side may have been faster
        connection.shutdown(socket.SHUT_RDWR)


def is_closed(connection: socket.socket) -> bool:
    """Whether the other side, or we, closed the connection."""
    readable, _, _ = select.select([connection], [], [], 0)
    try:
        return bool(readable) and connection.recv(1, socket.MSG_PEEK) == b""
    except OSError:
        return True
