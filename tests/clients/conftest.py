"""Other services as `responses` plays them: single calls, without a socket."""

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
import responses
from calls import METHODS, Clients
from instantly_check import check_request
from stand_in import RecordedRequest

BASE = "https://service.example"


class Upstream(Clients):
    """The clients, and what they ask and are answered. `waits` are their pauses in seconds."""

    def __init__(self, waits: list[float]) -> None:
        super().__init__(BASE)
        self.waits = waits

    def answers(self, *bodies: Any, to: tuple[str, str] | None = None, **more: Any) -> None:
        """Each is for one call, or (`to`) one of this method and path, and the last for all later.

        Bytes, texts and exceptions are answered as they are, anything else as JSON.
        """
        methods, path = ([to[0]], to[1]) if to else (METHODS, "")
        for body in bodies:
            how = "body" if isinstance(body, bytes | str | Exception) else "json"
            for method in methods:
                responses.add(method, re.compile(BASE + path), **{how: body}, **more)

    @property
    def requests(self) -> list[RecordedRequest]:
        return [
            RecordedRequest(
                method=str(request.method),
                path=unquote(urlsplit(request.url).path),
                query=parse_qs(urlsplit(request.url).query, keep_blank_values=True),
                headers=dict(request.headers),
                body=request.body or b"",
            )
            for request, _ in responses.calls
        ]

    @property
    def only(self) -> RecordedRequest:
        (call,) = self.requests
        return call


@pytest.fixture
def upstream(waits: list[float]) -> Iterator[Upstream]:
    """What it is asked in the name of Instantly must be valid by our schemas."""
    with responses.mock:
        upstream = Upstream(waits)
        yield upstream
        for call in upstream.requests:
            if call.path.startswith("/api/v2/"):
                arguments = (call.method, call.path, call.query, call.headers, call.body)
                assert check_request(*arguments) == []
