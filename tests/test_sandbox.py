"""The stand-ins keep what they promise, and their facts about Instantly are the official ones."""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from uuid import UUID

import pytest
import requests
from flask import Flask
from harness import wait_until
from stand_in import StandIn

from instantly.sandbox.instantly_api import InstantlyStandIn, Sanitizer
from instantly.sandbox.instantly_schemas import (
    ADDED_LEAD,
    OPERATIONS,
    Operation,
    check_answer,
    check_request,
    find_operation,
    refusals,
)
from instantly.sandbox.internal_services import KeyServiceStandIn, RunsServiceStandIn
from instantly.sandbox.player import story

Json = dict[str, Any]

DOCUMENT = Path(__file__).parents[2] / "shared" / "instantly-openapi.json"
SAMPLES = Path(__file__).parents[2] / "shared" / "webhook-samples.json"
UNKNOWN = "7ec7b7c3-126b-412a-babf-fd79d002e921"
HEADERS = {"User-Agent": "instantly-service/1", "Authorization": "Bearer acme-key"}
JSON_HEADERS = {**HEADERS, "Content-Type": "application/json"}


def campaign_body(**changes: Any) -> Json:
    schedule = {
        "name": "Weekdays",
        "timing": {"from": "08:00", "to": "17:00"},
        "days": {"1": True},
        "timezone": "America/Chicago",
    }
    return {"name": "Autumn", "campaign_schedule": {"schedules": [schedule]}, **changes}


def steps(*bodies: str) -> list[Json]:
    return [
        {
            "steps": [
                {
                    "type": "email",
                    "delay": 1,
                    "variants": [{"subject": "Hi {{firstName}}", "body": b}],
                }
                for b in bodies
            ]
        }
    ]


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


def types(schema: Json) -> set[str]:
    named = schema.get("type", [])
    return {named} if isinstance(named, str) else set(named)


EQUAL_KEYWORDS = (
    "anyOf",
    "format",
    "maximum",
    "maxItems",
    "minimum",
    "minItems",
    "minProperties",
    "pattern",
)


def facts(schema: Json) -> Json:
    """What a schema says about its own level, in a form that can be compared."""
    others = schema.get("additionalProperties", True)
    return {
        "type": types(schema),
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
    schema: Json = content["content"]["application/json"]["schema"]
    return schema


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
    document: Json = json.loads(DOCUMENT.read_text())
    return document


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_our_schemas_say_what_the_official_document_says(
    operation: Operation, document: Json
) -> None:
    assert operation_differences(operation, document) == []


def schema_of(operation: Operation, *path: str) -> Json:
    schema: Json = operation.body or {}
    for name in path:
        schema = schema["items"] if name == "[]" else schema["properties"][name]
    return schema


SCHEDULE = ("campaign_schedule", "schedules", "[]")
MISTAKES: list[tuple[str, Callable[[Operation], object]]] = [
    ("body/name: type", lambda o: schema_of(o, "name").update(type="number")),
    ("body/nam: unknown", lambda o: schema_of(o)["properties"].update(nam={"type": "string"})),
    ("body/email_gap: missing", lambda o: schema_of(o)["properties"].pop("email_gap")),
    ("body: required", lambda o: schema_of(o)["required"].append("email_list")),
    ("body: additionalProperties", lambda o: schema_of(o).pop("additionalProperties")),
    ("schedules: minItems", lambda o: schema_of(o, *SCHEDULE[:2]).pop("minItems")),
    ("timezone: enum", lambda o: schema_of(o, *SCHEDULE, "timezone")["enum"].append("UTC")),
    ("from: pattern", lambda o: schema_of(o, *SCHEDULE, "timing", "from").pop("pattern")),
    ("body/cc_list/[]: format", lambda o: schema_of(o, "cc_list", "[]").pop("format")),
    ("body/daily_max_leads: minimum", lambda o: schema_of(o, "daily_max_leads").pop("minimum")),
    ("answer: required", lambda o: o.answer.update(required=["id"])),
    ("answer/status: enum", lambda o: o.answer["properties"]["status"]["enum"].pop()),
]


@pytest.mark.parametrize(("difference", "mistake"), MISTAKES, ids=[name for name, _ in MISTAKES])
def test_a_mistake_in_a_schema_is_noticed(
    difference: str, mistake: Callable[[Operation], object], document: Json
) -> None:
    ours = find_operation("POST", "/api/v2/campaigns")
    assert ours
    # Through JSON, since schemas share their parts.
    answer, body = json.loads(json.dumps([ours.answer, ours.body]))
    operation = replace(ours, answer=answer, body=body)
    mistake(operation)
    assert any(difference in found for found in operation_differences(operation, document))


# Checking requests


def check(
    method: str,
    path: str,
    body: object = None,
    query: dict[str, list[str]] | None = None,
    headers: dict[str, str] | None = None,
) -> list[str]:
    raw = b"" if body is None else json.dumps(body).encode()
    usual = JSON_HEADERS if raw else HEADERS
    return check_request(method, f"/api/v2{path}", query or {}, headers or usual, raw)


GOOD_REQUESTS: list[tuple[Any, ...]] = [
    ("POST", "/campaigns", campaign_body(email_list=["a@x.example"], sequences=steps("<p>x</p>"))),
    ("PATCH", f"/campaigns/{UNKNOWN}", {"email_list": []}),
    ("GET", "/campaigns/analytics", None, {"id": [UNKNOWN]}),
    ("POST", f"/campaigns/{UNKNOWN}/activate"),
    ("DELETE", f"/campaigns/{UNKNOWN}"),
    ("POST", "/leads/add", {"campaign_id": UNKNOWN, "leads": [{"email": "a@x.example"}]}),
    ("POST", "/leads/list", {"campaign": UNKNOWN, "contacts": ["a@x.example"], "limit": 100}),
    ("DELETE", "/leads", {"campaign_id": UNKNOWN, "ids": [UNKNOWN], "limit": 1}),
    ("GET", "/accounts", None, {"limit": ["100"], "starting_after": ["2026&a@x.example"]}),
    ("GET", "/accounts/a/b+c@x.example"),
    ("POST", "/accounts/warmup/enable", {"emails": ["a@x.example"]}),
    ("GET", "/background-jobs/0123456789abcdef01234567"),
    ("GET", "/webhook-events", None, {"success": ["false"], "from": ["2026-08-01"]}),
]


@pytest.mark.parametrize("arguments", GOOD_REQUESTS, ids=lambda a: f"{a[0]} {a[1]}")
def test_a_good_request_passes(arguments: tuple[Any, ...]) -> None:
    assert check(*arguments) == []


def adding(*leads: object, **place: object) -> tuple[str, str, Json]:
    return "POST", "/leads/add", {"leads": leads, **(place or {"campaign_id": UNKNOWN})}


def deleting(**body: object) -> tuple[str, str, Json]:
    return "DELETE", "/leads", body


def listing(**body: object) -> tuple[str, str, Json]:
    return "POST", "/leads/list", body


def creating(**changes: object) -> tuple[str, str, Json]:
    return "POST", "/campaigns", campaign_body(**changes)


NEW_YORK = {**campaign_body()["campaign_schedule"]["schedules"][0], "timezone": "America/New_York"}
ODD_STEP = {"type": "email", "delay": 0, "variants": [], "wait": 1}
LIBRARY = {**HEADERS, "User-Agent": "python-requests/2.32"}
A_LEAD = {"email": "a@x.example"}
BAD_REQUESTS: list[tuple[str, tuple[Any, ...]]] = [
    # What Instantly refuses
    ("body must have required property 'name'", ("POST", "/campaigns", {})),
    (
        "body/campaign_schedule must have required property 'schedules'",
        creating(campaign_schedule={}),
    ),
    (
        "body/campaign_schedule/schedules/0/timezone must be equal to one of the allowed values",
        creating(campaign_schedule={"schedules": [NEW_YORK]}),
    ),
    ("body must NOT have additional properties", creating(account_ids=[])),
    ("body must NOT have fewer than 1 properties", ("PATCH", f"/campaigns/{UNKNOWN}", {})),
    ("body must be object", ("PATCH", f"/campaigns/{UNKNOWN}")),
    ('params/id must match format "uuid"', ("GET", "/campaigns/123")),
    ("body must be null", ("DELETE", f"/campaigns/{UNKNOWN}", {})),
    (
        "body cannot be empty when content-type is set to 'application/json'",
        ("POST", f"/campaigns/{UNKNOWN}/pause", None, None, JSON_HEADERS),
    ),
    ("headers must have a User-Agent of our own", ("GET", "/accounts", None, None, LIBRARY)),
    (
        "headers must have 'Authorization: Bearer <key>'",
        ("GET", "/accounts", None, None, {"a": ""}),
    ),
    ("querystring/limit must be <= 100", ("GET", "/accounts", None, {"limit": ["101"]})),
    ("querystring/limit must be integer", ("GET", "/accounts", None, {"limit": ["ten"]})),
    ("querystring/success must be boolean", ("GET", "/webhook-events", None, {"success": ["no"]})),
    (
        'querystring/from must match format "date"',
        ("GET", "/webhook-events", None, {"from": ["2026-02-30"]}),
    ),
    ('body/contacts/0 must match format "email"', listing(contacts=["petra@grün.example"])),
    ("body/leads must NOT have fewer than 1 items", adding()),
    ("body/leads must NOT have more than 1000 items", adding(*[A_LEAD] * 1001)),
    ("body/leads/0 must be object", adding("a@x.example")),
    ("body/leads/0/email must be string,null", adding({"email": 5})),
    ("body/leads/1 must NOT have additional properties", adding(A_LEAD, {"firstName": "Ada"})),
    ("body/leads/0/custom_variables must be object", adding({"custom_variables": []})),
    (
        "body/leads/0/custom_variables/tags must be string,number,boolean,null",
        adding({"custom_variables": {"tags": []}}),
    ),
    (
        "body/leads/0/lt_interest_status must be equal to one of the allowed values",
        adding({"lt_interest_status": 9}),
    ),
    ("body must have exactly one of 'campaign_id' and 'list_id'", adding(A_LEAD, assigned_to="x")),
    (
        "body must have exactly one of 'campaign_id' and 'list_id'",
        adding(A_LEAD, campaign_id=UNKNOWN, list_id=UNKNOWN),
    ),
    ("body must match a schema in anyOf", deleting(ids=[UNKNOWN])),
    (
        "body/emails must NOT have more than 100 items",
        ("POST", "/accounts/warmup-analytics", {"emails": ["a@x.example"] * 101}),
    ),
    # What Instantly ignores, or obeys to our harm
    ("body must be empty", ("POST", f"/campaigns/{UNKNOWN}/activate", {})),
    (
        "headers must have 'Content-Type: application/json'",
        ("POST", "/leads/list", {"limit": 1}, None, HEADERS),
    ),
    (
        "body/sequences/0/steps/0/wait is not declared",
        creating(sequences=[{"steps": [ODD_STEP]}]),
    ),
    (
        "querystring/campaign_id is not declared",
        ("GET", "/campaigns/analytics", None, {"campaign_id": [UNKNOWN]}),
    ),
    ("body/campaign_id is not declared", listing(campaign_id=UNKNOWN)),
    ("body/ids must not be empty: it would not filter", listing(ids=[])),
    ("body/leads/0 must have an e-mail address", adding({"first_name": "Ada"})),
    (
        "body/ids must not be empty: without ids the campaign is emptied",
        deleting(campaign_id=UNKNOWN, ids=[]),
    ),
    (
        "body/delete_list is not declared",
        deleting(campaign_id=UNKNOWN, delete_list=["a@x.example"]),
    ),
    (
        "body/emails must not be empty: no field is required, so nothing would be said",
        ("POST", "/accounts/warmup/enable", {"account_ids": ["a@x.example"]}),
    ),
    (
        "GET /api/v2/accounts/warmup/analytics is no operation that the service uses",
        ("GET", "/accounts/warmup/analytics"),
    ),
]


@pytest.mark.parametrize(("violation", "arguments"), BAD_REQUESTS, ids=[v for v, _ in BAD_REQUESTS])
def test_a_bad_request_is_named(violation: str, arguments: tuple[Any, ...]) -> None:
    assert violation in check(*arguments)


@pytest.mark.parametrize("body", [b"{", b"NaN", b"\xff"])
def test_a_body_that_is_no_json_is_named(body: bytes) -> None:
    assert check_request("POST", "/api/v2/leads/list", {}, JSON_HEADERS, body) == [
        "body must be JSON"
    ]


def test_a_thousand_leads_are_checked_fast() -> None:
    lead: Json = {name: "text" for name in ADDED_LEAD["properties"] if name != "lt_interest_status"}
    lead["custom_variables"] = {"city": "Kassel", "size": 42, "customer": False, "score": None}
    body = {"campaign_id": UNKNOWN, "leads": [lead] * 1000}
    operation = find_operation("POST", "/api/v2/leads/add")
    assert operation
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        assert refusals(operation, "", {}, body) == []
        seconds.append(time.perf_counter() - started)
    assert min(seconds) < 0.02


@pytest.fixture
def http() -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.trust_env = False
        yield session


# Instantly


class Caller:
    """Calls the stand-in as the service would, and checks each successful answer."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.http = requests.Session()
        self.http.trust_env = False
        self.http.headers.update(HEADERS)

    def __call__(
        self, method: str, path: str, body: object = None, **options: Any
    ) -> requests.Response:
        extra: Json = {} if body is None else {"json": body}
        answer = self.http.request(method, f"{self.url}/api/v2{path}", **extra, **options)
        if answer.ok:
            plain_path = unquote(path.partition("?")[0])
            assert check_answer(method, f"/api/v2{plain_path}", answer.json()) == []
        return answer

    def get(self, method: str, path: str, body: object = None, **options: Any) -> Any:
        answer = self(method, path, body, **options)
        assert answer.status_code == 200, answer.text
        return answer.json()


@pytest.fixture
def instantly() -> Iterator[InstantlyStandIn]:
    stand_in = InstantlyStandIn({"acme-key": "acme", "globex-key": "globex"}, plays=False)
    stand_in.delivery_retry_seconds = 0.0
    stand_in.player.pause_seconds = 0.0
    yield stand_in
    stand_in.close()


@pytest.fixture
def call(instantly: InstantlyStandIn) -> Iterator[Caller]:
    with StandIn(instantly.app) as stand_in:
        caller = Caller(stand_in.url)
        yield caller
        caller.http.close()


@pytest.fixture
def campaign_id(call: Caller) -> str:
    sequences = steps("<p>Hello {{firstName}} in {{city}}</p>", "<p>Again</p>", "<p>Last</p>")
    body = campaign_body(sequences=sequences, email_list=["lena@try-northbeam.example"])
    return str(call.get("POST", "/campaigns", body)["id"])


def add(call: Caller, campaign_id: str, *emails: str, **options: Any) -> Json:
    leads = [{"email": email} for email in emails]
    body = {"campaign_id": campaign_id, "leads": leads, **options}
    return dict(call.get("POST", "/leads/add", body))


def emails_of(instantly: InstantlyStandIn, campaign_id: str) -> list[str]:
    return [lead["email"] for lead in instantly.workspace("acme").leads_of(campaign_id)]


@pytest.mark.parametrize(
    ("headers", "status", "message"),
    [
        ({"Authorization": None}, 401, "Missing Authorization header"),
        ({"Authorization": "Bearer wrong"}, 401, "Invalid API key"),
        ({"User-Agent": "python-requests/2.32"}, 403, None),
        ({"User-Agent": ""}, 403, None),
    ],
)
def test_strangers_are_refused(
    call: Caller, headers: dict[str, Any], status: int, message: str | None
) -> None:
    answer = call("GET", "/accounts", headers=headers)
    assert answer.status_code == status
    if message:
        assert answer.json() == {"statusCode": 401, "error": "Unauthorized", "message": message}
    else:
        assert answer.headers["Content-Type"].startswith("text/html")


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "message"),
    [
        ("GET", "/campaigns/123", None, 400, 'params/id must match format "uuid"'),
        ("GET", f"/campaigns/{UNKNOWN}", None, 404, "Resource not found"),
        ("POST", f"/campaigns/{UNKNOWN}/activate", None, 404, "Resource not found"),
        ("POST", "/campaigns", {}, 400, "body must have required property 'name', "),
        ("POST", "/leads/list", {"limit": 101}, 400, "body/limit must be <= 100"),
        ("GET", "/accounts?limit=0", None, 400, "querystring/limit must be >= 1"),
        ("DELETE", "/leads", {}, 400, "body must match a schema in anyOf"),
        ("DELETE", "/leads", {"campaign_id": UNKNOWN, "ids": ["x"]}, 404, "Resource not found"),
        ("GET", "/accounts/nobody@x.example", None, 404, "Resource not found"),
        ("GET", "/background-jobs/123", None, 404, "Resource not found"),
        ("GET", "/nothing", None, 404, "Route GET:/api/v2/nothing not found"),
    ],
)
def test_refusals_have_the_shape_and_words_of_instantly(
    call: Caller, method: str, path: str, body: object, status: int, message: str
) -> None:
    answer = call(method, path, body)
    error = {400: "Bad Request", 404: "Not Found"}[status]
    assert answer.status_code == status
    assert answer.json()["statusCode"] == status
    assert answer.json()["error"] == error
    assert answer.json()["message"].startswith(message)


def test_a_json_content_type_without_a_body_is_refused(call: Caller, campaign_id: str) -> None:
    headers = {"Content-Type": "application/json"}
    answer = call("POST", f"/campaigns/{campaign_id}/pause", headers=headers)
    assert answer.status_code == 400
    assert answer.json()["message"].startswith("Body cannot be empty")


def test_a_broken_body_is_refused(call: Caller) -> None:
    answer = call("POST", "/leads/list", data=b"{", headers={"Content-Type": "application/json"})
    assert answer.status_code == 400


def test_unknown_names_are_ignored_where_production_ignores_them(
    call: Caller, campaign_id: str
) -> None:
    add(call, campaign_id, "a@x.example")
    listed = call.get("POST", "/leads/list", {"campaign_id": UNKNOWN})
    assert len(listed["items"]) == 1
    assert len(call.get("GET", "/accounts?foo=1")["items"]) == 10


def test_a_key_opens_its_own_workspace_only(call: Caller, campaign_id: str) -> None:
    call.http.headers["Authorization"] = "Bearer globex-key"
    assert call("GET", f"/campaigns/{campaign_id}").status_code == 404


def test_a_campaign_lives_from_draft_to_deleted(
    instantly: InstantlyStandIn, call: Caller, campaign_id: str
) -> None:
    path = f"/campaigns/{campaign_id}"
    campaign = call.get("GET", path)
    assert UUID(campaign["id"])
    assert campaign["status"] == 0
    assert campaign["email_list"] == ["lena@try-northbeam.example"]
    assert call.get("PATCH", path, {"email_list": ["b@x.example"]})["email_list"] == ["b@x.example"]
    assert call.get("POST", f"{path}/activate")["status"] == 1
    assert call.get("POST", f"{path}/pause")["status"] == 2
    add(call, campaign_id, "a@x.example")
    assert instantly.summary()["acme"] == {
        campaign_id: {"name": "Autumn", "status": 2, "leads": 1},
    }
    assert call.get("DELETE", path)["id"] == campaign_id
    assert call("GET", path).status_code == 404
    assert call.get("POST", "/leads/list", {}) == {"items": []}


def test_a_campaign_can_lose_its_senders_and_refuse_to_run(
    instantly: InstantlyStandIn, call: Caller
) -> None:
    instantly.loses_email_list = True
    instantly.activate_status = -1
    campaign = call.get("POST", "/campaigns", campaign_body(email_list=["a@x.example"]))
    assert campaign["email_list"] == []
    assert call.get("POST", f"/campaigns/{campaign['id']}/activate")["status"] == -1


@pytest.mark.parametrize(
    ("body", "kept"),
    [
        ("plain text", ""),
        ("before<p>in &amp; <b>bold</b></p>after", "<p>in &amp; <b>bold</b></p>"),
        ("one<br/>two<br>three", "<br/><br>"),
        ('<div style="color:red">a<br>b</div>&nbsp;', '<div style="color:red">a<br>b</div>'),
        ("<p>{{firstName}} &#8211;</p>", "<p>{{firstName}} &#8211;</p>"),
    ],
)
def test_text_outside_any_element_is_stripped(call: Caller, body: str, kept: str) -> None:
    campaign = call.get("POST", "/campaigns", campaign_body(sequences=steps(body)))
    assert campaign["sequences"][0]["steps"][0]["variants"][0]["body"] == kept
    assert Sanitizer.sanitize(kept) == kept


def test_adding_leads_counts_refusals_and_names_only_the_created(
    instantly: InstantlyStandIn, call: Caller, campaign_id: str
) -> None:
    instantly.workspace("acme").blocklist = {"blocked.example", "ceo@x.example"}
    add(call, campaign_id, "Old@x.example")
    answer = add(
        call,
        campaign_id,
        "new@x.example",
        "OLD@x.example",
        "NEW@x.example",
        "a@blocked.example",
        "ceo@x.example",
        "b@nowhere.invalid",
        "no address",
        "skip+c@x.example",
        "last@x.example",
    )
    created = answer.pop("created_leads")
    assert [(lead["index"], lead["email"]) for lead in created] == [
        (0, "new@x.example"),
        (8, "last@x.example"),
    ]
    assert answer == {
        "status": "success",
        "total_sent": 9,
        "leads_uploaded": 2,
        "in_blocklist": 2,
        "blocklist_used": "workspace",
        "duplicated_leads": 1,
        "duplicate_email_count": 1,
        "skipped_count": 1,
        "invalid_email_count": 2,
        "incomplete_count": 0,
        "remaining_in_plan": answer["remaining_in_plan"],
    }
    assert emails_of(instantly, campaign_id) == ["Old@x.example", "new@x.example", "last@x.example"]


def test_the_skip_flags_look_beyond_the_campaign(call: Caller, campaign_id: str) -> None:
    add(call, campaign_id, "a@x.example")
    other = call.get("POST", "/campaigns", campaign_body())["id"]
    body = {"list_id": UNKNOWN, "leads": [{"email": "b@x.example"}]}
    assert call.get("POST", "/leads/add", body)["remaining_in_plan"] is None
    emails = ("a@x.example", "b@x.example")
    assert add(call, other, *emails, skip_if_in_workspace=True)["skipped_count"] == 2
    assert add(call, other, *emails, skip_if_in_campaign=True)["skipped_count"] == 1
    assert add(call, other, *emails)["leads_uploaded"] == 1


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"leads": [{"email": "a@x.example"}]}, 400),
        ({"campaign_id": UNKNOWN, "list_id": UNKNOWN, "leads": [{"email": "a@x.example"}]}, 400),
        ({"campaign_id": UNKNOWN, "leads": []}, 400),
        ({"campaign_id": UNKNOWN, "leads": [{"email": "a@x.example"}] * 1001}, 400),
        ({"campaign_id": UNKNOWN, "leads": [{"email": "a@x.example", "foo": 1}]}, 400),
        ({"campaign_id": UNKNOWN, "leads": [{"email": "a@x.example"}]}, 404),
    ],
)
def test_leads_need_one_known_place_and_a_sane_number(
    call: Caller, body: Json, status: int
) -> None:
    assert call("POST", "/leads/add", body).status_code == status


def test_a_thousand_leads_are_added_fast(call: Caller, campaign_id: str) -> None:
    seconds = []
    for round_ in range(5):
        emails = [f"{round_}-{number}@x.example" for number in range(1000)]
        started = time.perf_counter()
        add(call, campaign_id, *emails)
        seconds.append(time.perf_counter() - started)
    assert min(seconds) < 0.2  # the check of the answer takes most of it


def test_leads_are_listed_in_pages_by_id(call: Caller, campaign_id: str) -> None:
    emails = [f"{number}@x.example" for number in range(25)]
    add(call, campaign_id, *emails)
    listed: list[str] = []
    cursor: Json = {}
    sizes = []
    while True:
        page = call.get("POST", "/leads/list", {"campaign": campaign_id, **cursor})
        sizes.append(len(page["items"]))
        listed += [lead["email"] for lead in page["items"]]
        if "next_starting_after" not in page:
            break
        cursor = {"starting_after": page["next_starting_after"]}
    assert listed == emails
    assert sizes == [10, 10, 5, 0]


def test_leads_are_found_by_every_filter(call: Caller, campaign_id: str) -> None:
    add(call, campaign_id, "Ada@x.example", "bob@x.example")
    other = call.get("POST", "/campaigns", campaign_body())["id"]
    add(call, other, "ada@x.example")

    def found(**filters: Any) -> list[str]:
        page = call.get("POST", "/leads/list", {"limit": 100, **filters})
        return [lead["email"] for lead in page["items"]]

    ids = {
        (lead["campaign"], lead["email"]): lead["id"]
        for lead in call.get("POST", "/leads/list", {})["items"]
    }
    bob = ids[campaign_id, "bob@x.example"]
    assert found() == ["Ada@x.example", "bob@x.example", "ada@x.example"]
    assert found(campaign=campaign_id) == ["Ada@x.example", "bob@x.example"]
    assert found(contacts=["ADA@x.example"]) == ["Ada@x.example", "ada@x.example"]
    assert found(contacts=["ADA@x.example"], campaign=other) == ["ada@x.example"]
    assert found(contacts=["nobody@x.example"]) == []
    assert found(ids=[bob, UNKNOWN]) == ["bob@x.example"]
    assert found(ids=[bob], campaign=other) == []
    assert found(ids=[bob], contacts=["ada@x.example"]) == []
    assert found(campaign=campaign_id, excluded_ids=[bob]) == ["Ada@x.example"]
    assert found(search="BO") == ["bob@x.example"]
    assert found(list_id=UNKNOWN) == []


def test_a_listed_lead_carries_its_data(call: Caller, campaign_id: str) -> None:
    lead = {
        "email": "ada@engines.example",
        "first_name": "Ada",
        "company_name": None,
        "custom_variables": {"city": "London", "size": 3},
    }
    call.get("POST", "/leads/add", {"campaign_id": campaign_id, "leads": [lead]})
    listed = call.get("POST", "/leads/list", {"campaign": campaign_id})["items"][0]
    assert listed["first_name"] == "Ada"
    assert listed["company_domain"] == "engines.example"
    assert listed["payload"] == {"city": "London", "size": 3, "firstName": "Ada"}
    assert "custom_variables" not in listed


def test_leads_are_deleted_by_id(
    instantly: InstantlyStandIn, call: Caller, campaign_id: str
) -> None:
    created = add(call, campaign_id, "a@x.example", "b@x.example")["created_leads"]
    other = call.get("POST", "/campaigns", campaign_body())["id"]
    elsewhere = add(call, other, "c@x.example")["created_leads"]
    ids = [created[0]["id"], created[0]["id"], elsewhere[0]["id"], UNKNOWN]
    body = {"campaign_id": campaign_id, "ids": ids, "limit": 4}
    assert call.get("DELETE", "/leads", body) == {"count": 1}
    assert call.get("DELETE", "/leads", body) == {"count": 0}
    assert emails_of(instantly, campaign_id) == ["b@x.example"]
    assert emails_of(instantly, other) == ["c@x.example"]
    assert add(call, campaign_id, "A@x.example")["leads_uploaded"] == 1
    assert emails_of(instantly, campaign_id) == ["b@x.example", "A@x.example"]


def test_leads_of_a_list_are_deleted(call: Caller) -> None:
    call.get("POST", "/leads/add", {"list_id": UNKNOWN, "leads": [{"email": "a@x.example"}]})
    assert len(call.get("POST", "/leads/list", {"list_id": UNKNOWN})["items"]) == 1
    assert call.get("DELETE", "/leads", {"list_id": UNKNOWN}) == {"count": 1}
    assert call.get("POST", "/leads/list", {"list_id": UNKNOWN}) == {"items": []}


@pytest.mark.parametrize(
    ("more", "left"),
    [
        ({}, 0),
        ({"ids": []}, 0),
        ({"delete_list": ["a@x.example"]}, 0),
        ({"limit": 2}, 1),
        ({"status": -1}, 3),
    ],
)
def test_deleting_without_ids_empties_the_campaign(
    instantly: InstantlyStandIn, call: Caller, campaign_id: str, more: Json, left: int
) -> None:
    add(call, campaign_id, "a@x.example", "b@x.example", "c@x.example")
    answer = call.get("DELETE", "/leads", {"campaign_id": campaign_id, **more})
    assert answer == {"count": 3 - left}
    assert len(emails_of(instantly, campaign_id)) == left


def pages(call: Caller, path: str, **query: str) -> list[Json]:
    items: list[Json] = []
    while True:
        page = call.get("GET", path, params=query)
        items += page["items"]
        if not page["items"]:
            assert "next_starting_after" not in page
            return items
        query["starting_after"] = page["next_starting_after"]


def test_the_default_page_does_not_hold_all_accounts(call: Caller) -> None:
    first = call.get("GET", "/accounts")
    assert len(first["items"]) == 10
    assert "&" in first["next_starting_after"]
    assert first["items"][0]["warmup"].keys() == {"limit"}
    listed = [account["email"] for account in pages(call, "/accounts")]
    assert len(set(listed)) == len(listed) == 12
    upwards = [account["email"] for account in pages(call, "/accounts", sort_order="asc")]
    assert upwards == listed[::-1]
    by_email = pages(call, "/accounts", sort_by="email", sort_order="asc", limit="5")
    assert [account["email"] for account in by_email] == sorted(listed)
    assert [a["email"] for a in pages(call, "/accounts", search="LENA@try")] == [
        "lena@try-northbeam.example"
    ]
    assert pages(call, "/accounts", status="-1") == []


def test_a_workspace_can_have_any_number_of_accounts(
    instantly: InstantlyStandIn, call: Caller
) -> None:
    instantly.seed_accounts("acme", 156)
    assert len(pages(call, "/accounts", limit="100")) == 156
    instantly.seed_accounts("acme", 0)
    assert call.get("GET", "/accounts") == {"items": []}


def test_an_account_is_found_by_its_quoted_address(
    instantly: InstantlyStandIn, call: Caller
) -> None:
    accounts = instantly.workspace("acme").accounts
    accounts["a/b+c@x.example"] = {**accounts["lena@try-northbeam.example"], "daily_limit": 7}
    assert call.get("GET", "/accounts/a%2Fb%2Bc%40x.example")["daily_limit"] == 7


def test_warmup_changes_when_its_job_is_done(call: Caller) -> None:
    email = "lena@try-northbeam.example"

    def warmup_status() -> int:
        return int(call.get("GET", f"/accounts/{email}")["warmup_status"])

    body = {"emails": [email, "nobody@x.example"]}
    job = call.get("POST", "/accounts/warmup/enable", body)
    assert job["status"] == "pending"
    assert len(job["id"]) == 24
    path = f"/background-jobs/{job['id']}"
    seen = []
    for _ in range(4):
        assert warmup_status() == (1 if "success" in seen else 0)
        seen.append(call.get("GET", path)["status"])
    assert seen == ["in-progress", "in-progress", "success", "success"]
    job = call.get("POST", "/accounts/warmup/disable", body)
    for _ in range(3):
        call.get("GET", f"/background-jobs/{job['id']}")
    assert warmup_status() == 0


def test_a_warmup_job_can_fail(instantly: InstantlyStandIn, call: Caller) -> None:
    instantly.job_polls = 1
    instantly.job_outcome = "failed"
    email = "lena@try-northbeam.example"
    job = call.get("POST", "/accounts/warmup/enable", {"emails": [email]})
    assert call.get("GET", f"/background-jobs/{job['id']}")["status"] == "failed"
    assert call.get("GET", f"/accounts/{email}")["warmup_status"] == 0


def test_warmup_analytics_leave_out_accounts_without_warmup(call: Caller) -> None:
    emails = ["lena@try-northbeam.example", "marc@try-northbeam.example", "nobody@x.example"]
    analytics = call.get("POST", "/accounts/warmup-analytics", {"emails": emails})
    assert set(analytics["aggregate_data"]) == {"marc@try-northbeam.example"}
    assert set(analytics["email_date_data"]) == {"marc@try-northbeam.example"}


# Webhooks


@pytest.fixture
def receiver() -> Iterator[StandIn]:
    """Takes deliveries; answers 200 unless a fault says otherwise."""
    app = Flask("receiver")
    app.add_url_rule("/hook", view_func=dict, methods=["POST"])
    with StandIn(app) as stand_in:
        yield stand_in


def test_webhooks_are_managed(call: Caller) -> None:
    body = {"target_hook_url": "https://x.example/hook", "event_type": "email_sent"}
    webhook = call.get("POST", "/webhooks", body)
    path = f"/webhooks/{webhook['id']}"
    assert webhook["status"] == 1
    assert call.get("PATCH", path, {"name": "mine"})["name"] == "mine"
    assert call.get("GET", path)["target_hook_url"] == "https://x.example/hook"
    assert len(call.get("GET", "/webhooks?event_type=email_sent")["items"]) == 1
    assert call.get("GET", "/webhooks?event_type=email_opened") == {"items": []}
    assert call("POST", "/webhooks", {"target_hook_url": "ftp://x.example"}).status_code == 400
    names = {entry["id"] for entry in call.get("GET", "/webhooks/event-types")["event_types"]}
    assert {"email_link_clicked", "lead_no_show"} <= names
    call.get("DELETE", path)
    assert call("GET", path).status_code == 404


def test_a_webhook_can_be_tested(
    instantly: InstantlyStandIn, call: Caller, receiver: StandIn
) -> None:
    webhook = instantly.add_webhook("acme", f"{receiver.url}/hook")
    path = f"/webhooks/{webhook['id']}/test"
    assert call.get("POST", path)["success"] is True
    receiver.fail("POST", "/hook", status=500)
    failed = call.get("POST", path)
    assert (failed["success"], failed["status_code"]) == (False, 500)
    receiver.fail("POST", "/hook", how="drop")
    assert call.get("POST", path)["error"] == "ConnectionError"


@pytest.mark.parametrize(
    ("subscription", "delivered"),
    [
        ({"event_type": "all_events"}, ["email_sent", "link_clicked", "Call back in Q4"]),
        ({"event_type": "email_link_clicked"}, ["link_clicked"]),
        ({"event_type": "email_sent"}, ["email_sent"]),
        ({"event_type": "all_events", "campaign": UNKNOWN}, ["link_clicked"]),
        ({"name": "nothing subscribed"}, []),
    ],
)
def test_a_webhook_gets_what_it_subscribes_to(
    instantly: InstantlyStandIn,
    call: Caller,
    receiver: StandIn,
    subscription: Json,
    delivered: list[str],
) -> None:
    body = {"target_hook_url": f"{receiver.url}/hook", "headers": {"X-Secret": "s"}, **subscription}
    call.get("POST", "/webhooks", body)
    acme = instantly.workspace("acme")
    instantly.deliver(acme, {"event_type": "email_sent", "campaign_id": "other"})
    instantly.deliver(acme, {"event_type": "link_clicked", "campaign_id": UNKNOWN})
    instantly.deliver(acme, {"event_type": "Call back in Q4"})
    instantly.deliver(instantly.workspace("globex"), {"event_type": "email_sent"})
    assert instantly.drain(5)
    assert [delivery.json["event_type"] for delivery in receiver.requests] == delivered
    for delivery in receiver.requests:
        assert delivery.headers["X-Secret"] == "s"
        assert delivery.headers["User-Agent"] == "Instantly-Sandbox"


def test_a_failed_delivery_is_retried_and_every_attempt_kept(
    instantly: InstantlyStandIn, call: Caller, receiver: StandIn
) -> None:
    instantly.add_webhook("acme", f"{receiver.url}/hook")
    receiver.fail("POST", "/hook", status=503)
    receiver.fail("POST", "/hook", how="drop")
    payload = {"event_type": "email_sent", "lead_email": "a@x.example", "campaign_id": "c"}
    instantly.deliver(instantly.workspace("acme"), payload)
    assert instantly.drain(5)
    assert [delivery.json for delivery in receiver.requests] == [payload] * 3
    events = pages(call, "/webhook-events", limit="2")
    assert [event["payload"] for event in events] == [payload] * 3
    assert [event["success"] for event in events] == [False, False, True]
    assert [event["status_code"] for event in events] == [503, None, 200]
    assert [event["retry_count"] for event in events] == [0, 1, 2]
    assert [event["will_retry"] for event in events] == [True, True, False]
    assert [event["retry_successful"] for event in events] == [True, True, None]
    assert len({event["retry_group_id"] for event in events}) == 1
    today = events[0]["timestamp_created_date"]
    assert len(pages(call, "/webhook-events", success="false")) == 2
    assert len(pages(call, "/webhook-events", **{"from": today, "to": today})) == 3
    assert pages(call, "/webhook-events", to="2020-01-01") == []
    assert len(pages(call, "/webhook-events", search="a@x.example")) == 3
    assert len(pages(call, "/webhook-events", search=f"{receiver.url}/hook")) == 3
    assert pages(call, "/webhook-events", search="a@x") == []


def test_a_webhook_is_switched_off_after_repeated_failures(
    instantly: InstantlyStandIn, call: Caller, receiver: StandIn
) -> None:
    webhook = instantly.add_webhook("acme", f"{receiver.url}/hook")
    acme = instantly.workspace("acme")
    receiver.fail("POST", "/hook", times=None, status=500)
    for number in range(7):
        instantly.deliver(acme, {"event_type": "email_sent", "number": number})
    assert instantly.drain(5)
    assert len(receiver.requests) == 20
    assert len(acme.events) == 20
    path = f"/webhooks/{webhook['id']}"
    assert call.get("GET", path)["status"] == -1
    receiver.heal()
    assert call.get("POST", f"{path}/resume")["status"] == 1
    instantly.deliver(acme, {"event_type": "email_sent", "number": 7})
    assert instantly.drain(5)
    assert receiver.requests[-1].json["number"] == 7
    assert acme.events[-1]["success"] is True


def test_deliveries_do_not_hold_up_the_api(
    instantly: InstantlyStandIn, call: Caller, receiver: StandIn
) -> None:
    instantly.add_webhook("acme", f"{receiver.url}/hook")
    receiver.fail("POST", "/hook", how="hang")
    instantly.deliver(instantly.workspace("acme"), {"event_type": "email_sent"})
    receiver.wait_until_hanging()
    assert call("GET", "/webhooks").ok
    assert not instantly.drain(0.01)
    receiver.release()
    assert instantly.drain(5)


# Playing


def named_leads(number: int) -> list[Json]:
    return [
        {
            "email": f"lead-{index}@x.example",
            "first_name": f"Name {index}",
            "custom_variables": {"city": "Kassel", "step": "a name that Instantly uses itself"},
        }
        for index in range(number)
    ]


def play(
    instantly: InstantlyStandIn, call: Caller, campaign_id: str, receiver: StandIn, leads: int
) -> list[Json]:
    instantly.plays = True
    instantly.add_webhook("acme", f"{receiver.url}/hook")
    body = {"campaign_id": campaign_id, "leads": named_leads(leads)}
    call.get("POST", "/leads/add", body)
    call.get("POST", f"/campaigns/{campaign_id}/activate")
    assert instantly.player.wait(20)
    assert instantly.drain(20)
    return [delivery.json for delivery in receiver.requests]


def test_an_activated_campaign_is_played_to_its_end(
    instantly: InstantlyStandIn, call: Caller, campaign_id: str, receiver: StandIn
) -> None:
    assert call.get("GET", f"/campaigns/analytics?id={campaign_id}") == []
    deliveries = play(instantly, call, campaign_id, receiver, leads=60)
    distinct = {json.dumps(delivery, sort_keys=True): delivery for delivery in deliveries}
    assert len(distinct) < len(deliveries)  # some are delivered twice, unchanged
    events = list(distinct.values())
    counts = Counter(event["event_type"] for event in events)
    assert counts.keys() == {
        "email_sent",
        "email_opened",
        "link_clicked",
        "reply_received",
        "auto_reply_received",
        "email_bounced",
        "lead_unsubscribed",
        "lead_interested",
        "lead_not_interested",
        "campaign_completed",
    }
    assert events[-1]["event_type"] == "campaign_completed"
    moments = [event["timestamp"] for event in events]
    assert moments == sorted(set(moments))
    sent = next(event for event in events if event["event_type"] == "email_sent")
    assert sent["lead_email"] == "lead-0@x.example"
    assert (sent["step"], sent["variant"], sent["is_first"]) == (1, 1, True)
    assert sent["email_html"] == "<p>Hello Name 0 in Kassel</p>"
    assert (sent["email_text"], sent["email_subject"]) == ("Hello Name 0 in Kassel", "Hi Name 0")
    assert (sent["firstName"], sent["city"]) == ("Name 0", "Kassel")

    for ended in ("email_bounced", "lead_unsubscribed", "reply_received"):
        lead = next(event["lead_email"] for event in events if event["event_type"] == ended)
        of_lead = [event["event_type"] for event in events if event.get("lead_email") == lead]
        assert "email_sent" not in of_lead[of_lead.index(ended) :]

    (analytics,) = call.get("GET", f"/campaigns/analytics?id={campaign_id}")
    assert analytics["campaign_status"] == 3
    assert analytics["leads_count"] == analytics["contacted_count"] == 60
    assert analytics["emails_sent_count"] == counts["email_sent"]
    assert analytics["open_count"] == counts["email_opened"]
    assert analytics["link_click_count"] == counts["link_clicked"]
    assert analytics["reply_count"] == counts["reply_received"]
    assert analytics["bounced_count"] == counts["email_bounced"]
    assert analytics["unsubscribed_count"] == counts["lead_unsubscribed"]
    opened = {event["lead_email"] for event in events if event["event_type"] == "email_opened"}
    assert analytics["open_count_unique"] == len(opened)
    listed = call.get("POST", "/leads/list", {"campaign": campaign_id, "limit": 100})["items"]
    statuses = Counter(lead["status"] for lead in listed)
    assert statuses[-1] == counts["email_bounced"]
    assert statuses[-2] == counts["lead_unsubscribed"]
    assert statuses[3] == analytics["completed_count"] == 60 - statuses[-1] - statuses[-2]
    assert sum(lead["email_open_count"] for lead in listed) == counts["email_opened"]
    assert call.get("GET", "/campaigns/analytics") == [analytics]
    assert call.get("GET", f"/campaigns/analytics?ids={UNKNOWN}&ids=x") == []


def test_the_samples_of_the_documentation_have_the_same_form(
    instantly: InstantlyStandIn, call: Caller, campaign_id: str, receiver: StandIn
) -> None:
    if not SAMPLES.exists():
        pytest.skip("the samples are not at hand")
    documented: dict[str, set[str]] = {}
    for sample in json.loads(SAMPLES.read_text()):
        if sample["basis"] == "documented":
            names = documented.setdefault(sample["payload"]["event_type"], set())
            names.update(sample["payload"])
    own_data = {"city", "step", "firstName", "email"}
    for event in play(instantly, call, campaign_id, receiver, leads=60):
        assert event.keys() - own_data <= documented[event["event_type"]]


def test_the_same_names_tell_the_same_story() -> None:
    def told(name: str, seed: int) -> list[tuple[Any, ...]]:
        campaign = campaign_body(name=name, sequences=steps("<p>a</p>", "<p>b</p>"))
        return [
            (beat.event_type, beat.step, beat.variant, beat.sender, beat.is_repeated)
            for number in range(20)
            for beat in story(
                {"id": str(time.time_ns()), "email": f"{number}@x.example"},
                campaign,
                ["a@x.example", "b@x.example"],
                seed,
            )
        ]

    assert told("Autumn", 1) == told("Autumn", 1)
    assert told("Autumn", 1) != told("Winter", 1)
    assert told("Autumn", 1) != told("Autumn", 2)


def test_tracking_that_is_off_reports_nothing(
    instantly: InstantlyStandIn, call: Caller, campaign_id: str, receiver: StandIn
) -> None:
    options = {"open_tracking": False, "link_tracking": False}
    call.get("PATCH", f"/campaigns/{campaign_id}", options)
    deliveries = play(instantly, call, campaign_id, receiver, leads=20)
    assert not {"email_opened", "link_clicked"} & {event["event_type"] for event in deliveries}


def test_a_paused_campaign_goes_on_after_its_next_activation(
    instantly: InstantlyStandIn, call: Caller, campaign_id: str, receiver: StandIn
) -> None:
    instantly.plays = True
    instantly.player.pause_seconds = 0.005
    instantly.add_webhook("acme", f"{receiver.url}/hook")
    call.get("POST", "/leads/add", {"campaign_id": campaign_id, "leads": named_leads(20)})
    path = f"/campaigns/{campaign_id}"
    call.get("POST", f"{path}/activate")
    wait_until(lambda: len(receiver.requests) > 3)
    call.get("POST", f"{path}/pause")
    assert instantly.player.wait(5)
    assert instantly.drain(5)
    before = {json.dumps(delivery.json) for delivery in receiver.requests}
    assert "campaign_completed" not in str(before)
    receiver.clear()
    instantly.player.pause_seconds = 0.0
    call.get("POST", f"{path}/activate")
    call.get("POST", f"{path}/activate")
    assert instantly.player.wait(5)
    assert instantly.drain(5)
    after = {json.dumps(delivery.json) for delivery in receiver.requests}
    assert not before & after
    sent = [
        (event["lead_email"], event["step"])
        for event in map(json.loads, before | after)
        if event["event_type"] == "email_sent"
    ]
    assert len(set(sent)) == len(sent)
    assert len({lead for lead, _ in sent}) == 20
    assert call.get("GET", path)["status"] == 3


def test_leads_added_to_an_active_campaign_are_played_too(
    instantly: InstantlyStandIn, call: Caller, campaign_id: str, receiver: StandIn
) -> None:
    instantly.plays = True
    instantly.add_webhook("acme", f"{receiver.url}/hook")
    call.get("POST", f"/campaigns/{campaign_id}/activate")
    assert instantly.player.wait(5)
    assert call.get("GET", f"/campaigns/{campaign_id}")["status"] == 1  # waiting for leads
    call.get("POST", "/leads/add", {"campaign_id": campaign_id, "leads": named_leads(1)})
    assert instantly.player.wait(5)
    assert instantly.drain(5)
    assert receiver.requests[0].json["event_type"] == "email_sent"
    assert receiver.requests[-1].json["event_type"] == "campaign_completed"


def test_a_campaign_that_changes_meanwhile_is_played_as_it_was_told(
    instantly: InstantlyStandIn, call: Caller, campaign_id: str, receiver: StandIn
) -> None:
    instantly.plays = True
    instantly.player.pause_seconds = 0.005
    instantly.add_webhook("acme", f"{receiver.url}/hook")
    created = call.get(
        "POST", "/leads/add", {"campaign_id": campaign_id, "leads": named_leads(10)}
    )["created_leads"]
    call.get("POST", f"/campaigns/{campaign_id}/activate")
    call.get("PATCH", f"/campaigns/{campaign_id}", {"sequences": []})
    body = {"campaign_id": campaign_id, "ids": [created[0]["id"], created[9]["id"]]}
    call.get("DELETE", "/leads", body)
    assert instantly.player.wait(5)
    assert instantly.drain(5)
    assert receiver.requests[-1].json["event_type"] == "campaign_completed"
    leads = {delivery.json.get("lead_email") for delivery in receiver.requests}
    assert created[1]["email"] in leads
    assert created[9]["email"] not in leads


def test_only_the_first_leads_of_a_large_campaign_are_played(
    instantly: InstantlyStandIn, call: Caller, campaign_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("instantly.sandbox.player.MAX_PLAYED_LEADS", 2)
    instantly.plays = True
    call.get("POST", "/leads/add", {"campaign_id": campaign_id, "leads": named_leads(5)})
    call.get("POST", f"/campaigns/{campaign_id}/activate")
    assert instantly.player.wait(5)
    (analytics,) = call.get("GET", "/campaigns/analytics")
    assert (analytics["leads_count"], analytics["contacted_count"]) == (5, 2)


def test_nothing_is_played_when_the_player_is_off(
    instantly: InstantlyStandIn, call: Caller, campaign_id: str
) -> None:
    add(call, campaign_id, "a@x.example")
    call.get("POST", f"/campaigns/{campaign_id}/activate")
    assert instantly.player.wait(0)
    assert call.get("GET", f"/campaigns/{campaign_id}")["status"] == 1
    assert call.get("GET", "/campaigns/analytics") == []


def test_a_closed_player_stops() -> None:
    stand_in = InstantlyStandIn({"acme-key": "acme"})
    stand_in.player.pause_seconds = 60
    with StandIn(stand_in.app) as server:
        call = Caller(server.url)
        campaign_id = call.get("POST", "/campaigns", campaign_body(sequences=steps("<p>x</p>")))[
            "id"
        ]
        add(call, campaign_id, "a@x.example")
        call.get("POST", f"/campaigns/{campaign_id}/activate")
        assert not stand_in.player.wait(0.01)
        stand_in.close()
        assert stand_in.player.wait(5)
        call.http.close()


# key-service and runs-service


@pytest.mark.parametrize(
    ("path", "status", "answer"),
    [
        ("keys/instantly/decrypt?clerkOrgId=org_1", 200, {"provider": "instantly", "key": "k1"}),
        ("keys/instantly/decrypt?clerkOrgId=org_2", 404, {"error": "Key not found"}),
        ("keys/instantly/decrypt", 404, {"error": "Key not found"}),
        (
            "app-keys/instantly/decrypt?appId=instantly-service",
            200,
            {"provider": "instantly", "key": "app"},
        ),
        ("app-keys/instantly/decrypt?appId=other", 404, {"error": "Key not found"}),
    ],
)
def test_key_service_hands_out_keys(
    http: requests.Session, path: str, status: int, answer: Json
) -> None:
    service = KeyServiceStandIn("secret", {"org_1": "k1"}, "app")
    headers = {
        "x-api-key": "secret",
        "X-Caller-Service": "instantly",
        "X-Caller-Method": "POST",
        "X-Caller-Path": "/campaigns",
    }
    with StandIn(service.app) as stand_in:
        url = f"{stand_in.url}/internal/{path}"
        given = http.get(url, headers=headers)
        assert (given.status_code, given.json()) == (status, answer)
        assert http.get(url, headers={**headers, "x-api-key": "wrong"}).status_code == 401
        assert http.get(url, headers={"x-api-key": "secret"}).status_code == 400
        service.app_key = None
        if path.startswith("app-keys"):
            assert http.get(url, headers=headers).status_code == 404


RUN = {
    "clerkOrgId": "org_1",
    "appId": "app",
    "serviceName": "instantly-service",
    "taskName": "leads-add",
    "brandId": "brand",
}


@pytest.fixture
def runs() -> RunsServiceStandIn:
    return RunsServiceStandIn("secret")


@pytest.fixture
def runs_call(runs: RunsServiceStandIn, http: requests.Session) -> Iterator[Callable[..., Any]]:
    http.headers["X-API-Key"] = "secret"
    with StandIn(runs.app) as stand_in:

        def call(method: str, path: str, body: object = None) -> tuple[int, Any]:
            answer = http.request(method, f"{stand_in.url}/v1/runs{path}", json=body)
            return answer.status_code, answer.json()

        yield call


def test_runs_are_created_billed_and_ended(
    runs: RunsServiceStandIn, runs_call: Callable[..., Any]
) -> None:
    status, run = runs_call("POST", "", RUN)
    assert status == 201
    assert UUID(run["id"])
    assert run == {**RUN, "id": run["id"], "status": "running", "startedAt": run["startedAt"]}
    status, child = runs_call("POST", "", {**RUN, "parentRunId": run["id"]})
    assert status == 201
    assert [open_run["id"] for open_run in runs.open_runs()] == [run["id"], child["id"]]
    items = [{"costName": "instantly-lead-add", "quantity": 3}]
    assert runs_call("POST", f"/{run['id']}/costs", {"items": items}) == (201, {"costs": items})
    runs_call("POST", f"/{child['id']}/costs", {"items": items})
    assert runs.billed() == {"instantly-lead-add": 6}
    assert runs_call("PATCH", f"/{run['id']}", {"status": "completed"})[0] == 200
    assert runs_call("PATCH", f"/{child['id']}", {"status": "failed", "error": "x"})[0] == 200
    assert runs.open_runs() == []
    assert runs_call("GET", f"/{child['id']}")[1]["error"] == "x"
    listed = runs_call("GET", "")[1]["runs"]
    assert [(entry["status"], entry["costs"]) for entry in listed] == [
        ("completed", items),
        ("failed", items),
    ]


def test_known_parents_are_accepted(
    runs: RunsServiceStandIn, runs_call: Callable[..., Any]
) -> None:
    assert runs_call("POST", "", {**RUN, "parentRunId": UNKNOWN})[0] == 400
    runs.known_parents.add(UNKNOWN)
    assert runs_call("POST", "", {**RUN, "parentRunId": UNKNOWN})[0] == 201


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "", {}, 400),
        ("POST", "", [], 400),
        ("POST", "", {**RUN, "clerkOrgId": ""}, 400),
        ("POST", "", {**RUN, "parentRunId": "no uuid"}, 400),
        ("POST", f"/{UNKNOWN}/costs", {"items": []}, 404),
        ("PATCH", f"/{UNKNOWN}", {"status": "failed"}, 404),
        ("GET", f"/{UNKNOWN}", None, 404),
        ("PATCH", "/run", {"status": "done"}, 400),
        ("POST", "/run/costs", {}, 400),
        ("POST", "/run/costs", {"items": ["x"]}, 400),
        ("POST", "/run/costs", {"items": [{"costName": "other", "quantity": 1}]}, 422),
        ("POST", "/run/costs", {"items": [{"costName": "instantly-lead-add", "quantity": 0}]}, 400),
    ],
)
def test_runs_service_refuses(
    runs: RunsServiceStandIn,
    runs_call: Callable[..., Any],
    method: str,
    path: str,
    body: object,
    status: int,
) -> None:
    _, run = runs_call("POST", "", RUN)
    assert runs_call(method, path.replace("/run", f"/{run['id']}"), body)[0] == status
    assert runs.billed() == {}


def test_runs_service_needs_its_key(runs_call: Callable[..., Any], http: requests.Session) -> None:
    http.headers["X-API-Key"] = "wrong"
    assert runs_call("POST", "", RUN)[0] == 401
