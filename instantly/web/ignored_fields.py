"""Tells the caller which of its names the service does not know, and has ignored."""

import re
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import islice
from typing import Any

from flask import Flask, Response, current_app, g, request
from marshmallow import EXCLUDE, Schema, fields

from instantly.schemas.fields import instance_of

HEADER = "X-Ignored-Fields"
MAX_CHARACTERS = 1000
# No schema takes a longer list, and no header as many names.
MAX_ITEMS = 10_000
# What a header can hold.
PRINTABLE = re.compile("[ -~]+")

Names = dict[str, Any]
"""what a schema knows → the names inside; None where they are not ours, or others are refused"""


@cache
def names_of(schema: type[Schema]) -> Names:
    fields_by_name = instance_of(schema).fields
    return {field.data_key or name: names_in(field) for name, field in fields_by_name.items()}


def names_in(field: fields.Field[Any]) -> Names | None:
    if isinstance(field, fields.List):
        return names_in(field.inner)
    if isinstance(field, fields.Nested) and field.schema.unknown == EXCLUDE:
        return names_of(type(field.schema))
    return None


def unknown_names(value: Any, known: Names, path: str = "") -> Iterator[str]:
    """The paths to names that no schema knows, without the indexes of lists."""
    inside = [(name, names) for name, names in known.items() if names]
    for item in islice(value, MAX_ITEMS) if isinstance(value, list) else [value]:
        if isinstance(item, dict):
            for name in item.keys() - known.keys():
                yield path + name
            for name, names in inside:
                yield from unknown_names(item.get(name), names, f"{path}{name}.")


def listed(names: Iterable[str]) -> str:
    """As many as the header may hold, in the order of the alphabet."""
    found: set[str] = set()
    for name in names:
        found.add(name)
        if len(found) == MAX_ITEMS:
            break
    shown = ""
    for name in sorted(filter(PRINTABLE.fullmatch, found)):
        longer = f"{shown}, {name}" if shown else name
        if len(longer) <= MAX_CHARACTERS:
            shown = longer
    return shown


def ignored_fields() -> Iterator[str]:
    """Of a route that takes a body, once that was read; a delivery is no caller's, and never is."""
    view = current_app.view_functions.get(request.endpoint or "")
    facts = vars(view).get("documented") if view else None
    if facts is None or (facts.body and "json_body" not in g):
        return
    if facts.body:
        yield from unknown_names(g.json_body, names_of(facts.body))
    if request.query_string:
        known = names_of(facts.query) if facts.query else {}
        yield from request.args.keys() - known.keys()


def tell_ignored_fields(app: Flask) -> None:
    @app.after_request
    def tell(response: Response) -> Response:
        if response.status_code != 401 and (names := listed(ignored_fields())):
            response.headers[HEADER] = names
        return response
