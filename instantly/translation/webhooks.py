"""The webhook by which a workspace delivers to us: how it must be, and what one lacks of that."""

from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import urlsplit

from instantly.readings import number_or_none

SECRET_HEADER = "X-Webhook-Secret"  # noqa: S105  (its name)
ALL_EVENTS = "all_events"
PORTS = {"http": 80, "https": 443}

Webhook = dict[str, Any]
"""Instantly's, or some of its fields"""


def is_ours(target: object, url: str) -> bool:
    """Whether deliveries to this URL reach us: what is equal in it may be spelt in two ways.

    A secret may stand in its query.
    """
    place = place_of(target)
    return place is not None and place == place_of(url)


def place_of(url: object) -> tuple[str, str, int, str] | None:
    """Scheme, host, port and path of a URL, as clients understand it; None for anything else."""
    try:
        parts = urlsplit(url.strip()) if isinstance(url, str) else urlsplit("")
        port = parts.port or PORTS.get(parts.scheme, 0)
    except ValueError:
        return None
    if not parts.hostname:
        return None
    return parts.scheme, parts.hostname.rstrip("."), port, parts.path.removesuffix("/")


def closest(webhooks: Iterable[Webhook]) -> Webhook | None:
    """The webhook with the fewest faults, the first of equals: a repeat chooses the same."""

    def lacks(webhook: Webhook) -> tuple[bool, bool]:
        return webhook.get("campaign") is not None, webhook.get("event_type") != ALL_EVENTS

    return min(webhooks, key=lacks, default=None)


def changes_needed(webhook: Webhook, url: str, secrets: Sequence[str]) -> Webhook:
    """What is to be set so that all events of the workspace come to us with the first secret.

    Its other headers stay: something in front of us may ask for them. Without a secret no header
    is changed.
    """
    right: Webhook = {"target_hook_url": url, "event_type": ALL_EVENTS}
    right |= dict.fromkeys(("campaign", "custom_interest_value"))
    if secrets and not carries(webhook, secrets[:1]):
        others = {name: value for name, value in headers_of(webhook) if not is_secret_header(name)}
        right["headers"] = {**others, SECRET_HEADER: secrets[0]}
    return {name: value for name, value in right.items() if webhook.get(name) != value}


def carries(webhook: Webhook, secrets: Sequence[str]) -> bool:
    """Whether its deliveries carry one of the secrets, as far as Instantly shows its headers."""
    carried = [value for name, value in headers_of(webhook) if is_secret_header(name)]
    return carried in [[secret] for secret in secrets]


def headers_of(webhook: Webhook) -> list[tuple[str, str]]:
    headers = webhook.get("headers")
    if not isinstance(headers, dict):
        return []
    return [(name, value) for name, value in headers.items() if isinstance(value, str)]


def is_secret_header(name: str) -> bool:
    return name.lower() == SECRET_HEADER.lower()


def status_of(webhook: Webhook) -> str:
    return "disabled" if is_off(webhook) else "active"


def is_off(webhook: Webhook) -> bool:
    """Whether Instantly has switched it off: it does so with negative numbers."""
    return (number_or_none(webhook.get("status")) or 0) < 0
