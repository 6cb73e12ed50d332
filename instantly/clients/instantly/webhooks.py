"""Webhooks, and what they delivered."""

from collections.abc import Iterator, Mapping
from typing import Any

from instantly.clients.instantly.base import (
    MAX_PAGE_SIZE,
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
        """PATCH /webhooks/{id} → the webhook. Its headers are replaced, not merged."""
        path = "/webhooks/{id}"
        return self._call("PATCH", path, webhook_id, body=changes, id=is_path_segment)

    def resume_webhook(self, webhook_id: str) -> dict[str, Any]:
        """POST /webhooks/{id}/resume → the webhook."""
        return self._call("POST", "/webhooks/{id}/resume", webhook_id, id=is_path_segment)
