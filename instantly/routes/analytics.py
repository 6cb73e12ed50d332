"""Figures: a campaign's analytics from Instantly, and statistics over our events."""

import json
from typing import Any

from flask import Blueprint, Response
from flask.typing import ResponseReturnValue

from instantly.figures import excluded_addresses, keep_snapshots, refresh_figures
from instantly.reconciliation import learn_statuses
from instantly.schemas.analytics import CONDITIONS, Refresh, Stats
from instantly.schemas.answers import CAMPAIGN_ANALYTICS, REFRESHED, STATS
from instantly.translation.campaigns import status_named
from instantly.translation.days import days_asked
from instantly.web.context import (
    database,
    fetch_campaign,
    json_answer,
    organization_workspace,
    waits_for_upstreams,
)
from instantly.web.inputs import load_body
from instantly.web.openapi import documented

bp = Blueprint("analytics", __name__)


@bp.get("/campaigns/<campaign_id>/analytics")
@documented(answers={200: CAMPAIGN_ANALYTICS})
@waits_for_upstreams
def get_campaign_analytics(campaign_id: str) -> ResponseReturnValue:
    """A campaign's figures from Instantly; each call keeps a snapshot of them, and its status."""
    campaign = fetch_campaign(campaign_id)
    workspace = organization_workspace(campaign["clerk_org_id"])
    figures = workspace.get_campaign_analytics(campaign["instantly_campaign_id"])
    (row,) = keep_snapshots([(campaign, figures)])
    learn_statuses([(campaign, status_named((figures or {}).get("campaign_status")))])
    return {"analytics": figures, "snapshot": json.loads(row["snapshot"])}


@bp.post("/analytics/refresh")
@documented(body=Refresh, answers={200: REFRESHED})
@waits_for_upstreams
def refresh_analytics() -> ResponseReturnValue:
    """Keeps a snapshot of each campaign of an organisation that has sent something, and its status.

    Instantly is asked once for all. `behind` are the campaigns of which it counts more than our
    events do: e-mails sent, leads that replied, bounced, unsubscribed or opened. A reconcile
    repairs the leads of such a campaign; `POST /webhooks/instantly/recover` may bring its events.
    """
    clerk_org_id: str = load_body(Refresh)["clerk_org_id"]
    campaigns = database().fetch_all("select_organization_rows", clerk_org_id=clerk_org_id)
    if not campaigns:
        return {"success": True, "campaigns": 0, "behind": []}
    return refresh_figures(organization_workspace(clerk_org_id), campaigns)


@bp.post("/stats")
@documented(body=Stats, answers={200: STATS})
def get_stats() -> Response:
    """What is known of the matching campaigns: events, people, and their latest labels.

    With `groupBy` the answer also has `groups`, most sent first and at most 1,000, one for each
    value that has an event which counts, or leads; the key is null for what belongs to no step, or
    names no sender. With `from`, `to`, `day` or `accountEmail` there are the figures of events
    alone, of those that happened in these days. Days are shown one by one for 366 at most: those
    up to `to` or today, where `from` is not given.
    """
    asked = load_body(Stats)
    first, last, timezone = asked.pop("from_", None), asked.pop("to", None), asked.pop("timezone")
    conditions: dict[str, Any] = dict.fromkeys((*CONDITIONS, "group_by"))
    conditions |= {**asked, "excluded": excluded_addresses()}
    if not (first or last or conditions["group_by"] in ("day", "accountEmail")):
        return json_answer("select_stats", **conditions)
    days = days_asked(first, last, timezone, one_by_one=conditions["group_by"] == "day")
    return json_answer("select_event_stats", **conditions, **days)
