"""The webhook by which a workspace delivers to us: how it must be, and what one lacks of that."""

from collections.abc import Iterable, Sequence
from typing import Any

SECRET_HEADER = "X-Webhook-Secret"  # noqa: S105  (its name)
ALL_EVENTS = "all_events"
DISABLED = -1

Webhook = dict[str, Any]
"""Instantly's, or some of its fields"""


def is_ours(target: object, url: str) -> bool:
    """Whether deliveries to this URL reach us; a secret may stand in its query."""
    return isinstance(target, str) and target.partition("?")[0].rstrip("/") == url


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
    return "disabled" if webhook.get("status") == DISABLED else "active"
