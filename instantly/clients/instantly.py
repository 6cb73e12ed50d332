"""Instantly's API V2, the operations that this service uses.

Facts are from Instantly's official OpenAPI document (https://api.instantly.ai/openapi/api_v2.json)
unless a comment names another source.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import quote
from uuid import UUID

from instantly.clients.http import Json, ServiceClient, UpstreamError

READ_TIMEOUT_SECONDS = 30
MAX_LEADS_A_CALL = 1000
MAX_PAGE_SIZE = 100
MAX_ACCOUNTS_A_CALL = 100
MAX_EMAIL_CHARACTERS = 320

# What a JSON Schema validator takes for an e-mail address.
PLAIN_ADDRESS = re.compile(
    r"[a-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[a-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
    r"@(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)+[a-z0-9](?:[a-z0-9-]*[a-z0-9])?",
    re.IGNORECASE,
)

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


def job_of(answer: dict[str, Any]) -> dict[str, Any]:
    if not is_path_segment(answer.get("id")) or not isinstance(answer.get("status"), str):
        raise InstantlyError("the answer is no background job")
    return answer


def is_address(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= MAX_EMAIL_CHARACTERS


def is_path_segment(value: object) -> bool:
    """Whether an id can stand in a path: dots alone would lead elsewhere."""
    return isinstance(value, str) and re.fullmatch(r"[\w-]{1,100}", value) is not None


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

    def _call(
        self,
        method: str,
        path: str,
        *,
        repeatable: bool = True,
        body: Json = None,
        params: Mapping[str, str | int] | None = None,
        shape: type = dict,
    ) -> Any:
        answer = self._client.call(
            self._key, method, path, repeatable=repeatable, body=body, params=params
        )
        if not isinstance(answer, shape):
            raise InstantlyError(f"{method} {path}: the answer is no {shape.__name__}")
        return answer

    def was_repeated(self) -> bool:
        """Whether the last call took several tries, of which each may have acted."""
        return self._client.was_repeated()

    def create_campaign(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """POST /campaigns → the campaign, a draft. Never repeated: it would make a second one."""
        campaign: dict[str, Any] = self._call("POST", "/campaigns", body=body, repeatable=False)
        try:
            campaign["id"] = str(UUID(campaign["id"]))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InstantlyError("POST /campaigns: the answer holds no campaign id") from error
        if not isinstance(campaign.get("email_list"), list):
            campaign["email_list"] = []
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
            isinstance(index, int) and 0 <= index < len(leads) and is_path_segment(lead_id)
            for index, lead_id in created.items()
        ):
            raise InstantlyError("POST /leads/add: the created leads are not those of the request")
        return AddedLeads(created, {why: n for why, n in refusals.items() if n})

    def find_leads(self, campaign_id: str, emails: Sequence[str]) -> Iterator[dict[str, Any]]:
        """POST /leads/list → those of the addresses that the campaign holds in Instantly."""
        plain = [email for email in emails if PLAIN_ADDRESS.fullmatch(email)]
        yield from self._list_leads(campaign_id, "contacts", plain)
        # `contacts` takes plain addresses only (its format is "email"); others are searched for.
        for email in emails:
            if not PLAIN_ADDRESS.fullmatch(email):
                for lead in self._list_leads(campaign_id, "search", [email]):
                    if lead["email"].lower() == email.lower():
                        yield lead

    def _list_leads(
        self, campaign_id: str, filter_name: str, values: Sequence[str]
    ) -> Iterator[dict[str, Any]]:
        """The campaign's leads that the filter lets through, a page of values at a time.

        The campaign's own filter is named `campaign`: unknown names (`campaign_id`) are ignored
        and would list the whole workspace.
        """
        for part in chunks(values, MAX_PAGE_SIZE):
            wanted = part[0] if filter_name == "search" else part
            body = {"campaign": campaign_id, filter_name: wanted, "limit": MAX_PAGE_SIZE}
            for lead in self._pages("POST", "/leads/list", body=body):
                # A filter that Instantly ignored must not make us touch somebody else's lead.
                if lead.get("campaign") == campaign_id and isinstance(lead.get("email"), str):
                    if not is_path_segment(lead.get("id")):
                        raise InstantlyError("POST /leads/list: a lead has no id")
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
                left = [lead["id"] for lead in self._list_leads(campaign_id, "ids", ids)]
                if len(left) == len(ids):
                    raise
                self.delete_leads(campaign_id, left)

    def get_campaign_analytics(self, campaign_id: str) -> dict[str, Any] | None:
        """GET /campaigns/analytics → the campaign's figures, None before the first send.

        The filter is named `id`: unknown names are ignored and would report every campaign.
        """
        path, params = "/campaigns/analytics", {"id": campaign_id}
        for figures in self._call("GET", path, params=params, shape=list):
            if isinstance(figures, dict) and figures.get("campaign_id") == campaign_id:
                return figures
        return None

    def list_accounts(self) -> Iterator[dict[str, Any]]:
        """GET /accounts → every account. They have no id: the e-mail address is the key."""
        for account in self._pages("GET", "/accounts", params={"limit": MAX_PAGE_SIZE}):
            if is_address(account.get("email")):
                yield account

    def get_account(self, email: str) -> dict[str, Any]:
        """GET /accounts/{email} → the account; an unknown one raises with status 404."""
        account: dict[str, Any] = self._call("GET", f"/accounts/{quote(email, safe='')}")
        if str(account.get("email")).lower() != email.lower():
            raise InstantlyError("GET /accounts/{email}: the answer is no such account")
        return account

    def switch_warmup(self, email: str, *, enabled: bool) -> dict[str, Any]:
        """POST /accounts/warmup/enable or /disable → a background job: id, status."""
        path = f"/accounts/warmup/{'enable' if enabled else 'disable'}"
        return job_of(self._call("POST", path, body={"emails": [email]}))

    def get_background_job(self, job_id: str) -> dict[str, Any]:
        """GET /background-jobs/{id} → the job; its id is no UUID."""
        return job_of(self._call("GET", f"/background-jobs/{quote(job_id, safe='')}"))

    def get_warmup_analytics(self, emails: Sequence[str]) -> dict[str, Any]:
        """POST /accounts/warmup-analytics, 100 addresses a call → both of its parts, merged."""
        merged: dict[str, Any] = {"email_date_data": {}, "aggregate_data": {}}
        for part in chunks(emails, MAX_ACCOUNTS_A_CALL):
            answer = self._call("POST", "/accounts/warmup-analytics", body={"emails": part})
            for name, collected in merged.items():
                if isinstance(answer.get(name), dict):
                    collected.update(answer[name])
        return merged

    def list_failed_deliveries(self, first_day: str, last_day: str) -> Iterator[dict[str, Any]]:
        """GET /webhook-events → failed deliveries of these days (YYYY-MM-DD, both inclusive).

        One that succeeded when it was tried again is among them [inferred from its fields].
        """
        params: dict[str, str | int] = {
            "success": "false",
            "from": first_day,
            "to": last_day,
            "limit": MAX_PAGE_SIZE,
        }
        return self._pages("GET", "/webhook-events", params=params)

    def list_webhooks(self) -> Iterator[dict[str, Any]]:
        """GET /webhooks → all of the workspace; `status` is -1 for one that was switched off."""
        for webhook in self._pages("GET", "/webhooks", params={"limit": MAX_PAGE_SIZE}):
            if is_path_segment(webhook.get("id")):
                yield webhook

    def resume_webhook(self, webhook_id: str) -> None:
        """POST /webhooks/{id}/resume."""
        self._call("POST", f"/webhooks/{quote(webhook_id, safe='')}/resume")

    def _pages(
        self,
        method: str,
        path: str,
        *,
        body: dict[str, Any] | None = None,
        params: dict[str, str | int] | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Every item of a paged list; the cursor goes where the limit is, in body or query.

        The last page may still carry a cursor, the next one is then empty [Instantly's starter
        kit]; a cursor that repeats would never end.
        """
        seen: set[str] = set()
        cursor_holder: dict[str, Any] = dict(body or params or {})
        while True:
            if body is None:
                answer = self._call(method, path, params=cursor_holder)
            else:
                answer = self._call(method, path, body=cursor_holder)
            items = answer.get("items")
            if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
                raise InstantlyError(f"{method} {path}: the answer holds no items")
            yield from items
            cursor = answer.get("next_starting_after")
            if not items or not isinstance(cursor, str) or not cursor or cursor in seen:
                return
            seen.add(cursor)
            cursor_holder["starting_after"] = cursor
