"""What every operation goes through: the key, the shape of an answer, the pages of a list."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from hashlib import sha256
from typing import Any, Self, TypeVar

from instantly.clients.http import Json, ServiceClient, UpstreamError
from instantly.clients.refusals import status_within
from instantly.limits import MAX_EMAIL_CHARACTERS
from instantly.readings import number_or_none, whole_or_none

READ_TIMEOUT_SECONDS = 30
MAX_PAGE_SIZE = 100

Item = TypeVar("Item")


def chunks(values: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    for start in range(0, len(values), size):
        yield values[start : start + size]


class InstantlyError(UpstreamError):
    """Instantly refused, failed, or answered something that cannot be used."""


def is_path_segment(value: object) -> bool:
    """Whether an id can stand in a path: dots alone would lead elsewhere."""
    return isinstance(value, str) and re.fullmatch(r"[\w-]{1,100}", value) is not None


def is_email(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= MAX_EMAIL_CHARACTERS


def is_text(value: object) -> bool:
    return isinstance(value, str)


def is_number(value: object) -> bool:
    return number_or_none(value) is not None


def is_count(value: object) -> bool:
    number = whole_or_none(value, 10**40)
    return number is not None and number >= 0


def expect(value: Any, **fields: Callable[[object], bool]) -> dict[str, Any]:
    """An object with these fields as Instantly's document describes them; else InstantlyError."""
    if not isinstance(value, dict):
        raise InstantlyError("the answer holds something else than an object")
    for name, is_right in fields.items():
        if not is_right(value.get(name)):
            raise InstantlyError(f"the answer has no right {name}")
    return value


def expect_one_of(answer: dict[str, Any], *names: str) -> None:
    """Where each may be left out, an object without all of them is something else."""
    if answer and not answer.keys() & set(names):
        raise InstantlyError(f"the answer has none of {', '.join(names)}")


class Workspace(ServiceClient):
    service = "instantly"
    error = InstantlyError

    def __init__(self, base_url: str, certificates: str | None = None) -> None:
        super().__init__(base_url + "/api/v2", {}, READ_TIMEOUT_SECONDS, certificates)

    def with_key(self, key: str, secrets: tuple[str, ...] = ()) -> Self:
        """The workspace that the key opens, on the same connections; it may know these secrets."""
        workspace = copy(self)
        workspace.secrets = secrets
        workspace._headers = {**self._headers, "Authorization": f"Bearer {key}"}
        return workspace

    def key_hash(self) -> str:
        """Tells workspaces apart without showing their keys."""
        return sha256(self._headers["Authorization"].encode()).hexdigest()

    def _call(
        self,
        method: str,
        path: str,
        resource_id: str = "",
        *,
        repeatable: bool = True,
        may_be_empty: bool = False,
        body: Json = None,
        params: Mapping[str, str | int] | None = None,
        **fields: Callable[[object], bool],
    ) -> dict[str, Any]:
        """The object that is answered, with the fields that it must have."""
        answer = self._request(
            method,
            path,
            resource_id,
            repeatable=repeatable,
            may_be_empty=may_be_empty,
            body=body,
            params=params,
        )
        if may_be_empty and answer.body is None:
            return {}
        return expect(answer.body, **fields)

    def _is_refusal(self, body: Json) -> bool:
        """No success of the operations that we use holds an error, or a status of HTTP's.

        The document itself describes a 404 inside another status, for activate and pause.
        """
        if not isinstance(body, dict):
            return False
        has_error = bool(body.get("error") or body.get("errors")) or body.get("success") is False
        return has_error or status_within(body) is not None

    def _pages(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        params: Mapping[str, Any] | None = None,
        **fields: Callable[[object], bool],
    ) -> Iterator[dict[str, Any]]:
        """Every item of a paged list, with the fields that it must have."""
        for items in self._page_by_page(method, path, body=body, params=params, **fields):
            yield from items

    def _page_by_page(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        params: Mapping[str, Any] | None = None,
        **fields: Callable[[object], bool],
    ) -> Iterator[list[dict[str, Any]]]:
        """The items of a paged list, a page at a time.

        The cursor goes where the limit is, in body or query. The last page may still carry one, the
        next page is then empty [Instantly's starter kit]; one that repeats would never end.
        """
        seen: set[str] = set()
        cursor_holder: dict[str, Any] = dict(body or params or {})
        place: dict[str, Any] = {"body" if body else "params": cursor_holder}
        while True:
            answer = self._call(method, path, **place)
            items, cursor = answer.get("items"), answer.get("next_starting_after")
            if not isinstance(items, list) or not isinstance(cursor, str | None):
                raise InstantlyError("the answer is no page of a list")
            yield [expect(item, **fields) for item in items]
            if not items or not cursor or cursor in seen:
                return
            seen.add(cursor)
            cursor_holder["starting_after"] = cursor
