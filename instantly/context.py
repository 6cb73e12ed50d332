"""What the views work with: the parts of the running service, and the organisation's workspace."""

import json
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
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
from instantly.database import Database
from instantly.errors import ApiError, NotFound
from instantly.inputs import MAX_BODY_BYTES, body_bytes
from instantly.leases import Lease, Leases
from instantly.schemas.fields import camel_case

EXTENSION = "instantly-service"
# Requests that wait for other services at once.
MAX_WAITING = 1000
LOCK_SECONDS = 20


@dataclass(frozen=True)
class Parts:
    settings: Settings
    database: Database
    keys: KeyServiceClient
    runs: RunsServiceClient
    instantly: InstantlyClient
    leases: Leases
    waiting: BoundedSemaphore


def parts() -> Parts:
    return cast(Parts, current_app.extensions[EXTENSION])


def database() -> Database:
    return parts().database


def uuid_or_not_found(campaign_id: str) -> str:
    """The id in its canonical form; what is no UUID names no campaign."""
    try:
        found = str(UUID(campaign_id))
    except ValueError:
        raise NotFound("Campaign not found") from None
    if found != campaign_id.lower():
        raise NotFound("Campaign not found")
    return found


def fetch_campaign(campaign_id: str) -> dict[str, Any]:
    """The campaign as the API shows it, or 404."""
    body = json_bytes("select_campaign", campaign_id=uuid_or_not_found(campaign_id))
    return cast(dict[str, Any], json.loads(body)["campaign"])


def campaign_answer(statement: str, campaign_id: str, **parameters: object) -> Response:
    """The JSON that a statement makes of a campaign, or 404."""
    campaign_id = uuid_or_not_found(campaign_id)
    return json_answer(statement, campaign_id=campaign_id, **parameters)


def calls_others(view: Callable[..., ResponseReturnValue]) -> Callable[..., ResponseReturnValue]:
    """Marks a view that waits for other services, and refuses it while MAX_WAITING do."""

    @wraps(view)
    def bounded(*args: Any, **kwargs: Any) -> ResponseReturnValue:
        # The body first: a request that is still being sent waits for nobody but its client.
        body_bytes(MAX_BODY_BYTES)
        waiting = parts().waiting
        if not waiting.acquire(blocking=False):
            raise ApiError(503, "Too many requests in progress", retry_after_seconds=1)
        try:
            return view(*args, **kwargs)
        finally:
            waiting.release()

    return bounded


def campaign_lock(
    campaign_id: str, scope: Literal["leads", "status"]
) -> AbstractContextManager[Lease]:
    """One change at a time to a campaign's leads, and one to its status; Busy after 30 s."""
    return parts().leases.waiting_for(f"{scope}:{campaign_id}", LOCK_SECONDS)


def json_bytes(statement: str, **parameters: object) -> bytes:
    """The JSON that a statement makes of a whole answer; no row means that its campaign is unknown,
    a statement about anything else always has one.
    """
    row = database().fetch_one(statement, **parameters)
    if row is None:
        raise NotFound("Campaign not found")
    return cast(bytes, row["body"])


def json_answer(statement: str, **parameters: object) -> Response:
    """Likewise, as the answer itself."""
    return Response(json_bytes(statement, **parameters) + b"\n", mimetype="application/json")


def organization_workspace(clerk_org_id: str) -> InstantlyClient:
    """Instantly with the organisation's own key, which lives as long as the request."""
    key = parts().keys.decrypt_organization_key(
        clerk_org_id, caller_method=request.method, caller_path=route_pattern()
    )
    return parts().instantly.with_key(key)


def app_workspace() -> InstantlyClient:
    """Instantly with the shared key of this service: the sender accounts are there."""
    key = parts().keys.decrypt_app_key(caller_method=request.method, caller_path=route_pattern())
    return parts().instantly.with_key(key)


def route_pattern() -> str:
    """The route of this request as key-service writes it: /campaigns/:campaignId/leads."""
    rule = request.url_rule.rule if request.url_rule else ""
    return re.sub(r"<(?:[^:<>]+:)?([^<>]+)>", lambda match: ":" + camel_case(match.group(1)), rule)
