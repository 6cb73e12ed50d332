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
from typing import Any, NamedTuple, Self
from urllib.parse import quote

import requests
from urllib3 import Timeout
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError

from instantly.clients.connections import Adapter
from instantly.clients.refusals import (
    json_of,
    keys_in,
    masked,
    message_of,
    retry_after_seconds,
    status_within,
)
from instantly.config import USER_AGENT
from instantly.json_text import parse_json
from instantly.metrics import CALL_SECONDS, CALLS, RETRIES

CONNECT_TIMEOUT_SECONDS = 3
# From a request to the end of its answer, however it drips.
ANSWER_SECONDS = 60.0
MAX_WAIT_SECONDS = 30.0
MAX_TRIES = 6
# Each may have been waited for until its timeout.
MAX_TRIES_WITHOUT_ANSWER = 3
MAX_MESSAGE_CHARACTERS = 1000

Json = Any


class UpstreamError(Exception):
    """Another service did not do what it was asked.

    `status` is its HTTP status, or None when no usable answer came (unreachable, too slow, no
    JSON); `message` its own words, `body` the JSON that held them; `retry_after` the seconds that
    it asked to wait, if it did; `may_have_acted` whether it may have done it all the same, at this
    try or an earlier one.
    """

    def __init__(
        self,
        message: str,
        status: int | None = None,
        retry_after: float | None = None,
        *,
        body: Json = None,
        may_have_acted: bool = True,
    ) -> None:
        # Its text goes into the log, where another's words do not belong: addresses may be in them.
        super().__init__(message if status is None else f"status {status}")
        self.message = message
        self.status = status
        self.body = body
        self.retry_after = retry_after
        self.may_have_acted = may_have_acted


class Answer(NamedTuple):
    body: Json
    in_doubt: bool
    """whether an earlier try of the same call may have been acted upon, too"""


class ServiceClient:
    """A service's base URL and headers, and keep-alive connections that all threads share."""

    service: str
    secrets: tuple[str, ...] = ()
    """Masked in messages that we pass on, beside the call's own key."""
    error: type[UpstreamError] = UpstreamError

    def __init__(
        self,
        base_url: str,
        headers: Mapping[str, str],
        read_timeout_seconds: float,
        certificates: str | None,
    ) -> None:
        self._base_url = base_url
        self._headers = {
            "User-Agent": USER_AGENT,
            "Accept": "application/json",
            "Accept-Encoding": "gzip, deflate",
            **headers,
        }
        self._timeout = (CONNECT_TIMEOUT_SECONDS, read_timeout_seconds)
        self._adapter = Adapter(certificates)
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
        may_be_empty: bool = False,
        params: Mapping[str, str | int] | None = None,
        body: Json = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """The JSON of a 2xx answer; everything else raises this client's `error`.

        The resource's id takes the place of {id} in the path. An answer of which nothing is needed
        `may_be_empty`: None then.
        """
        request = requests.PreparedRequest()
        all_headers = {**self._headers, **(headers or {})}
        url = self._base_url + path.replace("{id}", quote(resource_id, safe=""))
        request.prepare(method, url, all_headers, params=params, json=body)
        operation = f"{method} {path}"
        with self._observed(operation):
            response, in_doubt = self._send(request, operation, repeatable=repeatable)
            secrets = [*self.secrets, *keys_in(all_headers, body)]
            return self._answer(response, in_doubt, secrets, may_be_empty=may_be_empty)

    @contextmanager
    def _observed(self, operation: str) -> Iterator[None]:
        """Counts a call by its outcome; the operation is the method and the path without ids."""
        outcome, started = "failed", time.perf_counter()
        try:
            yield
            outcome = "ok"
        except UpstreamError as error:
            if error.status is not None and 400 <= error.status < 500:
                outcome = "rate_limited" if error.status == 429 else "refused"
            raise
        finally:
            CALLS.labels(self.service, operation, outcome).inc()
            CALL_SECONDS.labels(self.service, operation).observe(time.perf_counter() - started)

    def _answer(
        self,
        response: requests.Response,
        in_doubt: bool,
        secrets: Iterable[str],
        *,
        may_be_empty: bool,
    ) -> Answer:
        status: int | None = response.status_code
        if 200 <= response.status_code < 300:
            if may_be_empty and not response.content.strip():
                return Answer(None, in_doubt)
            try:
                body = parse_json(response.content, any_number=True)
            except (ValueError, RecursionError) as error:
                raise self.error("the answer is no JSON") from error
            if not self._is_refusal(body):
                return Answer(body, in_doubt)
            status = status_within(body)
        # A service that repeats what it was sent must not make us pass a key on.
        message = masked(message_of(response), secrets)
        raise self.error(
            message[:MAX_MESSAGE_CHARACTERS],
            status,
            retry_after_seconds(response.headers),
            body=json_of(response),
            may_have_acted=in_doubt or status is None or status >= 500,
        )

    def _is_refusal(self, body: Json) -> bool:
        """Whether an answer of success holds an error all the same."""
        return False

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
                response = self._adapter.ask(request, self._timeout_until_deadline())
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
            RETRIES.labels(self.service, operation).inc()
            sleep(pause)
        if failed:
            # Not its text, which repeats the path: there may be an address in it.
            raise self.error(type(failed).__name__, may_have_acted=acted or in_doubt) from failed
        return response, in_doubt

    def _timeout_until_deadline(self) -> Timeout:
        """Seconds for the connection, for each silence, and for the whole answer."""
        connect, read = self._timeout
        total = min(ANSWER_SECONDS, max(0.1, self._deadline - time.monotonic()))
        return Timeout(connect=min(connect, total), read=min(read, total), total=total)


def was_sent(error: Exception) -> bool:
    """Whether the service may have received the request that failed."""
    reason = getattr(error.args[0], "reason", None) if error.args else None
    return not isinstance(reason, ConnectTimeoutError | NewConnectionError)


def backoff_seconds(number: int) -> float:
    """The pause after a try; none after the first, which often meets a connection just closed."""
    return 0.0 if number == 1 else 0.5 * 2 ** (number - 1) + 0.25 * random()  # noqa: S311
