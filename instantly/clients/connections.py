"""The connections to a service: how long one may rest, and how long an answer may take in all."""

import io
import socket
import time
from http.client import HTTPResponse
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from requests.structures import CaseInsensitiveDict
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, Timeout
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import ConnectionPool
from urllib3.response import BaseHTTPResponse

# Connections to a service that are kept for the next request.
MAX_KEPT = 1000
# Node's servers close theirs after 5 s, maybe while a request is on its way to them.
MAX_REST_SECONDS = 4.0


class ReaderUntil(io.RawIOBase):
    """Reads from a socket until a moment: its own timeout begins anew with every byte."""

    def __init__(self, reader: io.RawIOBase, sock: socket.socket, deadline: float) -> None:
        self._reader = reader
        self._sock = sock
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the answer was not complete in time")
        timeout = self._sock.gettimeout()
        if timeout is not None and timeout <= left:
            return self._reader.readinto(buffer)
        self._sock.settimeout(left)
        try:
            return self._reader.readinto(buffer)
        finally:
            self._sock.settimeout(timeout)

    def close(self) -> None:
        self._reader.close()
        super().close()


class KeptConnection(HTTPConnection):
    rested_since = 0.0
    """when the last answer had been read (time.monotonic)"""
    answer_until = 0.0
    """when the answer under way must be complete (time.monotonic)"""

    def response_class(  # type: ignore[override]
        self, sock: socket.socket, **more: Any
    ) -> HTTPResponse:
        """What http.client reads the answer with, head and body."""
        response = HTTPResponse(sock, **more)
        reader = ReaderUntil(response.fp.detach(), sock, self.answer_until)
        response.fp = io.BufferedReader(reader)
        return response


class KeptTlsConnection(KeptConnection, HTTPSConnection):
    pass


class KeptConnections(HTTPConnectionPool):
    ConnectionCls = KeptConnection

    def _get_conn(self, timeout: float | None = None) -> Any:
        connection: Any = super()._get_conn(timeout)
        if time.monotonic() - connection.rested_since > MAX_REST_SECONDS:
            connection.close()  # it opens anew for the next request
        return connection

    def _put_conn(self, conn: Any) -> None:
        if conn:
            conn.rested_since = time.monotonic()
        super()._put_conn(conn)

    def _make_request(self, conn: Any, *args: Any, **more: Any) -> Any:
        conn.answer_until = time.monotonic() + more["timeout"].total
        return super()._make_request(conn, *args, **more)


class KeptTlsConnections(KeptConnections, HTTPSConnectionPool):
    ConnectionCls = KeptTlsConnection


class Adapter(HTTPAdapter):
    """requests' adapter for one service, whose connection pool need not be looked up each time.

    It is used without a Session around it, which is a fifth of the CPU of a call: no cookies, no
    redirects, no proxies and no .netrc entry in place of our Authorization header. `certificates`
    is the file or folder of those that are trusted, None for the public authorities.
    """

    pool: ConnectionPool | None = None

    def __init__(self, certificates: str | None) -> None:
        super().__init__(pool_maxsize=MAX_KEPT)
        self._verify = certificates or True
        self.poolmanager.pool_classes_by_scheme = {
            "http": KeptConnections,
            "https": KeptTlsConnections,
        }

    def ask(self, request: requests.PreparedRequest, timeout: Timeout) -> requests.Response:
        """The whole answer; unlike elsewhere, the `total` of the timeout bounds its body, too."""
        response = self.send(request, timeout=timeout, verify=self._verify)  # type: ignore[arg-type]
        _ = response.content
        return response

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> ConnectionPool:
        if self.pool is None:
            self.pool = super().get_connection_with_tls_context(*args, **kwargs)
        return self.pool

    def build_response(
        self, req: requests.PreparedRequest, resp: BaseHTTPResponse
    ) -> requests.Response:
        response = requests.Response()
        response.status_code = resp.status
        response.headers = CaseInsensitiveDict(resp.headers)
        response.raw = resp
        response.request = req
        return response
