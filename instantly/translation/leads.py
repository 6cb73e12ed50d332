"""A lead as Instantly lists it → what our table keeps of it."""

from datetime import UTC, datetime
from typing import Any

from instantly.addresses import stored_address
from instantly.json_text import storable_text
from instantly.limits import MAX_EMAIL_CHARACTERS
from instantly.readings import moment_or_none, number_or_none, past_or_none, whole_or_none

# Instantly's `status`, where it proves something; -3 (skipped) stands beside what else is proved.
PROVED_BY_STATUS: dict[int | None, str] = {3: "completed", -1: "bounced", -2: "unsubscribed"}
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
# The official document's numbers; others are labels of an organisation's own.
LABEL_BY_INTEREST: dict[int | None, str] = {
    0: "out_of_office",
    1: "interested",
    2: "meeting_booked",
    3: "meeting_completed",
    4: "closed",
    -1: "not_interested",
    -2: "wrong_person",
    -3: "lost",
    -4: "no_show",
}
# What a lead's payload may hold beside its custom variables: the fields of the official document's
# Lead, by their own names and as the payload writes them.
KNOWN_NAMES = frozenset(
    "assigned_to campaign company_domain company_name companyName email email_click_count"
    " email_clicked_step email_clicked_variant email_open_count email_opened_step"
    " email_opened_variant email_replied_step email_replied_variant email_reply_count"
    " enrichment_status esg_code esp_code first_name firstName id is_website_visitor job_title"
    " jobTitle last_contacted_from last_name last_step_from last_step_id"
    " last_step_timestamp_executed lastName list_id lt_interest_status organization pause_until"
    " payload personalization phone pl_value_lead status status_summary status_summary_subseq"
    " subsequence_id timestamp_added_subsequence timestamp_created timestamp_last_click"
    " timestamp_last_contact timestamp_last_interest_change timestamp_last_open"
    " timestamp_last_reply timestamp_last_touch timestamp_updated upload_method uploaded_by_user"
    " verification_status website".split()
)


def listed_leads(leads: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of those that have an address which we could hold."""
    return [row for row in map(row_of, leads) if 0 < len(row["email"]) <= MAX_EMAIL_CHARACTERS]


def row_of(lead: dict[str, Any]) -> dict[str, Any]:
    payload = lead.get("payload")
    variables = payload if isinstance(payload, dict) else {}
    return {
        "instantly_lead_id": lead["id"],
        "email": stored_address(storable_text(lead["email"])),
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
    by_status = PROVED_BY_STATUS.get(whole_or_none(lead["status"]))
    proved = [
        fact
        for fact, names in PROVED_BY_FIELDS.items()
        if fact == by_status or any(is_proof(lead.get(name)) for name in names)
    ]
    # Nobody opens, answers or bounces what was not sent.
    was_sent = proved not in ([], ["unsubscribed"]) or is_proof(last_step_of(lead))
    if was_sent and "contacted" not in proved:
        proved.insert(0, "contacted")
    status = proved[-1] if proved else "active"
    label, labelled_at = label_of(lead)
    if label and status not in ("bounced", "unsubscribed"):
        status = label
    return {"proved": proved, "status": status, "label": label, "labelled_at": labelled_at}


def last_step_of(lead: dict[str, Any]) -> Any:
    """When a step was last executed, as the lead's summary has it."""
    match lead.get("status_summary"):
        case {"lastStep": {"timestamp_executed": moment}}:
            return moment
    return None


def label_of(lead: dict[str, Any]) -> tuple[str | None, str | None]:
    """The label and since when the lead has it; none where either is missing."""
    label = LABEL_BY_INTEREST.get(whole_or_none(lead.get("lt_interest_status")))
    moment = past_or_none(lead.get("timestamp_last_interest_change"), datetime.now(UTC))
    return (label, moment.isoformat()) if label and moment else (None, None)


def is_proof(value: Any) -> bool:
    number = number_or_none(value)
    return moment_or_none(value) is not None if number is None else number > 0
