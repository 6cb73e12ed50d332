"""Reads what a request brings: its JSON body, its query, and nothing that Postgres cannot keep."""

import json
import re
from collections.abc import Iterator
from typing import Any, NoReturn, cast

from flask import g, request
from marshmallow import Schema
from werkzeug.exceptions import UnsupportedMediaType

from instantly.errors import InvalidJson, InvalidRequest

# NUL and half surrogate pairs reach a JSON text only as escapes.
ESCAPES_OF_UNSTORABLE_TEXT = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")
UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
# In JSON text of plain ASCII: an escaped backslash, a whole pair, or what cannot be stored.
JSON_ESCAPE = re.compile(r"\\\\|\\ud[89ab]..\\ud[c-f]..|(?P<bad>\\u0000|\\ud[89a-f]..)")
MAX_DIGITS = 1000
UNSTORABLE_MESSAGE = "May not contain NUL characters or half surrogate pairs."


def load_body(schema: Schema) -> dict[str, Any]:
    """The request's JSON object by the schema."""
    loaded: dict[str, Any] = schema.load(json_body())
    if ESCAPES_OF_UNSTORABLE_TEXT.search(request.get_data()):
        refuse_unstorable(loaded)
    return loaded


def json_body() -> dict[str, Any]:
    """The request's JSON object, parsed once."""
    if "json_body" not in g:
        data = request.get_data()
        if request.mimetype != "application/json":
            raise UnsupportedMediaType
        g.json_body = parse_object(data)
    return cast(dict[str, Any], g.json_body)


def load_query(schema: Schema) -> dict[str, Any]:
    loaded: dict[str, Any] = schema.load(request.args.to_dict())
    return loaded


def parse_object(data: bytes) -> dict[str, Any]:
    """A JSON object in UTF-8, without the NaN and Infinity that Python adds to the standard."""
    try:
        value = json.loads(
            data.decode("utf-8"), parse_constant=refuse_constant, parse_float=finite_float
        )
    except ValueError as error:
        raise InvalidJson from error
    if not isinstance(value, dict):
        raise InvalidJson
    return value


def refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


def finite_float(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError(text)
    return number


def parse_delivery(data: bytes) -> dict[str, Any]:
    """A webhook's payload. Numbers that Python or Postgres cannot hold become text."""
    try:
        payload = json.loads(
            data.decode("utf-8"),
            parse_constant=str,
            parse_float=float_or_text,
            parse_int=int_or_text,
        )
    except ValueError as error:
        raise InvalidJson from error
    if not isinstance(payload, dict):
        raise InvalidJson
    return payload


def float_or_text(text: str) -> float | str:
    number = float(text)
    return text if number in (float("inf"), float("-inf")) else number


def int_or_text(text: str) -> int | str:
    return int(text) if len(text) <= MAX_DIGITS else text


def storable_json(canonical: str) -> str:
    """JSON text with NUL characters and half surrogate pairs as the text of their escapes."""
    if "\\u0000" not in canonical and "\\ud" not in canonical:
        return canonical
    return JSON_ESCAPE.sub(lambda match: "\\" + match[0] if match["bad"] else match[0], canonical)


def storable_text(text: str) -> str:
    """Likewise for a plain text."""
    return UNSTORABLE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def refuse_unstorable(value: Any) -> None:
    details = {path: [UNSTORABLE_MESSAGE] for path in unstorable_paths(value, "")}
    if details:
        raise InvalidRequest(details)


def unstorable_paths(value: Any, path: str) -> Iterator[str]:
    """Where in a JSON value there is text that Postgres cannot keep."""
    match value:
        case str():
            if UNSTORABLE.search(value):
                yield path
        case dict():
            for key, inner in value.items():
                readable_key = UNSTORABLE.sub("\ufffd", key)
                inner_path = f"{path}.{readable_key}" if path else readable_key
                if readable_key != key:
                    yield inner_path
                yield from unstorable_paths(inner, inner_path)
        case list():
            for index, inner in enumerate(value):
                yield from unstorable_paths(inner, f"{path}.{index}")
