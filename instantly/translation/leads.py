"""A lead as Instantly lists it → what our table keeps of it."""

from typing import Any

from instantly.json_text import storable_text
from instantly.limits import MAX_EMAIL_CHARACTERS
from instantly.translation.events import moment_or_none

# Instantly's `status`, where it proves something; -3 (skipped) stands beside what else is proved.
PROVED_BY_STATUS = {3: "completed", -1: "bounced", -2: "unsubscribed"}
# What can be proved, weakest first as in status_strength of sql/functions.sql, and by which fields:
# a count above 0 or a time proves that it happened.
PROVED_BY_FIELDS = {
    "contacted": ("timestamp_last_contact", "last_step_timestamp_executed"),
    "opened": ("email_open_count", "timestamp_last_open"),
    "clicked": ("email_click_count", "timestamp_last_click"),
    "completed": (),
    "replied": ("email_reply_count", "timestamp_last_reply"),
    "bounced": (),
    "unsubscribed": (),
}
# What a lead's payload holds beside its custom variables.
KNOWN_NAMES = frozenset(
    "email firstName lastName companyName jobTitle phone website personalization".split()
)


def listed_leads(leads: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of those that have an address which we could hold."""
    return [
        row_of(lead) for lead in leads if 0 < len(lead["email"].strip()) <= MAX_EMAIL_CHARACTERS
    ]


def row_of(lead: dict[str, Any]) -> dict[str, Any]:
    payload = lead.get("payload")
    variables = payload if isinstance(payload, dict) else {}
    return {
        "instantly_lead_id": lead["id"],
        "email": storable_text(lead["email"].strip()),
        **{name: text_or_none(lead, name) for name in ("first_name", "last_name", "company_name")},
        "custom_variables": {
            storable_text(name): storable_text(value) if isinstance(value, str) else value
            for name, value in variables.items()
            if name not in KNOWN_NAMES and not isinstance(value, dict | list)
        },
        **proven(lead),
    }


def text_or_none(lead: dict[str, Any], name: str) -> str | None:
    value = lead.get(name)
    return storable_text(value) if isinstance(value, str) else None


def proven(lead: dict[str, Any]) -> dict[str, Any]:
    """What Instantly's own fields prove, and the strongest status among that."""
    by_status = PROVED_BY_STATUS.get(lead["status"])
    proved = [
        fact
        for fact, names in PROVED_BY_FIELDS.items()
        if fact == by_status or any(is_proof(lead.get(name)) for name in names)
    ]
    if proved not in ([], ["unsubscribed"]) and "contacted" not in proved:
        proved.insert(0, "contacted")  # nobody opens, answers or bounces what was not sent
    return {"proved": proved, "status": proved[-1] if proved else "active"}


def is_proof(value: Any) -> bool:
    if type(value) in (int, float):
        return bool(value > 0)
    return moment_or_none(value) is not None
