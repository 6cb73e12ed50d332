"""Reads what a request brings: its JSON body, its query, and nothing that Postgres cannot keep."""

import json
import re
from collections.abc import Iterator
from typing import Any, NoReturn

from flask import request
from marshmallow import Schema
from werkzeug.exceptions import UnsupportedMediaType

from instantly.errors import InvalidJson, InvalidRequest

# NUL and half surrogate pairs reach a JSON text only as escapes.
ESCAPES_OF_UNSTORABLE_TEXT = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")
UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
UNSTORABLE_MESSAGE = "May not contain NUL characters or half surrogate pairs."


def load_body(schema: Schema) -> dict[str, Any]:
    """The request's JSON object by the schema."""
    data = request.get_data(cache=True)
    if request.mimetype != "application/json":
        raise UnsupportedMediaType
    loaded: dict[str, Any] = schema.load(parse_object(data))
    if ESCAPES_OF_UNSTORABLE_TEXT.search(data):
        refuse_unstorable(loaded)
    return loaded


def load_query(schema: Schema) -> dict[str, Any]:
    loaded: dict[str, Any] = schema.load(request.args.to_dict())
    return loaded


def parse_object(data: bytes) -> dict[str, Any]:
    """A JSON object in UTF-8, without the NaN and Infinity that Python adds to the standard."""
    try:
        value = json.loads(
            data.decode("utf-8"), parse_constant=refuse_constant, parse_float=finite_float
        )
    except (ValueError, RecursionError) as error:
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
