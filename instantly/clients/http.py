"""How this service calls others: timeouts, retries, and one kind of failure.

Waiting between tries is exponential with jitter, or what `Retry-After` says, and never more than
30 s in all; a longer `Retry-After` gives up at once.
"""

import threading
import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Self

import requests
from requests.adapters import HTTPAdapter
from requests.exceptions import ChunkedEncodingError
from urllib3.exceptions import InvalidHeader, MaxRetryError, ResponseError
from urllib3.response import BaseHTTPResponse
from urllib3.util.retry import Retry

from instantly.config import USER_AGENT
from instantly.jsontext import parse_json

CONNECT_TIMEOUT_SECONDS = 3
MAX_WAIT_SECONDS = 30.0
# As many connections are kept as there can be threads.
MAX_THREADS = 200
MAX_MESSAGE_CHARACTERS = 1000

Json = Any


class UpstreamError(Exception):
    """Another service did not do what it was asked.

    `status` is its HTTP status, or None when no usable answer came (unreachable, too slow, no
    JSON); `message` its own words; `retry_after` the seconds that it asked to wait, if it did.
    """

    def __init__(
        self, message: str, status: int | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.retry_after = retry_after


class BoundedRetry(Retry):
    """urllib3's policy with a bound on the waiting in all."""

    # A 503 with Retry-After may have been acted upon all the same: only `status_forcelist` counts.
    RETRY_AFTER_STATUS_CODES = frozenset()

    waited: float = 0.0
    delay: float = 0.0

    def new(self, **changes: Any) -> Self:
        retry = super().new(**changes)
        retry.waited = self.waited
        return retry

    def increment(self, *args: Any, **kwargs: Any) -> Self:
        retry = super().increment(*args, **kwargs)
        response: BaseHTTPResponse | None = kwargs.get("response")
        asked = retry_after_seconds(response.headers) if response is not None else None
        retry.delay = retry.get_backoff_time() if asked is None else asked
        retry.waited = self.waited + retry.delay
        if retry.waited > MAX_WAIT_SECONDS:
            reason = kwargs.get("error") or ResponseError("out of patience")
            raise MaxRetryError(kwargs.get("_pool"), None, reason)  # type: ignore[arg-type]
        return retry

    def sleep(self, response: BaseHTTPResponse | None = None) -> None:
        time.sleep(self.delay)


def retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """The header in seconds, whether it holds seconds or a date; None when it holds neither."""
    try:
        return Retry(retry_after_max=86400).parse_retry_after(headers["Retry-After"])
    except (KeyError, InvalidHeader, ValueError, OverflowError):
        return None


def retry_policy(*, repeatable: bool) -> BoundedRetry:
    """429 was not acted upon and is always tried again; the rest only where that is safe."""
    return BoundedRetry(
        connect=2,
        read=2 if repeatable else 0,
        other=0,
        redirect=0,
        status=5,
        total=5,
        allowed_methods=None,
        status_forcelist=(429, *range(500, 600)) if repeatable else (429,),
        backoff_factor=0.5,
        backoff_jitter=0.25,
        raise_on_status=False,
    )


REPEATABLE = retry_policy(repeatable=True)
ONCE = retry_policy(repeatable=False)


class ServiceClient:
    """A service's base URL and headers, and keep-alive connections that all threads share.

    requests' adapters are used without a Session around them: no cookies, no redirects, no proxies
    and no .netrc entry in place of our Authorization header.
    """

    error: type[UpstreamError] = UpstreamError

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
        self._repeating = HTTPAdapter(pool_maxsize=MAX_THREADS, max_retries=REPEATABLE)
        self._trying_once = HTTPAdapter(pool_maxsize=MAX_THREADS, max_retries=ONCE)
        self._local = threading.local()

    def was_repeated(self) -> bool:
        """Whether this thread's last call took several tries, of which each may have acted."""
        return bool(self._local.was_repeated)

    def _request(
        self,
        method: str,
        path: str,
        *,
        repeatable: bool,
        params: Mapping[str, str | int] | None = None,
        body: Json = None,
        headers: Mapping[str, str] | None = None,
    ) -> Json:
        """The JSON of a 2xx answer; everything else raises this client's `error`."""
        request = requests.PreparedRequest()
        all_headers = {**self._headers, **(headers or {})}
        self._local.was_repeated = False
        try:
            request.prepare(method, self._base_url + path, all_headers, params=params, json=body)
            response = self._send(request, repeatable=repeatable)
        except requests.RequestException as error:
            # Not its text, which repeats the path: there may be an address in it.
            raise self.error(type(error).__name__) from error
        if not 200 <= response.status_code < 300:
            message = message_of(response)
            # A service that repeats what it was sent must not make us pass a key on.
            for key in keys_in(all_headers):
                message = message.replace(key, "***")
            raise self.error(
                message[:MAX_MESSAGE_CHARACTERS],
                response.status_code,
                retry_after_seconds(response.headers),
            )
        try:
            return parse_json(response.content)
        except (ValueError, RecursionError) as error:
            raise self.error("the answer is no JSON") from error

    def _send(self, request: requests.PreparedRequest, *, repeatable: bool) -> requests.Response:
        """The whole answer. urllib3 repeats what fails before its body; this, what breaks off."""
        adapter = self._repeating if repeatable else self._trying_once
        for tries_left in (2, 1, 0) if repeatable else (0,):
            response = adapter.send(request, timeout=self._timeout)
            try:
                _ = response.content
            except (ChunkedEncodingError, requests.ConnectionError):
                if not tries_left:
                    raise
                self._local.was_repeated = True
            else:
                break
        retries = getattr(response.raw, "retries", None)
        self._local.was_repeated |= bool(retries and retries.history)
        return response


def keys_in(headers: Mapping[str, str]) -> list[str]:
    """The secrets among the headers of a call."""
    return [
        value.removeprefix("Bearer ")
        for name, value in headers.items()
        if name.lower() in ("authorization", "x-api-key")
    ]


def message_of(response: requests.Response) -> str:
    """What a refusal says of itself: `message` or `error` of its JSON, or its status in words."""
    try:
        body = parse_json(response.content)
    except (ValueError, RecursionError):
        body = None
    if isinstance(body, dict):
        for key in ("message", "error"):
            if isinstance(body.get(key), str):
                return str(body[key])
    try:
        return HTTPStatus(response.status_code).phrase
    except ValueError:
        return f"HTTP {response.status_code}"
