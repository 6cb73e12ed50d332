"""Every exception that the API can answer with, and the only error handlers."""

import logging
from collections.abc import Callable
from typing import Any

from flask import Response, jsonify
from marshmallow import ValidationError
from psycopg import OperationalError
from psycopg.errors import StatementTooComplex
from werkzeug.exceptions import HTTPException

from instantly.clients.http import UpstreamError
from instantly.clients.instantly import InstantlyError
from instantly.clients.keys import AppKeyMissing, KeyServiceError, OrganizationKeyMissing
from instantly.clients.runs import RunsServiceError
from instantly.storage.leases import Busy

RETRY_AFTER_SECONDS = 5

logger = logging.getLogger(__name__)


class ApiError(Exception):
    """An answer other than success."""

    def __init__(
        self,
        status: int,
        error: str,
        details: Any = None,
        *,
        retry_after_seconds: int | None = None,
        **more: Any,
    ) -> None:
        super().__init__(error)
        self.status = status
        self.body = {"error": error, **({} if details is None else {"details": details}), **more}
        self.retry_after_seconds = retry_after_seconds

    def response(self) -> Response:
        response = jsonify(self.body)
        response.status_code = self.status
        if self.retry_after_seconds is not None:
            response.headers["Retry-After"] = str(self.retry_after_seconds)
        return response


class InvalidJson(ApiError):
    def __init__(self) -> None:
        super().__init__(400, "Invalid JSON")


class InvalidRequest(ApiError):
    """`details` maps each offending field's path to its messages."""

    def __init__(self, details: dict[str, list[str]]) -> None:
        super().__init__(400, "Invalid request", details)


class NotFound(ApiError):
    def __init__(self, error: str = "Not found") -> None:
        super().__init__(404, error)


HTTP_ERRORS = {
    # The client broke off in the middle of its body.
    400: "Invalid JSON",
    401: "Unauthorized",
    404: "Not found",
    405: "Method not allowed",
    413: "Request body too large",
    415: "Content-Type must be application/json",
}


def upstream_error(error: UpstreamError) -> ApiError:
    """What the caller is told of another service's failure; its own credentials are ours to fix."""
    status = error.status
    details = {"status": status, "message": error.message}
    match error:
        case OrganizationKeyMissing():
            return ApiError(422, "BYOK key not configured for this organization")
        case AppKeyMissing():
            return ApiError(503, "Instantly app key not configured")
        case KeyServiceError():
            return ApiError(502, "key-service unavailable")
        case RunsServiceError() if status in (400, 404, 409, 422):
            return ApiError(422, "runs-service rejected the request", details)
        case RunsServiceError():
            return ApiError(502, "runs-service unavailable")
        case InstantlyError() if status == 401:
            return ApiError(422, "Instantly API key was rejected")
        case InstantlyError() if status == 429:
            seconds = max(1, round(error.retry_after or RETRY_AFTER_SECONDS))
            return ApiError(503, "Instantly rate limit reached", retry_after_seconds=seconds)
        case InstantlyError() if status is not None and 400 <= status < 500:
            return ApiError(422, "Instantly rejected the request", details)
    return ApiError(502, "Instantly unavailable")


def flatten(messages: Any, path: str = "", *, whole: str = "body") -> dict[str, list[str]]:
    """marshmallow's nested messages as {"leads.3.email": [messages]}; `whole` names all of it."""
    if isinstance(messages, dict):
        return {
            field_path: texts
            for key, inner in messages.items()
            for field_path, texts in flatten(
                inner,
                path if key == "_schema" else f"{path}.{key}" if path else str(key),
                whole=whole,
            ).items()
        }
    return {path or whole: [messages] if isinstance(messages, str) else list(messages)}


def api_error(error: ApiError) -> Response:
    return error.response()


def validation_error(error: ValidationError) -> Response:
    return InvalidRequest(flatten(error.messages)).response()


def failed_upstream(error: UpstreamError) -> Response:
    answer = upstream_error(error)
    if answer.status >= 500:
        logger.warning("%s: %s", type(error).__name__, error)
    return answer.response()


def busy(error: Busy) -> Response:
    return ApiError(
        503,
        "Another change of this campaign is in progress",
        retry_after_seconds=RETRY_AFTER_SECONDS,
    ).response()


def database_unavailable(error: OperationalError) -> Response:
    logger.warning("database: %s: %s", type(error).__name__, error.sqlstate or error)
    return ApiError(503, "Database unavailable", retry_after_seconds=RETRY_AFTER_SECONDS).response()


def nested_too_deep(error: Exception) -> Response:
    """Nothing but JSON is walked recursively here, nor in Postgres."""
    return InvalidJson().response()


def http_error(error: HTTPException) -> Response:
    status = error.code or 500
    answer = ApiError(status, HTTP_ERRORS.get(status, error.name)).response()
    allowed = getattr(error, "valid_methods", None)
    if allowed:
        answer.headers["Allow"] = ", ".join(sorted(allowed))
    return answer


def unexpected(error: Exception) -> Response:
    logger.exception("unexpected error")
    return ApiError(500, "Internal server error").response()


HANDLERS: dict[type[Exception], Callable[[Any], Response]] = {
    ApiError: api_error,
    ValidationError: validation_error,
    UpstreamError: failed_upstream,
    Busy: busy,
    OperationalError: database_unavailable,
    RecursionError: nested_too_deep,
    StatementTooComplex: nested_too_deep,
    HTTPException: http_error,
    Exception: unexpected,
}
