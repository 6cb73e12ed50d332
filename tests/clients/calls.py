"""A service that answers as it is told, and every operation of the clients that call it.

Not a test.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from uuid import uuid4

import pytest
from flask import Flask, Response, jsonify, request
from helpers import campaign_at_instantly
from instantly_check import check_request
from stand_in import RecordedRequest, StandIn

from instantly.clients.http import UpstreamError
from instantly.clients.instantly import InstantlyClient, InstantlyError
from instantly.clients.keys import KeyServiceClient, KeyServiceError
from instantly.clients.runs import RunsServiceClient, RunsServiceError

CAMPAIGN_ID, RUN_ID, WEBHOOK_ID, LEAD_ID, OTHER_LEAD_ID = (str(uuid4()) for _ in range(5))
LEADS = [{"email": "ada@example.com"}, {"email": "grace@example.com"}]
METHODS = ("GET", "POST", "PATCH", "DELETE")
MORE_CALLS_THAN_ANY_TEST_NEEDS = 20


class Upstream(StandIn):
    """Answers each call with the next of `answers`, and with the last of them from then on.

    `keys`, `runs` and `workspace` are the clients that call it, `waits` their pauses in seconds.
    """

    waits: list[float]

    def __init__(self) -> None:
        app = Flask(__name__)
        app.add_url_rule("/<path:_>", view_func=self._answer, methods=METHODS)
        super().__init__(app)
        self.reset()

    def _answer(self, _: str) -> Response:
        self.targets.append(request.environ["RAW_URI"])
        if len(self.requests) > MORE_CALLS_THAN_ANY_TEST_NEEDS:
            return Response("A client that never ends would hang the tests.", 400)
        answers = self.by_call.get((request.method, request.path), self.answers)
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, bytes):
            return Response(answer, content_type="application/json")
        return jsonify(answer)

    def reset(self) -> None:
        self.heal()
        self.clear()
        self.answers: list[Any] = []
        self.by_call: dict[tuple[str, str], list[Any]] = {}
        self.targets: list[str] = []
        """the paths as they were sent"""
        self.connect()

    def connect(self) -> None:
        """By new clients, without connections."""
        self.keys = KeyServiceClient(self.url, "keys-key")
        self.runs = RunsServiceClient(self.url, "runs-key")
        self.workspace = InstantlyClient(self.url).with_key("bearer-key")

    def fail_all(self, **how: Any) -> None:
        """Whatever is asked. Silence is not waited for as long as it would be otherwise."""
        if how.get("how") == "hang":
            for client in (self.keys, self.runs, self.workspace):
                client._timeout = (3, 0.15)
        for method in METHODS:
            self.fail(method, "/.*", **how)

    @property
    def only(self) -> RecordedRequest:
        (call,) = self.requests
        return call


@pytest.fixture(scope="module")
def socket_of_the_module():
    with Upstream() as upstream:
        yield upstream


@pytest.fixture
def upstream(socket_of_the_module, waits):
    """What it is asked in the name of Instantly must be valid by our schemas."""
    socket_of_the_module.reset()
    socket_of_the_module.waits = waits
    yield socket_of_the_module
    for call in socket_of_the_module.requests:
        if call.path.startswith("/api/v2/"):
            assert check_request(call.method, call.path, call.query, call.headers, call.body) == []
    socket_of_the_module.reset()


class Operation(NamedTuple):
    """A method of a client, with an answer that satisfies it."""

    name: str
    call: Callable[[Upstream], Any]
    answer: Any
    error: type[UpstreamError]
    repeatable: bool


ERRORS = {"keys": KeyServiceError, "runs": RunsServiceError, "workspace": InstantlyError}


def operation(
    client: str, name: str, answer: Any, *arguments: Any, repeatable: bool = True, **named: Any
) -> Operation:
    def call(upstream: Upstream) -> Any:
        result = getattr(getattr(upstream, client), name)(*arguments, **named)
        return list(result) if isinstance(result, Iterator) else result

    return Operation(name, call, answer, ERRORS[client], repeatable)


CALLER = {"caller_method": "POST", "caller_path": "/campaigns/:campaignId/leads"}
RUN = {"task_name": "leads-add", "clerk_org_id": "clerk-1", "app_id": "app-1", "brand_id": "b-1"}
KEY = {"provider": "instantly", "key": "key-1"}
CAMPAIGN = {"id": CAMPAIGN_ID, "status": 1}
JOB = {"id": "6650d6b9e1f0a1b2c3d4e5f6", "status": "pending"}
ADDED = {"created_leads": [{"index": 0, "id": LEAD_ID}, {"index": 1, "id": OTHER_LEAD_ID}]}
PAGE: dict[str, Any] = {"items": []}
WEBHOOK = {"target_hook_url": "https://x.example/hook", "headers": {"X-Secret": "hush-hush"}}
SUMMARY = {"failed_events": 3}
OPERATIONS = [
    operation("keys", "decrypt_organization_key", KEY, "clerk & co", **CALLER),
    operation("keys", "decrypt_app_key", KEY, **CALLER),
    operation("runs", "create_run", {"id": RUN_ID}, repeatable=False, **RUN),
    operation("runs", "add_costs", {}, RUN_ID, "instantly-lead-add", 7, repeatable=False),
    operation("runs", "end_run", {}, RUN_ID, "completed"),
    operation("workspace", "create_campaign", CAMPAIGN, campaign_at_instantly(), repeatable=False),
    operation("workspace", "get_campaign", CAMPAIGN, CAMPAIGN_ID),
    operation("workspace", "get_sending_status", {}, CAMPAIGN_ID),
    operation("workspace", "patch_campaign", CAMPAIGN, CAMPAIGN_ID, {"name": "Winter"}),
    operation("workspace", "delete_campaign", CAMPAIGN, CAMPAIGN_ID),
    operation("workspace", "activate_campaign", CAMPAIGN, CAMPAIGN_ID),
    operation("workspace", "pause_campaign", CAMPAIGN, CAMPAIGN_ID),
    operation("workspace", "add_leads", ADDED, CAMPAIGN_ID, LEADS),
    operation("workspace", "find_leads", PAGE, CAMPAIGN_ID, ["ada@example.com"]),
    operation("workspace", "list_all_leads", PAGE, CAMPAIGN_ID),
    operation("workspace", "delete_leads", {"count": 1}, CAMPAIGN_ID, [LEAD_ID]),
    operation("workspace", "get_campaign_analytics", [], CAMPAIGN_ID),
    operation("workspace", "list_accounts", PAGE),
    operation("workspace", "get_account", {"email": "a@x.example"}, "a@x.example"),
    operation("workspace", "switch_warmup", JOB, "a@x.example", enabled=True),
    operation("workspace", "get_background_job", JOB, JOB["id"]),
    operation("workspace", "get_warmup_analytics", {}, ["a@x.example"]),
    operation("workspace", "list_failed_deliveries", PAGE, "2026-02-01", "2026-02-02"),
    operation("workspace", "list_webhooks", PAGE),
    operation("workspace", "create_webhook", {"id": WEBHOOK_ID}, WEBHOOK, repeatable=False),
    operation("workspace", "patch_webhook", {"id": WEBHOOK_ID}, WEBHOOK_ID, WEBHOOK),
    operation("workspace", "count_failed_deliveries", SUMMARY, "2026-02-01", "2026-02-02"),
    operation("workspace", "resume_webhook", {"id": WEBHOOK_ID}, WEBHOOK_ID),
]
BY_NAME = {one.name: one for one in OPERATIONS}


def each(*operations: Operation) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("operation", operations, ids=lambda one: one.name)


def refused(operation: Operation, upstream: Upstream) -> UpstreamError:
    with pytest.raises(operation.error) as raised:
        operation.call(upstream)
    assert type(raised.value) is operation.error
    return raised.value
