"""Our facts about Instantly are the official ones, and a bad request to it is noticed."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers import UNKNOWN_ID, campaign_at_instantly
from instantly_check import check_request

from instantly.sandbox.operations import OPERATIONS, Operation, find_operation

Json = dict[str, Any]

DOCUMENT = Path(__file__).parents[3] / "shared" / "instantly-openapi.json"
HEADERS = {"User-Agent": "instantly-service/1", "Authorization": "Bearer acme-key"}
JSON_HEADERS = {**HEADERS, "Content-Type": "application/json"}


# The schemas against the official document


def resolve(schema: Json, document: Json) -> Json:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return resolve(document["components"]["schemas"][name], document)
    if "allOf" in schema:
        first, *others = (resolve(part, document) for part in schema["allOf"])
        properties = dict(first["properties"])
        for other in others:
            properties.update(other["properties"])
        return {**first, "properties": properties}
    return schema


EQUAL_KEYWORDS = "anyOf format maximum maxItems minimum minItems minProperties pattern".split()


def facts(schema: Json) -> Json:
    """What a schema says about its own level, in a form that can be compared."""
    others = schema.get("additionalProperties", True)
    types = schema.get("type", [])
    return {
        "type": {types} if isinstance(types, str) else set(types),
        "enum": Counter(schema.get("enum", [])),
        "required": set(schema.get("required", [])),
        "additionalProperties": "a schema" if isinstance(others, dict) else others,
        **{keyword: schema.get(keyword) for keyword in EQUAL_KEYWORDS},
    }


def parts(schema: Json) -> dict[str, Json]:
    """The schemas inside a schema, by where they stand."""
    found = {f"/{name}": part for name, part in schema.get("properties", {}).items()}
    for place, keyword in (("/*", "additionalProperties"), ("/[]", "items")):
        if isinstance(schema.get(keyword), dict):
            found[place] = schema[keyword]
    return found


def differences(ours: Json, theirs: Json, document: Json, place: str) -> Iterator[str]:
    """Where a schema of ours says something else than that of the document."""
    theirs = resolve(theirs, document)
    their_facts = facts(theirs)
    for keyword, value in facts(ours).items():
        if value != their_facts[keyword]:
            yield f"{place}: {keyword} {value} is {their_facts[keyword]}"
    their_parts = parts(theirs)
    for name, part in parts(ours).items():
        if name in their_parts:
            yield from differences(part, their_parts[name], document, place + name)
        else:
            yield f"{place}{name}: unknown"


def json_schema(content: Json) -> Json:
    return content["content"]["application/json"]["schema"]


def operation_differences(operation: Operation, document: Json) -> list[str]:
    theirs = document["paths"][operation.path][operation.method.lower()]
    found: list[str] = []
    queries = {
        parameter["name"]: parameter["schema"]
        for parameter in theirs.get("parameters", [])
        if parameter["in"] == "query"
    }
    for name, schema in operation.query.items():
        if name not in queries:
            found.append(f"?{name}: unknown")
        else:
            found.extend(differences(schema, queries[name], document, f"?{name}"))
    if (operation.body is None) != ("requestBody" not in theirs):
        found.append("body: only one of the two has one")
    elif operation.body is not None:
        their_body = json_schema(theirs["requestBody"])
        found.extend(differences(operation.body, their_body, document, "body"))
        if operation.body.get("additionalProperties") is False:
            missing = their_body["properties"].keys() - operation.body["properties"].keys()
            found.extend(f"body/{name}: missing" for name in missing)
    their_answer = json_schema(theirs["responses"]["200"])
    found.extend(differences(operation.answer, their_answer, document, "answer"))
    return found


@pytest.fixture(scope="module")
def document() -> Json:
    if not DOCUMENT.exists():
        pytest.skip("the official document is not at hand")
    return json.loads(DOCUMENT.read_text())


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_our_schemas_say_what_the_official_document_says(operation, document):
    assert operation_differences(operation, document) == []


def schema_of(operation: Operation, *path: str) -> Json:
    schema = operation.body
    for name in path:
        schema = schema["items"] if name == "[]" else schema["properties"][name]
    return schema


SCHEDULE = ("campaign_schedule", "schedules", "[]")
MISTAKES = [
    ("body/name: type", lambda o: schema_of(o, "name").update(type="number")),
    ("body/nam: unknown", lambda o: schema_of(o)["properties"].update(nam={"type": "string"})),
    ("body/email_gap: missing", lambda o: schema_of(o)["properties"].pop("email_gap")),
    ("body: required", lambda o: schema_of(o)["required"].append("email_list")),
    ("schedules: minItems", lambda o: schema_of(o, *SCHEDULE[:2]).pop("minItems")),
    ("timezone: enum", lambda o: schema_of(o, *SCHEDULE, "timezone")["enum"].append("UTC")),
    ("body/cc_list/[]: format", lambda o: schema_of(o, "cc_list", "[]").pop("format")),
    ("answer/status: enum", lambda o: o.answer["properties"]["status"]["enum"].pop()),
]


@pytest.mark.parametrize(("difference", "mistake"), MISTAKES, ids=[name for name, _ in MISTAKES])
def test_a_mistake_in_a_schema_is_noticed(difference, mistake, document):
    ours = find_operation("POST", "/api/v2/campaigns")
    # Through JSON, since schemas share their parts.
    answer, body = json.loads(json.dumps([ours.answer, ours.body]))
    operation = replace(ours, answer=answer, body=body)
    mistake(operation)
    assert any(difference in found for found in operation_differences(operation, document))


# Checking requests


def check(
    method: str, path: str, body: object = None, query: Any = None, headers: Any = None
) -> list[str]:
    raw = b"" if body is None else json.dumps(body).encode()
    usual = JSON_HEADERS if raw else HEADERS
    return check_request(method, f"/api/v2{path}", query or {}, headers or usual, raw)


def adding(*leads: object, **place: object) -> tuple[str, str, Json]:
    return "POST", "/leads/add", {"leads": leads, **(place or {"campaign_id": UNKNOWN_ID})}


def deleting(**body: object) -> tuple[str, str, Json]:
    return "DELETE", "/leads", body


def finding(**body: object) -> tuple[str, str, Json]:
    return "POST", "/leads/list", body


def creating(**changes: object) -> tuple[str, str, Json]:
    return "POST", "/campaigns", campaign_at_instantly(**changes)


CAMPAIGN = f"/campaigns/{UNKNOWN_ID}"
A_LEAD = {"email": "a@x.example"}
(WEEKDAYS,) = campaign_at_instantly()["campaign_schedule"]["schedules"]
IN_NEW_YORK = {"schedules": [WEEKDAYS | {"timezone": "America/New_York"}]}
ODD_STEP = {"type": "email", "delay": 0, "variants": [], "wait": 1}
LIBRARY = {**HEADERS, "User-Agent": "python-requests/2.32"}
ENABLE = "/accounts/warmup/enable"
# What is found begins with the words. That good requests pass, every test shows.
BAD_REQUESTS: list[tuple[Any, ...]] = [
    # What Instantly refuses
    ("body (required): 'name'", "POST", "/campaigns", {}),
    ("body/campaign_schedule/schedules/0/timezone", *creating(campaign_schedule=IN_NEW_YORK)),
    ("body (type): None", "PATCH", CAMPAIGN),
    ("params/id must match", "GET", "/campaigns/123"),
    ("body (type)", "DELETE", CAMPAIGN, {}),
    ("body cannot be empty", "POST", f"{CAMPAIGN}/pause", None, None, JSON_HEADERS),
    ("headers must have a User-Agent", "GET", "/accounts", None, None, LIBRARY),
    ("headers must have 'Authorization", "GET", "/accounts", None, None, {"a": ""}),
    ("querystring/limit (maximum)", "GET", "/accounts", None, {"limit": ["101"]}),
    ("querystring/success (type)", "GET", "/webhook-events", None, {"success": ["no"]}),
    ("querystring/from (format)", "GET", "/webhook-events", None, {"from": ["2026-02-30"]}),
    ("body/contacts/0 (format)", *finding(contacts=["petra@grün.example"])),
    ("body/leads (maxItems)", *adding(*[A_LEAD] * 1001)),
    ("body/leads/0 (type)", *adding("a@x.example")),
    ("body/leads/0/email (type)", *adding({"email": 5})),
    ("body/leads/1 (additionalProperties)", *adding(A_LEAD, {"firstName": "Ada"})),
    ("body/leads/0/custom_variables (type)", *adding({"custom_variables": []})),
    ("body/leads/0/custom_variables/tags", *adding({"custom_variables": {"tags": []}})),
    ("body/leads/0/lt_interest_status (enum)", *adding({"lt_interest_status": 9})),
    ("body must have exactly one of", *adding(A_LEAD, assigned_to="x")),
    ("body must have exactly one of", *adding(A_LEAD, campaign_id=UNKNOWN_ID, list_id=UNKNOWN_ID)),
    ("body (anyOf)", *deleting(ids=[UNKNOWN_ID])),
    # What Instantly ignores, or obeys to our harm
    ("body must be empty", "POST", f"{CAMPAIGN}/activate", {}),
    ("headers must have 'Content-Type", *finding(limit=1), None, HEADERS),
    ("body/sequences/0/steps/0/wait is not", *creating(sequences=[{"steps": [ODD_STEP]}])),
    ("querystring/campaign_id is not", "GET", "/campaigns/analytics", None, {"campaign_id": ["x"]}),
    ("body/campaign_id is not declared", *finding(campaign_id=UNKNOWN_ID)),
    ("body/ids must not be empty: it would", *finding(ids=[])),
    ("body/leads/0 must have an e-mail address", *adding({"first_name": "Ada"})),
    ("body/ids must not be empty: without", *deleting(campaign_id=UNKNOWN_ID, ids=[])),
    ("body/delete_list is not", *deleting(campaign_id=UNKNOWN_ID, delete_list=["a@x.example"])),
    ("body/emails must not be empty", "POST", ENABLE, {"account_ids": ["a@x.example"]}),
    ("GET /api/v2/accounts/warmup/analytics is no", "GET", "/accounts/warmup/analytics"),
]


@pytest.mark.parametrize("row", BAD_REQUESTS, ids=lambda row: row[0])
def test_a_bad_request_is_named(row):
    words, *arguments = row
    assert any(found.startswith(words) for found in check(*arguments)), check(*arguments)


@pytest.mark.parametrize("body", [b"{", b"NaN", b"\xff"])
def test_a_body_that_is_no_json_is_named(body):
    found = check_request("POST", "/api/v2/leads/list", {}, JSON_HEADERS, body)
    assert found == ["body must be JSON"]
