"""Erases people from an organisation, as they may ask for by law: at Instantly and here."""

import json
import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from instantly.addresses import same_address
from instantly.clients.instantly import InstantlyClient, InstantlyError, chunks
from instantly.figures import excluded_addresses
from instantly.limits import MAX_EMAIL_CHARACTERS
from instantly.storage.pool import Row
from instantly.web.context import campaign_lock, database, organization_workspace

# In one transaction, during which the organisation's deliveries wait.
ADDRESSES_AT_A_TIME = 100


def erase(clerk_org_id: str, emails: Sequence[str]) -> dict[str, Any]:
    """Deletes the leads of these addresses and what is personal in their events; safe to repeat.

    They are remembered first: from then on uploads refuse them and deliveries say nothing of them.
    So nothing comes back, and what a failure leaves can be found and erased by a repeat.
    """
    found = {same_address(email) for email in emails}
    addresses = sorted(each for each in found if 0 < len(each) <= MAX_EMAIL_CHARACTERS)
    of_them = {"clerk_org_id": clerk_org_id, "addresses": addresses}
    database().execute("insert_erased", **of_them, excluded=excluded_addresses())
    campaigns = database().fetch_all("select_organization_rows", clerk_org_id=clerk_org_id)
    leads = 0
    if campaigns:
        wait_for_changes(clerk_org_id)
        workspace = organization_workspace(clerk_org_id)
        held = database().fetch_all("select_leads_to_erase", **of_them)
        leads = delete_in_instantly(workspace, campaigns, held, addresses)
    events = sum(erase_here(clerk_org_id, part) for part in chunks(addresses, ADDRESSES_AT_A_TIME))
    erase_from_answers(clerk_org_id, set(addresses))
    return {"success": True, "erased": len(addresses), "leads": leads, "events": events}


def wait_for_changes(clerk_org_id: str) -> None:
    """Until uploads that looked before the addresses were remembered have stored their leads."""
    for campaign in database().fetch_all(
        "select_campaigns_being_changed", clerk_org_id=clerk_org_id
    ):
        with campaign_lock(campaign["id"], "leads"):
            pass


def delete_in_instantly(
    workspace: InstantlyClient, campaigns: list[Row], held: list[Row], addresses: Sequence[str]
) -> int:
    """Deletes our leads and those that only Instantly holds in our campaigns; returns how many."""
    ours = {campaign["instantly_campaign_id"] for campaign in campaigns}
    # Also as they are written in our rows: how Instantly compares them is documented nowhere.
    spellings = dict.fromkeys([*addresses, *(lead["email"] for lead in held)])
    leads: dict[str, dict[str, str]] = defaultdict(dict)
    """campaign at Instantly → lead id → address"""
    for lead in held:
        leads[lead["instantly_campaign_id"]][lead["instantly_lead_id"]] = same_address(
            lead["email"]
        )
    for lead in workspace.find_leads(None, list(spellings)):
        campaign_id = lead["campaign"].lower()
        if campaign_id in ours:
            leads[campaign_id][lead["id"]] = same_address(lead["email"])
    for campaign_id in sorted(leads):
        if workspace.delete_leads(campaign_id, list(leads[campaign_id])):
            raise InstantlyError("some leads were not deleted")
    return sum(len(set(of_campaign.values())) for of_campaign in leads.values())


def erase_here(clerk_org_id: str, addresses: Sequence[str]) -> int:
    """Deletes rows of leads and empties events, all or none; returns of how many events."""
    of_them = {"clerk_org_id": clerk_org_id, "addresses": list(addresses)}
    with database().transaction() as session:
        session.execute("select_campaigns_to_erase_from", clerk_org_id=clerk_org_id)
        row = session.fetch_one("upsert_erased_activity", **of_them)
        session.execute("delete_erased_leads", **of_them)
    return int(row["events"]) if row else 0


def erase_from_answers(clerk_org_id: str, addresses: set[str]) -> None:
    """Takes the addresses out of the answers that repeats of uploads get."""
    for of_key in database().fetch_all("select_upload_answers", clerk_org_id=clerk_org_id):
        # Another erasure may change it at the same time: then once more.
        while answer := database().fetch_one("select_answer", **of_key):
            body = without_people(answer["body"], addresses)
            change = {**of_key, "body": body, "body_before": answer["body"]}
            if body is None or database().fetch_one("update_answer_body", **change):
                break


def without_people(text: str, addresses: set[str]) -> str | None:
    """An answer that names none of them any more; None if it never did."""
    body = json.loads(text)
    is_changed = False
    for lead in body.get("rejected", ()):
        time.sleep(0)  # other requests go on
        if names_one_of(lead, addresses):
            lead["email"], is_changed = None, True
    return json.dumps(body) + "\n" if is_changed else None


def names_one_of(rejected: dict[str, Any], addresses: set[str]) -> bool:
    address = same_address(rejected["email"] or "")
    # A malformed one may hold an address and more.
    is_malformed = rejected["reason"] == "malformed"
    return address in addresses or (is_malformed and any(each in address for each in addresses))
