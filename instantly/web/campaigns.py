"""A campaign by the id in the path: itself or 404, its answers, and its locks."""

import json
from contextlib import AbstractContextManager
from typing import Any, Literal, cast
from uuid import UUID

from flask import Response

from instantly.storage.leases import Lease
from instantly.web.errors import NotFound
from instantly.web.services import database, json_answer, services

NOT_FOUND = "Campaign not found"


def uuid_or_not_found(campaign_id: str) -> str:
    """The id in its canonical form; what is no UUID names no campaign."""
    try:
        canonical = str(UUID(campaign_id))
    except ValueError:
        raise NotFound(NOT_FOUND) from None
    if canonical != campaign_id.lower():
        raise NotFound(NOT_FOUND)
    return canonical


def fetch_campaign(campaign_id: str) -> dict[str, Any]:
    """The campaign as the API shows it, or 404."""
    row = database().fetch_one("select_campaign", campaign_id=uuid_or_not_found(campaign_id))
    if row is None:
        raise NotFound(NOT_FOUND)
    return cast(dict[str, Any], json.loads(row["body"])["campaign"])


def campaign_answer(statement: str, campaign_id: str, **parameters: object) -> Response:
    """The JSON that a statement makes of a campaign, or 404."""
    campaign_id = uuid_or_not_found(campaign_id)
    return json_answer(statement, or_not_found=NOT_FOUND, campaign_id=campaign_id, **parameters)


def campaign_lock(
    campaign_id: str, scope: Literal["leads", "status"]
) -> AbstractContextManager[Lease]:
    """One change at a time to a campaign's leads, and one to its status; Busy after 30 s."""
    return services().leases.waiting_for(f"{scope}:{campaign_id}")
