"""Who may call: every route needs the service's key, but for the few that are public."""

import hmac
from collections.abc import Sequence

from flask import Flask, request

from instantly.translation.subscription import SECRET_HEADER
from instantly.web.errors import ApiError

PUBLIC_ENDPOINTS = frozenset(
    [
        "health.index",
        "health.health",
        "documentation.get_document",
        "documentation.get_docs",
        "webhooks.get_config",
        "webhooks.receive",
    ]
)


def require_api_key(app: Flask, api_key: str) -> None:
    """Denies by default: without the key an unknown path is 401 too."""
    expected = api_key.encode()

    @app.before_request
    def check_api_key() -> None:
        if request.endpoint in PUBLIC_ENDPOINTS:
            return
        # Bytes, since compare_digest refuses text that is not ASCII.
        if not hmac.compare_digest(request.headers.get("X-API-Key", "").encode(), expected):
            raise ApiError(401, "Unauthorized")


def is_verified_delivery(secrets: Sequence[str]) -> bool:
    """Whether a delivery carries one of the secrets, where there are any.

    It is compared with all of them, so that the time taken tells nothing.
    """
    given = request.headers.get(SECRET_HEADER, "").encode()
    equal = [hmac.compare_digest(given, secret.encode()) for secret in secrets]
    return any(equal) or not secrets
