"""The check that every request of the service to Instantly must pass; stricter than Instantly.

Not a test.
"""

from collections.abc import Iterator, Mapping

from werkzeug.datastructures import Headers

from instantly.sandbox.instantly_api import is_empty_json, is_refused_agent
from instantly.sandbox.operations import Operation, Schema, find_operation
from instantly.sandbox.validation import parse_body, parse_query, refusals

NOTHING = {"type": "null"}


def check_request(
    method: str,
    path: str,
    query: Mapping[str, list[str]],
    headers: Mapping[str, str],
    body: bytes,
) -> list[str]:
    """Everything that is wrong with a request to Instantly; empty when all is well.

    It also names what Instantly would ignore, or obey to our harm. `path` is the decoded path,
    `query` holds the values of each name.
    """
    operation = find_operation(method, path)
    if operation is None:
        return [f"{method} {path} is no operation that the service uses"]
    try:
        parsed = parse_body(body)
    except ValueError:
        return ["body must be JSON"]
    parameter = operation.parameter(path) or ""
    return [
        *transport_violations(operation, Headers(headers), body),
        *refusals(operation, parameter, parse_query(operation, query), parsed),
        *(f"querystring/{name} is not declared" for name in query if name not in operation.query),
        *undeclared(operation.body or {}, parsed, "body"),
        *dangers(operation, parsed),
    ]


def transport_violations(operation: Operation, headers: Headers, body: bytes) -> Iterator[str]:
    content_type = headers.get("Content-Type", "")
    if is_refused_agent(headers.get("User-Agent", "")):
        yield "headers must have a User-Agent of our own"
    if not headers.get("Authorization", "").startswith("Bearer "):
        yield "headers must have 'Authorization: Bearer <key>'"
    if is_empty_json(content_type, body):
        yield "body cannot be empty when content-type is set to 'application/json'"
    if body and operation.body in (None, NOTHING):
        yield "body must be empty"
    if body and not content_type.startswith("application/json"):
        yield "headers must have 'Content-Type: application/json'"


def undeclared(schema: Schema, value: object, place: str) -> Iterator[str]:
    """Names at any depth that the schema does not list: a misspelt filter is ignored silently."""
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from undeclared(schema.get("items", {}), item, f"{place}/{index}")
    elif isinstance(value, dict) and "properties" in schema:
        for name, item in value.items():
            if name in schema["properties"]:
                yield from undeclared(schema["properties"][name], item, f"{place}/{name}")
            elif "additionalProperties" not in schema:
                yield f"{place}/{name} is not declared"


def dangers(operation: Operation, body: object) -> Iterator[str]:
    if not isinstance(body, dict):
        return
    if operation.name == "delete_leads" and not body.get("ids"):
        yield "body/ids must not be empty: without ids the campaign is emptied"
    if operation.name == "list_leads":
        for name in ("contacts", "ids"):
            if body.get(name) == []:
                yield f"body/{name} must not be empty: it would not filter"
    if operation.name in ("enable_warmup", "disable_warmup") and not body.get("emails"):
        yield "body/emails must not be empty: no field is required, so nothing would be said"
    if operation.name == "add_leads" and "campaign_id" in body:
        leads = body.get("leads")
        for index, lead in enumerate(leads if isinstance(leads, list) else ()):
            if isinstance(lead, dict) and not lead.get("email"):
                yield f"body/leads/{index} must have an e-mail address"
