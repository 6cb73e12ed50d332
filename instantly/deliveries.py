"""What becomes of the deliveries of Instantly's webhooks, received now or fetched later."""

import json
from collections import Counter
from datetime import date
from itertools import product
from typing import Any

from instantly.clients.instantly import InstantlyClient
from instantly.json_text import canonical_json
from instantly.metrics import DELIVERIES
from instantly.translation.events import (
    DUPLICATE,
    NO_EVENT,
    RECORDED,
    UNKNOWN_CAMPAIGN,
    UNVERIFIED,
    Event,
    fingerprint,
)
from instantly.translation.webhooks import Webhook, is_off, is_ours
from instantly.web.auth import is_verified_delivery
from instantly.web.context import database, services
from instantly.web.inputs import delivery_payload

WEBHOOK_PATH = "/webhooks/instantly"
# How a delivery comes to us, and what can become of it.
WEBHOOK, RECOVERY = SOURCES = ("webhook", "recovery")
OUTCOMES = (RECORDED, DUPLICATE, UNKNOWN_CAMPAIGN, NO_EVENT, UNVERIFIED)
for labels in product(SOURCES, OUTCOMES):
    # There from the start: a series that begins with 1 has not risen.
    DELIVERIES.labels(*labels)


def receive_delivery(delivery: bytes) -> tuple[str, str | None]:
    """What becomes of a delivery (one of OUTCOMES), and the type of its event if it names one.

    A stranger's is not even parsed.
    """
    event_type: str | None = None
    outcome = UNVERIFIED
    if is_verified_delivery(services().settings.webhook_secrets):
        payload = delivery_payload(delivery)
        event = Event.from_payload(payload)
        if event is None:
            outcome = NO_EVENT
        else:
            event_type = event.event_type
            outcome = record(event, payload, delivery.decode("utf-8-sig"))
    DELIVERIES.labels(WEBHOOK, outcome).inc()
    return outcome, event_type


def recover_deliveries(workspace: InstantlyClient, first_day: date, last_day: date) -> Counter[str]:
    """Records what Instantly could not deliver on these days; counts the attempts by outcome."""
    url = webhook_url()
    deliveries = workspace.list_failed_deliveries(first_day.isoformat(), last_day.isoformat())
    return Counter(recover_delivery(delivery, url) for delivery in deliveries)


def recover_delivery(delivery: dict[str, Any], url: str | None) -> str:
    """Records the payload of a failed delivery, if it was meant for us; returns its outcome.

    It is read from Instantly itself, so it needs no secret.
    """
    outcome, payload = UNKNOWN_CAMPAIGN, delivery.get("payload")
    if url is None or is_ours(delivery.get("webhook_url"), url):
        known = {"lead_email": delivery.get("lead_email")}
        known["timestamp"] = delivery.get("timestamp_created")
        event = Event.from_payload(payload, **known) if isinstance(payload, dict) else None
        outcome = record(event, payload, json.dumps(payload)) if event else UNKNOWN_CAMPAIGN
    DELIVERIES.labels(RECOVERY, outcome).inc()
    return outcome


def webhook_url() -> str | None:
    base_url = services().settings.webhook_base_url
    return base_url and base_url.removesuffix(WEBHOOK_PATH) + WEBHOOK_PATH


def our_webhooks(workspace: InstantlyClient, url: str) -> list[Webhook]:
    """Those that point at us, whatever they subscribe to."""
    return [
        webhook
        for webhook in workspace.list_webhooks()
        if is_ours(webhook.get("target_hook_url"), url)
    ]


def resume_webhooks(workspace: InstantlyClient) -> list[str]:
    """Switches those on again that point at us and were switched off; returns their ids."""
    url, resumed = webhook_url(), []
    for webhook in our_webhooks(workspace, url) if url else []:
        if is_off(webhook) and not is_off(workspace.resume_webhook(webhook["id"])):
            resumed.append(webhook["id"])
    return resumed


def record(event: Event, payload: Any, text: str) -> str:
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
