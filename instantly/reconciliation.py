"""Repairs our rows by what Instantly holds, as long as the lock on them is held."""

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from psycopg.types.json import Json

from instantly.clients.instantly import InstantlyClient
from instantly.clients.instantly.base import expect, is_number
from instantly.storage.leases import Busy, Lease
from instantly.storage.pool import Row
from instantly.translation.campaigns import status_named
from instantly.translation.events import LEAD_STATUS
from instantly.translation.leads import listed_leads
from instantly.web.context import campaign_lock, database, fetch_campaign

MAX_NAMED = 1000


def reconcile(workspace: InstantlyClient, campaign: Row) -> dict[str, Any]:
    """Repairs our rows of a campaign and of its leads; returns what was found."""
    with campaign_lock(campaign["id"], "status") as lock:
        status = repair_status(workspace, campaign["id"], lock)
    with campaign_lock(campaign["id"], "leads") as lock:
        leads = repair_leads(workspace, campaign, lock)
    return {"success": True, "campaignStatus": status, "leads": leads}


def repair_status(workspace: InstantlyClient, campaign_id: str, lock: Lease) -> str:
    """Our row follows Instantly, unless a delivery changed it meanwhile; returns what it is now."""
    before = fetch_campaign(campaign_id)
    found = workspace.get_campaign(before["instantly_campaign_id"])
    row = run_while_locked(
        "update_found_campaign",
        lock,
        campaign_id=campaign_id,
        status_before=before["status"],
        status=status_named(expect(found, status=is_number)["status"]) or before["status"],
    )
    return str(row["status"])


def learn_statuses(learned: Iterable[tuple[Row, str | None]]) -> None:
    """Stores what Instantly told of campaigns by the way; None tells nothing.

    Each stands beside the row as it was before Instantly was asked.
    """
    known = [(row, status) for row, status in learned if status not in (None, row["status"])]
    if known:
        database().execute(
            "update_learned_statuses",
            campaign_ids=[row["id"] for row, _ in known],
            updated_at=[row["updated_at"] for row, _ in known],
            statuses=[status for _, status in known],
        )


def repair_leads(
    workspace: InstantlyClient, campaign: dict[str, Any], lock: Lease
) -> dict[str, Any]:
    """Two statements for each page of Instantly's list, of which no more is held at a time."""
    # A mark on what was found, unlike that of any other time: clocks are not compared.
    of_this_time = {"campaign_id": campaign["id"], "reconciled_at": datetime.now(UTC)}
    counts = Counter(both=0, adopted=0, raised=0)
    for page in workspace.list_all_leads(campaign["instantly_campaign_id"]):
        leads = Json(listed_leads(page))
        found = run_while_locked(
            "upsert_found_leads", lock, **of_this_time, leads=leads, statuses=Json(LEAD_STATUS)
        )
        counts.update({name: found[name] for name in counts})
        database().execute("upsert_proved_facts", campaign_id=campaign["id"], leads=leads)
    missing = run_while_locked("select_leads_not_found", lock, **of_this_time, limit=MAX_NAMED)
    return {**counts, "onlyHere": missing["emails"], "onlyHereTotal": missing["total"]}


def run_while_locked(statement: str, lock: Lease, **parameters: Any) -> Row:
    """The row of a statement that answers none without the lock."""
    row = database().fetch_one(statement, **lock.values, **parameters)
    if row is None:
        raise Busy
    return row
