"""Instantly's webhooks: where they go, what they deliver, and what was missed."""

from datetime import UTC, datetime, timedelta
from typing import Any

from flask import Blueprint
from flask.typing import ResponseReturnValue

from instantly.clients.instantly import InstantlyClient
from instantly.config import SERVICE_NAME
from instantly.deliveries import (
    WEBHOOK_PATH,
    our_webhooks,
    receive_delivery,
    recover_deliveries,
    resume_webhooks,
    webhook_url,
)
from instantly.schemas.answers import (
    RECEIVED,
    RECOVERED,
    REGISTERED,
    WEBHOOK_CONFIG,
    WEBHOOK_HEALTH,
)
from instantly.schemas.webhooks import Delivery, Recovery, Registration, WebhookHealth
from instantly.storage.leases import Busy
from instantly.translation.events import (
    DUPLICATE,
    RECORDED,
    UNKNOWN_CAMPAIGN,
)
from instantly.translation.webhooks import (
    Webhook,
    carries,
    changes_needed,
    closest,
    is_off,
    status_of,
)
from instantly.web.context import (
    database,
    organization_workspace,
    services,
    waits_for_upstreams,
    webhooks_lock,
)
from instantly.web.errors import ApiError
from instantly.web.inputs import delivery_bytes, load_body, load_query
from instantly.web.openapi import WEBHOOK_SECRET, documented

DAYS_OF_FAILURES = 7
bp = Blueprint("webhooks", __name__, url_prefix=WEBHOOK_PATH)


def configured_url() -> str:
    url = webhook_url()
    if url is None:
        raise ApiError(500, "WEBHOOK_BASE_URL not configured")
    return url


@bp.get("/config")
@documented(answers={200: WEBHOOK_CONFIG})
def get_config() -> dict[str, str]:
    """Says where Instantly's webhooks must point."""
    return {"webhookUrl": configured_url()}


@bp.post("/")
@bp.post("")
@documented(body=Delivery, answers={200: RECEIVED}, headers=(WEBHOOK_SECRET,))
def receive() -> dict[str, Any]:
    """Records a delivery of one of our campaigns.

    What is not ours, names no event (as a test of the webhook may), or comes without the secret
    where one is set, is answered with success too: after repeated failures Instantly switches a
    webhook off, and with it the events of our own campaigns.
    """
    outcome, event_type = receive_delivery(delivery_bytes())
    answer: dict[str, Any] = {"success": True, "recorded": outcome == RECORDED}
    if outcome != RECORDED:
        answer["reason"] = outcome
    if outcome in (RECORDED, DUPLICATE):
        answer["eventType"] = event_type
    return answer


@bp.post("/recover")
@documented(body=Recovery, answers={200: RECOVERED})
@waits_for_upstreams
def recover() -> ResponseReturnValue:
    """Records what Instantly could not deliver, and switches our webhooks on again."""
    recovery = load_body(Recovery)
    workspace = organization_workspace(recovery["clerk_org_id"])
    outcomes = recover_deliveries(workspace, recovery["from_"], recovery["to"])
    resumed = resume_webhooks(workspace)
    return {
        "success": True,
        "found": outcomes.total(),
        "recorded": outcomes[RECORDED],
        "duplicates": outcomes[DUPLICATE],
        "ignored": outcomes[UNKNOWN_CAMPAIGN],
        "resumedWebhooks": resumed,
    }


@bp.post("/register")
@documented(body=Registration, answers={200: REGISTERED})
@waits_for_upstreams
def register() -> ResponseReturnValue:
    """Makes an organisation's workspace deliver all its events to us, with our secret.

    A webhook that points at us already is made right and switched on; of several the closest one.
    Safe to repeat.
    """
    clerk_org_id: str = load_body(Registration)["clerk_org_id"]
    url = configured_url()
    workspace = organization_workspace(clerk_org_id)
    with webhooks_lock(workspace) as lock:
        found = closest(our_webhooks(workspace, url))
        changes = changes_needed(found or {}, url, services().settings.webhook_secrets)
        if found is None and not services().leases.is_held(lock):
            raise Busy
        webhook = set_up(workspace, found, changes)
        was_off = is_off(webhook)
        if was_off:
            webhook = {**webhook, **workspace.resume_webhook(webhook["id"])}
    shown = {"id": webhook["id"], "status": status_of(webhook)}
    done = {
        "created": found is None,
        "updated": bool(found and changes),
        "resumed": was_off and not is_off(webhook),
    }
    return {"success": True, "webhook": shown, **done}


def set_up(workspace: InstantlyClient, found: Webhook | None, changes: Webhook) -> Webhook:
    """The webhook with these changes, or a new one of them."""
    if found is None:
        return workspace.create_webhook({"name": SERVICE_NAME, **changes})
    if changes:
        return {**found, **changes, **workspace.patch_webhook(found["id"], changes)}
    return found


@bp.get("/health")
@documented(query=WebhookHealth, answers={200: WEBHOOK_HEALTH})
@waits_for_upstreams
def get_webhook_health() -> ResponseReturnValue:
    """Whether an organisation's events reach us: its webhooks that point at us, and what came.

    `verified`: its deliveries carry our secret. `failedDeliveries` are those of all webhooks of
    the workspace in the last 7 days.
    """
    clerk_org_id: str = load_query(WebhookHealth)["clerk_org_id"]
    url = configured_url()
    secrets = services().settings.webhook_secrets
    workspace = organization_workspace(clerk_org_id)
    webhooks = our_webhooks(workspace, url)
    today = datetime.now(UTC).date()
    first_day = today - timedelta(days=DAYS_OF_FAILURES - 1)
    failed = workspace.count_failed_deliveries(first_day.isoformat(), today.isoformat())
    last = database().fetch_one("select_last_delivery", clerk_org_id=clerk_org_id)
    return {
        "webhooks": [
            {"id": each["id"], "status": status_of(each), "verified": carries(each, secrets)}
            for each in webhooks
        ],
        "lastDeliveryAt": last and last["lastDeliveryAt"],
        "failedDeliveries": failed,
    }
