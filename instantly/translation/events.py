"""Instantly's events: their names, and what each does to a lead and to a campaign.

Names are from Instantly's webhook guide; the last ones of each table have only been seen by others.
"""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from instantly.addresses import same_address
from instantly.json_text import storable_text
from instantly.limits import MAX_BIGINT, MAX_EMAIL_CHARACTERS
from instantly.readings import past_or_none, whole_or_none

# What becomes of a delivery.
RECORDED = "recorded"
DUPLICATE = "duplicate"
UNKNOWN_CAMPAIGN = "unknown campaign"
UNVERIFIED = "unverified"
NO_EVENT = "no event"

# A webhook that is subscribed to email_link_clicked delivers link_clicked.
RECORDED_NAMES = {"link_clicked": "email_link_clicked"}

# What a lead may be labelled as. The event of each label is called lead_<label>.
LABELS = frozenset(
    "interested neutral not_interested meeting_booked meeting_completed closed out_of_office"
    " wrong_person no_show lost skipped".split()
)

# What an event says of its lead; how strong that is says status_strength in sql/functions.sql.
LEAD_STATUS = {
    "email_sent": "contacted",
    "email_opened": "opened",
    "email_link_clicked": "clicked",
    "reply_received": "replied",
    "email_bounced": "bounced",
    "lead_unsubscribed": "unsubscribed",
    **{f"lead_{label}": label for label in sorted(LABELS)},
    "lead_won": "closed",
    "campaign_completed_for_lead_without_reply": "completed",
}

CAMPAIGN_STATUS = {"campaign_completed": "completed"}

# Events that are about no lead: an `email` in them is somebody else's.
WITHOUT_LEAD = frozenset(["account_error", "campaign_completed"])

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

# What else an event proves, as a reconcile keeps it: what has no column.
PROVES = {"campaign_completed_for_lead_without_reply": ["completed", "contacted"]}


@dataclass(frozen=True)
class Event:
    """What a payload says, as far as it can be read. Addresses are as `same_address` has them."""

    event_type: str
    campaign_id: str | None
    lead_email: str | None
    account_email: str | None
    step: int | None
    variant: int | None
    occurred_at: datetime | None

    @classmethod
    def from_payload(
        cls, payload: dict[str, Any], *, lead_email: object = None, timestamp: object = None
    ) -> "Event | None":
        """Returns None for a payload that does not name its event.

        `lead_email` and `timestamp` are known from elsewhere: they count where it is silent.
        """
        name = payload.get("event_type")
        if not isinstance(name, str) or not name:
            return None
        event_type = recorded_name(storable_text(name))
        account_email = address_or_none(payload.get("email_account"))
        # The lead's own data are merged into the payload, `email` among them.
        named = [payload.get("lead_email"), payload.get("email"), lead_email]
        addresses = [address for each in named if (address := address_or_none(each))]
        if address_or_none(named[0]) is None:
            is_of_lead = event_type not in WITHOUT_LEAD
            addresses = [each for each in addresses if is_of_lead and each != account_email]
        now = datetime.now(UTC)
        return cls(
            event_type=event_type,
            campaign_id=uuid_or_none(payload.get("campaign_id")),
            lead_email=addresses[0] if addresses else None,
            account_email=account_email,
            step=positive_or_none(payload.get("step")),
            variant=positive_or_none(payload.get("variant")),
            occurred_at=past_or_none(payload.get("timestamp"), now) or past_or_none(timestamp, now),
        )

    @property
    def counts(self) -> bool:
        """Whether the statistics take it: not where the lead is the sending account itself."""
        return self.lead_email is None or self.lead_email != self.account_email

    @property
    def counted_as(self) -> str | None:
        """Its column in the statistics."""
        return COUNTED_AS.get(self.event_type) if self.counts else None

    def parameters(self) -> dict[str, Any]:
        """Returns what the statement insert_event takes, but for the payload."""
        lead_status = LEAD_STATUS.get(self.event_type)
        is_label = lead_status in LABELS
        tells_of_lead = self.counts and self.lead_email is not None
        return {
            **vars(self),
            "instantly_campaign_id": self.campaign_id,
            # Empty and not NULL: the event counts nowhere, but it is the latest of its lead.
            "counted_as": self.counted_as or "",
            # The label of a lead stands at step 0, whichever the event names.
            "steps": sorted({self.step or 0, 0}) if is_label else [self.step or 0],
            "label": lead_status if is_label and tells_of_lead else None,
            "proves": PROVES.get(self.event_type) if tells_of_lead else None,
            "lead_status": lead_status,
            "campaign_status": CAMPAIGN_STATUS.get(self.event_type),
        }


def recorded_name(event_type: str) -> str:
    """Under which name an event is recorded."""
    return RECORDED_NAMES.get(event_type, event_type)


def uuid_or_none(value: Any) -> str | None:
    try:
        return str(UUID(value)) if isinstance(value, str) else None
    except ValueError:
        return None


def address_or_none(value: Any) -> str | None:
    address = same_address(storable_text(value)) if isinstance(value, str) else ""
    return address if 0 < len(address) <= MAX_EMAIL_CHARACTERS else None


def positive_or_none(value: Any) -> int | None:
    number = None if isinstance(value, float) else whole_or_none(value, MAX_BIGINT)
    return number if number and number > 0 else None


def fingerprint(canonical: str) -> bytes:
    """Tells a repeated delivery: Instantly gives them no id."""
    return hashlib.sha256(canonical.encode()).digest()
