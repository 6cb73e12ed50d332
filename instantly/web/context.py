"""What views work with: the parts of the service, a campaign by its id, Instantly with a key."""

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import wraps
from threading import BoundedSemaphore
from typing import Any, Literal, cast
from uuid import UUID

from flask import Response, current_app, request
from flask.typing import ResponseReturnValue

from instantly.clients.instantly import InstantlyClient
from instantly.clients.keys import KeyServiceClient
from instantly.clients.runs import RunsServiceClient
from instantly.config import Settings
from instantly.metrics import ACTS_WAITING
from instantly.schemas.fields import camel_case
from instantly.storage.leases import Busy, Lease, Leases
from instantly.storage.pool import Row
from instantly.storage.statements import Database
from instantly.web.errors import RETRY_AFTER_SECONDS, ApiError, NotFound
from instantly.web.inputs import MAX_BODY_BYTES, body_bytes

EXTENSION = "instantly-service"


@dataclass(frozen=True)
class Services:
    settings: Settings
    database: Database
    leases: Leases
    keys: KeyServiceClient
    runs: RunsServiceClient
    instantly: InstantlyClient
    waiting: BoundedSemaphore


def services() -> Services:
    return cast(Services, current_app.extensions[EXTENSION])


def database() -> Database:
    return services().database


def json_answer(statement: str, *, or_not_found: str = "Not found", **parameters: Any) -> Response:
    """The JSON that a statement makes of a whole answer; 404 when it answers no row."""
    row = database().fetch_one(statement, **parameters)
    if row is None:
        raise NotFound(or_not_found)
    return Response(row["body"] + b"\n", mimetype="application/json")


def waits_for_upstreams(
    view: Callable[..., ResponseReturnValue],
) -> Callable[..., ResponseReturnValue]:
    """Marks a view that waits for other services, and refuses it while MAX_WAITING do."""

    @wraps(view)
    def bounded(*args: Any, **kwargs: Any) -> ResponseReturnValue:
        # The body first: a request that is still being sent waits for nobody but its client.
        body_bytes(MAX_BODY_BYTES)
        waiting = services().waiting
        if not waiting.acquire(blocking=False):
            raise ApiError(503, "Too many requests in progress", retry_after_seconds=1)
        try:
            with ACTS_WAITING.track_inprogress():
                return view(*args, **kwargs)
        finally:
            waiting.release()

    vars(bounded)["waits_for_upstreams"] = True
    return bounded


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


def fetch_campaign(campaign_id: str) -> Row:
    """The campaign's row, or 404."""
    row = database().fetch_one("select_campaign_row", campaign_id=uuid_or_not_found(campaign_id))
    if row is None:
        raise NotFound(NOT_FOUND)
    return row


def campaign_answer(statement: str, campaign_id: str, **parameters: object) -> Response:
    """The JSON that a statement makes of a campaign, or 404."""
    campaign_id = uuid_or_not_found(campaign_id)
    return json_answer(statement, or_not_found=NOT_FOUND, campaign_id=campaign_id, **parameters)


def campaign_lock(
    campaign_id: str, scope: Literal["leads", "status"]
) -> AbstractContextManager[Lease]:
    """One change at a time to a campaign's leads, and one to its status; Busy after 30 s."""
    return services().leases.waiting_for(f"{scope}:{campaign_id}")


def organization_workspace(clerk_org_id: str) -> InstantlyClient:
    """Instantly with the organisation's own key."""
    key = services().keys.decrypt_organization_key(
        clerk_org_id, caller_method=request.method, caller_path=route_pattern()
    )
    return services().instantly.with_key(key, services().settings.webhook_secrets)


def app_workspace() -> InstantlyClient:
    """Instantly with the shared key of this service: the sender accounts are there."""
    key = services().keys.decrypt_app_key(caller_method=request.method, caller_path=route_pattern())
    return services().instantly.with_key(key, services().settings.webhook_secrets)


@contextmanager
def webhooks_lock(workspace: InstantlyClient) -> Iterator[Lease]:
    """One change at a time to the webhooks of a workspace, whoever brought its key."""
    try:
        with services().leases.waiting_for(f"webhooks:{workspace.key_hash()}") as lock:
            yield lock
    except Busy as error:
        raise ApiError(
            503,
            "Another change of these webhooks is in progress",
            retry_after_seconds=RETRY_AFTER_SECONDS,
        ) from error


def route_pattern() -> str:
    """The route of this request as key-service writes it: /campaigns/:campaignId/leads."""
    rule = request.url_rule.rule if request.url_rule else ""
    return re.sub(r"<(?:[^:<>]+:)?([^<>]+)>", lambda match: ":" + camel_case(match.group(1)), rule)
