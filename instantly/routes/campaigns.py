"""Campaigns: create, read, list, switch on and off, repair; their events."""

import time
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any
from uuid import uuid4

from flask import Blueprint, Response
from flask.typing import ResponseReturnValue
from marshmallow import ValidationError

from instantly.billing.idempotency import idempotent
from instantly.billing.run import BilledRun, billed_run, report_left_over
from instantly.clients.instantly import InstantlyClient, InstantlyError
from instantly.clients.instantly.campaigns import lacks_senders
from instantly.limits import MAX_PAYLOAD_BYTES
from instantly.reconciliation import learn_statuses, reconcile
from instantly.schemas.answers import (
    CAMPAIGNS,
    CHANGED_CAMPAIGN,
    CONFIGURATION,
    CREATED_CAMPAIGN,
    EVENTS,
    ONE_CAMPAIGN,
    RECONCILED,
    SENDING_STATUS,
    SWITCHED_CAMPAIGN,
)
from instantly.schemas.campaigns import (
    CampaignStatus,
    ChangeCampaign,
    CreateCampaign,
    Reconcile,
    settings_of,
)
from instantly.schemas.events import EventPage
from instantly.schemas.fields import Page, refuse_unstorable
from instantly.storage.leases import Busy
from instantly.storage.pool import Row
from instantly.translation.campaign_warnings import campaign_warnings
from instantly.translation.campaigns import (
    NO_LEADS,
    campaign_body,
    changed_body,
    tells_what_it_lacks,
    trouble_of,
    warnings_of,
)
from instantly.translation.configuration import configuration_of
from instantly.translation.sending_status import campaign_status_of, sending_status
from instantly.web.context import (
    campaign_answer,
    campaign_lock,
    fetch_campaign,
    json_answer,
    organization_workspace,
    services,
    waits_for_upstreams,
)
from instantly.web.errors import ApiError
from instantly.web.inputs import load_body, load_query
from instantly.web.openapi import documented

# For a look that only warnings need.
LOOK_SECONDS = 10.0

bp = Blueprint("campaigns", __name__, url_prefix="/campaigns")


@bp.post("")
@documented(body=CreateCampaign, answers={201: CREATED_CAMPAIGN})
@waits_for_upstreams
@idempotent
def create_campaign() -> ResponseReturnValue:
    """Creates a campaign in Instantly, as a draft, bills it, and warns of what looks wrong."""
    campaign = load_body(CreateCampaign)
    warnings = campaign_warnings(campaign, datetime.now(UTC))
    workspace = organization_workspace(campaign["clerk_org_id"])
    campaign_id = str(uuid4())
    with billed_run(
        subject=f"campaign {campaign_id} named {campaign['name']!r}",
        task_name="campaign-create",
        clerk_org_id=campaign["clerk_org_id"],
        app_id=campaign["app_id"],
        brand_id=campaign["brand_id"],
        parent_run_id=campaign["parent_run_id"],
    ) as run:
        instantly_campaign_id = create_in_instantly(workspace, campaign, run)
        run.bill("instantly-campaign-create", 1)
        return run.store(
            "insert_campaign",
            lambda row: ({"success": True, "campaign": row, "warnings": warnings}, 201),
            undo="delete_campaign",
            campaign_id=campaign_id,
            instantly_campaign_id=instantly_campaign_id,
            **campaign,
        )


def create_in_instantly(
    workspace: InstantlyClient, campaign: dict[str, Any], run: BilledRun
) -> str:
    """Creates the campaign and makes sure that its senders arrived; returns Instantly's id."""
    try:
        created = workspace.create_campaign(campaign_body(campaign))
    except InstantlyError as error:
        if error.may_have_acted:
            name = campaign["name"]
            report_left_over(f"Instantly may hold a draft campaign named {name!r} (run {run.id})")
        raise
    instantly_campaign_id: str = created["id"]
    run.on_failure(
        f"campaign {instantly_campaign_id}: delete it in Instantly",
        partial(workspace.delete_campaign, instantly_campaign_id),
    )
    senders = campaign.get("account_ids", [])
    if lacks_senders(created, senders):
        workspace.patch_campaign(instantly_campaign_id, {"email_list": senders})
    return instantly_campaign_id


@bp.get("/<campaign_id>")
@documented(answers={200: ONE_CAMPAIGN})
def get_campaign(campaign_id: str) -> Response:
    """One campaign."""
    return campaign_answer("select_campaign", campaign_id)


@bp.get("/by-org/<path:org_id>")
@bp.get("/by-org/<org_id>")
@documented(query=Page, answers={200: CAMPAIGNS})
def list_campaigns(org_id: str) -> Response:
    """An organisation's campaigns, newest first."""
    refuse_unstorable({"orgId": org_id})
    if "\ufffd" in org_id:  # what was no UTF-8
        raise ValidationError({"orgId": ["Not valid UTF-8."]})
    return json_answer("select_campaigns_page", org_id=org_id, **load_query(Page))


@bp.get("/<campaign_id>/configuration")
@documented(answers={200: CONFIGURATION})
@waits_for_upstreams
def get_configuration(campaign_id: str) -> dict[str, Any]:
    """What Instantly holds of the campaign, in the words of `POST /campaigns`.

    null stands for what Instantly does not say, and for what has no word here.
    """
    campaign = fetch_campaign(campaign_id)
    workspace = organization_workspace(campaign["clerk_org_id"])
    found = workspace.get_campaign(campaign["instantly_campaign_id"])
    return {"configuration": {**configuration_of(found), "settings": settings_of(found)}}


@bp.patch("/<campaign_id>")
@documented(body=ChangeCampaign, answers={200: CHANGED_CAMPAIGN})
@waits_for_upstreams
def change_campaign(campaign_id: str) -> Response:
    """Changes the campaign in Instantly, and warns of what looks wrong in the changes.

    What is given takes the place of the whole: a sequence, a schedule with its defaults, the
    senders. Only of the settings those stay that are not named. Nobody is billed.
    """
    changes = load_body(ChangeCampaign)
    warnings = campaign_warnings(changes, datetime.now(UTC))
    campaign = fetch_campaign(campaign_id)
    workspace = organization_workspace(campaign["clerk_org_id"])
    with campaign_lock(campaign["id"], "status") as lock:
        workspace.patch_campaign(campaign["instantly_campaign_id"], changed_body(changes))
        if not services().leases.is_held(lock):
            raise Busy
        values = {"name": changes.get("name"), "warnings": warnings}
        return campaign_answer("update_campaign", campaign_id, **values)


@bp.patch("/<campaign_id>/status")
@documented(body=CampaignStatus, answers={200: SWITCHED_CAMPAIGN})
@waits_for_upstreams
def set_campaign_status(campaign_id: str) -> Response:
    """Activates or pauses the campaign in Instantly, then in our row.

    One that is activated comes with `warnings`: what it lacks in order to send.
    """
    status: str = load_body(CampaignStatus)["status"]
    if status not in CampaignStatus.ALLOWED:
        raise ApiError(400, "Invalid status", allowed=CampaignStatus.ALLOWED)
    campaign = fetch_campaign(campaign_id)
    workspace = organization_workspace(campaign["clerk_org_id"])
    # Nothing completes a campaign through Instantly's API: to stop it is to pause it.
    switch = workspace.activate_campaign if status == "active" else workspace.pause_campaign
    with campaign_lock(campaign["id"], "status") as lock:
        switched = switch(campaign["instantly_campaign_id"])
        warnings = what_it_lacks(workspace, campaign, switched) if status == "active" else None
        if not services().leases.is_held(lock):
            raise Busy
        return campaign_answer(
            "update_campaign_status",
            campaign_id,
            status=trouble_of(switched) or status,
            warnings=warnings,
            warning_without_leads=NO_LEADS,
        )


def what_it_lacks(
    workspace: InstantlyClient, campaign: Row, activated: dict[str, Any]
) -> list[str]:
    """In sentences. What the answer to the activation leaves out is asked for, if that can be."""
    if not tells_what_it_lacks(activated):
        until = time.monotonic() + LOOK_SECONDS
        with suppress(InstantlyError):
            found = workspace.until(until).get_campaign(campaign["instantly_campaign_id"])
            activated = {**activated, **found}
    return warnings_of(activated)


@bp.get("/<campaign_id>/sending-status")
@documented(answers={200: SENDING_STATUS})
@waits_for_upstreams
def get_sending_status(campaign_id: str) -> dict[str, Any]:
    """Why the campaign does or does not send at the moment, and what to do about it.

    Where that tells the campaign's status, our row takes it.
    """
    campaign = fetch_campaign(campaign_id)
    workspace = organization_workspace(campaign["clerk_org_id"])
    told = sending_status(workspace.get_sending_status(campaign["instantly_campaign_id"]))
    learn_statuses([(campaign, campaign_status_of(told["reason"]))])
    return told


@bp.post("/<campaign_id>/reconcile")
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
    return reconcile(organization_workspace(campaign["clerk_org_id"]), campaign)


@bp.get("/<campaign_id>/events")
@documented(query=EventPage, answers={200: EVENTS})
def list_events(campaign_id: str) -> Response:
    """A campaign's events, the newest arrival first.

    `total` is null with a filter, and for a campaign of more than 10,000 events. The payload is
    what Instantly delivered; a page ends early where payloads add up to more than 16 MiB.
    """
    page = load_query(EventPage)
    return campaign_answer("select_events_page", campaign_id, **page, max_bytes=MAX_PAYLOAD_BYTES)
