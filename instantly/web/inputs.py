"""Reads what a request brings: its JSON body and its query, by their schemas."""

from typing import Any, cast

from flask import g, request
from gunicorn.http.errors import ParseException
from marshmallow import Schema
from marshmallow.fields import List
from werkzeug.exceptions import RequestEntityTooLarge, UnsupportedMediaType

from instantly.json_text import parse_json
from instantly.schemas.fields import instance_of
from instantly.web.errors import ApiError, InvalidJson

MAX_BODY_BYTES = 16 * 1024 * 1024
MAX_DELIVERY_BYTES = 4 * 1024 * 1024


def load_body(schema: type[Schema]) -> dict[str, Any]:
    loaded: dict[str, Any] = instance_of(schema).load(json_body())
    return loaded


def load_query(schema: type[Schema]) -> dict[str, Any]:
    """Of a name that stands twice, the first value counts, or where the schema has a list all."""
    known = instance_of(schema)
    lists = {field.data_key for field in known.fields.values() if isinstance(field, List)}
    query = {name: values if name in lists else values[0] for name, values in request.args.lists()}
    loaded: dict[str, Any] = known.load(query)
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
    if data and request.headers.get("Content-Encoding", "").strip().lower() not in ("", "identity"):
        raise ApiError(415, "Content-Encoding is not supported")
    return data


def json_body() -> dict[str, Any]:
    """The request's JSON object, parsed once."""
    if "json_body" not in g:
        data = body_bytes(MAX_BODY_BYTES)
        if request.mimetype != "application/json":
            raise UnsupportedMediaType
        g.json_body = json_object(data)
    return cast(dict[str, Any], g.json_body)


def delivery_bytes() -> bytes:
    """A webhook's body, whatever its content type says."""
    return body_bytes(MAX_DELIVERY_BYTES)


def delivery_payload(data: bytes) -> dict[str, Any]:
    return json_object(data, any_number=True)


def json_object(data: bytes, *, any_number: bool = False) -> dict[str, Any]:
    try:
        value = parse_json(data, any_number=any_number)
    except ValueError as error:
        raise InvalidJson from error
    if not isinstance(value, dict):
        raise InvalidJson
    return value
