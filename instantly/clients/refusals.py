"""What another service says when it refuses: its words, without secrets, and how long to wait."""

import json
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

import requests
from urllib3.exceptions import InvalidHeader
from urllib3.util.retry import Retry

from instantly.jsontext import parse_json

MIN_SECRET_CHARACTERS = 6


def json_of(response: requests.Response) -> Any:
    """The JSON of a refusal, or None: it may be anything."""
    try:
        return parse_json(response.content)
    except (ValueError, RecursionError):
        return None


def message_of(response: requests.Response) -> str:
    """What a refusal says of itself: `message` or `error` of its JSON, or its status in words."""
    body = json_of(response)
    if isinstance(body, dict):
        for key in ("message", "error"):
            if isinstance(body.get(key), str):
                return str(body[key])
    try:
        return HTTPStatus(response.status_code).phrase
    except ValueError:
        return f"HTTP {response.status_code}"


def retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """The header in seconds, whether it holds seconds or a date; None when it holds neither."""
    try:
        return Retry(retry_after_max=86400).parse_retry_after(headers["Retry-After"])
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
