"""Instantly's webhooks: where they go, what they deliver, and what was missed."""

from typing import Any

from flask import Blueprint
from flask.typing import ResponseReturnValue

from instantly.context import calls_others, database, organization_workspace, parts
from instantly.database import text_array
from instantly.errors import ApiError, InvalidRequest
from instantly.events import (
    CAMPAIGN_STATUS,
    LABELS,
    LEAD_STATUS,
    WEAKER_STATUSES,
    Event,
    fingerprint,
    is_readable,
)
from instantly.inputs import delivery_body, load_body
from instantly.jsontext import canonical_json, storable_json
from instantly.schemas.webhooks import Recovery

DISABLED = -1
UNKNOWN_CAMPAIGN = "unknown campaign"

# Text that PostgreSQL reads as arrays: psycopg would make it of the lists for every delivery.
WEAKER_ARRAYS = {status: text_array(weaker) for status, weaker in WEAKER_STATUSES.items()}
LABELS_ARRAY = text_array(sorted(LABELS))

bp = Blueprint("webhooks", __name__, url_prefix="/webhooks/instantly")


def webhook_url() -> str | None:
    base_url = parts().settings.webhook_base_url
    return base_url and f"{base_url}/webhooks/instantly"


@bp.get("/config")
def get_config() -> dict[str, str]:
    """Says where Instantly's webhooks must point."""
    url = webhook_url()
    if url is None:
        raise ApiError(500, "WEBHOOK_BASE_URL not configured")
    return {"webhookUrl": url}


@bp.post("")
def receive() -> dict[str, Any]:
    """Records a delivery of one of our campaigns.

    What is not ours is answered with success too: after repeated failures Instantly switches a
    webhook off, and with it the events of our own campaigns.
    """
    payload = delivery_body()
    if not is_readable(payload):
        raise InvalidRequest({"event_type": ["Must be a non-empty string."]})
    event = Event.from_payload(payload)
    outcome = record(event, payload)
    if outcome == UNKNOWN_CAMPAIGN:
        return {"success": True, "recorded": False, "reason": outcome}
    if outcome == "duplicate":
        return {
            "success": True,
            "recorded": False,
            "reason": outcome,
            "eventType": event.event_type,
        }
    return {"success": True, "recorded": True, "eventType": event.event_type}


def record(event: Event, payload: dict[str, Any]) -> str:
    """One statement: the event, its statistics, and the lead's and the campaign's new state.

    Returns "recorded", "duplicate" or UNKNOWN_CAMPAIGN.
    """
    if event.campaign_id is None:
        return UNKNOWN_CAMPAIGN
    lead_status = LEAD_STATUS.get(event.event_type)
    canonical = canonical_json(payload)
    row = database().fetch_one(
        "insert_event",
        instantly_campaign_id=event.campaign_id,
        event_type=event.event_type,
        lead_email=event.lead_email,
        account_email=event.account_email,
        step=event.step,
        variant=event.variant,
        occurred_at=event.occurred_at,
        fingerprint=fingerprint(canonical),
        payload=storable_json(canonical),
        counted_as=event.counted_as,
        lead_status=lead_status,
        weaker_statuses=WEAKER_ARRAYS[lead_status] if lead_status else "{}",
        is_label=lead_status in LABELS,
        labels=LABELS_ARRAY,
        campaign_status=CAMPAIGN_STATUS.get(event.event_type),
    )
    if row is None or not row["known"]:
        return UNKNOWN_CAMPAIGN
    return "recorded" if row["recorded"] else "duplicate"


@bp.post("/recover")
@calls_others
def recover() -> ResponseReturnValue:
    """Records what Instantly could not deliver, and switches our webhooks on again."""
    wanted = load_body(Recovery)
    workspace = organization_workspace(wanted["clerk_org_id"])
    url = webhook_url()
    outcomes = {"recorded": 0, "duplicate": 0, UNKNOWN_CAMPAIGN: 0}
    for delivery in workspace.list_failed_deliveries(
        wanted["from_"].isoformat(), wanted["to"].isoformat()
    ):
        outcomes[record_again(delivery, url)] += 1
    resumed = []
    if url is not None:
        for webhook in workspace.list_webhooks():
            if webhook.get("status") == DISABLED and is_ours(webhook.get("target_hook_url"), url):
                workspace.resume_webhook(webhook["id"])
                resumed.append(webhook["id"])
    return {
        "success": True,
        "found": sum(outcomes.values()),
        "recorded": outcomes["recorded"],
        "duplicates": outcomes["duplicate"],
        "ignored": outcomes[UNKNOWN_CAMPAIGN],
        "resumedWebhooks": resumed,
    }


def record_again(delivery: dict[str, Any], url: str | None) -> str:
    """Records the payload of a failed delivery, if it was meant for us."""
    payload = delivery.get("payload")
    if url is not None and not is_ours(delivery.get("webhook_url"), url):
        return UNKNOWN_CAMPAIGN
    if not isinstance(payload, dict) or not is_readable(payload):
        return UNKNOWN_CAMPAIGN
    return record(Event.from_payload(payload), payload)


def is_ours(target: object, url: str) -> bool:
    """Whether deliveries to this URL reach us; a secret may stand in its query."""
    return isinstance(target, str) and target.partition("?")[0].rstrip("/") == url
