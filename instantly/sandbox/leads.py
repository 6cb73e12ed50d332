"""Instantly's leads, which a campaign holds."""

from collections import Counter
from operator import itemgetter

from instantly.sandbox.state import Call, Json, Workspace, now, page

CONTACTS_IN_PLAN = 1_000_000
REFUSAL_COUNTS = (
    "in_blocklist",
    "duplicated_leads",
    "duplicate_email_count",
    "skipped_count",
    "invalid_email_count",
)


class Leads:
    """The operations on leads."""

    def add_leads(self, workspace: Workspace, call: Call) -> Json:
        """Refused leads are counted by reason; only the created ones are named."""
        campaign_id = workspace.campaign(call.body.get("campaign_id", ""))["id"]
        at = now()
        refused: Counter[str] = Counter()
        created: list[Json] = []
        seen: set[str] = set()
        skips = call.body.get("skip_if_in_workspace") or call.body.get("skip_if_in_campaign")
        held = set().union(*workspace.addresses.values()) if skips else set()
        for index, fields in enumerate(call.body["leads"]):
            address = (fields.get("email") or "").lower()
            reason = refusal_of_lead(workspace, campaign_id, address, seen)
            reason = reason or ("skipped_count" if address in held else None)
            seen.add(address)
            if reason:
                refused[reason] += 1
            else:
                lead = workspace.add_lead(fields, address, at, campaign=campaign_id)
                created.append({"index": index, "id": lead["id"], "email": lead["email"]})
        return {
            "status": "success",
            "total_sent": len(call.body["leads"]),
            "leads_uploaded": len(created),
            **{reason: refused[reason] for reason in REFUSAL_COUNTS},
            "incomplete_count": 0,
            "blocklist_used": "workspace" if refused["in_blocklist"] else None,
            "remaining_in_plan": CONTACTS_IN_PLAN - len(workspace.leads),
            "created_leads": created,
        }

    def list_leads(self, workspace: Workspace, call: Call) -> Json:
        """Without `campaign` this lists the whole workspace, as production does."""
        wanted = call.body
        contacts = {address.lower() for address in wanted.get("contacts", ())}
        leads = list(workspace.leads.values())
        if "campaign" in wanted:
            leads = workspace.leads_of(wanted["campaign"])
            if contacts:  # by address, since a look at all of 10,000 leads would take its time
                addresses = workspace.addresses[wanted["campaign"]]
                found = (addresses[address] for address in contacts & addresses.keys())
                leads = sorted(found, key=itemgetter("id"))
        return page(leads, wanted, lambda lead: is_wanted(lead, wanted, contacts))

    def delete_leads(self, workspace: Workspace, call: Call) -> Json:
        """Without ids this empties the campaign, as the official OpenAPI document says."""
        campaign = workspace.campaign(call.body.get("campaign_id", ""))
        held = {lead["id"]: lead for lead in workspace.leads_of(campaign["id"])}
        lead_ids = dict.fromkeys(call.body.get("ids") or held)
        leads = [held[lead_id] for lead_id in lead_ids if lead_id in held]
        deleted = leads[: call.body.get("limit")]
        workspace.remove_leads(deleted)
        return {"count": len(deleted)}


def refusal_of_lead(
    workspace: Workspace, campaign_id: str, address: str, seen: set[str]
) -> str | None:
    """The count under which leads/add refuses an address, None when it takes it.

    `.invalid` and `skip+` are this stand-in's way to be told to refuse.
    """
    if "@" not in address or address.endswith(".invalid"):
        return "invalid_email_count"
    if address in seen:
        return "duplicate_email_count"
    if {address, address.rpartition("@")[2]} & workspace.blocklist:
        return "in_blocklist"
    if address in workspace.addresses[campaign_id]:
        return "duplicated_leads"
    if address.startswith("skip+"):
        return "skipped_count"
    return None


def is_wanted(lead: Json, wanted: Json, contacts: set[str]) -> bool:
    """Whether a lead passes the filters of leads/list."""
    search = wanted.get("search", "").lower()
    names = (lead["email"], lead.get("first_name"), lead.get("last_name"))
    return (
        (not contacts or lead["email"].lower() in contacts)
        and (not wanted.get("ids") or lead["id"] in wanted["ids"])
        and any(search in (name or "").lower() for name in names)
    )
