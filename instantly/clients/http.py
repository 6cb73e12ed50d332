"""How this service calls others: timeouts, retries, and one kind of failure.

Waiting between tries is exponential with jitter, or what `Retry-After` says, and never more than
30 s in all; a longer `Retry-After` gives up at once.
"""

import math
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from random import random
from time import sleep
from typing import Any, NamedTuple, Protocol, Self
from urllib.parse import quote

import requests
from requests.adapters import HTTPAdapter
from requests.structures import CaseInsensitiveDict
from urllib3.connectionpool import ConnectionPool
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError
from urllib3.response import BaseHTTPResponse

from instantly.clients.refusals import keys_in, masked, message_of, retry_after_seconds
from instantly.config import USER_AGENT
from instantly.jsontext import parse_json

CONNECT_TIMEOUT_SECONDS = 3
MAX_WAIT_SECONDS = 30.0
MAX_TRIES = 6
# Each may have been waited for until its timeout.
MAX_TRIES_WITHOUT_ANSWER = 3
# Connections to a service that are kept for the next request.
MAX_KEPT_CONNECTIONS = 1000
MAX_MESSAGE_CHARACTERS = 1000

Json = Any


class UpstreamError(Exception):
    """Another service did not do what it was asked.

    `status` is its HTTP status, or None when no usable answer came (unreachable, too slow, no
    JSON); `message` its own words; `retry_after` the seconds that it asked to wait, if it did;
    `may_have_acted` whether it may have done it all the same, at this try or an earlier one.
    """

    def __init__(
        self,
        message: str,
        status: int | None = None,
        retry_after: float | None = None,
        *,
        may_have_acted: bool = True,
    ) -> None:
        # Its text goes into the log, where another's words do not belong: addresses may be in them.
        super().__init__(message if status is None else f"status {status}")
        self.message = message
        self.status = status
        self.retry_after = retry_after
        self.may_have_acted = may_have_acted


class Answer(NamedTuple):
    body: Json
    in_doubt: bool
    """whether an earlier try of the same call may have been acted upon, too"""


class Observer(Protocol):
    """Is told of every call; its operation is the method and the path without ids."""

    def call_ended(self, service: str, operation: str, outcome: str, seconds: float) -> None:
        """`outcome` is one of ok, refused, rate_limited, failed."""

    def call_repeated(self, service: str, operation: str) -> None: ...


class Adapter(HTTPAdapter):
    """requests' adapter for one service, whose connection pool need not be looked up each time.

    It is used without a Session around it: no cookies, no redirects, no proxies and no .netrc entry
    in place of our Authorization header.
    """

    pool: ConnectionPool | None = None

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


class ServiceClient:
    """A service's base URL and headers, and keep-alive connections that all threads share."""

    service: str
    secrets: tuple[str, ...] = ()
    """which no answer may repeat to our callers, beside those of the call itself"""
    error: type[UpstreamError] = UpstreamError
    observer: Observer | None = None

    def __init__(
        self, base_url: str, headers: Mapping[str, str], read_timeout_seconds: float
    ) -> None:
        self._base_url = base_url
        self._headers = {
            "User-Agent": USER_AGENT,
            "Accept": "application/json",
            "Accept-Encoding": "gzip, deflate",
            **headers,
        }
        self._timeout = (CONNECT_TIMEOUT_SECONDS, read_timeout_seconds)
        self._adapter = Adapter(pool_maxsize=MAX_KEPT_CONNECTIONS)
        self._deadline = math.inf

    def until(self, deadline: float) -> Self:
        """The same client, whose calls wait and try no longer than until then (time.monotonic)."""
        client = copy(self)
        client._deadline = deadline
        return client

    def _request(
        self,
        method: str,
        path: str,
        resource_id: str = "",
        *,
        repeatable: bool,
        params: Mapping[str, str | int] | None = None,
        body: Json = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """The JSON of a 2xx answer; everything else raises this client's `error`.

        The resource's id takes the place of {id} in the path.
        """
        request = requests.PreparedRequest()
        all_headers = {**self._headers, **(headers or {})}
        url = self._base_url + path.replace("{id}", quote(resource_id, safe=""))
        request.prepare(method, url, all_headers, params=params, json=body)
        operation = f"{method} {path}"
        with self._observed(operation):
            response, in_doubt = self._send(request, operation, repeatable=repeatable)
            return self._answer(response, in_doubt, [*self.secrets, *keys_in(all_headers, body)])

    @contextmanager
    def _observed(self, operation: str) -> Iterator[None]:
        outcome, started = "failed", time.perf_counter()
        try:
            yield
            outcome = "ok"
        except UpstreamError as error:
            if error.status is not None and 400 <= error.status < 500:
                outcome = "rate_limited" if error.status == 429 else "refused"
            raise
        finally:
            if self.observer:
                seconds = time.perf_counter() - started
                self.observer.call_ended(self.service, operation, outcome, seconds)

    def _answer(
        self, response: requests.Response, in_doubt: bool, secrets: Iterable[str]
    ) -> Answer:
        if not 200 <= response.status_code < 300:
            # A service that repeats what it was sent must not make us pass a key on.
            message = masked(message_of(response), secrets)
            raise self.error(
                message[:MAX_MESSAGE_CHARACTERS],
                response.status_code,
                retry_after_seconds(response.headers),
                may_have_acted=in_doubt or response.status_code >= 500,
            )
        try:
            return Answer(parse_json(response.content, any_number=True), in_doubt)
        except (ValueError, RecursionError) as error:
            raise self.error("the answer is no JSON") from error

    def _send(
        self, request: requests.PreparedRequest, operation: str, *, repeatable: bool
    ) -> tuple[requests.Response, bool]:
        """The whole answer of the last try, and whether an earlier one may have been acted upon.

        429 and what was never sent were not, and are always tried again; the rest only where that
        is safe.
        """
        waited, in_doubt = 0.0, False
        for number in range(1, MAX_TRIES + 1):
            failed: Exception | None = None
            pause = backoff_seconds(number)
            tries = MAX_TRIES
            try:
                response = self._adapter.send(request, timeout=self._timeout_until_deadline())
                _ = response.content
            # Some malformed answers make the libraries raise what they document nowhere.
            except (requests.RequestException, HTTPError, OSError, ValueError) as error:
                failed, tries = error, MAX_TRIES_WITHOUT_ANSWER
                acted = was_sent(error)
            else:
                acted = response.status_code >= 500
                if not acted and response.status_code != 429:
                    return response, in_doubt
                asked = retry_after_seconds(response.headers)
                pause = pause if asked is None else asked
            waited += pause
            if (
                number >= tries
                or (acted and not repeatable)
                or waited > MAX_WAIT_SECONDS
                or time.monotonic() + pause > self._deadline
            ):
                break
            in_doubt |= acted
            if self.observer:
                self.observer.call_repeated(self.service, operation)
            sleep(pause)
        if failed:
            # Not its text, which repeats the path: there may be an address in it.
            raise self.error(type(failed).__name__, may_have_acted=acted or in_doubt) from failed
        return response, in_doubt

    def _timeout_until_deadline(self) -> tuple[float, float]:
        connect, read = self._timeout
        left = max(0.1, self._deadline - time.monotonic())
        return min(connect, left), min(read, left)


def was_sent(error: Exception) -> bool:
    """Whether the service may have received the request that failed."""
    reason = getattr(error.args[0], "reason", None) if error.args else None
    return not isinstance(reason, ConnectTimeoutError | NewConnectionError)


def backoff_seconds(number: int) -> float:
    """The pause after a try; none after the first, which often meets a connection just closed."""
    return 0.0 if number == 1 else 0.5 * 2 ** (number - 1) + 0.25 * random()  # noqa: S311
