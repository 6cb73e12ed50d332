"""What another service says when it refuses: its words, without secrets, and how long to wait."""

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from http import HTTPStatus
from typing import Any

import requests
from urllib3.exceptions import InvalidHeader
from urllib3.util.retry import Retry

from instantly.json_text import parse_json
from instantly.readings import whole_or_none

MIN_SECRET_CHARACTERS = 6
MAX_RETRY_AFTER_SECONDS = 86_400
MAX_DEPTH = 10
# Where an error object says what is wrong, most telling first, and of which field it speaks.
HEADINGS = ("error", "title")
REASONS = "message msg detail details errors error_description description reason reasons".split()
PLACES = "path field param property loc instancePath".split()
PHRASES = {status.phrase for status in HTTPStatus}


def json_of(response: requests.Response) -> Any:
    """The JSON of a refusal, or None: it may be anything."""
    try:
        return parse_json(response.content)
    except (ValueError, RecursionError):
        return None


def status_within(body: dict[str, Any]) -> int | None:
    """The HTTP status of a failure that an object tells of, in one of the usual places."""
    error = body.get("error")
    for holder in (body, error if isinstance(error, dict) else {}):
        for name in ("statusCode", "status", "code"):
            status = whole_or_none(holder.get(name))
            if status is not None and status >= 400:
                return status
    return None


def message_of(response: requests.Response) -> str:
    """What a refusal says of itself: all the sentences in its JSON, or its status in words."""
    body = json_of(response)
    said = list(dict.fromkeys(sentences(body))) if isinstance(body, dict) else []
    if said:
        # "Bad Request" adds nothing.
        return "; ".join([text for text in said if text not in PHRASES] or said)
    try:
        return HTTPStatus(response.status_code).phrase
    except ValueError:
        return f"HTTP {response.status_code}"


def sentences(said: Any, place: str = "", depth: int = 0) -> Iterator[str]:
    """The texts of an error object, each with the field that it is about, if one is named."""
    if depth > MAX_DEPTH:
        return
    if isinstance(said, str) and said.strip():
        yield f"{place}: {said}" if place not in said else said
    elif isinstance(said, list):
        for each in said:
            yield from sentences(each, place, depth + 1)
    elif isinstance(said, dict):
        place = place_of(said) or place
        for key in telling_keys(said):
            below = place if key in (*HEADINGS, *REASONS) else f"{place}.{key}".strip(".")
            yield from sentences(said[key], below, depth + 1)


def telling_keys(said: dict[str, Any]) -> list[str]:
    """Those that hold reasons; all where none is known, since then they are names of fields.

    Beside a message, a heading is but a code or a status in words.
    """
    has_message = isinstance(said.get("message"), str | list) and said["message"]
    headings = [key for key in HEADINGS if not (has_message and isinstance(said.get(key), str))]
    return [key for key in (*headings, *REASONS) if said.get(key)] or [
        key for key in said if key not in PLACES
    ]


def place_of(said: dict[str, Any]) -> str:
    for place in map(said.get, PLACES):
        if isinstance(place, list):
            return ".".join(map(str, place))
        if isinstance(place, str):
            return place
    return ""


def retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """The header in seconds, whether it holds seconds or a date; None when it holds neither."""
    try:
        asked = headers["Retry-After"]
        if re.fullmatch(r"\s*([0-9]+\.[0-9]*|\.[0-9]+)\s*", asked):
            return math.ceil(min(float(asked), MAX_RETRY_AFTER_SECONDS))
        return Retry(retry_after_max=MAX_RETRY_AFTER_SECONDS).parse_retry_after(asked)
    except (KeyError, InvalidHeader, ValueError, OverflowError):
        return None


def keys_in(headers: Mapping[str, str], body: Any) -> list[str]:
    """The secrets of a call: those among its headers, and all headers that a webhook is to send."""
    keys = [
        value.removeprefix("Bearer ")
        for name, value in headers.items()
        if name.lower() in ("authorization", "x-api-key")
    ]
    sent_later = body.get("headers") if isinstance(body, dict) else None
    # A short one is no secret: without it the message could not be read any more.
    long = [value for value in (sent_later or {}).values() if len(value) >= MIN_SECRET_CHARACTERS]
    return [*keys, *long]


def masked(message: str, secrets: Iterable[str]) -> str:
    """The message without the secrets, whether it holds them as text or as JSON."""
    texts = {text for secret in secrets for text in (secret, json.dumps(secret)[1:-1]) if text}
    for text in sorted(texts, key=len, reverse=True):
        message = message.replace(text, "***")
    return message
