"""Leads: add, find, delete."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from instantly.addresses import same_address, spellings
from instantly.clients.instantly.base import (
    MAX_PAGE_SIZE,
    InstantlyError,
    Workspace,
    chunks,
    expect,
    is_count,
    is_number,
    is_path_segment,
    is_text,
)
from instantly.readings import number_or_none, whole_or_none

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
    remaining_in_plan: int | None
    """how many leads the workspace may still hold, where Instantly says so"""
    in_doubt: bool
    """whether a try before the answered one may have created leads, too"""


class Leads(Workspace):
    def add_leads(
        self, campaign_id: str, leads: Sequence[Mapping[str, Any]], flags: Sequence[str] = ()
    ) -> AddedLeads:
        """POST /leads/add, 1 to 1,000 leads. Safe to repeat: what it holds is not added again.

        `flags`: by name, those of Instantly's that are to be true.
        """
        body = {"campaign_id": campaign_id, "leads": leads, **dict.fromkeys(flags, True)}
        answer = self._request("POST", "/leads/add", body=body, repeatable=True)
        counts = expect(answer.body, created_leads=lambda value: isinstance(value, list))
        created = {}
        for lead in counts["created_leads"]:
            expect(lead, index=is_count, id=is_path_segment)
            created[int(lead["index"])] = lead["id"]
        if not created.keys() <= set(range(len(leads))):
            raise InstantlyError("the answer names leads that were not sent")
        refusals = {why: number_or_none(counts.get(name) or 0) for why, name in REFUSALS.items()}
        if None in refusals.values():
            raise InstantlyError("a count is no number")
        return AddedLeads(
            created,
            {why: int(count) for why, count in refusals.items() if count},
            whole_or_none(counts.get("remaining_in_plan")),
            answer.in_doubt,
        )

    def find_leads(
        self, campaign_id: str | None, emails: Sequence[str]
    ) -> Iterator[dict[str, Any]]:
        """POST /leads/list → those of the addresses that the campaign holds in Instantly.

        Without a campaign: that any campaign of the workspace holds.
        """
        wanted = set(map(same_address, emails))
        # How Instantly compares them is documented nowhere.
        asked = dict.fromkeys(chain.from_iterable(map(spellings, emails)))
        plain = [email for email in asked if PLAIN_ADDRESS.fullmatch(email)]
        listings = [self._list_leads(campaign_id, "contacts", plain)]
        # `contacts` takes plain addresses only (its format is "email"); others are searched for.
        for email in asked:
            if "@" in email and not PLAIN_ADDRESS.fullmatch(email):
                listings.append(self._list_leads(campaign_id, "search", [email]))
        for lead in chain.from_iterable(listings):
            if same_address(lead["email"]) in wanted:
                yield lead

    def _list_leads(
        self, campaign_id: str | None, filter_name: str, values: Sequence[str]
    ) -> Iterator[dict[str, Any]]:
        """The campaign's leads that the filter lets through, a page of values at a time.

        The campaign's own filter is named `campaign`: unknown names (`campaign_id`) are ignored
        and would list the whole workspace.
        """
        place = {} if campaign_id is None else {"campaign": campaign_id}
        for part in chunks(values, MAX_PAGE_SIZE):
            wanted = part[0] if filter_name == "search" else part
            body = {**place, filter_name: wanted, "limit": MAX_PAGE_SIZE}
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

    def delete_leads(self, campaign_id: str, lead_ids: Sequence[str]) -> set[str]:
        """DELETE /leads by id → the ids that Instantly holds still, none where all went well.

        Without ids the call would empty the campaign, so an empty list is refused here, and
        `limit` is the second fuse. Ids that were gone already are not counted in its answer, so
        a smaller count proves nothing: then the list tells.
        """
        left: set[str] = set()
        for ids in chunks(lead_ids, MAX_LEADS_A_CALL):
            body = {"campaign_id": campaign_id, "ids": ids, "limit": len(ids)}
            count, refusal = None, None
            try:
                answer = self._call("DELETE", "/leads", body=body, may_be_empty=True)
                count = number_or_none(answer.get("count"))
            except InstantlyError as error:
                if error.status != 404:
                    raise
                refusal = error  # some are gone: whether the others were deleted is not documented
            if count is None or count < len(ids):
                held = [lead["id"] for lead in self._list_leads(campaign_id, "ids", ids)]
                if len(held) < len(ids):
                    left |= self.delete_leads(campaign_id, held)
                elif refusal:
                    raise refusal
                else:
                    left.update(held)
        return left


def is_addressed(lead: Mapping[str, Any], campaign_id: str | None) -> bool:
    """Whether it is a lead of this campaign, or of any campaign without one, with an address.

    A filter that Instantly ignored must not make us touch somebody else's lead.
    """
    campaign = lead.get("campaign")
    is_meant = is_text(campaign) if campaign_id is None else campaign == campaign_id
    return is_meant and lead.get("email") is not None
