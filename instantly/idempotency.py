"""The Idempotency-Key: the first final answer is kept for a day and given to every repeat.

The key is claimed before the view runs. The answer is stored with the act itself, in one
transaction, so that a process which dies after that cannot make a repeat act a second time.
"""

import hashlib
import logging
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import wraps
from typing import Any
from uuid import uuid4

from flask import Response, current_app, g, request
from flask.typing import ResponseReturnValue

from instantly.billing import BilledRun
from instantly.context import database, parts, uuid_or_not_found
from instantly.database import NotConnected, Row, Session
from instantly.errors import ApiError, InvalidRequest
from instantly.inputs import json_body
from instantly.jsontext import canonical_json

ALIVE_SECONDS = 120
FINAL_STATUSES = frozenset([200, 201, 202, 403, 404, 422])
SANE_KEY = re.compile(r"[ -~]{1,255}")

View = Callable[..., ResponseReturnValue]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Claim:
    key: str
    method: str
    path: str
    holder: str


def idempotent(view: View) -> View:
    """Without the header nothing changes."""

    @wraps(view)
    def once(*args: Any, **kwargs: Any) -> ResponseReturnValue:
        key = request.headers.get("Idempotency-Key")
        if key is None:
            return view(*args, **kwargs)
        request_hash = hashlib.sha256(canonical_json(json_body()).encode()).digest()
        if not SANE_KEY.fullmatch(key):
            raise InvalidRequest({"Idempotency-Key": ["Must be 1 to 255 printable characters."]})
        for campaign_id in kwargs.values():
            uuid_or_not_found(campaign_id)
        claim = Claim(key, request.method, request.path, str(uuid4()))
        if not database().fetch_one(
            "upsert_idempotency_key",
            **asdict(claim),
            request_hash=request_hash,
            seconds=ALIVE_SECONDS,
        ):
            return replayed(claim, request_hash)
        with parts().heartbeat.keeping("update_idempotency_key", claim.holder, ALIVE_SECONDS):
            g.claim = claim
            response = answer_of(view, *args, **kwargs)
            settle(claim, response)
        return response

    return once


def answer_of(view: View, *args: Any, **kwargs: Any) -> Response:
    """The view's answer, errors included."""
    try:
        return current_app.make_response(view(*args, **kwargs))
    except Exception as error:
        return current_app.make_response(current_app.handle_user_exception(error))


def replayed(claim: Claim, request_hash: bytes) -> Response:
    row = database().fetch_one(
        "select_idempotency_key", key=claim.key, method=claim.method, path=claim.path
    )
    if row is not None and row["request_hash"] != request_hash:
        raise ApiError(422, "Idempotency-Key was used with a different request")
    if row is None or not row["is_answered"]:
        raise ApiError(409, "A request with this Idempotency-Key is in progress")
    response = Response(row["body"], row["status"], mimetype="application/json")
    response.headers["Idempotent-Replayed"] = "true"
    return response


def settle(claim: Claim, response: Response) -> None:
    """Keeps a final answer; after any other nothing was done, and the key is free again."""
    try:
        if response.status_code in FINAL_STATUSES:
            database().execute(
                "update_idempotency_answer",
                **asdict(claim),
                status=response.status_code,
                body=response.get_data(as_text=True),
                is_final=True,
            )
        else:
            database().execute("delete_idempotency_key", **asdict(claim))
    except Exception:
        # What was stored with the act is still there for a repeat.
        logger.exception("the answer to an Idempotency-Key was not settled")


def store_act(
    run: BilledRun,
    statement: str,
    answer: Callable[[Row], ResponseReturnValue],
    *,
    undo: str,
    **values: Any,
) -> ResponseReturnValue:
    """Runs the statement that stores the act, and keeps its answer under the key, if there is one.

    Both are there, or neither: should the process die before the end, a repeat gets the answer.
    `undo` is the statement that takes the rows back on failure.
    """
    claim: Claim | None = g.get("claim")

    def keep(session: Session, status: int | None, body: str | None) -> None:
        if claim:
            session.execute(
                "update_idempotency_answer",
                **asdict(claim),
                status=status,
                body=body,
                is_final=False,
            )

    def take_back() -> None:
        keep(database(), None, None)
        database().execute(undo, **values)

    is_stored = True
    try:
        # A transaction also without a key: a statement that the server executes after we gave it
        # up is never committed.
        with database().transaction() as session:
            response = answer(session.fetch_one(statement, **values) or {})
            kept = current_app.make_response(response)
            keep(session, kept.status_code, kept.get_data(as_text=True))
    except NotConnected:
        is_stored = False
        raise
    finally:
        # After any other failure the rows may be there: the answer to a COMMIT can be lost.
        if is_stored:
            run.on_failure(f"{undo} for run {run.id}", take_back)
    return response
