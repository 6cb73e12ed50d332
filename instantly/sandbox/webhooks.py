"""Instantly's webhooks: their management, their deliveries, and the record of these."""

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import requests

from instantly.sandbox.state import Call, Json, Workspace, moment, now, page

DELIVERY_TIMEOUT_SECONDS = 10
MAX_RETRIES = 3
ACTIVE = 1
DISABLED = -1
# What a webhook subscribes to and what its deliveries say [docs]; all others are named alike.
PAYLOAD_NAMES = {"email_link_clicked": "link_clicked"}


class Webhooks:
    """The operations on webhooks, and the deliveries.

    A failed delivery is repeated after `delivery_retry_seconds`; after `disable_after` failures
    in a row the webhook is switched off.
    """

    delivery_retry_seconds = 0.5
    disable_after = 20

    def list_webhooks(self, workspace: Workspace, call: Call) -> Json:
        return page(list(workspace.webhooks.values()), call.query)

    def create_webhook(self, workspace: Workspace, call: Call) -> Json:
        webhook = {
            **call.body,
            "id": workspace.ids.uuid(),
            "organization": workspace.id,
            "status": ACTIVE,
            "timestamp_created": now(),
        }
        workspace.webhooks[webhook["id"]] = webhook
        return webhook

    def get_webhook(self, workspace: Workspace, call: Call) -> Json:
        return workspace.webhook(call.parameter)

    def patch_webhook(self, workspace: Workspace, call: Call) -> Json:
        webhook = workspace.webhook(call.parameter)
        webhook.update(call.body)
        return webhook

    def resume_webhook(self, workspace: Workspace, call: Call) -> Json:
        webhook = workspace.webhook(call.parameter)
        webhook.update(status=ACTIVE, timestamp_error=None)
        workspace.webhook_failures[webhook["id"]] = 0
        return webhook

    def list_webhook_events(self, workspace: Workspace, call: Call) -> Json:
        return page(workspace.events, call.query, lambda event: is_found(event, call.query))

    def get_webhook_events_summary(self, workspace: Workspace, call: Call) -> Json:
        """Of every attempt, whichever webhook it was for."""
        found = [event for event in workspace.events if is_found(event, call.query)]
        successful = sum(event["success"] for event in found)
        rate = 100 * successful / len(found) if found else 0
        return {
            "total_events": len(found),
            "successful_events": successful,
            "failed_events": len(found) - successful,
            "success_rate": rate,
            "failure_rate": 100 - rate if found else 0,
        }

    def deliver(self, workspace: Workspace, payload: Json) -> None:
        """Post a payload to every webhook that wants it; returns when all is tried."""
        for webhook in list(workspace.webhooks.values()):
            if wants(webhook, payload):
                self._deliver_to(workspace, webhook, payload)

    def _deliver_to(self, workspace: Workspace, webhook: Json, payload: Json) -> None:
        """Try up to four times and keep an event of each attempt."""
        group = workspace.ids.uuid()
        failed: list[Json] = []
        for retry in range(MAX_RETRIES + 1):
            attempt = post(webhook, payload)
            with workspace.lock:
                self._count_failure(workspace, webhook, attempt)
                event = event_of(workspace, webhook, payload, attempt)
                event.update(retry_group_id=group, retry_count=retry)
                workspace.events.append(event)
                if attempt.error is None or retry == MAX_RETRIES or webhook["status"] == DISABLED:
                    for earlier in failed:
                        earlier["retry_successful"] = event["success"]
                    return
                pause = timedelta(seconds=self.delivery_retry_seconds)
                event.update(
                    will_retry=True, timestamp_next_retry=moment(datetime.now(UTC) + pause)
                )
                failed.append(event)
            time.sleep(self.delivery_retry_seconds)

    def _count_failure(self, workspace: Workspace, webhook: Json, attempt: "Attempt") -> None:
        """Switch the webhook off after too many failures in a row."""
        failures = workspace.webhook_failures
        failures[webhook["id"]] = failures[webhook["id"]] + 1 if attempt.error else 0
        if failures[webhook["id"]] >= self.disable_after:
            webhook.update(status=DISABLED, timestamp_error=now())


def is_found(event: Json, query: Json) -> bool:
    """Whether a webhook event passes the filters; both dates are inclusive [OpenAPI document]."""
    day = event["timestamp_created_date"]
    return bool(
        query.get("success", event["success"]) == event["success"]
        and query.get("from", day) <= day <= query.get("to", day)
    )


def wants(webhook: Json, payload: Json) -> bool:
    """Whether a webhook is on and subscribes to this payload."""
    subscribed = webhook.get("event_type")
    return (
        webhook["status"] == ACTIVE
        and webhook.get("campaign") in (None, payload.get("campaign_id"))
        and (
            subscribed == "all_events"
            or PAYLOAD_NAMES.get(subscribed or "", subscribed) == payload["event_type"]
        )
    )


@dataclass(frozen=True)
class Attempt:
    """How one delivery went; `status` is None when there was no answer."""

    status: int | None
    error: str | None
    milliseconds: int


def post(webhook: Json, payload: Json) -> Attempt:
    """Post a payload to a webhook."""
    started = time.monotonic()
    status = None
    error = None
    headers = {**(webhook.get("headers") or {}), "User-Agent": "Instantly-Sandbox"}
    try:
        with requests.Session() as session:
            session.trust_env = False  # no proxy between us and this machine
            answer = session.post(
                webhook["target_hook_url"],
                json=payload,
                headers=headers,
                timeout=DELIVERY_TIMEOUT_SECONDS,
                allow_redirects=False,
            )
        status = answer.status_code
        if not 200 <= status < 300:
            error = f"Request failed with status code {status}"
    except requests.RequestException as failure:
        error = type(failure).__name__
    return Attempt(status, error, round(1000 * (time.monotonic() - started)))


def event_of(workspace: Workspace, webhook: Json, payload: Json, attempt: Attempt) -> Json:
    """The record that Instantly keeps of a delivery attempt, which is not retried as yet."""
    created = now()
    return {
        "id": workspace.ids.uuid(),
        "timestamp_created": created,
        "timestamp_created_date": created[:10],
        "organization_id": workspace.id,
        "payload": payload,
        "success": attempt.error is None,
        "will_retry": False,
        "webhook_url": webhook["target_hook_url"],
        "status_code": attempt.status,
        "error_message": attempt.error,
        "timestamp_next_retry": None,
        "retry_successful": None,
        "lead_email": payload.get("lead_email"),
        "response_time_ms": attempt.milliseconds,
    }
