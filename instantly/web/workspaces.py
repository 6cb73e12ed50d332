"""Instantly with the key of whom the request acts for; the key lives as long as the request."""

import re

from flask import request

from instantly.clients.instantly import InstantlyClient
from instantly.schemas.fields import camel_case
from instantly.web.services import services


def organization_workspace(clerk_org_id: str) -> InstantlyClient:
    """Instantly with the organisation's own key."""
    key = services().keys.decrypt_organization_key(
        clerk_org_id, caller_method=request.method, caller_path=route_pattern()
    )
    return services().instantly.with_key(key)


def app_workspace() -> InstantlyClient:
    """Instantly with the shared key of this service: the sender accounts are there."""
    key = services().keys.decrypt_app_key(caller_method=request.method, caller_path=route_pattern())
    return services().instantly.with_key(key)


def route_pattern() -> str:
    """The route of this request as key-service writes it: /campaigns/:campaignId/leads."""
    rule = request.url_rule.rule if request.url_rule else ""
    return re.sub(r"<(?:[^:<>]+:)?([^<>]+)>", lambda match: ":" + camel_case(match.group(1)), rule)
