"""Serve a Flask app on a real socket, record what it is asked, and fail on demand."""

import errno
import json
import re
import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from flask import Flask
from socket_server import HOST, Reply, Server, is_closed
from werkzeug.wrappers import Request, Response

STOP_POLL_SECONDS = 0.02

How = Literal["instead", "after", "drop", "drop_after", "cut", "hang", "hang_after"]


@dataclass(frozen=True)
class RecordedRequest:
    """One request as it arrived: decoded path, repeated query values kept, body as sent."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON, None when it is none. Parsed on demand: recording must cost nothing."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None


@dataclass
class Fault:
    """A failure that waits for its requests; see `StandIn.fail`."""

    method: str
    path_pattern: re.Pattern[str]
    times: int | None
    after: int
    status: int
    body: object
    headers: Mapping[str, str]
    how: How

    def takes(self, request: RecordedRequest) -> bool:
        """Whether this request fails; counts it."""
        if request.method != self.method or not self.path_pattern.fullmatch(request.path):
            return False
        if self.times == 0:
            return False
        if self.after > 0:
            self.after -= 1
            return False
        if self.times is not None:
            self.times -= 1
        return True

    def answer(self) -> Response:
        """The failing answer: text is sent as it is, None as an empty body, the rest as JSON."""
        if self.body is None or isinstance(self.body, str):
            response = Response(self.body, self.status, content_type="text/html; charset=utf-8")
        else:
            response = Response(
                json.dumps(self.body), self.status, content_type="application/json; charset=utf-8"
            )
        for name, value in self.headers.items():
            response.headers[name] = value
        return response


class StandIn:
    """A Flask app behind a real HTTP/1.1 socket on 127.0.0.1, with recording and faults.

    `port` 0 takes any free port, which a later `start` after a `stop` takes again. With
    `record` False nothing is recorded, for load benchmarks.
    """

    def __init__(self, app: Flask, port: int = 0, *, record: bool = True) -> None:
        self.app = app
        self.port = port
        self.record = record
        self.latency_seconds = 0.0
        self.requests: list[RecordedRequest] = []
        self._faults: list[Fault] = []
        self._changed = threading.Condition()
        self._hanging = 0
        self._releases = 0
        self._server: Server | None = None

    # Life

    def start(self) -> "StandIn":
        """Serve from a daemon thread; returns itself once connections are accepted.

        OSError when the port is taken.
        """
        server = self._bound()
        self.port = server.port
        self._server = server
        threading.Thread(
            target=server.serve_forever, kwargs={"poll_interval": STOP_POLL_SECONDS}, daemon=True
        ).start()
        return self

    def _bound(self) -> Server:
        """A port that was in use a moment ago is free only when its last farewell is said."""
        for _ in range(20):
            try:
                return Server(self.app, self.port, self.reply)
            except OSError as error:
                if self.port == 0 or error.errno != errno.EADDRINUSE:
                    raise
                time.sleep(STOP_POLL_SECONDS)
        return Server(self.app, self.port, self.reply)

    def stop(self) -> None:
        """Accept nothing any more and drop every open connection, hanging ones included."""
        server, self._server = self._server, None
        if server is None:
            return
        server.shutdown()
        server.server_close()
        server.drop_connections()
        self.release()

    def __enter__(self) -> "StandIn":
        return self.start()

    def __exit__(self, *_exception: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """Base URL without a trailing slash; with port 0 it is known from `start` on."""
        return f"http://{HOST}:{self.port}"

    # Recording

    def calls(self, method: str, path_pattern: str) -> list[RecordedRequest]:
        """The recorded requests of this method whose whole path matches the regular expression."""
        with self._changed:
            return [
                request
                for request in self.requests
                if request.method == method and re.fullmatch(path_pattern, request.path)
            ]

    def clear(self) -> None:
        """Forget the recorded requests."""
        with self._changed:
            self.requests.clear()

    # Faults

    def fail(
        self,
        method: str,
        path_pattern: str,
        *,
        times: int | None = 1,
        after: int = 0,
        status: int = 500,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        how: How = "instead",
    ) -> None:
        """Let the next `times` matching requests fail (None: for ever), after `after` good ones.

        `how`: "instead" answers without acting; "after" acts and throws the real answer away;
        "drop" closes the connection without acting, "drop_after" after acting; "cut" acts and
        sends half of the real body under its full length; "hang" waits for `release` before
        it acts (and never acts for a client that is gone by then), "hang_after" acts, then waits.
        """
        fault = Fault(
            method, re.compile(path_pattern), times, after, status, body, headers or {}, how
        )
        with self._changed:
            self._faults.append(fault)

    def release(self) -> None:
        """Let every hanging request go on."""
        with self._changed:
            self._releases += 1
            self._changed.notify_all()

    def heal(self) -> None:
        """Remove all faults and let every hanging request go on."""
        with self._changed:
            self._faults.clear()
        self.release()

    @property
    def hanging(self) -> int:
        """How many requests hang right now."""
        return self._hanging

    def wait_until_hanging(self, count: int = 1, timeout: float = 10.0) -> None:
        """Block until `count` requests hang; TimeoutError after `timeout` seconds."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._hanging >= count, timeout):
                raise TimeoutError(f"{self._hanging} of {count} requests hang")

    # Answering

    def reply(
        self, environ: dict[str, Any], body: bytes, connection: socket.socket
    ) -> Reply | None:
        """Act on one request, or fail as told; None means: close the connection unanswered."""
        started = time.monotonic()
        fault = self._arrived(environ, body)
        reply = self._play(fault, environ, connection)
        remaining = self.latency_seconds - (time.monotonic() - started)
        if remaining > 0:
            time.sleep(remaining)
        return reply

    def _arrived(self, environ: dict[str, Any], body: bytes) -> Fault | None:
        if not self.record and not self._faults:
            return None
        request = Request(environ)
        recorded = RecordedRequest(
            method=request.method,
            path=request.path,
            query=request.args.to_dict(flat=False),
            headers=dict(request.headers),
            body=body,
        )
        with self._changed:
            if self.record:
                self.requests.append(recorded)
            return next((fault for fault in self._faults if fault.takes(recorded)), None)

    def _play(
        self, fault: Fault | None, environ: dict[str, Any], connection: socket.socket
    ) -> Reply | None:
        if fault is None:
            return Reply(self._act(environ))
        if fault.how == "instead":
            return Reply(fault.answer())
        if fault.how == "drop":
            return None
        if fault.how == "hang" and not self._hang(connection):
            return None
        response = self._act(environ)
        if fault.how == "drop_after":
            return None
        if fault.how == "hang_after" and not self._hang(connection):
            return None
        if fault.how == "after":
            response = fault.answer()
        return Reply(response, cut=fault.how == "cut")

    def _act(self, environ: dict[str, Any]) -> Response:
        return Response.from_app(self.app, environ, buffered=True)

    def _hang(self, connection: socket.socket) -> bool:
        """Wait for the release; whether there is still somebody to answer."""
        with self._changed:
            releases = self._releases
            self._hanging += 1
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._releases > releases)
            self._hanging -= 1
        return not is_closed(connection)
