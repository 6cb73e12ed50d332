"""Instantly's webhooks: where they go, what they deliver, and what was missed."""

from collections import Counter
from functools import partial
from typing import Any

from flask import Blueprint
from flask.typing import ResponseReturnValue

from instantly.jsontext import canonical_json, storable_json
from instantly.schemas.answers import RECEIVED, RECOVERED, WEBHOOK_CONFIG
from instantly.schemas.webhooks import Delivery, Recovery
from instantly.translation.events import DUPLICATE, RECORDED, UNKNOWN_CAMPAIGN, Event, fingerprint
from instantly.web.errors import ApiError, InvalidRequest
from instantly.web.inputs import delivery_body, load_body
from instantly.web.metrics import RECOVERY, WEBHOOK
from instantly.web.openapi import CALLS_OTHERS, documented
from instantly.web.services import database, services, waits_for_upstreams
from instantly.web.workspaces import organization_workspace

DISABLED = -1

bp = Blueprint("webhooks", __name__, url_prefix="/webhooks/instantly")


def webhook_url() -> str | None:
    base_url = services().settings.webhook_base_url
    return base_url and f"{base_url}/webhooks/instantly"


@bp.get("/config")
@documented(answers={200: WEBHOOK_CONFIG})
def get_config() -> dict[str, str]:
    """Says where Instantly's webhooks must point."""
    url = webhook_url()
    if url is None:
        raise ApiError(500, "WEBHOOK_BASE_URL not configured")
    return {"webhookUrl": url}


@bp.post("")
@documented(body=Delivery, answers={200: RECEIVED})
def receive() -> dict[str, Any]:
    """Records a delivery of one of our campaigns.

    What is not ours is answered with success too: after repeated failures Instantly switches a
    webhook off, and with it the events of our own campaigns.
    """
    payload = delivery_body()
    event = Event.from_payload(payload)
    if event is None:
        raise InvalidRequest({"event_type": ["Must be a non-empty string."]})
    outcome = services().metrics.delivered(WEBHOOK, record(event, payload))
    answer: dict[str, Any] = {"success": True, "recorded": outcome == RECORDED}
    if outcome != RECORDED:
        answer["reason"] = outcome
    if outcome != UNKNOWN_CAMPAIGN:
        answer["eventType"] = event.event_type
    return answer


def record(event: Event, payload: dict[str, Any]) -> str:
    """Records the event, its statistics, and the lead's and the campaign's new state.

    Returns RECORDED, DUPLICATE or UNKNOWN_CAMPAIGN.
    """
    if event.campaign_id is None:
        return UNKNOWN_CAMPAIGN
    canonical = canonical_json(payload)
    row = database().fetch_one(
        "insert_event",
        **event.parameters(),
        fingerprint=fingerprint(canonical),
        payload=storable_json(canonical),
    )
    if row is None or not row["known"]:
        return UNKNOWN_CAMPAIGN
    return RECORDED if row["recorded"] else DUPLICATE


@bp.post("/recover")
@documented(body=Recovery, answers={200: RECOVERED}, errors=CALLS_OTHERS)
@waits_for_upstreams
def recover() -> ResponseReturnValue:
    """Records what Instantly could not deliver, and switches our webhooks on again."""
    recovery = load_body(Recovery)
    workspace = organization_workspace(recovery["clerk_org_id"])
    url = webhook_url()
    deliveries = workspace.list_failed_deliveries(
        recovery["from_"].isoformat(), recovery["to"].isoformat()
    )
    delivered = partial(services().metrics.delivered, RECOVERY)
    outcomes = Counter(delivered(record_again(delivery, url)) for delivery in deliveries)
    resumed = []
    if url is not None:
        for webhook in workspace.list_webhooks():
            if webhook.get("status") == DISABLED and is_ours(webhook.get("target_hook_url"), url):
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
    """Records the payload of a failed delivery, if it was meant for us."""
    if url is not None and not is_ours(delivery.get("webhook_url"), url):
        return UNKNOWN_CAMPAIGN
    payload: Any = delivery.get("payload")
    event = Event.from_payload(payload) if isinstance(payload, dict) else None
    return UNKNOWN_CAMPAIGN if event is None else record(event, payload)


def is_ours(target: object, url: str) -> bool:
    """Whether deliveries to this URL reach us; a secret may stand in its query."""
    return isinstance(target, str) and target.partition("?")[0].rstrip("/") == url
