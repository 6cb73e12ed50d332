"""What a request can be refused for, in which order, and what an answer never holds."""

import io
import json
import re
from typing import Any
from uuid import UUID

import pytest
from conftest import API_KEY, ORG, Upstreams, campaign_request
from flask import Flask
from flask.testing import FlaskClient
from psycopg import OperationalError, errors
from werkzeug.test import TestResponse

from instantly.database import Database, NotConnected

LIMIT = 16 * 1024 * 1024
SOME_ID = "0b6f4a52-6a6e-4b0e-9c0f-0d8a7c3a5d11"
JSON_ROUTES = [
    ("POST", "/campaigns"),
    ("PATCH", f"/campaigns/{SOME_ID}/status"),
    ("POST", f"/campaigns/{SOME_ID}/leads"),
    ("DELETE", f"/campaigns/{SOME_ID}/leads"),
    ("POST", "/accounts/someone@sender.example/warmup"),
    ("POST", "/stats"),
    ("POST", "/webhooks/instantly/recover"),
]
KEYS = (API_KEY, "key-1", "app-key", "keys-key", "runs-key")


def error(answer: TestResponse, status: int, message: str) -> dict[str, Any]:
    """The body of an error answer, after a look at all that every error promises."""
    assert answer.status_code == status, answer.text
    assert answer.mimetype == "application/json"
    body: dict[str, Any] = answer.get_json()
    assert body["error"] == message
    assert answer.headers["X-Request-Id"]
    return body


def details(answer: TestResponse) -> dict[str, list[str]]:
    """Which fields an invalid request is refused for, and why."""
    found: dict[str, list[str]] = error(answer, 400, "Invalid request")["details"]
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
        "/campaign",
        "/campaigns//x",
        "/health/",
        "/Health",
        "/campaigns/by-org/",
        f"/campaigns/{SOME_ID}/nothing",
        "/%00",
        "/%ff%fe",
        "/<b>html</b>",
    ],
)
def test_an_unknown_route_is_not_found(client: FlaskClient, path: str) -> None:
    for method in ("GET", "POST", "DELETE"):
        assert error(client.open(path, method=method), 404, "Not found") == {"error": "Not found"}


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/", {"GET"}),
        ("PUT", "/campaigns", {"POST"}),
        ("GET", "/campaigns", {"POST"}),
        ("POST", f"/campaigns/{SOME_ID}", {"GET"}),
        ("PUT", f"/campaigns/{SOME_ID}/leads", {"GET", "POST", "DELETE"}),
        ("POST", f"/campaigns/{SOME_ID}/status", {"PATCH"}),
        ("GET", "/stats", {"POST"}),
        ("GET", "/accounts/sync", {"POST"}),
        ("PATCH", "/webhooks/instantly", {"POST"}),
    ],
)
def test_a_wrong_method_is_told_the_right_ones(
    client: FlaskClient, method: str, path: str, allowed: set[str]
) -> None:
    answer = client.open(path, method=method)
    assert error(answer, 405, "Method not allowed") == {"error": "Method not allowed"}
    named = {name.strip() for name in answer.headers["Allow"].split(",")}
    assert named - {"HEAD", "OPTIONS"} == allowed


@pytest.mark.parametrize(
    "path",
    ["/campaigns/by-org/nobody", f"/campaigns/{SOME_ID}", "/accounts", "/nowhere"],
)
def test_head_is_answered_like_get(client: FlaskClient, path: str) -> None:
    head, get = client.head(path), client.get(path)
    assert (head.status_code, head.data) == (get.status_code, b"")
    assert (head.content_type, head.content_length) == (get.content_type, get.content_length)


@pytest.mark.parametrize(("method", "path"), JSON_ROUTES)
def test_a_body_that_declares_more_than_the_limit_is_too_large(
    client: FlaskClient, method: str, path: str
) -> None:
    answer = client.open(
        path,
        method=method,
        data=b"{}",
        content_type="application/json",
        environ_overrides={"CONTENT_LENGTH": str(LIMIT + 1)},
    )
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


def test_a_chunked_body_is_too_large_from_the_limit_on(client: FlaskClient) -> None:
    error(chunked(client, b" " * (LIMIT + 1)), 413, "Request body too large")


def test_a_chunked_body_within_the_limit_is_read(client: FlaskClient, upstreams: Upstreams) -> None:
    assert chunked(client, json.dumps(campaign_request()).encode()).status_code == 201


def test_a_body_of_just_the_limit_is_read(client: FlaskClient) -> None:
    head, tail = b'{"ignored": "', b'"}'
    body = head + b"x" * (LIMIT - len(head) - len(tail)) + tail
    assert "orgId" in details(post_bytes(client, body))


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "text/plain",
        "text/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/jsonp",
        "application/vnd.api+json",
        "nonsense",
    ],
)
def test_another_content_type_is_refused(client: FlaskClient, content_type: str | None) -> None:
    for method, path in JSON_ROUTES:
        answer = client.open(path, method=method, data=b"{}", content_type=content_type)
        error(answer, 415, "Content-Type must be application/json")


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "application/json; charset=utf-8",
        "Application/JSON",
        "application/json;",
    ],
)
def test_json_may_say_more_of_its_type(
    client: FlaskClient, upstreams: Upstreams, content_type: str
) -> None:
    body = json.dumps(campaign_request()).encode()
    assert client.post("/campaigns", data=body, content_type=content_type).status_code == 201


# Bodies that are no JSON object

INVALID_JSON = {
    "empty": b"",
    "blank": b" \n",
    "half an object": b'{"name": ',
    "two objects": b"{} {}",
    "a trailing comma": b'{"a": 1,}',
    "single quotes": b"{'a': 1}",
    "a comment": b"{} // no",
    "a form": b"name=x&orgId=y",
    "a list": b"[]",
    "a list of objects": b"[{}]",
    "a number": b"1",
    "a text": b'"{}"',
    "null": b"null",
    "true": b"true",
    "NaN": b"NaN",
    "NaN inside": b'{"metadata": {"a": NaN}}',
    "Infinity inside": b'{"metadata": {"a": Infinity}}',
    "-Infinity inside": b'{"metadata": {"a": -Infinity}}',
    "more than a double holds": b'{"metadata": {"a": 1e999}}',
    "less than a double holds": b'{"metadata": {"a": -1e999}}',
    "Latin-1": '{"name": "Grüße"}'.encode("latin-1"),
    "UTF-16": '{"name": "x"}'.encode("utf-16"),
    "UTF-16 without its mark": '{"name": "x"}'.encode("utf-16-le"),
    "UTF-32": '{"name": "x"}'.encode("utf-32"),
    "a cut character": b'{"name": "\xc3"}',
    "a surrogate in UTF-8": b'{"name": "\xed\xa0\x80"}',
    "a naked NUL": b'{"name": "\x00"}',
    "a naked line break": b'{"name": "a\nb"}',
    "an unknown escape": rb'{"name": "\x41"}',
    "a half escape": rb'{"name": "\u12"}',
    "100,000 lists": b"[" * 100_000 + b"]" * 100_000,
    "100,000 open lists": b"[" * 100_000,
    "100,000 objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "100,000 lists in a field": b'{"metadata": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "100,000 objects in metadata": b'{"metadata": ' + b'{"a":' * 100_000 + b"1" + b"}" * 100_001,
    "100,000 lists in an unknown field": b'{"x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
}


@pytest.mark.parametrize("body", INVALID_JSON.values(), ids=INVALID_JSON)
def test_what_is_no_json_object_is_invalid_json(client: FlaskClient, body: bytes) -> None:
    assert error(post_bytes(client, body), 400, "Invalid JSON") == {"error": "Invalid JSON"}


@pytest.mark.parametrize(("method", "path"), JSON_ROUTES)
def test_every_route_wants_a_json_object(client: FlaskClient, method: str, path: str) -> None:
    for body in (b"", b"[]", b"\xff", b"[" * 100_000):
        answer = client.open(path, method=method, data=body, content_type="application/json")
        error(answer, 400, "Invalid JSON")


def test_a_number_of_too_many_digits_is_a_bad_request(client: FlaskClient) -> None:
    body = b'{"settings": {"dailyLimit": ' + b"9" * 5000 + b"}}"
    assert post_bytes(client, body).status_code == 400


# Bodies that break the schema


@pytest.mark.parametrize(("method", "path"), JSON_ROUTES)
def test_an_empty_object_is_invalid_everywhere(client: FlaskClient, method: str, path: str) -> None:
    answer = client.open(path, method=method, json={})
    assert error(answer, 400, "Invalid request")["details"]


def test_every_bad_field_is_named_at_once(client: FlaskClient) -> None:
    body = {"orgId": "", "name": 5, "settings": {"dailyLimit": "x", "surprise": 1}}
    assert details(client.post("/campaigns", json=body)).keys() == {
        "orgId",
        "clerkOrgId",
        "brandId",
        "appId",
        "name",
        "settings.dailyLimit",
        "settings.surprise",
    }


def test_a_field_in_a_list_is_named_by_its_index(client: FlaskClient) -> None:
    leads = [{"email": f"lead{n}@x.example"} for n in range(5)]
    leads[3]["email"] = "nobody"
    body = {"orgId": "org-1", "leads": leads}
    answer = client.post(f"/campaigns/{SOME_ID}/leads", json=body)
    assert list(details(answer)) == ["leads.3.email"]


@pytest.mark.parametrize("name", ["dailyLimit", "dailyMaxLeads", "emailGap", "randomWaitMax"])
def test_an_integer_out_of_range_is_invalid(client: FlaskClient, name: str) -> None:
    for number in (2**31, 2**63, 2**64, 10**300, -(2**63) - 1):
        answer = client.post("/campaigns", json=campaign_request(settings={name: number}))
        assert list(details(answer)) == [f"settings.{name}"]


@pytest.mark.parametrize("number", [2**31, 2**63, 10**300])
def test_a_wait_out_of_range_is_invalid(client: FlaskClient, number: int) -> None:
    step = {"subject": "s", "bodyHtml": "b"}
    sequence = [step, {**step, "daysSinceLastStep": number}]
    answer = client.post("/campaigns", json=campaign_request(sequence=sequence))
    assert list(details(answer)) == ["sequence.1.daysSinceLastStep"]


UNSTORABLE = ["\x00", "a\x00b", "\ud800", "\udfff", "a\ud83d", "\ude00\ud83d"]
STEP = {"subject": "s", "bodyHtml": "b"}
CAMPAIGN_TEXTS: dict[str, Any] = {
    "orgId": lambda bad: {"orgId": bad},
    "clerkOrgId": lambda bad: {"clerkOrgId": bad},
    "brandId": lambda bad: {"brandId": bad},
    "appId": lambda bad: {"appId": bad},
    "name": lambda bad: {"name": f"ok {bad}"},
    "sequence.0.subject": lambda bad: {"sequence": [{**STEP, "subject": bad}]},
    "sequence.0.bodyHtml": lambda bad: {"sequence": [{**STEP, "bodyHtml": f"<p>{bad}</p>"}]},
    "sequence.1.variants.1.bodyHtml": lambda bad: {
        "sequence": [
            STEP,
            {"variants": [STEP, {**STEP, "bodyHtml": f"x{bad}"}], "daysSinceLastStep": 1},
        ]
    },
    "metadata.note": lambda bad: {"metadata": {"note": bad}},
    "metadata.snake_case.0.deep": lambda bad: {"metadata": {"snake_case": [{"deep": bad}]}},
}


def test_text_that_postgres_cannot_keep_is_refused_by_its_path(
    client: FlaskClient, upstreams: Upstreams
) -> None:
    wrong = {}
    for path, change in CAMPAIGN_TEXTS.items():
        for bad in UNSTORABLE:
            body = json.dumps(campaign_request(**change(bad))).encode()
            found = list(details(post_bytes(client, body)))
            if found != [path]:
                wrong[path] = found
    assert wrong == {}
    assert upstreams.runs_http.requests == []


@pytest.mark.parametrize("bad", UNSTORABLE, ids=ascii)
def test_a_metadata_key_that_postgres_cannot_keep_is_refused(client: FlaskClient, bad: str) -> None:
    metadata = {"fine": 1, "outer": {f"k{bad}": 1}}
    found = details(post_bytes(client, json.dumps(campaign_request(metadata=metadata)).encode()))
    assert len(found) == 1
    assert next(iter(found)).startswith("metadata.outer.k")


LEAD_TEXTS: dict[str, Any] = {
    "orgId": lambda bad: {"orgId": bad},
    "leads.1.firstName": lambda bad: {"firstName": bad},
    "leads.1.lastName": lambda bad: {"lastName": bad},
    "leads.1.companyName": lambda bad: {"companyName": bad},
    "leads.1.jobTitle": lambda bad: {"jobTitle": bad},
    "leads.1.phone": lambda bad: {"phone": bad},
    "leads.1.website": lambda bad: {"website": bad},
    "leads.1.personalization": lambda bad: {"personalization": bad},
    "leads.1.customVariables.city_name": lambda bad: {"customVariables": {"city_name": bad}},
    "leads.1.email": lambda bad: {"email": f"a{bad}@x.example"},
}


def test_lead_text_that_postgres_cannot_keep_is_refused_by_its_path(
    client: FlaskClient, campaign: dict[str, Any], upstreams: Upstreams
) -> None:
    upstreams.runs_http.clear()
    wrong = {}
    for path, change in LEAD_TEXTS.items():
        for bad in UNSTORABLE:
            changes = change(bad)
            org_id = changes.pop("orgId", "org-1")
            lead = {"email": "b@x.example", **changes}
            body = {"orgId": org_id, "leads": [{"email": "a@x.example"}, lead]}
            data = json.dumps(body).encode()
            found = list(details(post_bytes(client, data, f"/campaigns/{campaign['id']}/leads")))
            if found != [path]:
                wrong[path] = found
    assert wrong == {}
    assert upstreams.runs_http.requests == []


@pytest.mark.parametrize("text", ["😀", "\\u0000", "\\ud800", "\ufffd", "\u2028", "é"])
def test_what_only_looks_unstorable_is_kept(
    client: FlaskClient, upstreams: Upstreams, text: str
) -> None:
    for ensure_ascii in (True, False):
        body = campaign_request(name=text, metadata={text: text})
        data = json.dumps(body, ensure_ascii=ensure_ascii).encode()
        created = post_bytes(client, data).get_json()["campaign"]
        kept = client.get(f"/campaigns/{created['id']}").get_json()["campaign"]
        assert (kept["name"], kept["metadata"]) == (text, {text: text})


@pytest.mark.parametrize("query", ["limit=", "limit=x", "limit=1.0", "skip=-1", "cursor=a"])
def test_a_bad_query_value_is_an_invalid_request(client: FlaskClient, query: str) -> None:
    answer = client.get(f"/campaigns/by-org/org-1?{query}")
    assert list(details(answer)) == [query.split("=")[0]]


def test_unknown_fields_are_ignored(client: FlaskClient, upstreams: Upstreams) -> None:
    body = campaign_request(surprise=1, sequence=[{**STEP, "surprise": [1]}], schedule={"x": None})
    assert client.post("/campaigns", json=body).status_code == 201


# Which error comes first


@pytest.mark.parametrize(
    ("status", "key", "method", "path", "size", "content_type"),
    [
        (401, "wrong", "POST", "/nowhere", LIMIT + 1, "text/plain"),
        (401, "wrong", "PUT", "/campaigns", LIMIT + 1, "text/plain"),
        (401, "wrong", "POST", "/campaigns", LIMIT + 1, "text/plain"),
        (401, "wrong", "POST", "/campaigns", 1, "text/plain"),
        (401, "wrong", "POST", "/campaigns", 1, "application/json"),
        (404, API_KEY, "POST", "/nowhere", LIMIT + 1, "text/plain"),
        (405, API_KEY, "PUT", "/campaigns", LIMIT + 1, "text/plain"),
        (413, API_KEY, "POST", "/campaigns", LIMIT + 1, "text/plain"),
        (413, API_KEY, "POST", "/campaigns", LIMIT + 1, "application/json"),
        (415, API_KEY, "POST", "/campaigns", 1, "text/plain"),
        (400, API_KEY, "POST", "/campaigns", 1, "application/json"),
    ],
)
def test_of_several_errors_the_first_in_the_contract_is_told(
    client: FlaskClient,
    status: int,
    key: str,
    method: str,
    path: str,
    size: int,
    content_type: str,
) -> None:
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


@pytest.mark.parametrize("path", ["/", "/nowhere", "/campaigns/nobody"])
@pytest.mark.parametrize("asked", ["x", "a-b_c.d:e/f", "with blanks inside", "~" * 128])
def test_a_sane_request_id_is_echoed(client: FlaskClient, asked: str, path: str) -> None:
    answer = client.get(path, headers={"X-Request-Id": asked})
    assert answer.headers.getlist("X-Request-Id") == [asked]


@pytest.mark.parametrize("asked", [None, "", "x" * 129, "tab\tinside", "grüße", "\x7f", "\x00"])
def test_any_other_request_id_is_replaced(client: FlaskClient, asked: str | None) -> None:
    headers = {} if asked is None else {"X-Request-Id": asked}
    first, second = (client.get("/", headers=headers).headers["X-Request-Id"] for _ in range(2))
    assert str(UUID(first)) == first
    assert first != second


@pytest.mark.parametrize("key", [API_KEY, "wrong"])
def test_every_error_carries_a_request_id(client: FlaskClient, key: str) -> None:
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


@pytest.mark.parametrize(
    "failure",
    [
        RuntimeError(SECRET_TEXT),
        ValueError(SECRET_TEXT),
        KeyError(SECRET_TEXT),
        AssertionError(SECRET_TEXT),
        MemoryError(SECRET_TEXT),
        errors.UndefinedTable(SECRET_TEXT),
        errors.UniqueViolation(SECRET_TEXT),
    ],
    ids=lambda failure: type(failure).__name__,
)
def test_an_unexpected_error_says_nothing_of_itself(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    break_database(monkeypatch, failure)
    for path in READS:
        answer = client.get(path, headers={"X-Request-Id": "r1"})
        assert error(answer, 500, "Internal server error") == {"error": "Internal server error"}
        assert answer.headers["X-Request-Id"] == "r1"


@pytest.mark.parametrize(
    "failure",
    [
        OperationalError(SECRET_TEXT),
        NotConnected(SECRET_TEXT),
        errors.AdminShutdown(SECRET_TEXT),
        errors.CannotConnectNow(SECRET_TEXT),
        errors.TooManyConnections(SECRET_TEXT),
    ],
    ids=lambda failure: type(failure).__name__,
)
def test_an_unreachable_database_is_a_503_that_says_when_to_come_back(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    break_database(monkeypatch, failure)
    for path in READS:
        answer = client.get(path)
        assert error(answer, 503, "Database unavailable") == {"error": "Database unavailable"}
        assert int(answer.headers["Retry-After"]) > 0


def test_an_answer_that_takes_its_last_breath_is_still_json(
    app: Flask, client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    # With these two set, Flask would hand the error on to the server.
    for name in ("DEBUG", "TESTING"):
        monkeypatch.setitem(app.config, name, True)
    break_database(monkeypatch, RuntimeError(SECRET_TEXT))
    error(client.get(READS[0]), 500, "Internal server error")


# Keys


def test_no_answer_ever_holds_a_key(client: FlaskClient, upstreams: Upstreams) -> None:
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
    ("service", "method", "path", "key"),
    [
        ("runs", "POST", "/v1/runs", "runs-key"),
        ("instantly", "POST", "/api/v2/campaigns", "key-1"),
    ],
)
def test_a_key_that_another_service_repeats_is_not_passed_on(
    client: FlaskClient,
    upstreams: Upstreams,
    service: str,
    method: str,
    path: str,
    key: str,
) -> None:
    http = getattr(upstreams, f"{service}_http")
    for status in (400, 402, 403, 404, 422):
        http.fail(method, path, status=status, body={"message": f"Refused 'Bearer {key}' today"})
        answer = client.post("/campaigns", json=campaign_request())
        assert answer.status_code in (422, 502)
        assert key not in answer.text
    # Nor does it reach runs-service as the reason why the run failed.
    for request in upstreams.runs_http.calls("PATCH", "/v1/runs/.*"):
        assert key.encode() not in request.body


def test_an_organisation_may_be_named_like_anything(client: FlaskClient) -> None:
    body = {**campaign_request(), **dict.fromkeys(ORG, "'; DROP TABLE x; --")}
    answer = client.post("/campaigns", json=body)
    error(answer, 422, "BYOK key not configured for this organization")
