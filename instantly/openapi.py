"""The OpenAPI document: derived from the routes, their docstrings and their"""

import re
from dataclasses import dataclass
from typing import Any

from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from apispec.ext.marshmallow.openapi import OpenAPIConverter
from flask import Flask
from marshmallow import Schema
from werkzeug.routing import Rule

from instantly import answers
from instantly.auth import PUBLIC_ENDPOINTS
from instantly.config import SERVICE_NAME, VERSION
from instantly.schemas.accounts import EmailList, Warmup, WarmupAnalytics
from instantly.schemas.analytics import Stats
from instantly.schemas.campaigns import CampaignStatus, CreateCampaign
from instantly.schemas.fields import Page, QueryInteger, camel_case
from instantly.schemas.leads import AddLeads, CustomVariables, DeleteLeads
from instantly.schemas.webhooks import Recovery

JSON = "application/json"
ERRORS = {
    400: "The request is malformed",
    401: "The key is missing or wrong",
    403: "The campaign belongs to another organization",
    404: "There is no such thing",
    409: "A request with this Idempotency-Key is in progress",
    413: "The body is too large",
    415: "The body is no JSON",
    422: "Another service refused: `details` says why",
    500: "Something unexpected happened",
    502: "Another service is unavailable",
    503: "The database is unavailable or a limit was reached; see `Retry-After`",
}
CALLS_OTHERS = (422, 502)


@dataclass(frozen=True)
class Operation:
    """What the URL map does not say of a route. `answers` maps statuses to shapes and examples."""

    answers: dict[int, answers.Answer]
    body: type[Schema] | None = None
    query: type[Schema] | None = None
    example: Any = None
    errors: tuple[int, ...] = ()


OPERATIONS: dict[str, Operation] = {
    "health.index": Operation({200: answers.INDEX}),
    "health.health": Operation({200: answers.HEALTH, 503: answers.DEGRADED}),
    "documentation.get_document": Operation({200: answers.DOCUMENT}),
    "documentation.get_docs": Operation({200: answers.PAGE}),
    "campaigns.create_campaign": Operation(
        {201: answers.CREATED_CAMPAIGN},
        body=CreateCampaign,
        example=answers.CREATE_CAMPAIGN_EXAMPLE,
        errors=(409, *CALLS_OTHERS),
    ),
    "campaigns.get_campaign": Operation({200: answers.CAMPAIGN}),
    "campaigns.list_campaigns": Operation({200: answers.CAMPAIGNS}, query=Page),
    "campaigns.set_campaign_status": Operation(
        {200: answers.CAMPAIGN},
        body=CampaignStatus,
        example={"status": "active"},
        errors=CALLS_OTHERS,
    ),
    "leads.add_leads": Operation(
        {201: answers.ADDED_LEADS},
        body=AddLeads,
        example=answers.ADD_LEADS_EXAMPLE,
        errors=(403, 409, *CALLS_OTHERS),
    ),
    "leads.list_leads": Operation({200: answers.LEADS}, query=Page),
    "leads.delete_leads": Operation(
        {200: answers.DELETED_LEADS},
        body=DeleteLeads,
        example={"emails": ["ada@example.com", "nobody@example.com"]},
        errors=CALLS_OTHERS,
    ),
    "accounts.list_accounts": Operation({200: answers.ACCOUNTS}),
    "accounts.sync_accounts": Operation({200: answers.SYNCED_ACCOUNTS}, errors=CALLS_OTHERS),
    "accounts.switch_warmup": Operation(
        {200: answers.WARMUP, 202: answers.WARMUP},
        body=Warmup,
        example={"enabled": True},
        errors=CALLS_OTHERS,
    ),
    "accounts.get_warmup_analytics": Operation(
        {200: answers.WARMUP_ANALYTICS}, query=WarmupAnalytics, errors=CALLS_OTHERS
    ),
    "analytics.get_campaign_analytics": Operation({200: answers.ANALYTICS}, errors=CALLS_OTHERS),
    "analytics.get_stats": Operation(
        {200: answers.STATS}, body=Stats, example={"brandId": "brand_1"}
    ),
    "webhooks.get_config": Operation({200: answers.WEBHOOK_CONFIG}),
    "webhooks.receive": Operation(
        {200: answers.RECEIVED}, example=answers.DELIVERY_EXAMPLE, errors=(400, 413)
    ),
    "webhooks.recover": Operation(
        {200: answers.RECOVERED},
        body=Recovery,
        example={"clerkOrgId": "org_acme", "from": "2026-11-20", "to": "2026-11-22"},
        errors=CALLS_OTHERS,
    ),
}


class Converter(OpenAPIConverter):
    """marshmallow's schemas as JSON Schema, with what our own fields add."""

    def field2property(self, field: Any) -> dict[str, Any]:
        described: dict[str, Any] = super().field2property(field)
        if isinstance(field, CustomVariables):
            described["additionalProperties"] = {"type": answers.SCALAR_TYPES}
        if isinstance(field, EmailList):
            described.update(type="string", description="Addresses with commas between them.")
        if isinstance(field, QueryInteger):
            # A query has no null.
            described["type"] = "integer"
        if described.get("default", ...) is None:
            del described["default"]
        return described


class Plugin(MarshmallowPlugin):
    Converter = Converter


def build_document(app: Flask) -> dict[str, Any]:
    """The whole document, as it is served."""
    plugin = Plugin()
    spec = APISpec(
        title=SERVICE_NAME,
        version=VERSION,
        openapi_version="3.1.0",
        info={"description": "Cold-email outreach through the Instantly.ai API V2."},
        plugins=[plugin],
        security=[{"apiKey": []}],
    )
    spec.components.security_scheme(
        "apiKey", {"type": "apiKey", "in": "header", "name": "X-API-Key"}
    )
    for name, shape in answers.COMPONENTS.items():
        spec.components.schema(name, shape)
    for rule in app.url_map.iter_rules():
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            described = describe(app, rule, plugin)
            spec.path(path=openapi_path(rule), operations={method.lower(): described})
    return spec.to_dict()


def openapi_path(rule: Rule) -> str:
    return re.sub(
        r"<(?:[^:<>]+:)?([^<>]+)>",
        lambda match: "{" + camel_case(match.group(1)) + "}",
        rule.rule,
    )


def describe(app: Flask, rule: Rule, plugin: Plugin) -> dict[str, Any]:
    """One operation. The first sentence of the view's docstring is its summary."""
    operation = OPERATIONS[rule.endpoint]
    view = app.view_functions[rule.endpoint]
    summary, _, description = (view.__doc__ or "").partition("\n\n")
    described: dict[str, Any] = {
        "operationId": rule.endpoint.rpartition(".")[2],
        "tags": [rule.endpoint.partition(".")[0]],
        "summary": summary,
        "description": " ".join(description.split()),
        "parameters": parameters(rule, operation, plugin),
        "responses": responses(rule, operation),
    }
    if rule.endpoint in PUBLIC_ENDPOINTS:
        described["security"] = []
    if operation.example is not None:
        schema: Any = operation.body or answers.DELIVERY
        described["requestBody"] = {
            "required": True,
            "content": {JSON: {"schema": schema, "example": operation.example}},
        }
    return described


def parameters(rule: Rule, operation: Operation, plugin: Plugin) -> list[dict[str, Any]]:
    found = [
        {
            "in": "path",
            "name": camel_case(name),
            "required": True,
            "schema": {"type": "string"},
        }
        for name in sorted(rule.arguments)
    ]
    if operation.query:
        converter: Any = plugin.converter
        found += converter.schema2parameters(operation.query(), location="query")
    if 409 in operation.errors:
        found.append(
            {
                "in": "header",
                "name": "Idempotency-Key",
                "description": "A repeat with the same key within 24 hours gets the first answer.",
                "schema": {"type": "string", "pattern": "^[ -~]{1,255}$"},
            }
        )
    return found


def responses(rule: Rule, operation: Operation) -> dict[str, Any]:
    statuses = {500, 503, *operation.errors}
    if rule.endpoint not in PUBLIC_ENDPOINTS:
        statuses.add(401)
    if rule.arguments:
        # A path with a NUL character in it is malformed.
        statuses |= {400, 404}
    if operation.query:
        statuses.add(400)
    if operation.body:
        statuses |= {400, 413, 415}
    described = {
        status: {
            "description": ERRORS[status],
            "content": {JSON: {"schema": "Error"}},
        }
        for status in statuses
    }
    for status, answer in operation.answers.items():
        described[status] = {
            "description": answer.description,
            "content": {answer.media_type: {"schema": answer.schema, "example": answer.example}},
        }
    return {str(status): described[status] for status in sorted(described)}
