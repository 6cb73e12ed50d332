"""The mails to a lead and its answers, as the payloads of its events tell them."""

from collections.abc import Iterable, Mapping
from typing import Any

from instantly.json_text import parse_json

# The events that are mails, and whose.
DIRECTIONS = {"email_sent": "sent", "reply_received": "received", "auto_reply_received": "auto"}
# What is equal in two deliveries of one mail, beside its id.
COMPARED = ("direction", "subject", "text", "html")


def messages_of(events: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The mails of these events, in their order; one that was delivered twice stands once."""
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for event in events:
        payload = parse_json(event["payload"], any_number=True)
        message = message_of(event, payload)
        # The texts, too: that a reply's id is not that of the mail before it is undocumented, and
        # of two replies none may be lost. Without an id nothing tells a repetition.
        mail = text_or_none(payload.get("email_id")) or event["id"]
        found.setdefault((mail, *(message[name] for name in COMPARED)), message)
    return list(found.values())


def message_of(event: Mapping[str, Any], payload: Mapping[str, Any]) -> dict[str, Any]:
    direction = DIRECTIONS[event["event_type"]]
    kind = "email" if direction == "sent" else "reply"
    subject, text, html, snippet = (
        text_or_none(payload.get(f"{kind}_{part}"))
        for part in ("subject", "text", "html", "text_snippet")
    )
    return {
        "direction": direction,
        "step": event["step"],
        "subject": subject,
        "text": text or snippet,
        "html": html,
        "accountEmail": event["account_email"],
        "at": event["at"],
    }


def text_or_none(value: Any) -> str | None:
    return value if isinstance(value, str) else None
