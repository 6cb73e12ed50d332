"""Instantly's webhooks: where they go, what they deliver, and what was missed."""

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

from flask import Blueprint
from flask.typing import ResponseReturnValue

from instantly.clients.instantly import InstantlyClient
from instantly.config import SERVICE_NAME
from instantly.jsontext import canonical_json
from instantly.metrics import DELIVERIES
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
    NO_EVENT,
    RECORDED,
    UNKNOWN_CAMPAIGN,
    UNVERIFIED,
    Event,
    fingerprint,
)
from instantly.translation.subscription import (
    DISABLED,
    Webhook,
    carries,
    closest,
    corrections,
    is_ours,
    status_of,
)
from instantly.web.auth import is_verified_delivery
from instantly.web.errors import ApiError
from instantly.web.inputs import delivery_bytes, delivery_payload, load_body, load_query
from instantly.web.openapi import WEBHOOK_SECRET, documented
from instantly.web.services import database, services, waits_for_upstreams
from instantly.web.workspaces import organization_workspace, webhooks_lock

DAYS_OF_FAILURES = 7
# How a delivery comes to us, and what can become of it.
WEBHOOK, RECOVERY = SOURCES = ("webhook", "recovery")
OUTCOMES = (RECORDED, DUPLICATE, UNKNOWN_CAMPAIGN, NO_EVENT, UNVERIFIED)
for labels in product(SOURCES, OUTCOMES):
    # There from the start: a series that begins with 1 has not risen.
    DELIVERIES.labels(*labels)

bp = Blueprint("webhooks", __name__, url_prefix="/webhooks/instantly")


def webhook_url() -> str | None:
    base_url = services().settings.webhook_base_url
    return base_url and f"{base_url}/webhooks/instantly"


def configured_url() -> str:
    url = webhook_url()
    if url is None:
        raise ApiError(500, "WEBHOOK_BASE_URL not configured")
    return url


def our_webhooks(workspace: InstantlyClient, url: str) -> list[Webhook]:
    """Those that point at us, whatever they subscribe to."""
    return [
        webhook
        for webhook in workspace.list_webhooks()
        if is_ours(webhook.get("target_hook_url"), url)
    ]


@bp.get("/config")
@documented(answers={200: WEBHOOK_CONFIG})
def get_config() -> dict[str, str]:
    """Says where Instantly's webhooks must point."""
    return {"webhookUrl": configured_url()}


@bp.post("")
@documented(body=Delivery, answers={200: RECEIVED}, headers=(WEBHOOK_SECRET,))
def receive() -> dict[str, Any]:
    """Records a delivery of one of our campaigns.

    What is not ours, names no event (as a test of the webhook may), or comes without the secret
    where one is set, is answered with success too: after repeated failures Instantly switches a
    webhook off, and with it the events of our own campaigns.
    """
    outcome, event_type = take(delivery_bytes())
    counted(WEBHOOK, outcome)
    answer: dict[str, Any] = {"success": True, "recorded": outcome == RECORDED}
    if outcome != RECORDED:
        answer["reason"] = outcome
    if outcome in (RECORDED, DUPLICATE):
        answer["eventType"] = event_type
    return answer


def counted(source: str, outcome: str) -> str:
    """Counts what became of a delivery, and returns it."""
    DELIVERIES.labels(source, outcome).inc()
    return outcome


def take(delivery: bytes) -> tuple[str, str | None]:
    """What becomes of a delivery, and the type of its event once it has been looked at.

    RECORDED, DUPLICATE, UNKNOWN_CAMPAIGN, NO_EVENT, or UNVERIFIED: a stranger's is not even parsed.
    """
    if not is_verified_delivery(services().settings.webhook_secrets):
        return UNVERIFIED, None
    payload = delivery_payload(delivery)
    event = Event.from_payload(payload)
    if event is None:
        return NO_EVENT, None
    return record(event, payload, delivery.decode()), event.event_type


def record(event: Event, payload: dict[str, Any], text: str) -> str:
    """Records the event, its statistics, and the lead's and the campaign's new state.

    The payload is kept as the text that it came in. Returns RECORDED, DUPLICATE or
    UNKNOWN_CAMPAIGN.
    """
    if event.campaign_id is None:
        return UNKNOWN_CAMPAIGN
    row = database().fetch_one(
        "insert_event",
        **event.parameters(),
        fingerprint=fingerprint(canonical_json(payload)),
        payload=text,
    )
    if row is None or not row["known"]:
        return UNKNOWN_CAMPAIGN
    return RECORDED if row["recorded"] else DUPLICATE


@bp.post("/recover")
@documented(body=Recovery, answers={200: RECOVERED})
@waits_for_upstreams
def recover() -> ResponseReturnValue:
    """Records what Instantly could not deliver, and switches our webhooks on again."""
    recovery = load_body(Recovery)
    workspace = organization_workspace(recovery["clerk_org_id"])
    url = webhook_url()
    deliveries = workspace.list_failed_deliveries(
        recovery["from_"].isoformat(), recovery["to"].isoformat()
    )
    outcomes = Counter(counted(RECOVERY, record_again(delivery, url)) for delivery in deliveries)
    resumed = []
    if url is not None:
        for webhook in our_webhooks(workspace, url):
            if webhook.get("status") == DISABLED:
                workspace.resume_webhook(webhook["id"])
                resumed.append(webhook["id"])
    return {
        "success": True,
        "found": outcomes.total(),
        "recorded": outcomes[RECORDED],
        "duplicates": outcomes[DUPLICATE],
        "ignored": outcomes[UNKNOWN_CAMPAIGN],
        "resumedWebhooks": resumed,
    }


def record_again(delivery: dict[str, Any], url: str | None) -> str:
    """Records the payload of a failed delivery, if it was meant for us.

    It is read from Instantly itself, so it needs no secret.
    """
    if url is not None and not is_ours(delivery.get("webhook_url"), url):
        return UNKNOWN_CAMPAIGN
    payload: Any = delivery.get("payload")
    event = Event.from_payload(payload) if isinstance(payload, dict) else None
    return UNKNOWN_CAMPAIGN if event is None else record(event, payload, json.dumps(payload))


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
        changes = corrections(found or {}, url, services().settings.webhook_secrets)
        if found is None and not services().leases.is_held(lock):
            raise Busy
        webhook = set_up(workspace, found, changes)
        is_off = webhook.get("status") == DISABLED
        if is_off:
            webhook = workspace.resume_webhook(webhook["id"])
    shown = {"id": webhook["id"], "status": status_of(webhook)}
    done = {"created": found is None, "updated": bool(found and changes), "resumed": is_off}
    return {"success": True, "webhook": shown, **done}


def set_up(workspace: InstantlyClient, found: Webhook | None, changes: Webhook) -> Webhook:
    """The webhook with these changes, or a new one of them."""
    if found is None:
        return workspace.create_webhook({"name": SERVICE_NAME, **changes})
    return {**found, **workspace.patch_webhook(found["id"], changes)} if changes else found


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
