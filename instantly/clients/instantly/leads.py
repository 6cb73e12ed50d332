"""Leads: add, find, delete."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from instantly.clients.instantly.base import (
    MAX_PAGE_SIZE,
    InstantlyError,
    Workspace,
    chunks,
    expect,
    is_number,
    is_path_segment,
    is_text,
)

MAX_LEADS_A_CALL = 1000

# What a JSON Schema validator takes for an e-mail address.
PLAIN_ADDRESS = re.compile(
    r"[a-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[a-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
    r"@(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)+[a-z0-9](?:[a-z0-9-]*[a-z0-9])?",
    re.IGNORECASE | re.ASCII,
)

# Why leads are refused, in our words → Instantly's count.
COUNTS = ("invalid_email_count", "in_blocklist", "skipped_count")
REFUSALS = dict(zip(("invalid", "blocklisted", "skipped"), COUNTS, strict=True))


@dataclass(frozen=True)
class AddedLeads:
    """What Instantly did with one call's leads; it names only those that it created."""

    created: dict[int, str]
    """index in the request → lead id"""
    refusals: dict[str, int]
    """why leads were refused → how many"""
    in_doubt: bool
    """whether a try before the answered one may have created leads, too"""


class Leads(Workspace):
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
                if is_addressed(lead, campaign_id):
                    yield expect(lead, email=is_text)

    def list_all_leads(self, campaign_id: str) -> Iterator[list[dict[str, Any]]]:
        """POST /leads/list → all leads of the campaign that have an address, page by page."""
        body = {"campaign": campaign_id, "limit": MAX_PAGE_SIZE}
        for leads in self._page_by_page("POST", "/leads/list", body=body, id=is_path_segment):
            yield [
                expect(lead, email=is_text, status=is_number)
                for lead in leads
                if is_addressed(lead, campaign_id)
            ]

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


def is_addressed(lead: Mapping[str, Any], campaign_id: str) -> bool:
    """Whether it is a lead of this campaign with an address.

    A filter that Instantly ignored must not make us touch somebody else's lead.
    """
    return lead.get("campaign") == campaign_id and lead.get("email") is not None
