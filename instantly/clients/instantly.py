"""Instantly's API V2, the operations that this service uses.

Facts are from Instantly's official OpenAPI document (https://api.instantly.ai/openapi/api_v2.json)
unless a comment names another source.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import quote
from uuid import UUID

from instantly.clients.http import Json, ServiceClient, UpstreamError

READ_TIMEOUT_SECONDS = 30
MAX_LEADS_A_CALL = 1000
MAX_PAGE_SIZE = 100

Item = TypeVar("Item")

# The negative values of a campaign's status, in our words.
CAMPAIGN_TROUBLES = {-1: "accounts_unhealthy", -2: "bounce_protect", -99: "account_suspended"}


def chunks(values: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    for start in range(0, len(values), size):
        yield values[start : start + size]


class InstantlyError(UpstreamError):
    """Instantly refused, failed, or answered something that cannot be used."""


@dataclass(frozen=True)
class AddedLeads:
    """What Instantly did with one call's leads; it names only those that it created."""

    created: dict[int, str]
    """index in the request → lead id"""
    refusals: dict[str, int]
    """why leads were refused → how many"""


class InstantlyClient(ServiceClient):
    """One for the whole service; `with_key` binds it to an organisation's key."""

    error = InstantlyError

    def __init__(self, base_url: str) -> None:
        super().__init__(base_url, {}, READ_TIMEOUT_SECONDS)

    def with_key(self, key: str) -> "Workspace":
        return Workspace(self, key)

    def call(
        self,
        key: str,
        method: str,
        path: str,
        *,
        repeatable: bool,
        body: Json = None,
        params: Mapping[str, str | int] | None = None,
    ) -> Any:
        return self._request(
            method,
            "/api/v2" + path,
            body=body,
            params=params,
            repeatable=repeatable,
            headers={"Authorization": f"Bearer {key}"},
        )


class Workspace:
    """An Instantly workspace: what the key opens."""

    def __init__(self, client: InstantlyClient, key: str) -> None:
        self._client = client
        self._key = key

    def _call(self, method: str, path: str, *, repeatable: bool = True, body: Json = None) -> Any:
        answer = self._client.call(self._key, method, path, repeatable=repeatable, body=body)
        if not isinstance(answer, dict):
            raise InstantlyError(f"{method} {path}: the answer is no object")
        return answer

    def create_campaign(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """POST /campaigns → the campaign, a draft. Never repeated: it would make a second one."""
        campaign: dict[str, Any] = self._call("POST", "/campaigns", body=body, repeatable=False)
        try:
            UUID(campaign["id"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InstantlyError("POST /campaigns: the answer holds no campaign id") from error
        return campaign

    def patch_campaign(self, campaign_id: str, changes: Mapping[str, Any]) -> dict[str, Any]:
        """PATCH /campaigns/{id} → the campaign. Arrays are replaced, not merged."""
        campaign: dict[str, Any] = self._call(
            "PATCH", f"/campaigns/{quote(campaign_id, safe='')}", body=changes
        )
        return campaign

    def delete_campaign(self, campaign_id: str) -> None:
        """DELETE /campaigns/{id}; one that is gone already is as good as deleted."""
        try:
            self._call("DELETE", f"/campaigns/{quote(campaign_id, safe='')}")
        except InstantlyError as error:
            if error.status != 404:
                raise

    def activate_campaign(self, campaign_id: str) -> str | None:
        """POST /campaigns/{id}/activate → None, or what keeps it from sending, in our words."""
        return self._switch_campaign(campaign_id, "activate")

    def pause_campaign(self, campaign_id: str) -> str | None:
        """POST /campaigns/{id}/pause → None, or what keeps it from sending, in our words."""
        return self._switch_campaign(campaign_id, "pause")

    def _switch_campaign(self, campaign_id: str, verb: str) -> str | None:
        campaign = self._call("POST", f"/campaigns/{quote(campaign_id, safe='')}/{verb}")
        status = campaign.get("status")
        return CAMPAIGN_TROUBLES.get(status) if isinstance(status, int) else None

    def add_leads(self, campaign_id: str, leads: Sequence[Mapping[str, Any]]) -> AddedLeads:
        """POST /leads/add, 1 to 1,000 leads. Safe to repeat: what it holds is not added again."""
        body = {"campaign_id": campaign_id, "leads": leads}
        answer = self._call("POST", "/leads/add", body=body)
        try:
            created = {lead["index"]: lead["id"] for lead in answer["created_leads"]}
            refusals = {
                "invalid": answer.get("invalid_email_count"),
                "blocklisted": answer.get("in_blocklist"),
                "skipped": answer.get("skipped_count"),
            }
        except (KeyError, TypeError) as error:
            raise InstantlyError("POST /leads/add: the answer names no created leads") from error
        if not all(
            isinstance(index, int) and 0 <= index < len(leads) and isinstance(lead_id, str)
            for index, lead_id in created.items()
        ):
            raise InstantlyError("POST /leads/add: the created leads are not those of the request")
        return AddedLeads(created, {why: n for why, n in refusals.items() if n})

    def list_leads(
        self, campaign_id: str, *, contacts: Sequence[str] = (), ids: Sequence[str] = ()
    ) -> Iterator[dict[str, Any]]:
        """POST /leads/list → the campaign's leads with these addresses, or with these ids.

        The filter is named `campaign`: unknown names (`campaign_id`) are ignored and would list
        the whole workspace.
        """
        filter_name, values = ("contacts", contacts) if contacts else ("ids", ids)
        for part in chunks(values, MAX_PAGE_SIZE):
            body = {"campaign": campaign_id, filter_name: part, "limit": MAX_PAGE_SIZE}
            for lead in self._pages("POST", "/leads/list", body):
                # A filter that Instantly ignored must not make us touch somebody else's lead.
                if lead.get("campaign") == campaign_id and isinstance(lead.get("email"), str):
                    yield lead

    def delete_leads(self, campaign_id: str, lead_ids: Sequence[str]) -> None:
        """DELETE /leads by id; ids that are gone already are no error.

        Without ids the call would empty the campaign, so an empty list is refused here, and
        `limit` is the second fuse.
        """
        for ids in chunks(lead_ids, MAX_LEADS_A_CALL):
            body = {"campaign_id": campaign_id, "ids": ids, "limit": len(ids)}
            try:
                self._call("DELETE", "/leads", body=body)
            except InstantlyError as error:
                if error.status != 404:
                    raise
                # Some are gone: whether the others were deleted is documented nowhere.
                left = [lead["id"] for lead in self.list_leads(campaign_id, ids=ids)]
                if len(left) == len(ids):
                    raise
                self.delete_leads(campaign_id, left)

    def _pages(self, method: str, path: str, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Every item of a paged list.

        The last page may still carry a cursor, the next one is then empty [Instantly's starter
        kit]; a cursor that repeats would never end.
        """
        seen: set[str] = set()
        while True:
            answer = self._call(method, path, body=body)
            items = answer.get("items")
            if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
                raise InstantlyError(f"{method} {path}: the answer holds no items")
            yield from items
            cursor = answer.get("next_starting_after")
            if not items or not isinstance(cursor, str) or not cursor or cursor in seen:
                return
            seen.add(cursor)
            body = {**body, "starting_after": cursor}
