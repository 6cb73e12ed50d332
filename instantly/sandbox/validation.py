"""What Instantly refuses with 400: the check of a request against the facts in `data/`."""

import json
import re
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any
from uuid import UUID

from jsonschema import Draft202012Validator, FormatChecker, validators

from instantly.sandbox.operations import OPERATIONS, Operation, Schema

MAX_MESSAGE_CHARACTERS = 200
# The pattern of ajv-formats, which Instantly uses by its messages: ASCII only.
ADDRESS = re.compile(
    r"[a-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[a-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
    r"@(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)+[a-z0-9](?:[a-z0-9-]*[a-z0-9])?",
    re.IGNORECASE | re.ASCII,
)


def is_email(value: object) -> bool:
    return not isinstance(value, str) or ADDRESS.fullmatch(value) is not None


def is_date(value: object) -> bool:
    return not isinstance(value, str) or str(date.fromisoformat(value)) == value


FORMATS = FormatChecker(formats=())
FORMATS.checks("email")(is_email)
FORMATS.checks("date", raises=ValueError)(is_date)


ADDED_LEAD: Schema = next(
    operation.body["properties"]["leads"]["items"]
    for operation in OPERATIONS
    if operation.name == "add_leads" and operation.body
)
PLAIN_LEAD_FIELDS = {
    name for name, schema in ADDED_LEAD["properties"].items() if schema["type"] != "number"
}
TEXT_TYPES = {str, type(None)}
VARIABLE_TYPES = {str, int, float, bool, type(None)}


def is_plainly_valid(lead: object) -> bool:
    """Whether a lead is valid at first sight: texts, and custom variables that are scalars."""
    if type(lead) is not dict or not lead.keys() <= PLAIN_LEAD_FIELDS:
        return False
    variables = lead.get("custom_variables", {})
    texts = (value for name, value in lead.items() if name != "custom_variables")
    return (
        TEXT_TYPES.issuperset(map(type, texts))
        and type(variables) is dict
        and VARIABLE_TYPES.issuperset(map(type, variables.values()))
    )


def check_items(validator: Any, schema: Schema, value: object, _: Schema) -> Iterator[Any]:
    """The keyword `items`, with a short cut for leads.

    jsonschema takes 90 ms for 1,000 of them, which would hide how fast the service is.
    """
    for index, item in enumerate(value if isinstance(value, list) else ()):
        if schema is not ADDED_LEAD or not is_plainly_valid(item):
            yield from validator.descend(item, schema, path=index)


VALIDATOR = validators.extend(Draft202012Validator, {"items": check_items})


def violations(schema: Schema, value: object, root: str) -> Iterator[str]:
    """Each with its place, as in Instantly's messages, and the keyword that is violated."""
    for error in VALIDATOR(schema, format_checker=FORMATS).iter_errors(value):
        place = "/".join([root, *map(str, error.absolute_path)])
        yield f"{place} ({error.validator}): {error.message[:MAX_MESSAGE_CHARACTERS]}"


def parse_query(operation: Operation, query: Mapping[str, list[str]]) -> dict[str, Any]:
    """The declared query values, typed; undeclared names are ignored as Instantly does."""
    return {
        name: query_value(operation.query[name], values[-1])
        for name, values in query.items()
        if name in operation.query
    }


def query_value(schema: Schema, value: str) -> Any:
    """The value that the schema speaks of; a text where the query holds something else."""
    if schema["type"] == "boolean":
        return {"true": True, "false": False}.get(value, value)
    if schema["type"] == "integer" and re.fullmatch(r"-?\d{1,15}", value, re.ASCII):
        return int(value)
    return value


def parse_body(body: bytes) -> Any:
    """The body as JSON, None when empty; ValueError when it is none."""
    return json.loads(body, parse_constant=refuse_constant) if body else None


def refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def refusals(
    operation: Operation, parameter: str, query: Mapping[str, Any], body: Any
) -> list[str]:
    """Why Instantly answers 400: what its document refuses, ids that are no UUID included."""
    found: list[str] = []
    if operation.identified_by_uuid and not is_uuid(parameter):
        found.append('params/id must match format "uuid"')
    found.extend(violations({"properties": operation.query}, dict(query), "querystring"))
    found.extend(violations(operation.body or {}, body, "body"))
    # Not in the schema, but in the description of the operation.
    if operation.name == "add_leads" and isinstance(body, dict):
        if ("campaign_id" in body) == ("list_id" in body):
            found.append("body must have exactly one of 'campaign_id' and 'list_id'")
    return found


def is_uuid(value: str) -> bool:
    try:
        return str(UUID(value)) == value.lower()
    except ValueError:
        return False
