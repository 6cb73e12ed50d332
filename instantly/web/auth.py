"""Who may call: every route needs the service's key, but for the few that are public."""

import hmac
from collections.abc import Sequence

from flask import Flask, request

from instantly.translation.webhooks import SECRET_HEADER
from instantly.web.errors import ApiError

PUBLIC_ENDPOINTS = frozenset(
    [
        "service.index",
        "service.health",
        "documentation.get_document",
        "documentation.get_docs",
        "documentation.get_file",
        "webhooks.get_config",
        "webhooks.receive",
    ]
)
# Every Prometheus can send a token; headers of one's own only a newer one.
BEARER_ENDPOINTS = frozenset(["service.get_metrics"])


def require_api_key(app: Flask, api_keys: Sequence[str]) -> None:
    """Denies by default: without one of the keys an unknown path is 401 too."""

    @app.before_request
    def check_api_key() -> None:
        if request.endpoint in PUBLIC_ENDPOINTS:
            return
        given = [request.headers.get("X-API-Key", "")]
        if request.endpoint in BEARER_ENDPOINTS:
            given.append(bearer_token())
        if not any(is_one_of(key, api_keys) for key in given):
            raise ApiError(401, "Unauthorized")


def bearer_token() -> str:
    """As it was sent: werkzeug takes one that holds a `=` for something else."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def is_verified_delivery(secrets: Sequence[str]) -> bool:
    """Whether a delivery carries one of the secrets, where there are any."""
    return not secrets or is_one_of(request.headers.get(SECRET_HEADER, ""), secrets)


def is_one_of(given: str, secrets: Sequence[str]) -> bool:
    """Compares with all secrets, each in constant time, so that the time taken tells nothing."""
    # Bytes, since compare_digest refuses text that is not ASCII.
    equal = [hmac.compare_digest(given.encode(), secret.encode()) for secret in secrets]
    return any(equal)
