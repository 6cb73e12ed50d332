"""The Idempotency-Key: the first final answer is kept for a day and given to every repeat.

The key is a lease that is taken before the view runs. The answer is stored with the act itself, in
one transaction, so that a process which dies after that cannot make a repeat act a second time.
"""

import hashlib
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any

from flask import Response, current_app, g, request
from flask.typing import ResponseReturnValue

from instantly.json_text import canonical_json
from instantly.storage.leases import Lease
from instantly.storage.statements import Runner
from instantly.web.context import database, services, uuid_or_not_found
from instantly.web.errors import ApiError, InvalidRequest
from instantly.web.inputs import json_body

LEASE_SECONDS = 120
FINAL_STATUSES = frozenset([200, 201, 202, 403, 404, 422])
SANE_KEY = re.compile(r"[ -~]{1,255}")

View = Callable[..., ResponseReturnValue]

logger = logging.getLogger(__name__)


class KeyInUse(ApiError):
    def __init__(self) -> None:
        super().__init__(409, "A request with this Idempotency-Key is in progress")


@dataclass
class ClaimedKey:
    """The key of the request under way."""

    values: dict[str, str]
    """key, method, path"""
    request_hash: bytes
    lease: Lease

    def keep(self, runner: Runner, response: Response, *, is_final: bool) -> None:
        """Raises KeyInUse when the lease was lost: then the transaction may store nothing."""
        if not runner.fetch_one(
            "upsert_answer",
            **self.values,
            **self.lease.values,
            request_hash=self.request_hash,
            status=response.status_code,
            body=response.get_data(as_text=True),
            is_final=is_final,
        ):
            raise KeyInUse

    def forget(self) -> None:
        """What the answer stands for is taken back."""
        database().execute("delete_answer", **self.values, **self.lease.values)


def idempotent(view: View) -> View:
    """Runs the view once for each Idempotency-Key and replays its answer.

    Requests without the header pass.
    """

    @wraps(view)
    def once(*args: Any, **kwargs: Any) -> ResponseReturnValue:
        key = request.headers.get("Idempotency-Key")
        if key is None:
            return view(*args, **kwargs)
        request_hash = sha256(canonical_json(json_body()))
        if not SANE_KEY.fullmatch(key):
            raise InvalidRequest({"Idempotency-Key": ["Must be 1 to 255 printable characters."]})
        if "campaign_id" in kwargs:
            # The path becomes part of an index entry, which may not be of any length.
            uuid_or_not_found(kwargs["campaign_id"])
        values = {"key": key, "method": request.method, "path": request.path}
        name = f"key:{sha256(canonical_json(values)).hex()}"
        lease = services().leases.take(name, LEASE_SECONDS)
        if lease is None:
            answer = refuse_other_request(values, request_hash)
            if answer is None or not answer["is_final"]:
                raise KeyInUse
            return replayed(answer)
        with services().leases.holding(lease):
            if answer := refuse_other_request(values, request_hash):
                return replayed(answer)
            g.claimed_key = ClaimedKey(values, request_hash, lease)
            response = answer_of(view, *args, **kwargs)
            settle(g.claimed_key, response)
        return response

    vars(once)["idempotent"] = True
    return once


def sha256(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def claimed_key() -> ClaimedKey | None:
    """That of this request, if it has one."""
    key: ClaimedKey | None = g.get("claimed_key")
    return key


def refuse_other_request(values: dict[str, str], request_hash: bytes) -> dict[str, Any] | None:
    """The answer that is kept under the key, if any; raises when it is another request's."""
    answer = database().fetch_one("select_answer", **values)
    if answer and answer["request_hash"] != request_hash:
        raise ApiError(422, "Idempotency-Key was used with a different request")
    return answer


def replayed(answer: dict[str, Any]) -> Response:
    response = Response(answer["body"], answer["status"], mimetype="application/json")
    response.headers["Idempotent-Replayed"] = "true"
    return response


def answer_of(view: View, *args: Any, **kwargs: Any) -> Response:
    """The view's answer, errors included."""
    try:
        return current_app.make_response(view(*args, **kwargs))
    except Exception as error:
        return current_app.make_response(current_app.handle_user_exception(error))


def settle(key: ClaimedKey, response: Response) -> None:
    """Keeps a final answer; after any other nothing was done."""
    if response.status_code in FINAL_STATUSES:
        try:
            key.keep(database(), response, is_final=True)
        except Exception:
            # One that was stored with its act is there for a repeat, any other is given again.
            logger.exception("the answer to an Idempotency-Key was not kept")
