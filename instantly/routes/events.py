"""Events of an organisation, to be followed."""

from flask import Blueprint, Response

from instantly.limits import MAX_PAYLOAD_BYTES
from instantly.schemas.answers import FEED
from instantly.schemas.events import FeedPage
from instantly.web.context import database, json_answer
from instantly.web.inputs import load_query
from instantly.web.openapi import documented

bp = Blueprint("events", __name__)


@bp.get("/events")
@documented(query=FeedPage, answers={200: FEED})
def list_organization_events() -> Response:
    """An organisation's events over all its campaigns, the oldest arrival first.

    Go on with `after`: the `nextCursor` of the page before, which is there on an empty page, too.
    Who does sees every event exactly once, also those that several processes record at the same
    time. Events wait here while an earlier one is still being recorded. The payload is what
    Instantly delivered; a page ends early where payloads add up to more than 16 MiB.
    """
    page = load_query(FeedPage)
    (certain,) = database().fetch_all("select_certain_event_id")
    return json_answer("select_feed_page", **page, until=certain["id"], max_bytes=MAX_PAYLOAD_BYTES)
