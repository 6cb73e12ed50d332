"""Webhooks, and what they delivered."""

from collections.abc import Iterator, Mapping
from typing import Any

from instantly.clients.instantly.base import (
    MAX_PAGE_SIZE,
    InstantlyError,
    Workspace,
    is_count,
    is_path_segment,
)


class Webhooks(Workspace):
    def list_failed_deliveries(self, first_day: str, last_day: str) -> Iterator[dict[str, Any]]:
        """GET /webhook-events → failed deliveries of these days (YYYY-MM-DD, both inclusive).

        One that succeeded when it was tried again is among them [inferred from its fields].
        """
        params = {"success": "false", "from": first_day, "to": last_day, "limit": MAX_PAGE_SIZE}
        return self._pages("GET", "/webhook-events", params=params)

    def count_failed_deliveries(self, first_day: str, last_day: str) -> int:
        """GET /webhook-events/summary → how many failed, of all webhooks of the workspace."""
        params = {"from": first_day, "to": last_day}
        path = "/webhook-events/summary"
        return int(self._call("GET", path, params=params, failed_events=is_count)["failed_events"])

    def list_webhooks(self) -> Iterator[dict[str, Any]]:
        """GET /webhooks → all of the workspace; `status` is -1 for one that was switched off."""
        page = {"limit": MAX_PAGE_SIZE}
        return self._pages("GET", "/webhooks", params=page, id=is_path_segment)

    def create_webhook(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """POST /webhooks → the webhook. Never repeated: it would make a second one."""
        return self._call("POST", "/webhooks", body=body, repeatable=False, id=is_path_segment)

    def patch_webhook(self, webhook_id: str, changes: Mapping[str, Any]) -> dict[str, Any]:
        """PATCH /webhooks/{id} → what it says of the webhook. Headers are replaced, not merged."""
        return self._change_webhook("PATCH", "/webhooks/{id}", webhook_id, changes)

    def resume_webhook(self, webhook_id: str) -> dict[str, Any]:
        """POST /webhooks/{id}/resume → what it says of the webhook, which is on without a word."""
        return {"status": 1, **self._change_webhook("POST", "/webhooks/{id}/resume", webhook_id)}

    def _change_webhook(
        self, method: str, path: str, webhook_id: str, changes: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        webhook = self._call(
            method,
            path,
            webhook_id,
            body=changes,
            may_be_empty=True,
            id=lambda value: value == webhook_id,
        )
        for name in ("target_hook_url", "event_type"):
            if changes and name in changes and webhook.get(name, changes[name]) != changes[name]:
                raise InstantlyError(f"the webhook has another {name} than it was given")
        return webhook
