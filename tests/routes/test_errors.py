"""What a request can be refused for, in which order, and what an answer never holds."""

import io
import json
import re
from typing import Any
from uuid import UUID

import pytest
from flask.testing import FlaskClient
from psycopg import OperationalError, errors
from werkzeug.test import TestResponse
from world import API_KEY, ORG, campaign_request

from instantly.json_text import storable_text
from instantly.storage.pool import NotConnected
from instantly.storage.statements import Database

LIMIT = 16 * 1024 * 1024
SOME_ID = "0b6f4a52-6a6e-4b0e-9c0f-0d8a7c3a5d11"
STEP = {"subject": "s", "bodyHtml": "b"}
LEADS = [{"email": "a@x.example"}]
DAYS = {"from": "2026-08-17", "to": "2026-08-19"}
DELIVERIES = "/webhooks/instantly"
# Every route that takes a JSON object, with a good one.
ROUTES = {
    "create": ("POST", "/campaigns", campaign_request()),
    "change": ("PATCH", f"/campaigns/{SOME_ID}/status", {"status": "active"}),
    "add": ("POST", f"/campaigns/{SOME_ID}/leads", {"orgId": "org-1", "leads": LEADS}),
    "delete": ("DELETE", f"/campaigns/{SOME_ID}/leads", {"emails": ["a@x.example"]}),
    "warm up": ("POST", "/accounts/a@x.example/warmup", {"enabled": True}),
    "count": ("POST", "/stats", {"clerkOrgId": "clerk-1"}),
    "recover": ("POST", f"{DELIVERIES}/recover", {"clerkOrgId": "clerk-1", **DAYS}),
}
JSON_ROUTES = [(method, path) for method, path, _ in ROUTES.values()]
KEYS = (API_KEY, "key-1", "app-key", "keys-key", "runs-key")


def error(answer: TestResponse, status: int, message: str) -> dict[str, Any]:
    """The body of an error answer, after a look at all that every error promises."""
    assert answer.status_code == status, answer.text
    assert answer.mimetype == "application/json"
    body = answer.get_json()
    assert body["error"] == message
    assert answer.headers["X-Request-Id"]
    return body


def details(answer: TestResponse) -> dict[str, list[str]]:
    """Which fields an invalid request is refused for, and why."""
    found = error(answer, 400, "Invalid request")["details"]
    for messages in found.values():
        assert isinstance(messages, list)
        assert messages
        assert all(isinstance(message, str) and message for message in messages)
    return found


def post_bytes(client: FlaskClient, data: bytes, path: str = "/campaigns") -> TestResponse:
    return client.post(path, data=data, content_type="application/json")


# Routes, methods, sizes and types


@pytest.mark.parametrize(
    "path",
    [
        "/nowhere",
        "/campaigns/",
        "/campaigns//x",
        "/Health",
        f"/campaigns/{SOME_ID}/nothing",
        "/%00",
        "/%ff%fe",
        "/<b>html</b>",
    ],
)
def test_an_unknown_route_is_not_found(client, path):
    for method in ("GET", "POST", "DELETE"):
        assert error(client.open(path, method=method), 404, "Not found") == {"error": "Not found"}


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/", {"GET"}),
        ("PUT", f"/campaigns/{SOME_ID}/leads", {"GET", "POST", "DELETE"}),
        ("GET", "/accounts/sync", {"POST"}),
        ("GET", DELIVERIES, {"POST"}),
    ],
)
def test_a_wrong_method_is_told_the_right_ones(client, method, path, allowed):
    answer = client.open(path, method=method)
    assert error(answer, 405, "Method not allowed") == {"error": "Method not allowed"}
    named = {name.strip() for name in answer.headers["Allow"].split(",")}
    assert named - {"HEAD", "OPTIONS"} == allowed


@pytest.mark.parametrize(
    "path",
    ["/", "/health", "/campaigns/by-org/nobody", f"/campaigns/{SOME_ID}", "/accounts", "/nowhere"],
)
def test_head_is_answered_like_get(client, path):
    head, get = client.head(path), client.get(path)
    assert (head.status_code, head.data) == (get.status_code, b"")
    assert (head.content_type, head.content_length) == (get.content_type, get.content_length)


@pytest.mark.parametrize(("method", "path"), JSON_ROUTES)
def test_a_body_that_declares_more_than_the_limit_is_too_large(client, method, path):
    declared = {"CONTENT_LENGTH": str(LIMIT + 1), "CONTENT_TYPE": "application/json"}
    answer = client.open(path, method=method, environ_overrides=declared)
    error(answer, 413, "Request body too large")


def chunked(client: FlaskClient, body: bytes) -> TestResponse:
    """A body without a declared length, as gunicorn hands it on."""
    return client.post(
        "/campaigns",
        input_stream=io.BytesIO(body),
        content_type="application/json",
        environ_overrides={
            "CONTENT_LENGTH": "",
            "HTTP_TRANSFER_ENCODING": "chunked",
            "wsgi.input_terminated": True,
        },
    )


def test_a_chunked_body_is_read_up_to_the_limit(client):
    assert chunked(client, json.dumps(campaign_request()).encode()).status_code == 201
    error(chunked(client, b" " * (LIMIT + 1)), 413, "Request body too large")


def test_a_body_of_just_the_limit_is_read(client):
    head, tail = b'{"ignored": "', b'"}'
    body = head + b"x" * (LIMIT - len(head) - len(tail)) + tail
    assert "orgId" in details(post_bytes(client, body))


@pytest.mark.parametrize(
    "content_type", [None, "text/json", "multipart/form-data; boundary=x", "nonsense"]
)
def test_another_content_type_is_refused(client, content_type):
    for method, path in JSON_ROUTES:
        answer = client.open(path, method=method, data=b"{}", content_type=content_type)
        error(answer, 415, "Content-Type must be application/json")


@pytest.mark.parametrize(
    "content_type", ["application/json; charset=utf-8", "Application/JSON", "application/json;"]
)
def test_json_may_say_more_of_its_type(client, content_type):
    body = json.dumps(campaign_request()).encode()
    assert client.post("/campaigns", data=body, content_type=content_type).status_code == 201


# Bodies that are no JSON object

INVALID_JSON = {
    "empty": b"",
    "half an object": b'{"name": ',
    "two objects": b"{} {}",
    "a trailing comma": b'{"a": 1,}',
    "a form": b"name=x&orgId=y",
    "a list": b"[{}]",
    "a text": b'"{}"',
    "null": b"null",
    "Latin-1": '{"name": "Grüße"}'.encode("latin-1"),
    "UTF-16": '{"name": "x"}'.encode("utf-16"),
    "UTF-16 without its mark": '{"name": "x"}'.encode("utf-16-le"),
    "a surrogate in UTF-8": b'{"name": "\xed\xa0\x80"}',
    "a naked NUL": b'{"name": "\x00"}',
    "a half escape": rb'{"name": "\u12"}',
    **{word: f'{{"a": {word}}}'.encode() for word in ("NaN", "Infinity", "-Infinity")},
    "100,000 open lists": b"[" * 100_000,
    "100,000 objects in a field": b'{"metadata": ' + b'{"a":' * 100_000 + b"1" + b"}" * 100_001,
}


@pytest.mark.parametrize("path", ["/campaigns", DELIVERIES])
@pytest.mark.parametrize("body", INVALID_JSON.values(), ids=INVALID_JSON)
def test_what_is_no_json_object_is_invalid_json(client, path, body):
    assert error(post_bytes(client, body, path), 400, "Invalid JSON") == {"error": "Invalid JSON"}


def test_a_number_that_nobody_can_hold_is_invalid_json(client):
    error(post_bytes(client, b'{"metadata": {"a": 1e999}}'), 400, "Invalid JSON")


@pytest.mark.parametrize(("method", "path"), JSON_ROUTES)
def test_every_route_wants_a_json_object(client, method, path):
    for body in (b"", b"[]", b"[" * 100_000, b'{"a": NaN}'):
        answer = client.open(path, method=method, data=body, content_type="application/json")
        error(answer, 400, "Invalid JSON")


def test_a_number_of_too_many_digits_is_a_bad_request(client):
    body = b'{"settings": {"dailyLimit": ' + b"9" * 5000 + b"}}"
    assert post_bytes(client, body).status_code == 400


# Bodies that break the schema


MISSING = object()
NO_TEXTS = [None, 5, True, {}, ["text"]]
NO_IDS = [*NO_TEXTS, "", MISSING]
# The route, its field, and what this may not be.
BAD_VALUES = [
    *(("create", name, NO_IDS) for name in (*ORG, "name")),
    ("change", "status", [*NO_TEXTS, MISSING]),
    *((route, "runId", [" ", "run-1", 5]) for route in ("create", "add")),
    ("add", "orgId", NO_IDS),
    ("add", "leads", [None, "text", {}, [], MISSING, LEADS * 10_001]),
    ("delete", "emails", [None, "a@x.example", {}, [], MISSING, ["a@x.example"] * 10_001]),
    ("warm up", "enabled", [None, "true", 1, 0.0, [True], {}, MISSING]),
    ("count", "runIds", [[], None, SOME_ID, ["run-1"], [None], [5], [SOME_ID] * 1001]),
    *(("count", name, NO_TEXTS) for name in ("clerkOrgId", "brandId", "appId")),
    ("count", "campaignId", ["campaign", None, 7]),
    ("recover", "clerkOrgId", NO_IDS),
    ("recover", "from", [None, "", "yesterday", "2026-02-30", 20260818, ["2026-08-18"], MISSING]),
    ("recover", "to", ["18.08.2026", True, MISSING]),
    # Before "from".
    ("recover", "to", ["2026-08-16"]),
]


@pytest.mark.parametrize(("route", "field", "values"), BAD_VALUES)
def test_a_bad_value_is_refused_by_its_name_before_anything_is_done(
    client, upstreams, route, field, values
):
    method, path, good = ROUTES[route]
    for value in values:
        body = {**good, field: value}
        if value is MISSING:
            del body[field]
        (named,) = details(client.open(path, method=method, json=body))
        assert named.partition(".")[0] == field, value
    for http in (upstreams.instantly_http, upstreams.keys_http, upstreams.runs_http):
        assert http.requests == []


@pytest.mark.parametrize("body", [{}, {"orgId": "org-1"}, {"unknown": 1}])
def test_statistics_want_at_least_one_condition(client, body):
    assert details(client.post("/stats", json=body))


def test_every_bad_field_is_named_at_once(client):
    body = {"orgId": "", "name": 5, "settings": {"dailyLimit": "x", "surprise": 1}}
    named = details(client.post("/campaigns", json=body)).keys()
    assert named == {*ORG, "name", "settings.dailyLimit", "settings.surprise"}


UNSTORABLE = ["\x00", "a\x00b", "\ud800", "a\ud83d", "\ude00\ud83d"]
BAD = "BAD"
LAST_STEP = {"variants": [STEP, {**STEP, "bodyHtml": BAD}], "daysSinceLastStep": 1}
# The path of the text that is refused, the route, and what is changed in its good body.
TEXTS = [
    *((name, "create", {name: BAD}) for name in (*ORG, "name")),
    ("sequence.0.subject", "create", {"sequence": [{**STEP, "subject": BAD}]}),
    ("sequence.0.bodyHtml", "create", {"sequence": [{**STEP, "bodyHtml": f"<p>{BAD}</p>"}]}),
    ("sequence.1.variants.1.bodyHtml", "create", {"sequence": [STEP, LAST_STEP]}),
    ("metadata.snake_case.0.deep", "create", {"metadata": {"snake_case": [{"deep": BAD}]}}),
    (f"metadata.outer.{BAD}", "create", {"metadata": {"fine": 1, "outer": {BAD: 1}}}),
    ("orgId", "add", {"orgId": BAD}),
    ("leads.1.email", "add", {"leads": [*LEADS, {"email": f"b{BAD}@x.example"}]}),
    *(
        (f"leads.1.{name}", "add", {"leads": [*LEADS, {"email": "b@x.example", name: BAD}]})
        for name in ("firstName", "personalization")
    ),
    (
        "leads.0.customVariables.city_name",
        "add",
        {"leads": [{"email": "b@x.example", "customVariables": {"city_name": BAD}}]},
    ),
    *((name, "count", {name: BAD}) for name in ("clerkOrgId", "brandId", "appId")),
    ("clerkOrgId", "recover", {"clerkOrgId": BAD}),
]


@pytest.mark.parametrize(("field", "route", "changes"), TEXTS)
def test_text_that_postgres_cannot_keep_is_refused_by_its_path(
    client, upstreams, field, route, changes
):
    _, path, good = ROUTES[route]
    for bad in UNSTORABLE:
        body = json.dumps({**good, **changes}).replace(BAD, json.dumps(bad)[1:-1])
        (named,) = details(post_bytes(client, body.encode(), path))
        assert named == field.replace(BAD, storable_text(bad)), ascii(bad)
    assert upstreams.runs_http.requests == upstreams.instantly_http.requests == []


@pytest.mark.parametrize("text", ["😀é", "\\u0000", "\\ud800", "\ufffd\u2028"])
def test_what_only_looks_unstorable_is_kept(client, text):
    for ensure_ascii in (True, False):
        body = campaign_request(name=text, metadata={text: text})
        data = json.dumps(body, ensure_ascii=ensure_ascii).encode()
        created = post_bytes(client, data).get_json()["campaign"]
        kept = client.get(f"/campaigns/{created['id']}").get_json()["campaign"]
        assert (kept["name"], kept["metadata"]) == (text, {text: text})


def test_unknown_fields_are_ignored(client):
    body = campaign_request(surprise=1, sequence=[{**STEP, "surprise": [1]}], schedule={"x": None})
    assert client.post("/campaigns", json=body).status_code == 201


# Which error comes first


@pytest.mark.parametrize(
    ("status", "key", "request_line", "size", "content_type"),
    [
        (401, "wrong", "POST /nowhere", LIMIT + 1, "text/plain"),
        (401, "wrong", "PUT /campaigns", LIMIT + 1, "text/plain"),
        (401, "wrong", "POST /campaigns", LIMIT + 1, "text/plain"),
        (404, API_KEY, "POST /nowhere", LIMIT + 1, "text/plain"),
        (405, API_KEY, "PUT /campaigns", LIMIT + 1, "text/plain"),
        (413, API_KEY, "POST /campaigns", LIMIT + 1, "text/plain"),
        (415, API_KEY, "POST /campaigns", 1, "text/plain"),
        (400, API_KEY, "POST /campaigns", 1, "application/json"),
    ],
)
def test_of_several_errors_the_first_in_the_contract_is_told(
    client, status, key, request_line, size, content_type
):
    method, path = request_line.split()
    answer = client.open(
        path,
        method=method,
        data=b"?",
        content_type=content_type,
        headers={"X-API-Key": key},
        environ_overrides={"CONTENT_LENGTH": str(size)},
    )
    assert answer.status_code == status
    assert answer.mimetype == "application/json"


# Request ids


@pytest.mark.parametrize("asked", ["x", "a-b_c.d:e/f", "with blanks inside", "~" * 128])
def test_a_sane_request_id_is_echoed(client, asked):
    for path in ("/", "/nowhere", "/campaigns/nobody"):
        answer = client.get(path, headers={"X-Request-Id": asked})
        assert answer.headers.getlist("X-Request-Id") == [asked]


@pytest.mark.parametrize("asked", [None, "", "x" * 129, "tab\tinside", "grüße", "\x7f", "\x00"])
def test_any_other_request_id_is_replaced(client, asked):
    headers = {} if asked is None else {"X-Request-Id": asked}
    first, second = (client.get("/", headers=headers).headers["X-Request-Id"] for _ in range(2))
    assert str(UUID(first)) == first
    assert first != second


@pytest.mark.parametrize("key", [API_KEY, "wrong"])
def test_every_error_carries_a_request_id(client, key):
    for method, path in (*JSON_ROUTES, ("GET", "/nowhere"), ("PUT", "/campaigns")):
        answer = client.open(path, method=method, headers={"X-API-Key": key, "X-Request-Id": "r1"})
        assert answer.status_code >= 400
        assert answer.headers["X-Request-Id"] == "r1"


# What goes wrong inside

SECRET_TEXT = "postgresql://user:hush-hush@db.internal/instantly"


def break_database(monkeypatch: pytest.MonkeyPatch, failure: Exception) -> None:
    def fail(*_: object, **__: object) -> None:
        raise failure

    for method in ("fetch_one", "fetch_all", "execute"):
        monkeypatch.setattr(Database, method, fail)


READS = ["/campaigns/by-org/org-1", f"/campaigns/{SOME_ID}", "/accounts"]
UNEXPECTED = [RuntimeError, KeyError, AssertionError, MemoryError, errors.UniqueViolation]
UNREACHABLE = [OperationalError, NotConnected, errors.AdminShutdown, errors.TooManyConnections]


@pytest.mark.parametrize("failure", UNEXPECTED)
def test_an_unexpected_error_says_nothing_of_itself(client, monkeypatch, failure):
    break_database(monkeypatch, failure(SECRET_TEXT))
    for path in READS:
        body = error(client.get(path), 500, "Internal server error")
        assert body == {"error": "Internal server error"}


@pytest.mark.parametrize("failure", UNREACHABLE)
def test_an_unreachable_database_is_a_503_that_says_when_to_come_back(client, monkeypatch, failure):
    break_database(monkeypatch, failure(SECRET_TEXT))
    for path in READS:
        answer = client.get(path)
        assert error(answer, 503, "Database unavailable") == {"error": "Database unavailable"}
        assert int(answer.headers["Retry-After"]) > 0


def test_an_answer_that_takes_its_last_breath_is_still_json(app, client, monkeypatch):
    # With these two set, Flask would hand the error on to the server.
    for name in ("DEBUG", "TESTING"):
        monkeypatch.setitem(app.config, name, True)
    break_database(monkeypatch, RuntimeError(SECRET_TEXT))
    error(client.get(READS[0]), 500, "Internal server error")


# Keys


def test_no_answer_ever_holds_a_key(client, upstreams):
    answers = [client.get("/"), client.get("/nowhere"), client.get(f"/campaigns/{API_KEY}x")]
    answers.append(client.get("/", headers={"X-API-Key": "wrong"}))
    answers.append(client.post("/campaigns", json=campaign_request()))
    for http, method, path in (
        (upstreams.keys_http, "GET", "/.*"),
        (upstreams.runs_http, "POST", "/.*"),
        (upstreams.instantly_http, "POST", "/.*"),
    ):
        for status in (400, 401, 403, 404, 422, 429, 500):
            http.fail(method, path, status=status, times=None)
            answers.append(client.post("/campaigns", json=campaign_request()))
            http.heal()
    assert {answer.status_code for answer in answers} >= {201, 404, 422, 502, 503}
    for answer in answers:
        shown = f"{answer.text} {answer.headers}"
        assert not [key for key in KEYS if re.search(rf"(?<!/){key}\b", shown)], shown


@pytest.mark.parametrize(
    ("service", "path", "key"),
    [("runs", "/v1/runs", "runs-key"), ("instantly", "/api/v2/campaigns", "key-1")],
)
def test_a_key_that_another_service_repeats_is_not_passed_on(client, upstreams, service, path, key):
    http = getattr(upstreams, f"{service}_http")
    for status in (400, 402, 403, 404, 422):
        http.fail("POST", path, status=status, body={"message": f"Refused 'Bearer {key}' today"})
        answer = client.post("/campaigns", json=campaign_request())
        assert answer.status_code in (422, 502)
        assert key not in answer.text
    # Nor does it reach runs-service as the reason why the run failed.
    for request in upstreams.runs_http.calls("PATCH", "/v1/runs/.*"):
        assert key.encode() not in request.body
