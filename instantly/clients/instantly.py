"""Instantly's API V2, the operations that this service uses.

Facts are from Instantly's official OpenAPI document (https://api.instantly.ai/openapi/api_v2.json)
unless a comment names another source.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
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

# Why leads are refused, in our words → Instantly's count.
COUNTS = ("invalid_email_count", "in_blocklist", "skipped_count")
REFUSALS = dict(zip(("invalid", "blocklisted", "skipped"), COUNTS, strict=True))

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
    in_doubt: bool
    """whether a try before the answered one may have created leads, too"""


def is_path_segment(value: object) -> bool:
    """Whether an id can stand in a path: dots alone would lead elsewhere."""
    return isinstance(value, str) and re.fullmatch(r"[\w-]{1,100}", value) is not None


def is_email(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= MAX_EMAIL_CHARACTERS


def is_text(value: object) -> bool:
    return isinstance(value, str)


def is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def expect(value: Any, **fields: Callable[[object], bool]) -> dict[str, Any]:
    """An object with these fields as Instantly's document describes them; else InstantlyError."""
    if not isinstance(value, dict):
        raise InstantlyError("the answer holds something else than an object")
    for name, is_right in fields.items():
        if not is_right(value.get(name)):
            raise InstantlyError(f"the answer has no right {name}")
    return value


class InstantlyClient(ServiceClient):
    """An Instantly workspace, once it has its key; a nonsensical answer is an InstantlyError."""

    error = InstantlyError

    def __init__(self, base_url: str) -> None:
        super().__init__(base_url + "/api/v2", {}, READ_TIMEOUT_SECONDS)

    def with_key(self, key: str) -> "InstantlyClient":
        """The workspace that the key opens, on the same connections."""
        workspace = copy(self)
        workspace._headers = {**self._headers, "Authorization": f"Bearer {key}"}
        return workspace

    def _call(
        self,
        method: str,
        path: str,
        *,
        repeatable: bool = True,
        body: Json = None,
        params: Mapping[str, str | int] | None = None,
        **fields: Callable[[object], bool],
    ) -> dict[str, Any]:
        """The object that is answered, with the fields that it must have."""
        answer = self._request(method, path, repeatable=repeatable, body=body, params=params)
        return expect(answer.body, **fields)

    def create_campaign(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """POST /campaigns → the campaign, a draft. Never repeated: it would make a second one."""
        campaign = self._call("POST", "/campaigns", body=body, repeatable=False, id=is_text)
        try:
            campaign["id"] = str(UUID(campaign["id"]))
        except ValueError as error:
            raise InstantlyError("the answer holds no campaign id") from error
        if not isinstance(campaign.get("email_list"), list):
            campaign["email_list"] = []
        return campaign

    def patch_campaign(self, campaign_id: str, changes: Mapping[str, Any]) -> None:
        """PATCH /campaigns/{id}. Arrays are replaced, not merged."""
        self._call("PATCH", f"/campaigns/{quote(campaign_id, safe='')}", body=changes)

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
        path = f"/campaigns/{quote(campaign_id, safe='')}/{verb}"
        campaign = self._call("POST", path, status=lambda value: value is None or is_number(value))
        return CAMPAIGN_TROUBLES.get(campaign.get("status", 0))

    def add_leads(self, campaign_id: str, leads: Sequence[Mapping[str, Any]]) -> AddedLeads:
        """POST /leads/add, 1 to 1,000 leads. Safe to repeat: what it holds is not added again."""
        body = {"campaign_id": campaign_id, "leads": leads}
        answer = self._request("POST", "/leads/add", body=body, repeatable=True)
        counts = expect(answer.body, created_leads=lambda value: isinstance(value, list))
        created = {}
        for lead in counts["created_leads"]:
            expect(lead, index=range(len(leads)).__contains__, id=is_path_segment)
            created[int(lead["index"])] = lead["id"]
        refusals = {why: counts.get(name) or 0 for why, name in REFUSALS.items()}
        if not all(map(is_number, refusals.values())):
            raise InstantlyError("a count is no number")
        return AddedLeads(created, {why: n for why, n in refusals.items() if n}, answer.in_doubt)

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
            for lead in self._pages("POST", "/leads/list", body=body, id=is_path_segment):
                # A filter that Instantly ignored must not make us touch somebody else's lead.
                if lead.get("campaign") == campaign_id and lead.get("email") is not None:
                    yield expect(lead, email=is_text)

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
        answer = self._request("GET", path, params=params, repeatable=True)
        if not isinstance(answer.body, list):
            raise InstantlyError("the answer is no list")
        campaigns = [expect(figures, campaign_id=is_text) for figures in answer.body]
        return next((each for each in campaigns if each["campaign_id"] == campaign_id), None)

    def list_accounts(self) -> Iterator[dict[str, Any]]:
        """GET /accounts → every account. They have no id: the e-mail address is the key."""
        return self._pages("GET", "/accounts", params={"limit": MAX_PAGE_SIZE}, email=is_email)

    def get_account(self, email: str) -> dict[str, Any]:
        """GET /accounts/{email} → the account; an unknown one raises with status 404."""
        account = self._call("GET", f"/accounts/{quote(email, safe='')}", email=is_email)
        if account["email"].lower() != email.lower():
            raise InstantlyError("the answer is another account")
        return account

    def switch_warmup(self, email: str, *, enabled: bool) -> dict[str, Any]:
        """POST /accounts/warmup/enable or /disable → a background job: id, status."""
        path = f"/accounts/warmup/{'enable' if enabled else 'disable'}"
        body = {"emails": [email]}
        return self._call("POST", path, body=body, id=is_path_segment, status=is_text)

    def get_background_job(self, job_id: str) -> dict[str, Any]:
        """GET /background-jobs/{id} → the job; its id is no UUID."""
        path = f"/background-jobs/{quote(job_id, safe='')}"
        return self._call("GET", path, id=is_path_segment, status=is_text)

    def get_warmup_analytics(self, emails: Sequence[str]) -> dict[str, Any]:
        """POST /accounts/warmup-analytics, 100 addresses a call → both of its parts, merged."""
        merged: dict[str, Any] = {"email_date_data": {}, "aggregate_data": {}}
        for part in chunks(emails, MAX_ACCOUNTS_A_CALL):
            path = "/accounts/warmup-analytics"
            answer = self._call("POST", path, body={"emails": part})
            for name, collected in merged.items():
                collected.update(expect(answer.get(name) or {}))
        return merged

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
        self._call("POST", f"/webhooks/{quote(webhook_id, safe='')}/resume")

    def _pages(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        params: Mapping[str, Any] | None = None,
        **fields: Callable[[object], bool],
    ) -> Iterator[dict[str, Any]]:
        """Every item of a paged list, with the fields that it must have.

        The cursor goes where the limit is, in body or query. The last page may still carry one, the
        next page is then empty [Instantly's starter kit]; one that repeats would never end.
        """
        seen: set[str] = set()
        cursor_holder: dict[str, Any] = dict(body or params or {})
        place: dict[str, Any] = {"body" if body else "params": cursor_holder}
        while True:
            answer = self._call(method, path, **place)
            items, cursor = answer.get("items"), answer.get("next_starting_after")
            if not isinstance(items, list) or not isinstance(cursor, str | None):
                raise InstantlyError("the answer is no page of a list")
            for item in items:
                yield expect(item, **fields)
            if not items or not cursor or cursor in seen:
                return
            seen.add(cursor)
            cursor_holder["starting_after"] = cursor
