"""The OpenAPI document: the URL map, the views' docstrings, and what `documented` says of them."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus
from typing import Any

from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from apispec.ext.marshmallow.openapi import OpenAPIConverter
from flask import Flask
from marshmallow import Schema
from werkzeug.routing import Rule

from instantly.config import SERVICE_NAME, VERSION
from instantly.schemas.answers import ERROR
from instantly.schemas.fields import camel_case
from instantly.schemas.shapes import SHAPES, TEXT, UUID, Shape
from instantly.translation.webhooks import SECRET_HEADER
from instantly.web.auth import BEARER_ENDPOINTS, PUBLIC_ENDPOINTS
from instantly.web.ignored_fields import HEADER

JSON = "application/json"
DESCRIPTION = (
    "Cold-email outreach through the Instantly.ai API V2. Names in a body or a query that the"
    f" service does not know are ignored, and told in the answer's header `{HEADER}`."
)
ERRORS = {
    400: "The request is malformed",
    401: "The key is missing or wrong",
    403: "The campaign belongs to another organization",
    404: "There is no such thing",
    409: "A request with this Idempotency-Key is in progress",
    413: "The body is too large",
    415: "The body is no JSON, or encoded",
    422: "Another service refused: `details` says why",
    500: "Something unexpected happened",
    502: "Another service is unavailable",
    503: "The database is unavailable or a limit was reached; see `Retry-After`",
}
IDEMPOTENCY_KEY = {
    "in": "header",
    "name": "Idempotency-Key",
    "description": "A repeat with the same key within 24 hours gets the first answer.",
    "schema": {"type": "string", "pattern": "^[ -~]{1,255}$"},
}

WEBHOOK_SECRET = {
    "in": "header",
    "name": SECRET_HEADER,
    "description": "Where INSTANTLY_WEBHOOK_SECRET is set: without its value nothing is recorded.",
    "schema": {"type": "string"},
}


@dataclass(frozen=True, kw_only=True)
class documented:
    """What the URL map does not say of a route. It stands over the view and leaves it as it is.

    An answer is a shape, or the media type of a text.
    """

    answers: Mapping[int, Shape | str]
    body: type[Schema] | None = None
    query: type[Schema] | None = None
    headers: Sequence[Mapping[str, Any]] = ()

    def __call__(self, view: Callable[..., Any]) -> Callable[..., Any]:
        vars(view)["documented"] = self
        return view


class Converter(OpenAPIConverter):
    def field2default(self, field: Any, **more: Any) -> dict[str, Any]:
        """None stands for "not given", which nobody can send."""
        return {} if field.load_default is None else super().field2default(field, **more)


class Plugin(MarshmallowPlugin):
    Converter = Converter


@lru_cache(maxsize=1)
def build_document(app: Flask) -> dict[str, Any]:
    """The whole document, as it is served: of every view that is `documented`."""
    views = {
        endpoint: view
        for endpoint, view in app.view_functions.items()
        if "documented" in vars(view)
    }
    bodies = {vars(view)["documented"].body for view in views.values()}

    def name_of(schema: type[Schema] | Schema) -> str:
        kind = schema if isinstance(schema, type) else type(schema)
        return kind.__name__ + ("Request" if kind in bodies else "")

    plugin = Plugin(name_of)
    spec = APISpec(
        title=SERVICE_NAME,
        version=VERSION,
        openapi_version="3.1.0",
        info={"description": DESCRIPTION},
        plugins=[plugin],
        security=[{"apiKey": []}],
        tags=[{"name": name} for name in app.blueprints],
    )
    scheme = {"type": "apiKey", "in": "header", "name": "X-API-Key"}
    spec.components.security_scheme("apiKey", scheme)
    spec.components.security_scheme("bearer", {"type": "http", "scheme": "bearer"})
    for name, shape in SHAPES.items():
        spec.components.schema(name, shape)
    for rule in app.url_map.iter_rules():
        if rule.endpoint in views:
            operation = describe(rule, views[rule.endpoint], plugin)
            for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
                spec.path(path=openapi_path(rule), operations={method.lower(): operation})
    return spec.to_dict()


def openapi_path(rule: Rule) -> str:
    def braces(match: re.Match[str]) -> str:
        return "{" + camel_case(match.group(1)) + "}"

    # A route that takes its path with a slash at the end, too, is one route.
    return re.sub(r"<(?:[^:<>]+:)?([^<>]+)>", braces, rule.rule.rstrip("/") or "/")


def describe(rule: Rule, view: Callable[..., Any], plugin: Plugin) -> dict[str, Any]:
    """One operation. The first sentence of the view's docstring is its summary."""
    facts: documented = vars(view)["documented"]
    tag, _, name = rule.endpoint.partition(".")
    summary, _, description = (view.__doc__ or "").partition("\n\n")
    operation: dict[str, Any] = {
        "operationId": name,
        "tags": [tag],
        "summary": summary,
        "description": " ".join(description.split()),
        "parameters": parameters(rule, view, plugin),
        "responses": responses(rule, view),
    }
    if rule.endpoint in PUBLIC_ENDPOINTS:
        operation["security"] = []
    if rule.endpoint in BEARER_ENDPOINTS:
        operation["security"] = [{"apiKey": []}, {"bearer": []}]
    if facts.body:
        operation["requestBody"] = {"required": True, "content": {JSON: {"schema": facts.body}}}
    return operation


def parameters(rule: Rule, view: Callable[..., Any], plugin: Plugin) -> list[dict[str, Any]]:
    facts: documented = vars(view)["documented"]
    found: list[dict[str, Any]] = [
        {
            "in": "path",
            "name": camel_case(name),
            "required": True,
            "schema": UUID if name == "campaign_id" else TEXT,
        }
        for name in sorted(rule.arguments)
    ]
    if facts.query:
        converter: Any = plugin.converter
        found += converter.schema2parameters(facts.query(), location="query")
    found += map(dict, facts.headers)
    return [*found, IDEMPOTENCY_KEY] if "idempotent" in vars(view) else found


def responses(rule: Rule, view: Callable[..., Any]) -> dict[str, Any]:
    facts: documented = vars(view)["documented"]
    errors = {500, 503}
    if "waits_for_upstreams" in vars(view):
        # It reads the body before anything else, even one that it does not want.
        errors |= {400, 413, 415, 422, 502}
    if "idempotent" in vars(view):
        errors.add(409)
    if facts.body or facts.query or rule.arguments:
        # A path with a NUL character in it is malformed, too.
        errors.add(400)
    if rule.arguments:
        errors.add(404)
    if facts.body:
        errors |= {413, 415}
    if rule.endpoint not in PUBLIC_ENDPOINTS:
        errors.add(401)
    shapes = {**dict.fromkeys(errors, ERROR), **facts.answers}
    return {
        str(status): {
            "description": ERRORS.get(status) or HTTPStatus(status).phrase,
            "content": (
                {shape: {"schema": TEXT}} if isinstance(shape, str) else {JSON: {"schema": shape}}
            ),
        }
        for status, shape in sorted(shapes.items())
    }
