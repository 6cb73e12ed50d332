"""Leads: upload, list and delete those of a campaign; what addresses are to an organisation."""

import json
from typing import Any, TypeVar

from flask import Blueprint, Response
from flask.typing import ResponseReturnValue
from psycopg.types.json import Json

from instantly.addresses import same_address
from instantly.billing.idempotency import idempotent
from instantly.billing.run import BilledRun, billed_run
from instantly.billing.upload import Upload
from instantly.clients.instantly import InstantlyError
from instantly.erasure import erase
from instantly.limits import MAX_PAYLOAD_BYTES
from instantly.schemas.answers import (
    ADDED_LEADS,
    DELETED_LEADS,
    ERASED_PEOPLE,
    ERROR,
    LEAD_STATUSES,
    LEADS,
    ONE_LEAD,
)
from instantly.schemas.fields import Page, refuse_unstorable
from instantly.schemas.leads import (
    AddLeads,
    AskedAddresses,
    DeleteLeads,
    ErasedPeople,
    MalformedLead,
)
from instantly.storage.leases import Lease
from instantly.storage.pool import Row
from instantly.translation.campaigns import warnings_of_status
from instantly.translation.events import LEAD_STATUS
from instantly.translation.messages import DIRECTIONS, messages_of
from instantly.web.context import (
    campaign_answer,
    campaign_lock,
    database,
    fetch_campaign,
    json_answer,
    organization_workspace,
    waits_for_upstreams,
)
from instantly.web.errors import ApiError, NotFound, flatten
from instantly.web.inputs import load_body, load_query
from instantly.web.openapi import documented

Item = TypeVar("Item")

bp = Blueprint("leads", __name__)

OF_CAMPAIGN = "/campaigns/<campaign_id>/leads"
MAX_MESSAGES = 1000
FLAGS = ("skip_if_in_workspace", "skip_if_in_campaign")


@bp.post(OF_CAMPAIGN)
@documented(body=AddLeads, answers={201: ADDED_LEADS, 403: ERROR})
@waits_for_upstreams
@idempotent
def add_leads(campaign_id: str) -> ResponseReturnValue:
    """Uploads the leads that the campaign does not hold yet, and bills the new ones."""
    body = load_body(AddLeads)
    campaign = fetch_campaign(campaign_id)
    if body["org_id"] not in (campaign["org_id"], campaign["clerk_org_id"]):
        raise ApiError(403, "Campaign belongs to another organization")
    workspace = organization_workspace(campaign["clerk_org_id"])
    with (
        campaign_lock(campaign["id"], "leads") as lock,
        billed_run(
            subject=f"leads of campaign {campaign['id']}"
            f" (in Instantly {campaign['instantly_campaign_id']})",
            task_name="leads-add",
            clerk_org_id=campaign["clerk_org_id"],
            app_id=campaign["app_id"],
            brand_id=campaign["brand_id"],
            campaign_id=campaign["id"],
            parent_run_id=body["parent_run_id"],
        ) as run,
    ):
        upload = Upload(workspace, campaign, run, lock, [flag for flag in FLAGS if body[flag]])
        upload.send(leads_to_send(campaign, body, upload.rejected))
        return store_leads(campaign, lock, run, upload, len(body["leads"]))


def leads_to_send(
    campaign: Row, body: dict[str, Any], rejected: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Those that the campaign neither holds nor is to be kept from: these go to `rejected`."""
    malformed = [lead for lead in body["leads"] if isinstance(lead, MalformedLead)]
    rejected += map(rejection_of, malformed)
    well_formed = [lead for lead in body["leads"] if not isinstance(lead, MalformedLead)]
    leads = by_address(well_formed, [lead["email"] for lead in well_formed])
    rows = database().fetch_all(
        "select_leads_not_to_send",
        campaign_id=campaign["id"],
        clerk_org_id=campaign["clerk_org_id"],
        addresses=list(leads),
        refuse=body["refuse"],
    )
    reasons = {row["address"]: row["reason"] for row in rows}
    rejected += [
        {"email": lead["email"], "reason": reasons[address]}
        for address, lead in leads.items()
        if reasons.get(address)
    ]
    return [lead for address, lead in leads.items() if address not in reasons]


def rejection_of(lead: MalformedLead) -> dict[str, Any]:
    rejection = {"email": lead.email, "reason": "malformed", "index": lead.index}
    return {**rejection, "details": flatten(lead.messages, whole="lead")}


def store_leads(
    campaign: Row, lock: Lease, run: BilledRun, upload: Upload, total: int
) -> ResponseReturnValue:
    """Stores what was uploaded, all at once, and bills what is new."""
    rejected = upload.rejected

    def answer(row: Row) -> ResponseReturnValue:
        added: int = row["added"]
        run.bill("instantly-lead-add", added)
        return {
            "success": True,
            "added": added,
            "total": total,
            "duplicates": total - added - len(rejected),
            "rejected": rejected,
            "remainingInPlan": upload.remaining_in_plan,
            "warnings": warnings_of_status(campaign["status"]),
        }, 201

    values = {"campaign_id": campaign["id"], **lock.values, "leads": Json(upload.held)}
    values["statuses"] = Json(LEAD_STATUS)
    return run.store("insert_leads", answer, undo="delete_leads_of_run", **values)


def by_address(items: list[Item], emails: list[str]) -> dict[str, Item]:
    """The items by address; of an address that stands twice, the first one counts."""
    found: dict[str, Item] = {}
    for item, email in zip(items, emails, strict=True):
        found.setdefault(same_address(email), item)
    return found


def held_leads(campaign_id: str, emails: list[str]) -> dict[str, str]:
    """Address → lead id, of those that our table holds."""
    rows = database().fetch_all("select_held_leads", campaign_id=campaign_id, emails=emails)
    return {row["email"]: row["instantly_lead_id"] for row in rows}


@bp.get(OF_CAMPAIGN)
@documented(query=Page, answers={200: LEADS})
def list_leads(campaign_id: str) -> Response:
    """A campaign's leads, oldest first."""
    page = load_query(Page)
    return campaign_answer("select_leads_page", campaign_id, **page)


@bp.delete(OF_CAMPAIGN)
@documented(body=DeleteLeads, answers={200: DELETED_LEADS})
@waits_for_upstreams
def delete_leads(campaign_id: str) -> dict[str, Any]:
    """Deletes exactly these leads in Instantly, by lead id, and their rows."""
    addresses = load_body(DeleteLeads)["emails"]
    campaign = fetch_campaign(campaign_id)
    workspace = organization_workspace(campaign["clerk_org_id"])
    instantly_campaign_id = campaign["instantly_campaign_id"]
    emails = by_address(addresses, addresses)
    with campaign_lock(campaign["id"], "leads"):
        lead_ids = held_leads(campaign["id"], list(emails))
        missing = [email for address, email in emails.items() if address not in lead_ids]
        for lead in workspace.find_leads(instantly_campaign_id, missing):
            lead_ids[same_address(lead["email"])] = lead["id"]
        left = workspace.delete_leads(instantly_campaign_id, list(lead_ids.values()))
        deleted = [lead_id for lead_id in lead_ids.values() if lead_id not in left]
        database().execute("delete_leads", campaign_id=campaign["id"], lead_ids=deleted)
    if left:
        raise InstantlyError("some leads were not deleted")
    return {
        "success": True,
        "deleted": len(deleted),
        "notFound": [email for address, email in emails.items() if address not in lead_ids],
    }


@bp.post("/leads/status")
@documented(body=AskedAddresses, answers={200: LEAD_STATUSES})
def get_lead_statuses() -> Response:
    """What each of these addresses is to an organisation: held, written to, opened by, lost.

    `brandId` and `campaignId` narrow what is looked at, but for `bounced` and `unsubscribed`:
    those count over all campaigns of the organisation, and after a lead was deleted too.
    """
    asked: dict[str, Any] = {"brand_id": None, "campaign_id": None, **load_body(AskedAddresses)}
    addresses = [same_address(email) for email in asked["emails"]]
    return json_answer("select_lead_statuses", **asked, addresses=addresses)


@bp.post("/leads/erase")
@documented(body=ErasedPeople, answers={200: ERASED_PEOPLE})
@waits_for_upstreams
def erase_people() -> dict[str, Any]:
    """Erases people from an organisation, as they may ask for by law; safe to repeat.

    Their leads are deleted, in Instantly and here, and their events emptied: in place of the
    address stands a pseudonym, so that figures stay as they were. A keyed hash is remembered, by
    which later uploads refuse them (`erased`) and a reconcile does not adopt them. `erased` are the
    addresses that were asked for, each once.
    """
    return erase(**load_body(ErasedPeople))


@bp.get(f"{OF_CAMPAIGN}/<path:email>")
@documented(answers={200: ONE_LEAD})
def get_lead(campaign_id: str, email: str) -> dict[str, Any]:
    """One lead of a campaign: its row, what its address is to the organisation, and its mails.

    `facts` are those of POST /leads/status. `messages` are what was sent and what came back, from
    the events of this campaign, the oldest first: the latest 1,000, and fewer where their payloads
    add up to more than 16 MiB. What Instantly did not deliver is null.
    """
    refuse_unstorable({"email": email})
    campaign, address = fetch_campaign(campaign_id), same_address(email)
    row = database().fetch_one("select_lead", campaign_id=campaign["id"], address=address)
    if row is None:
        raise NotFound("Lead not found")
    return {
        "lead": json.loads(row["lead"]),
        "facts": facts_of(campaign["clerk_org_id"], email, address),
        "messages": mails_of(campaign["id"], address),
    }


def facts_of(clerk_org_id: str, email: str, address: str) -> Any:
    """The entry of POST /leads/status for one address."""
    (row,) = database().fetch_all(
        "select_lead_statuses",
        clerk_org_id=clerk_org_id,
        brand_id=None,
        campaign_id=None,
        emails=[email],
        addresses=[address],
    )
    return json.loads(row["body"])["leads"][0]


def mails_of(campaign_id: str, address: str) -> list[dict[str, Any]]:
    events = database().fetch_all(
        "select_lead_messages",
        campaign_id=campaign_id,
        lead_email=address,
        event_types=list(DIRECTIONS),
        limit=MAX_MESSAGES,
        max_bytes=MAX_PAYLOAD_BYTES,
    )
    return messages_of(events)
