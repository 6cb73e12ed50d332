"""Every operation of the clients that call other services, with an answer that satisfies it.

Not a test.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from uuid import uuid4

import pytest
from helpers import campaign_at_instantly

from instantly.clients.http import UpstreamError
from instantly.clients.instantly import InstantlyClient, InstantlyError
from instantly.clients.keys import KeyServiceClient, KeyServiceError
from instantly.clients.runs import RunsServiceClient, RunsServiceError

CAMPAIGN_ID, RUN_ID, WEBHOOK_ID, LEAD_ID, OTHER_LEAD_ID = (str(uuid4()) for _ in range(5))
LEADS = [{"email": "ada@example.com"}, {"email": "grace@example.com"}]
METHODS = ("GET", "POST", "PATCH", "DELETE")


class Clients:
    """One of each, all of which call the same address."""

    def __init__(self, url: str) -> None:
        self.keys = KeyServiceClient(url, "keys-key")
        self.runs = RunsServiceClient(url, "runs-key")
        self.workspace = InstantlyClient(url).with_key("bearer-key")


class Operation(NamedTuple):
    """A method of a client, with an answer that satisfies it."""

    name: str
    call: Callable[[Clients], Any]
    answer: Any
    error: type[UpstreamError]
    repeatable: bool


ERRORS = {"keys": KeyServiceError, "runs": RunsServiceError, "workspace": InstantlyError}


def operation(
    client: str, name: str, answer: Any, *arguments: Any, repeatable: bool = True, **named: Any
) -> Operation:
    def call(clients: Clients) -> Any:
        result = getattr(getattr(clients, client), name)(*arguments, **named)
        return list(result) if isinstance(result, Iterator) else result

    return Operation(name, call, answer, ERRORS[client], repeatable)


CALLER = {"caller_method": "POST", "caller_path": "/campaigns/:campaignId/leads"}
RUN = {"task_name": "leads-add", "clerk_org_id": "clerk-1", "app_id": "app-1", "brand_id": "b-1"}
KEY = {"provider": "instantly", "key": "key-1"}
CAMPAIGN = {"id": CAMPAIGN_ID, "status": 1, "name": "Winter"}
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


def refused(operation: Operation, clients: Clients) -> UpstreamError:
    with pytest.raises(operation.error) as raised:
        operation.call(clients)
    assert type(raised.value) is operation.error
    return raised.value
