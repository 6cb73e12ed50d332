"""What is known of addresses, over all campaigns of an organisation."""

from typing import Any

from flask import Blueprint, Response

from instantly.schemas.answers import LEAD_STATUSES
from instantly.schemas.leads import AskedAddresses
from instantly.web.inputs import load_body
from instantly.web.openapi import documented
from instantly.web.services import json_answer

bp = Blueprint("lead_status", __name__, url_prefix="/leads/status")


@bp.post("")
@documented(body=AskedAddresses, answers={200: LEAD_STATUSES})
def get_lead_statuses() -> Response:
    """What each of these addresses is to an organisation: held, written to, opened by, lost.

    `brandId` and `campaignId` narrow what is looked at, but for `bounced` and `unsubscribed`:
    those count over all campaigns of the organisation, and after a lead was deleted too.
    """
    asked: dict[str, Any] = {"brand_id": None, "campaign_id": None, **load_body(AskedAddresses)}
    addresses = [email.lower() for email in asked["emails"]]
    return json_answer("select_lead_statuses", **asked, addresses=addresses)
