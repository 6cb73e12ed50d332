"""The clients of key-service, runs-service and Instantly: what they send, repeat, and refuse."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import product
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from flask import Flask, Response, jsonify, request
from instantly_check import check_request
from stand_in import RecordedRequest, StandIn

import instantly.clients.http
from instantly.clients import keys as keys_module
from instantly.clients import runs as runs_module
from instantly.clients.http import UpstreamError
from instantly.clients.instantly import InstantlyClient, InstantlyError
from instantly.clients.instantly import workspace as instantly_module
from instantly.clients.keys import (
    AppKeyMissing,
    KeyServiceClient,
    KeyServiceError,
    OrganizationKeyMissing,
)
from instantly.clients.runs import RunsServiceClient, RunsServiceError
from instantly.config import VERSION

CAMPAIGN_ID = "019c0000-0000-7000-8000-000000000001"
OTHER_CAMPAIGN_ID = "019c0000-0000-7000-8000-000000000002"
RUN_ID = "019c0000-0000-7000-8000-000000000003"
WEBHOOK_ID = "019c0000-0000-7000-8000-000000000004"
LEADS = [{"email": "ada@example.com"}, {"email": "grace@example.com"}]
LEAD_ID, OTHER_LEAD_ID = str(uuid4()), str(uuid4())
CAMPAIGN_BODY = {
    "name": "Autumn",
    "campaign_schedule": {
        "schedules": [
            {
                "name": "Default",
                "timing": {"from": "08:00", "to": "17:00"},
                "days": {"1": True},
                "timezone": "America/Chicago",
            }
        ]
    },
}
ANY_PATH = "/.*"
MORE_CALLS_THAN_ANY_TEST_NEEDS = 20


class Upstream(StandIn):
    """Answers each call with the next of `answers`, and with the last of them from then on.

    `keys`, `runs` and `workspace` are the clients that call it, `waits` their pauses in seconds.
    """

    waits: list[float]
    keys: KeyServiceClient
    runs: RunsServiceClient
    workspace: InstantlyClient

    def __init__(self) -> None:
        app = Flask(__name__)
        for method in ("GET", "POST", "PATCH", "DELETE"):
            app.add_url_rule("/<path:_>", f"answer_{method}", self._answer, methods=[method])
        super().__init__(app)
        self.answers: list[Any] = []
        self.targets: list[str] = []
        """the paths as they were sent"""
        self.by_call: dict[tuple[str, str], list[Any]] = {}

    def _answer(self, _: str) -> Response:
        self.targets.append(request.environ["RAW_URI"])
        if len(self.requests) > MORE_CALLS_THAN_ANY_TEST_NEEDS:
            return Response("A client that never ends would hang the tests.", 400)
        answers = self.by_call.get((request.method, request.path), self.answers)
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Response):
            return answer
        if isinstance(answer, bytes):
            return Response(answer, content_type="application/json")
        return jsonify(answer)

    def reset(self) -> None:
        self.heal()
        self.clear()
        self.answers, self.targets, self.by_call = [], [], {}
        self.connect()

    def connect(self) -> None:
        """By new clients, without connections."""
        self.keys = KeyServiceClient(self.url, "keys-key")
        self.runs = RunsServiceClient(self.url, "runs-key")
        self.workspace = InstantlyClient(self.url).with_key("bearer-key")

    def fail_slowly(self, monkeypatch: pytest.MonkeyPatch, *, times: int | None) -> None:
        """Its clients wait for a moment only, in vain."""
        for module in (instantly_module, keys_module, runs_module):
            monkeypatch.setattr(module, "READ_TIMEOUT_SECONDS", 0.15)
        self.connect()
        self.fail_all(how="hang", times=times)

    def fail_all(self, **how: Any) -> None:
        """Whatever is asked."""
        for method in ("GET", "POST", "PATCH", "DELETE"):
            self.fail(method, ANY_PATH, **how)

    @property
    def only(self) -> RecordedRequest:
        (call,) = self.requests
        return call


@pytest.fixture(scope="module")
def socket_of_the_module() -> Iterator[Upstream]:
    upstream = Upstream()
    upstream.start()
    yield upstream
    upstream.stop()


@pytest.fixture
def upstream(socket_of_the_module: Upstream, waits: list[float]) -> Iterator[Upstream]:
    """What it is asked in the name of Instantly must be valid by our schemas."""
    socket_of_the_module.reset()
    socket_of_the_module.waits = waits
    yield socket_of_the_module
    for call in socket_of_the_module.requests:
        if call.path.startswith("/api/v2/"):
            assert check_request(call.method, call.path, call.query, call.headers, call.body) == []
    socket_of_the_module.reset()


@dataclass(frozen=True)
class Operation:
    """A method of a client, with an answer that satisfies it."""

    name: str
    call: Callable[[Upstream], object]
    answer: Any
    error: type[UpstreamError]
    repeatable: bool = True


def instantly_operation(
    name: str, answer: Any, *arguments: Any, repeatable: bool = True, **named: Any
) -> Operation:
    def call(upstream: Upstream) -> object:
        result = getattr(upstream.workspace, name)(*arguments, **named)
        return list(result) if isinstance(result, Iterator) else result

    return Operation(name, call, answer, InstantlyError, repeatable)


def run_operation(name: str, answer: Any, *arguments: Any, repeatable: bool) -> Operation:
    def call(upstream: Upstream) -> object:
        return getattr(upstream.runs, name)(*arguments)

    return Operation(name, call, answer, RunsServiceError, repeatable)


def create_run(upstream: Upstream, **more: str) -> str:
    return upstream.runs.create_run(
        task_name="leads-add", clerk_org_id="clerk-1", app_id="app-1", brand_id="brand-1", **more
    )


def decrypt_organization_key(upstream: Upstream) -> str:
    return upstream.keys.decrypt_organization_key(
        "clerk-1", caller_method="POST", caller_path="/campaigns"
    )


def decrypt_app_key(upstream: Upstream) -> str:
    return upstream.keys.decrypt_app_key(caller_method="GET", caller_path="/accounts")


KEY = {"provider": "instantly", "key": "key-1"}
CAMPAIGN = {"id": CAMPAIGN_ID, "status": 1}
JOB = {"id": "6650d6b9e1f0a1b2c3d4e5f6", "status": "pending"}
ADDED = {"created_leads": [{"index": 0, "id": LEAD_ID}, {"index": 1, "id": OTHER_LEAD_ID}]}
NO_ITEMS: dict[str, Any] = {"items": []}
WEBHOOK_BODY = {"target_hook_url": "https://x.example/hook", "headers": {"X-Secret": "hush-hush"}}
SUMMARY = {"failed_events": 3}
OPERATIONS = [
    Operation("decrypt_organization_key", decrypt_organization_key, KEY, KeyServiceError),
    Operation("decrypt_app_key", decrypt_app_key, KEY, KeyServiceError),
    Operation("create_run", create_run, {"id": RUN_ID}, RunsServiceError, repeatable=False),
    run_operation("add_costs", {"costs": []}, RUN_ID, "instantly-lead-add", 2, repeatable=False),
    run_operation("end_run", {"id": RUN_ID}, RUN_ID, "completed", repeatable=True),
    instantly_operation("create_campaign", CAMPAIGN, CAMPAIGN_BODY, repeatable=False),
    instantly_operation("patch_campaign", CAMPAIGN, CAMPAIGN_ID, {"name": "Winter"}),
    instantly_operation("delete_campaign", CAMPAIGN, CAMPAIGN_ID),
    instantly_operation("activate_campaign", CAMPAIGN, CAMPAIGN_ID),
    instantly_operation("pause_campaign", CAMPAIGN, CAMPAIGN_ID),
    instantly_operation("add_leads", ADDED, CAMPAIGN_ID, LEADS),
    instantly_operation("find_leads", NO_ITEMS, CAMPAIGN_ID, ["ada@example.com"]),
    instantly_operation("delete_leads", {"count": 1}, CAMPAIGN_ID, [LEAD_ID]),
    instantly_operation("get_campaign_analytics", [], CAMPAIGN_ID),
    instantly_operation("list_accounts", NO_ITEMS),
    instantly_operation("get_account", {"email": "a@x.example"}, "a@x.example"),
    instantly_operation("switch_warmup", JOB, "a@x.example", enabled=True),
    instantly_operation("get_background_job", JOB, JOB["id"]),
    instantly_operation("get_warmup_analytics", {}, ["a@x.example"]),
    instantly_operation("list_failed_deliveries", NO_ITEMS, "2026-02-01", "2026-02-02"),
    instantly_operation("list_webhooks", NO_ITEMS),
    instantly_operation("resume_webhook", {"id": WEBHOOK_ID}, WEBHOOK_ID),
    instantly_operation("create_webhook", {"id": WEBHOOK_ID}, WEBHOOK_BODY, repeatable=False),
    instantly_operation("patch_webhook", {"id": WEBHOOK_ID}, WEBHOOK_ID, WEBHOOK_BODY),
    instantly_operation("count_failed_deliveries", SUMMARY, "2026-02-01", "2026-02-02"),
]
BY_NAME = {operation.name: operation for operation in OPERATIONS}
every_operation = pytest.mark.parametrize("operation", OPERATIONS, ids=lambda one: one.name)
repeatable_operations = pytest.mark.parametrize(
    "operation", [one for one in OPERATIONS if one.repeatable], ids=lambda one: one.name
)
operations_sent_once = pytest.mark.parametrize(
    "operation", [one for one in OPERATIONS if not one.repeatable], ids=lambda one: one.name
)


def refused(operation: Operation, upstream: Upstream) -> UpstreamError:
    with pytest.raises(operation.error) as raised:
        operation.call(upstream)
    assert type(raised.value) is operation.error
    return raised.value


def start_again(upstream: Upstream) -> None:
    """Its port may be taken for a moment after it has stopped."""
    deadline = time.monotonic() + 10
    while True:
        try:
            upstream.start()
            return
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.01)


# What is sent


@every_operation
def test_a_call_is_sent_once_and_names_who_calls(operation: Operation, upstream: Upstream) -> None:
    upstream.answers = [operation.answer]
    operation.call(upstream)
    assert upstream.only.headers["User-Agent"] == f"instantly-service/{VERSION}"


@every_operation
def test_only_the_clients_own_credential_is_sent(
    operation: Operation, upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login somebody password else\n")
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    upstream.answers = [operation.answer]
    operation.call(upstream)
    headers = upstream.only.headers
    expected = {
        KeyServiceError: (None, "keys-key"),
        RunsServiceError: (None, "runs-key"),
        InstantlyError: ("Bearer bearer-key", None),
    }[operation.error]
    assert (headers.get("Authorization"), headers.get("X-Api-Key")) == expected


@pytest.mark.parametrize("name", ["activate_campaign", "pause_campaign", "delete_campaign"])
def test_a_call_without_a_body_names_no_content_type(name: str, upstream: Upstream) -> None:
    upstream.answers = [CAMPAIGN]
    BY_NAME[name].call(upstream)
    assert upstream.only.body == b""
    assert "Content-Type" not in upstream.only.headers


def test_key_service_is_told_who_asks_and_for_whom(upstream: Upstream) -> None:
    upstream.answers = [KEY]
    key = upstream.keys.decrypt_organization_key(
        "clerk & co", caller_method="POST", caller_path="/campaigns/:campaignId/leads"
    )
    assert key == "key-1"
    assert upstream.only.path == "/internal/keys/instantly/decrypt"
    assert upstream.only.query == {"clerkOrgId": ["clerk & co"]}
    assert upstream.only.headers["X-Caller-Service"] == "instantly"
    assert upstream.only.headers["X-Caller-Method"] == "POST"
    assert upstream.only.headers["X-Caller-Path"] == "/campaigns/:campaignId/leads"


def test_the_app_key_is_that_of_this_service(upstream: Upstream) -> None:
    upstream.answers = [KEY]
    assert decrypt_app_key(upstream) == "key-1"
    assert upstream.only.path == "/internal/app-keys/instantly/decrypt"
    assert upstream.only.query == {"appId": ["instantly-service"]}


def test_a_run_is_opened_with_what_is_known(upstream: Upstream) -> None:
    upstream.answers = [{"id": RUN_ID.upper()}]
    assert create_run(upstream) == RUN_ID
    known = {
        "clerkOrgId": "clerk-1",
        "appId": "app-1",
        "serviceName": "instantly-service",
        "taskName": "leads-add",
        "brandId": "brand-1",
    }
    assert (upstream.only.method, upstream.only.path) == ("POST", "/v1/runs")
    assert upstream.only.json == known

    upstream.clear()
    create_run(upstream, campaign_id=CAMPAIGN_ID, parent_run_id=RUN_ID)
    assert upstream.only.json == {**known, "campaignId": CAMPAIGN_ID, "parentRunId": RUN_ID}


def test_costs_and_ends_go_to_their_run(upstream: Upstream) -> None:
    upstream.answers = [{}]
    upstream.runs.add_costs(RUN_ID, "instantly-lead-add", 7)
    upstream.runs.end_run(RUN_ID, "completed")
    upstream.runs.end_run(RUN_ID, "failed", "because")
    assert [(call.method, call.path, call.json) for call in upstream.requests] == [
        (
            "POST",
            f"/v1/runs/{RUN_ID}/costs",
            {"items": [{"costName": "instantly-lead-add", "quantity": 7}]},
        ),
        ("PATCH", f"/v1/runs/{RUN_ID}", {"status": "completed"}),
        ("PATCH", f"/v1/runs/{RUN_ID}", {"status": "failed", "error": "because"}),
    ]


def test_the_ids_in_a_path_are_quoted(upstream: Upstream) -> None:
    odd, campaign = "a/b?c#d e%", "/api/v2/campaigns/a%2Fb%3Fc%23d%20e%25"
    upstream.answers = [CAMPAIGN]
    upstream.workspace.patch_campaign(odd, {"name": "x"})
    upstream.workspace.delete_campaign(odd)
    upstream.workspace.activate_campaign(odd)
    upstream.workspace.pause_campaign(odd)
    assert upstream.targets == [campaign, campaign, f"{campaign}/activate", f"{campaign}/pause"]
    # No id of Instantly looks like this: our schemas would refuse it.
    upstream.clear()


def test_an_address_in_a_path_is_quoted(upstream: Upstream) -> None:
    upstream.answers = [{"email": "a+b/c@x.example"}]
    upstream.workspace.get_account("a+b/c@x.example")
    assert upstream.only.path == "/api/v2/accounts/a+b/c@x.example"


# What is tried again


@every_operation
def test_a_service_that_nobody_reaches_is_an_error_without_a_status(
    operation: Operation, waits: list[float]
) -> None:
    nowhere = Upstream()
    nowhere.port = 1
    nowhere.connect()
    assert refused(operation, nowhere).status is None
    assert 1 <= len(waits) <= 5
    assert sum(waits) <= 30


@every_operation
def test_a_refused_connection_is_tried_again_since_nothing_was_sent(
    operation: Operation, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream.stop()
    monkeypatch.setattr(instantly.clients.http, "sleep", lambda _: start_again(upstream))
    upstream.answers = [operation.answer]
    try:
        operation.call(upstream)
    finally:
        monkeypatch.undo()
        if not upstream.requests:
            start_again(upstream)
    assert len(upstream.requests) == 1


@every_operation
def test_a_keep_alive_connection_that_was_closed_meanwhile_is_replaced_unnoticed(
    operation: Operation, upstream: Upstream
) -> None:
    upstream.answers = [operation.answer]
    operation.call(upstream)
    upstream.stop()
    start_again(upstream)
    operation.call(upstream)
    assert len(upstream.requests) == 2


@every_operation
@pytest.mark.parametrize("asked", [None, "7"])
def test_too_many_requests_is_tried_again_by_every_call_after_the_time_that_was_asked_for(
    operation: Operation, asked: str | None, upstream: Upstream
) -> None:
    upstream.answers = [operation.answer]
    upstream.fail_all(status=429, headers={"Retry-After": asked} if asked else {}, times=3)
    operation.call(upstream)
    assert len(upstream.requests) == 4
    if asked:
        assert upstream.waits == [7, 7, 7]
    else:
        assert len(upstream.waits) == 3
        assert 0 < sum(upstream.waits) <= 30


@pytest.mark.parametrize("name", ["decrypt_app_key", "create_run", "create_campaign", "add_leads"])
def test_the_wait_may_be_asked_for_as_a_date(name: str, upstream: Upstream) -> None:
    upstream.answers = [BY_NAME[name].answer]
    upstream.fail_all(status=429, headers={"Retry-After": http_date(seconds=20)})
    BY_NAME[name].call(upstream)
    (wait,) = upstream.waits
    assert 10 < wait <= 20


def http_date(seconds: float) -> str:
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)


@every_operation
@pytest.mark.parametrize("asked", ["31", "99999999999999999999", "an hour from now"])
def test_a_wait_of_more_than_30_seconds_is_not_waited_for(
    operation: Operation, asked: str, upstream: Upstream
) -> None:
    header = http_date(seconds=3600) if asked == "an hour from now" else asked
    upstream.fail_all(status=429, headers={"Retry-After": header}, times=None)
    error = refused(operation, upstream)
    assert error.status == 429
    assert error.retry_after is not None
    assert error.retry_after > 30
    assert (upstream.waits, len(upstream.requests)) == ([], 1)


@every_operation
@pytest.mark.parametrize("headers", [{}, {"Retry-After": "12"}, {"Retry-After": "0"}], ids=str)
def test_the_waits_never_add_up_to_more_than_30_seconds(
    operation: Operation, headers: dict[str, str], upstream: Upstream
) -> None:
    upstream.fail_all(status=429, headers=headers, times=None)
    error = refused(operation, upstream)
    assert error.status == 429
    assert error.retry_after == (float(headers["Retry-After"]) if headers else None)
    assert sum(upstream.waits) <= 30
    assert 2 <= len(upstream.waits) <= 6
    assert len(upstream.requests) == len(upstream.waits) + 1


NO_TIMES = [
    *("", "soon", "-1", "1.5", "0x10", "1, 2", "Mon, 99 Foo 2026 99:99:99 GMT"),
    *("Mon, 01 Jan 99999 00:00:00 GMT", "Thu, 01 Jan 1970 00:00:00 GMT", "9" * 5000),
]


@pytest.mark.parametrize("nonsense", NO_TIMES, ids=lambda text: text[:20])
@pytest.mark.parametrize("status", [429, 400])
def test_an_unreadable_retry_after_breaks_nothing(
    nonsense: str, status: int, upstream: Upstream
) -> None:
    upstream.fail_all(status=status, headers={"Retry-After": nonsense}, times=None)
    assert refused(BY_NAME["pause_campaign"], upstream).status == status
    assert sum(upstream.waits) <= 30


FAULTS: list[dict[str, Any]] = [
    *({"status": status, "body": "<html>down</html>"} for status in (500, 503, 520, 599)),
    *({"how": how} for how in ("drop", "drop_after", "cut")),
]
each_fault = pytest.mark.parametrize("fault", FAULTS, ids=str)


@repeatable_operations
@each_fault
def test_what_fails_is_asked_for_again_where_that_is_safe(
    operation: Operation, fault: dict[str, Any], upstream: Upstream
) -> None:
    upstream.answers = [operation.answer]
    upstream.fail_all(**fault, times=2)
    operation.call(upstream)
    assert len(upstream.requests) == 3


@repeatable_operations
def test_a_slow_answer_is_asked_for_again_where_that_is_safe(
    operation: Operation, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream.answers = [operation.answer]
    upstream.fail_slowly(monkeypatch, times=1)
    operation.call(upstream)
    assert len(upstream.requests) == 2


@repeatable_operations
@each_fault
def test_a_service_that_goes_on_failing_is_given_up(
    operation: Operation, fault: dict[str, Any], upstream: Upstream
) -> None:
    upstream.answers = [operation.answer]
    upstream.fail_all(**fault, times=None)
    assert refused(operation, upstream).status == fault.get("status")
    assert 2 <= len(upstream.requests) <= 6
    assert sum(upstream.waits) <= 30


def test_a_service_that_stays_slow_is_given_up(
    upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream.fail_slowly(monkeypatch, times=None)
    assert refused(BY_NAME["pause_campaign"], upstream).status is None
    assert 2 <= len(upstream.requests) <= 6


@repeatable_operations
def test_a_failing_service_may_ask_for_time(operation: Operation, upstream: Upstream) -> None:
    upstream.answers = [operation.answer]
    upstream.fail_all(status=503, headers={"Retry-After": "11"})
    operation.call(upstream)
    assert upstream.waits == [11]


@operations_sent_once
@pytest.mark.parametrize(
    "fault", [*FAULTS, {"status": 503, "headers": {"Retry-After": "1"}}, {"how": "hang"}], ids=str
)
def test_what_may_have_been_acted_upon_is_not_sent_again(
    operation: Operation,
    fault: dict[str, Any],
    upstream: Upstream,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    upstream.answers = [operation.answer]
    if fault == {"how": "hang"}:
        upstream.fail_slowly(monkeypatch, times=None)
    else:
        upstream.fail_all(**fault)
    assert refused(operation, upstream).status == fault.get("status")
    assert (upstream.waits, len(upstream.requests)) == ([], 1)


# What is refused


@every_operation
@pytest.mark.parametrize("status", [302, 307])
def test_a_redirect_is_not_followed(operation: Operation, status: int, upstream: Upstream) -> None:
    upstream.fail_all(status=status, headers={"Location": f"{upstream.url}/elsewhere"}, times=None)
    assert refused(operation, upstream).status == status
    assert len(upstream.requests) == 1


@every_operation
@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"error": "Bad Request", "message": "body must be …"}, "body must be …"),
        ({"error": "no such run"}, "no such run"),
        ({"message": 5, "error": None}, "Bad Request"),
        (["what"], "Bad Request"),
        ("<html><body>refused</body></html>", "Bad Request"),
        (None, "Bad Request"),
    ],
    ids=str,
)
def test_a_refusal_is_told_in_the_services_own_words_and_not_repeated(
    operation: Operation, body: object, message: str, upstream: Upstream
) -> None:
    upstream.fail_all(status=400, body=body, times=None)
    error = refused(operation, upstream)
    assert (error.status, error.message) == (400, message)
    assert len(upstream.requests) == 1


def test_a_refusal_of_any_length_and_status_can_be_told(upstream: Upstream) -> None:
    upstream.fail_all(status=499, body={"message": "x" * 100_000}, times=1)
    upstream.fail_all(status=499, body="<html>", times=1)
    assert len(refused(BY_NAME["pause_campaign"], upstream).message) < 10_000
    assert refused(BY_NAME["pause_campaign"], upstream).message


def test_an_organization_without_a_key_is_told_apart_from_a_failing_key_service(
    upstream: Upstream,
) -> None:
    upstream.fail_all(status=404, body={"error": "Key not found"}, times=None)
    with pytest.raises(OrganizationKeyMissing):
        decrypt_organization_key(upstream)
    with pytest.raises(AppKeyMissing):
        decrypt_app_key(upstream)


def test_a_campaign_that_is_gone_is_as_good_as_deleted(upstream: Upstream) -> None:
    upstream.fail_all(status=404, body={"message": "Resource not found"})
    upstream.workspace.delete_campaign(CAMPAIGN_ID)
    assert len(upstream.requests) == 1


NO_JSON = [b"", b"<html>busy</html>", b"{", b'{"id": ', b"\xff\xfe\xfd\xfc", b"[" * 100_000]


@every_operation
@pytest.mark.parametrize("body", NO_JSON, ids=lambda body: repr(body[:10]))
def test_an_answer_that_is_no_json_is_an_error(
    operation: Operation, body: bytes, upstream: Upstream
) -> None:
    upstream.answers = [body]
    assert refused(operation, upstream).status is None
    assert len(upstream.requests) == 1


KEYS_THAT_ARE_NONE: list[Any] = [None, 5, ["key"], "", " ", "two words", "a\n", "schlüssel", "\x7f"]
IDS_THAT_ARE_NONE: list[Any] = [None, 5, 1.5, True, [RUN_ID], {}, "", "nope", RUN_ID[:-1]]
NO_INDEXES: list[Any] = [-1, 2, 10**30, "0", 0.5, None, [0], {}]
NO_LEAD_IDS: list[Any] = [None, 5, [LEAD_ID], {}]
CREATED_THAT_ARE_NONE: list[Any] = [
    *(None, 5, "text", {"index": 0}, [None], ["text"], [5], [[]], [{}]),
    [{"index": 0}],
    [{"id": LEAD_ID}],
    *([{"index": index, "id": LEAD_ID}] for index in NO_INDEXES),
    *([{"index": 0, "id": lead_id}] for lead_id in NO_LEAD_IDS),
]
ITEMS_THAT_ARE_NONE: list[Any] = [None, 5, "text", {}, {"items": []}, [5], [None], ["text"], [[]]]
NO_OBJECTS: list[Any] = [None, [], [{}], 5, "text", True]
ANSWERED_BY_AN_OBJECT = [
    *("decrypt_organization_key", "decrypt_app_key", "create_run", "create_campaign"),
    *("patch_campaign", "delete_campaign", "activate_campaign", "pause_campaign", "add_leads"),
    *("find_leads", "delete_leads", "list_accounts", "get_account", "switch_warmup"),
    *("get_background_job", "list_webhooks", "list_failed_deliveries"),
    *("create_webhook", "patch_webhook", "resume_webhook", "count_failed_deliveries"),
]
ANSWERED_BY_A_KEY = ["decrypt_organization_key", "decrypt_app_key"]
ANSWERED_BY_AN_ID = ["create_run", "create_campaign"]
ANSWERED_BY_ITEMS = ["find_leads", "list_accounts", "list_webhooks", "list_failed_deliveries"]
ANSWERED_BY_A_JOB = ["switch_warmup", "get_background_job"]
WRONG_SHAPES: list[tuple[str, Any]] = [
    *product(ANSWERED_BY_AN_OBJECT, NO_OBJECTS),
    *product(ANSWERED_BY_A_KEY, ({"key": key} for key in KEYS_THAT_ARE_NONE)),
    *product(ANSWERED_BY_AN_ID, ({"id": id_} for id_ in IDS_THAT_ARE_NONE)),
    *product(["add_leads"], ({"created_leads": created} for created in CREATED_THAT_ARE_NONE)),
    *product(ANSWERED_BY_ITEMS, ({"items": items} for items in ITEMS_THAT_ARE_NONE)),
    *product(ANSWERED_BY_A_KEY + ANSWERED_BY_AN_ID + ANSWERED_BY_ITEMS, [{}]),
    *product(ANSWERED_BY_A_JOB, [{}, {"id": 5, "status": "pending"}, {"id": JOB["id"]}]),
    *product(["get_campaign_analytics"], [None, {}, 5, "text"]),
    ("add_leads", {}),
]


@pytest.mark.parametrize(
    ("name", "answer"), WRONG_SHAPES, ids=[f"{name}-{str(a)[:40]}" for name, a in WRONG_SHAPES]
)
def test_an_answer_of_the_wrong_shape_is_an_error(
    name: str, answer: Any, upstream: Upstream
) -> None:
    upstream.answers = [answer]
    assert refused(BY_NAME[name], upstream).status is None
    assert len(upstream.requests) == 1


# Instantly


@pytest.mark.parametrize("name", ["activate_campaign", "pause_campaign"])
@pytest.mark.parametrize(
    ("status", "trouble"),
    [
        *product([0, 1, 2, 3, 4, None, -3, 1.5], [None]),
        (-1, "accounts_unhealthy"),
        (-2, "bounce_protect"),
        (-99, "account_suspended"),
    ],
    ids=str,
)
def test_a_switched_campaign_tells_what_keeps_it_from_sending(
    name: str, status: object, trouble: str | None, upstream: Upstream
) -> None:
    upstream.answers = [{"id": CAMPAIGN_ID, "status": status}]
    assert BY_NAME[name].call(upstream) == trouble


@pytest.mark.parametrize("name", ["activate_campaign", "pause_campaign"])
@pytest.mark.parametrize("status", ["active", [], {}, True], ids=str)
def test_a_switched_campaign_whose_status_is_no_number_is_an_error(
    name: str, status: object, upstream: Upstream
) -> None:
    upstream.answers = [{"id": CAMPAIGN_ID, "status": status}]
    assert refused(BY_NAME[name], upstream).status is None


def test_added_leads_are_known_by_their_index_and_refusals_by_their_number(
    upstream: Upstream,
) -> None:
    upstream.answers = [
        {
            "created_leads": [{"index": 1, "id": LEAD_ID}],
            "invalid_email_count": 0,
            "in_blocklist": 1,
            "skipped_count": None,
        }
    ]
    added = upstream.workspace.add_leads(CAMPAIGN_ID, LEADS)
    assert added.created == {1: LEAD_ID}
    assert added.refusals == {"blocklisted": 1}
    assert upstream.only.json == {"campaign_id": CAMPAIGN_ID, "leads": LEADS}


def lead(number: int, campaign_id: str = CAMPAIGN_ID) -> dict[str, Any]:
    return {
        "id": f"019c0000-0000-7000-8000-{number:012d}",
        "email": f"lead{number}@example.com",
        "campaign": campaign_id,
    }


def listed(upstream: Upstream) -> list[dict[str, Any]]:
    return list(upstream.workspace.find_leads(CAMPAIGN_ID, ["lead1@example.com"]))


LAST_PAGES = {
    "without a cursor": [{"items": [lead(2)]}],
    "with null for a cursor": [{"items": [lead(2)], "next_starting_after": None}],
    "with an empty cursor": [{"items": [lead(2)], "next_starting_after": ""}],
    "empty, with a cursor": [
        {"items": [lead(2)], "next_starting_after": "b"},
        {"items": [], "next_starting_after": "c"},
    ],
    "with the cursor of before": [{"items": [lead(2)], "next_starting_after": "a"}],
}


@pytest.mark.parametrize("last_pages", LAST_PAGES.values(), ids=LAST_PAGES)
def test_leads_are_listed_to_the_last_page(
    last_pages: list[dict[str, Any]], upstream: Upstream
) -> None:
    upstream.answers = [{"items": [lead(1)], "next_starting_after": "a"}, *last_pages]
    pages = len(upstream.answers)
    assert listed(upstream) == [lead(1), lead(2)]
    assert [call.json.get("starting_after") for call in upstream.requests] == [None, "a", "b"][
        :pages
    ]
    for call in upstream.requests:
        assert call.json["campaign"] == CAMPAIGN_ID
        assert call.json["contacts"] == ["lead1@example.com"]


def test_cursors_that_go_round_in_a_circle_end(upstream: Upstream) -> None:
    upstream.answers = [
        {"items": [lead(number)], "next_starting_after": cursor}
        for number, cursor in enumerate("abcab", 1)
    ]
    assert listed(upstream) == [lead(1), lead(2), lead(3), lead(4)]


@pytest.mark.parametrize(
    "stranger",
    [
        lead(9, OTHER_CAMPAIGN_ID),
        {**lead(9), "campaign": None},
        {**lead(9), "email": None},
        {"id": LEAD_ID, "email": "lead9@example.com"},
    ],
    ids=["another campaign's", "no campaign's", "without an address", "of nowhere"],
)
def test_leads_that_are_not_those_of_the_campaign_are_not_listed(
    stranger: dict[str, Any], upstream: Upstream
) -> None:
    upstream.answers = [{"items": [stranger, lead(1), stranger]}]
    assert listed(upstream) == [lead(1)]


@pytest.mark.parametrize("changes", [{"id": None}, {"id": 5}, {}], ids=str)
def test_a_listed_lead_without_an_id_is_an_error(changes: object, upstream: Upstream) -> None:
    nameless = {name: value for name, value in lead(1).items() if name != "id"}
    upstream.answers = [{"items": [nameless | changes]}]
    with pytest.raises(InstantlyError):
        listed(upstream)


def test_leads_are_looked_up_by_a_hundred_and_never_without_addresses(upstream: Upstream) -> None:
    emails = [lead(number)["email"] for number in range(250)]
    upstream.answers = [{"items": []}]
    assert list(upstream.workspace.find_leads(CAMPAIGN_ID, emails)) == []
    asked = [call.json["contacts"] for call in upstream.requests]
    assert [len(part) for part in asked] == [100, 100, 50]
    assert [email for part in asked for email in part] == emails
    assert all(call.json["campaign"] == CAMPAIGN_ID for call in upstream.requests)

    upstream.clear()
    assert list(upstream.workspace.find_leads(CAMPAIGN_ID, [])) == []
    assert upstream.requests == []


@pytest.mark.parametrize(
    "email", ["jürgen@example.com", "ada@bücher.example", '"ada b"@example.com', "ada@[127.0.0.1]"]
)
def test_an_address_that_no_filter_of_instantly_takes_is_looked_up_all_the_same(
    email: str, upstream: Upstream
) -> None:
    mine, similar = {**lead(1), "email": email.upper()}, {**lead(2), "email": f"x{email}"}
    upstream.answers = [{"items": [similar, mine]}]
    assert list(upstream.workspace.find_leads(CAMPAIGN_ID, [email])) == [mine]


def test_no_leads_to_delete_is_no_call_since_it_would_empty_the_campaign(
    upstream: Upstream,
) -> None:
    upstream.workspace.delete_leads(CAMPAIGN_ID, [])
    upstream.workspace.delete_leads(CAMPAIGN_ID, ())
    assert upstream.requests == []


@pytest.mark.parametrize(
    ("count", "sizes"),
    [(1, [1]), (999, [999]), (1000, [1000]), (1001, [1000, 1]), (2500, [1000, 1000, 500])],
)
def test_leads_are_deleted_by_the_thousand_with_their_number_as_the_limit(
    count: int, sizes: list[int], upstream: Upstream
) -> None:
    ids = [lead(number)["id"] for number in range(count)]
    upstream.answers = [{"count": 1}]
    upstream.workspace.delete_leads(CAMPAIGN_ID, ids)
    bodies = [call.json for call in upstream.requests]
    assert [body["limit"] for body in bodies] == sizes
    assert [len(body["ids"]) for body in bodies] == sizes
    assert [id_ for body in bodies for id_ in body["ids"]] == ids
    assert all(body["campaign_id"] == CAMPAIGN_ID for body in bodies)


def deleted_ids(upstream: Upstream) -> list[list[str]]:
    return [call.json["ids"] for call in upstream.calls("DELETE", "/api/v2/leads")]


IDS = [lead(number)["id"] for number in range(1, 4)]


@pytest.mark.parametrize(
    ("left", "deletions"),
    [
        ([lead(2)], [IDS, [IDS[1]]]),
        ([lead(1), lead(3)], [IDS, [IDS[0], IDS[2]]]),
        ([lead(2), lead(3, OTHER_CAMPAIGN_ID)], [IDS, [IDS[1]]]),
        ([], [IDS]),
    ],
    ids=["one is left", "two are left", "one is left here", "none is left"],
)
def test_when_some_leads_are_gone_already_those_that_are_left_are_deleted(
    left: list[dict[str, Any]], deletions: list[list[str]], upstream: Upstream
) -> None:
    upstream.by_call["POST", "/api/v2/leads/list"] = [{"items": left}]
    upstream.answers = [{"count": 1}]
    upstream.fail("DELETE", "/api/v2/leads", status=404, body={"message": "Resource not found"})
    upstream.workspace.delete_leads(CAMPAIGN_ID, IDS)
    assert deleted_ids(upstream) == deletions
    (lookup,) = upstream.calls("POST", "/api/v2/leads/list")
    assert (lookup.json["campaign"], lookup.json["ids"]) == (CAMPAIGN_ID, IDS)


def test_when_no_lead_is_gone_a_404_of_the_deletion_is_an_error(upstream: Upstream) -> None:
    upstream.by_call["POST", "/api/v2/leads/list"] = [{"items": [lead(1), lead(2), lead(3)]}]
    upstream.fail("DELETE", "/api/v2/leads", status=404, times=None)
    with pytest.raises(InstantlyError) as raised:
        upstream.workspace.delete_leads(CAMPAIGN_ID, IDS)
    assert raised.value.status == 404
    assert deleted_ids(upstream) == [IDS]


def test_after_a_404_the_other_chunks_are_deleted_too(upstream: Upstream) -> None:
    ids = [lead(number)["id"] for number in range(1500)]
    upstream.by_call["POST", "/api/v2/leads/list"] = [{"items": []}]
    upstream.answers = [{"count": 1}]
    upstream.fail("DELETE", "/api/v2/leads", status=404)
    upstream.workspace.delete_leads(CAMPAIGN_ID, ids)
    assert deleted_ids(upstream) == [ids[:1000], ids[1000:]]
