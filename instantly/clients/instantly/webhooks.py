"""Webhooks, and what they delivered."""

from collections.abc import Iterator
from typing import Any

from instantly.clients.instantly.workspace import MAX_PAGE_SIZE, Workspace, is_path_segment


class Webhooks(Workspace):
    def list_failed_deliveries(self, first_day: str, last_day: str) -> Iterator[dict[str, Any]]:
        """GET /webhook-events → failed deliveries of these days (YYYY-MM-DD, both inclusive).

        One that succeeded when it was tried again is among them [inferred from its fields].
        """
        params = {"success": "false", "from": first_day, "to": last_day, "limit": MAX_PAGE_SIZE}
        return self._pages("GET", "/webhook-events", params=params)

    def list_webhooks(self) -> Iterator[dict[str, Any]]:
        """GET /webhooks → all of the workspace; `status` is -1 for one that was switched off."""
        page = {"limit": MAX_PAGE_SIZE}
        return self._pages("GET", "/webhooks", params=page, id=is_path_segment)

    def resume_webhook(self, webhook_id: str) -> None:
        """POST /webhooks/{id}/resume."""
        self._call("POST", "/webhooks/{id}/resume", webhook_id)
