"""The events of a campaign, as its webhooks delivered them."""

from flask import Blueprint, Response

from instantly.schemas.answers import EVENTS
from instantly.schemas.events import EventPage
from instantly.web.campaigns import campaign_answer
from instantly.web.inputs import load_query
from instantly.web.openapi import documented

MAX_PAYLOAD_BYTES = 16 * 1024 * 1024

bp = Blueprint("events", __name__, url_prefix="/campaigns/<campaign_id>/events")


@bp.get("")
@documented(query=EventPage, answers={200: EVENTS})
def list_events(campaign_id: str) -> Response:
    """A campaign's events, the newest arrival first.

    `total` is null with a filter, and for a campaign of more than 10,000 events. The payload is
    what Instantly delivered; a page ends early where payloads add up to more than 16 MiB.
    """
    page = load_query(EventPage)
    return campaign_answer("select_events_page", campaign_id, **page, max_bytes=MAX_PAYLOAD_BYTES)
