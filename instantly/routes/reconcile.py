"""Our rows of a campaign against what Instantly holds."""

from typing import Any

from flask import Blueprint

from instantly.once.reconciliation import repair_leads, repair_status
from instantly.schemas.answers import RECONCILED
from instantly.schemas.campaigns import Reconcile
from instantly.web.campaigns import campaign_lock, fetch_campaign
from instantly.web.inputs import load_body
from instantly.web.openapi import documented
from instantly.web.services import waits_for_upstreams
from instantly.web.workspaces import organization_workspace

bp = Blueprint("reconcile", __name__)


@bp.post("/campaigns/<campaign_id>/reconcile")
@documented(body=Reconcile, answers={200: RECONCILED})
@waits_for_upstreams
def reconcile_campaign(campaign_id: str) -> dict[str, Any]:
    """Repairs our rows of the campaign and its leads by what Instantly holds; safe to repeat.

    Leads that only Instantly holds are adopted and not billed, statuses are raised to what
    Instantly's fields prove and never lowered, leads that only we hold are named and not deleted.
    Each page of 100 leads is stored as it is read: after an error, what was repaired stays. Other
    changes of the campaign's leads wait meanwhile, and are told so after 30 s. It counts among the
    requests that wait for other services as long as it lasts.
    """
    load_body(Reconcile)
    campaign = fetch_campaign(campaign_id)
    workspace = organization_workspace(campaign["clerkOrgId"])
    with campaign_lock(campaign["id"], "status") as lock:
        status = repair_status(workspace, campaign["id"], lock)
    with campaign_lock(campaign["id"], "leads") as lock:
        leads = repair_leads(workspace, campaign, lock)
    return {"success": True, "campaignStatus": status, "leads": leads}
