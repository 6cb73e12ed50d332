"""A campaign's leads: upload, list, delete."""

from functools import partial
from typing import Any, TypeVar

from flask import Blueprint, Response
from psycopg.types.json import Jsonb

from instantly.billing import BilledRun, billed_run
from instantly.clients.instantly import MAX_LEADS_A_CALL, AddedLeads, Workspace, chunks
from instantly.context import (
    database,
    fetch_campaign,
    json_answer,
    organization_workspace,
    parts,
    uuid_or_not_found,
)
from instantly.errors import ApiError
from instantly.inputs import load_body, load_query
from instantly.schemas import AddLeads, DeleteLeads, Page

Item = TypeVar("Item")

bp = Blueprint("leads", __name__, url_prefix="/campaigns/<campaign_id>/leads")


@bp.post("")
def add_leads(campaign_id: str) -> tuple[dict[str, Any], int]:
    """Uploads the leads that the campaign does not hold yet, and bills the new ones."""
    request = load_body(AddLeads())
    campaign = fetch_campaign(campaign_id)
    if request["org_id"] not in (campaign["orgId"], campaign["clerkOrgId"]):
        raise ApiError(403, "Campaign belongs to another organization")
    workspace = organization_workspace(campaign["clerkOrgId"])
    wanted = by_address(request["leads"], [lead["email"] for lead in request["leads"]])
    held = held_leads(campaign["id"], list(wanted))
    leads = [lead for address, lead in wanted.items() if address not in held]
    with billed_run(
        parts().runs,
        task_name="leads-add",
        clerk_org_id=campaign["clerkOrgId"],
        app_id=campaign["appId"],
        brand_id=campaign["brandId"],
        campaign_id=campaign["id"],
        parent_run_id=request["run_id"] and str(request["run_id"]),
    ) as run:
        uploaded, rejected = upload(workspace, campaign["instantlyCampaignId"], leads, run)
        run.on_failure(
            f"campaign {campaign['id']}: delete the leads of run {run.id}",
            lambda: database().execute(
                "delete_leads_of_run", campaign_id=campaign["id"], run_id=run.id
            ),
        )
        added = len(
            database().fetch_all(
                "insert_leads", campaign_id=campaign["id"], run_id=run.id, leads=Jsonb(uploaded)
            )
        )
        run.bill("instantly-lead-add", added)
    total = len(request["leads"])
    return {
        "success": True,
        "added": added,
        "total": total,
        "duplicates": total - added - len(rejected),
        "rejected": rejected,
    }, 201


def by_address(items: list[Item], emails: list[str]) -> dict[str, Item]:
    """The items by address in lower case; of an address that stands twice, the first one counts."""
    found: dict[str, Item] = {}
    for item, email in zip(items, emails, strict=True):
        found.setdefault(email.lower(), item)
    return found


def held_leads(campaign_id: str, emails: list[str]) -> dict[str, str]:
    """Address (lower case) → lead id, of those that our table holds."""
    rows = database().fetch_all("select_held_leads", campaign_id=campaign_id, emails=emails)
    return {row["email"]: row["instantly_lead_id"] for row in rows}


def upload(
    workspace: Workspace,
    instantly_campaign_id: str,
    leads: list[dict[str, Any]],
    run: BilledRun,
) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    """Sends the leads to Instantly, chunk by chunk.

    Returns those that it holds now, each with its `instantly_lead_id`, and those that it refused,
    each with its reason.
    """
    uploaded: list[dict[str, Any]] = []
    rejected: list[dict[str, str]] = []
    for chunk in chunks(leads, MAX_LEADS_A_CALL):
        answer = workspace.add_leads(instantly_campaign_id, chunk)
        created = list(answer.created.values())
        if created:
            run.on_failure(
                f"campaign {instantly_campaign_id}: delete leads {created} in Instantly",
                partial(workspace.delete_leads, instantly_campaign_id, created),
            )
        lead_ids = {chunk[index]["email"].lower(): id_ for index, id_ in answer.created.items()}
        missing = [lead["email"] for lead in chunk if lead["email"].lower() not in lead_ids]
        # Instantly names only what it created: it may hold the others already (a lost answer, a
        # crash), and then they are adopted.
        for lead in workspace.list_leads(instantly_campaign_id, contacts=missing):
            lead_ids[lead["email"].lower()] = lead["id"]
        refused = [lead["email"] for lead in chunk if lead["email"].lower() not in lead_ids]
        reason = refusal_reason(answer, len(refused))
        rejected += [{"email": email, "reason": reason} for email in refused]
        uploaded += [
            {**lead, "instantly_lead_id": lead_ids[lead["email"].lower()]}
            for lead in chunk
            if lead["email"].lower() in lead_ids
        ]
    return uploaded, rejected


def refusal_reason(answer: AddedLeads, refused: int) -> str:
    """Instantly counts its refusals by reason but names none: certain only when one explains all."""
    match list(answer.refusals.items()):
        case [(reason, count)] if count == refused:
            return reason
    return "unknown"


@bp.get("")
def list_leads(campaign_id: str) -> Response:
    """A campaign's leads, oldest first."""
    page = load_query(Page())
    campaign_id = uuid_or_not_found(campaign_id, "Campaign not found")
    return json_answer("select_leads_page", campaign_id=campaign_id, **page)


@bp.delete("")
def delete_leads(campaign_id: str) -> dict[str, Any]:
    """Deletes exactly these leads in Instantly, by lead id, and their rows."""
    request = load_body(DeleteLeads())
    campaign = fetch_campaign(campaign_id)
    workspace = organization_workspace(campaign["clerkOrgId"])
    wanted = by_address(request["emails"], request["emails"])
    found = held_leads(campaign["id"], list(wanted))
    missing = [email for address, email in wanted.items() if address not in found]
    for lead in workspace.list_leads(campaign["instantlyCampaignId"], contacts=missing):
        found[lead["email"].lower()] = lead["id"]
    workspace.delete_leads(campaign["instantlyCampaignId"], list(found.values()))
    database().execute("delete_leads", campaign_id=campaign["id"], emails=list(found))
    return {
        "success": True,
        "deleted": len(found),
        "notFound": [email for address, email in wanted.items() if address not in found],
    }
