"""Reads what a request brings: its JSON body and its query, by their schemas."""

from collections.abc import Iterator
from typing import Any, cast

from flask import g, request
from gunicorn.http.errors import ParseException
from marshmallow import Schema
from werkzeug.exceptions import RequestEntityTooLarge, UnsupportedMediaType

from instantly.errors import InvalidJson, InvalidRequest
from instantly.jsontext import UNSTORABLE, UNSTORABLE_ESCAPES, parse_json, parse_json_leniently
from instantly.schemas.fields import shared

MAX_BODY_BYTES = 16 * 1024 * 1024
MAX_DELIVERY_BYTES = 4 * 1024 * 1024
UNSTORABLE_MESSAGE = "May not contain NUL characters or half surrogate pairs."


def load_body(schema: type[Schema]) -> dict[str, Any]:
    """The request's JSON object by the schema, and nothing in it that Postgres cannot keep."""
    body = json_body()
    loaded: dict[str, Any] = shared(schema).load(body)
    if UNSTORABLE_ESCAPES.search(request.get_data()):
        known = {field.data_key for field in shared(schema).fields.values()}
        refuse_unstorable({name: value for name, value in body.items() if name in known})
    return loaded


def load_query(schema: type[Schema]) -> dict[str, Any]:
    loaded: dict[str, Any] = shared(schema).load(request.args.to_dict())
    return loaded


def body_bytes(limit: int) -> bytes:
    """The request's body; a longer one is refused, before it is read if its length is declared."""
    if (request.content_length or 0) > limit:
        raise RequestEntityTooLarge
    # werkzeug cuts a body of undeclared length off at its limit, silently: one more byte tells.
    request.max_content_length = limit + 1
    try:
        data = request.get_data()
    except (OSError, ParseException) as error:
        # The client broke off, or its chunks are malformed.
        raise InvalidJson from error
    if len(data) > limit:
        raise RequestEntityTooLarge
    return data


def json_body() -> dict[str, Any]:
    """The request's JSON object, parsed once."""
    if "json_body" not in g:
        data = body_bytes(MAX_BODY_BYTES)
        if request.mimetype != "application/json":
            raise UnsupportedMediaType
        try:
            g.json_body = parse_json(data)
        except ValueError as error:
            raise InvalidJson from error
    if not isinstance(g.json_body, dict):
        raise InvalidJson
    return cast(dict[str, Any], g.json_body)


def delivery_body() -> dict[str, Any]:
    """A webhook's payload, whatever its content type says."""
    try:
        payload = parse_json_leniently(body_bytes(MAX_DELIVERY_BYTES))
    except ValueError as error:
        raise InvalidJson from error
    if not isinstance(payload, dict):
        raise InvalidJson
    return payload


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
