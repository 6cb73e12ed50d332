"""The parts of the running service, as views reach them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from threading import BoundedSemaphore
from typing import Any, cast

from flask import Response, current_app
from flask.typing import ResponseReturnValue

from instantly.clients.instantly import InstantlyClient
from instantly.clients.keys import KeyServiceClient
from instantly.clients.runs import RunsServiceClient
from instantly.config import Settings
from instantly.metrics import ACTS_WAITING
from instantly.storage.database import Database
from instantly.storage.leases import Leases
from instantly.web.errors import ApiError, NotFound
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
