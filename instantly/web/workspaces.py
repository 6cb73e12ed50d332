"""Instantly clients with an organisation's key or the app's, for one request."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from flask import request

from instantly.clients.instantly import InstantlyClient
from instantly.schemas.fields import camel_case
from instantly.storage.leases import Busy, Lease
from instantly.web.errors import RETRY_AFTER_SECONDS, ApiError
from instantly.web.services import services


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
