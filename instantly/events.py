"""Instantly's events: their names, and what each does to a lead and to a campaign.

Names are from Instantly's webhook guide; the last ones of each table have only been seen by others.
"""

import hashlib
import re
from collections.abc import Set
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from instantly.clients.instantly import MAX_EMAIL_CHARACTERS
from instantly.jsontext import storable_text
from instantly.schemas.fields import MAX_BIGINT

# A webhook that is subscribed to email_link_clicked delivers link_clicked.
RECORDED_NAMES = {"link_clicked": "email_link_clicked"}

# What an event says of its lead.
LEAD_STATUS = {
    "email_sent": "contacted",
    "email_opened": "opened",
    "email_link_clicked": "clicked",
    "reply_received": "replied",
    "email_bounced": "bounced",
    "lead_unsubscribed": "unsubscribed",
    "lead_interested": "interested",
    "lead_neutral": "neutral",
    "lead_not_interested": "not_interested",
    "lead_meeting_booked": "meeting_booked",
    "lead_meeting_completed": "meeting_completed",
    "lead_closed": "closed",
    "lead_out_of_office": "out_of_office",
    "lead_wrong_person": "wrong_person",
    "lead_no_show": "no_show",
    "lead_won": "closed",
    "lead_lost": "lost",
    "lead_skipped": "skipped",
    "campaign_completed_for_lead_without_reply": "completed",
}

# Weakest first: a lead takes a stronger status and never goes back. Labels are equally strong; of
# these the latest one counts.
LABELS = frozenset(
    status
    for event_type, status in LEAD_STATUS.items()
    if event_type.startswith("lead_") and event_type != "lead_unsubscribed"
)
STRENGTH: tuple[Set[str], ...] = (
    {"active"},
    {"contacted"},
    {"opened"},
    {"clicked"},
    {"completed"},
    {"replied"},
    LABELS,
    {"bounced"},
    {"unsubscribed"},
)

# Status → what a lead may be to take it whatever the times are.
WEAKER_STATUSES = {
    status: [weaker for equals in STRENGTH[:strength] for weaker in sorted(equals)]
    for strength, statuses in enumerate(STRENGTH)
    for status in statuses
}

CAMPAIGN_STATUS = {"campaign_completed": "completed"}

# The column of instantly_lead_activity that counts the event.
COUNTED_AS = {
    "email_sent": "sent",
    "email_opened": "opened",
    "email_link_clicked": "clicked",
    "reply_received": "replied",
    "email_bounced": "bounced",
    "auto_reply_received": "auto_replied",
    "lead_not_interested": "not_interested",
    "lead_out_of_office": "out_of_office",
    "lead_unsubscribed": "unsubscribed",
}


@dataclass(frozen=True)
class Event:
    """What a payload says, as far as it can be read. `lead_email` is in lower case."""

    event_type: str
    campaign_id: str | None
    lead_email: str | None
    account_email: str | None
    step: int | None
    variant: int | None
    occurred_at: datetime | None

    @classmethod
    def from_payload(cls, payload: dict[str, Any]) -> "Event":
        event_type = storable_text(payload["event_type"])
        return cls(
            event_type=RECORDED_NAMES.get(event_type, event_type),
            campaign_id=uuid_or_none(payload.get("campaign_id")),
            lead_email=address_or_none(payload.get("lead_email")),
            account_email=address_or_none(payload.get("email_account")),
            step=positive_or_none(payload.get("step")),
            variant=positive_or_none(payload.get("variant")),
            occurred_at=moment_or_none(payload.get("timestamp")),
        )

    @property
    def counted_as(self) -> str | None:
        """Its column in the statistics; none where the lead is the sending account itself."""
        if self.lead_email is not None and self.lead_email == self.account_email:
            return None
        return COUNTED_AS.get(self.event_type)


def uuid_or_none(value: Any) -> str | None:
    try:
        return str(UUID(value)) if isinstance(value, str) else None
    except ValueError:
        return None


def address_or_none(value: Any) -> str | None:
    if not isinstance(value, str) or not 0 < len(value.strip()) <= MAX_EMAIL_CHARACTERS:
        return None
    return storable_text(value).strip().lower()


def positive_or_none(value: Any) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= MAX_BIGINT:
        return None
    return value


def moment_or_none(value: Any) -> datetime | None:
    """A time in UTC; one without an offset is taken for UTC."""
    # Python also takes digits alone for a time, and would see the year 1711 in milliseconds.
    if not isinstance(value, str) or not re.match(r"\d{4}-\d\d-\d\d", value):
        return None
    try:
        moment = datetime.fromisoformat(value)
        return moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def is_readable(payload: dict[str, Any]) -> bool:
    event_type = payload.get("event_type")
    return isinstance(event_type, str) and event_type != ""


def fingerprint(canonical: str) -> bytes:
    """Tells a repeated delivery: Instantly gives them no id."""
    return hashlib.sha256(canonical.encode()).digest()
