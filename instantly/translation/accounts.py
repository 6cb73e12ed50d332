"""A sender account as Instantly lists it → what our table keeps of it."""

from typing import Any

from instantly.json_text import storable_text
from instantly.readings import number_or_none

# Instantly's numbers in our words, from its official OpenAPI document.
STATUSES: dict[float | None, str] = {
    1: "active",
    2: "paused",
    3: "maintenance",
    -1: "connection_error",
    -2: "soft_bounce_error",
    -3: "sending_error",
}
WARMUP_STATUSES: dict[float | None, str] = {
    0: "paused",
    1: "active",
    -1: "banned",
    -2: "spam_folder_unknown",
    -3: "permanent_suspension",
}


def account_row(account: dict[str, Any]) -> dict[str, Any]:
    """Instantly's account as our columns. Its status is not among the fields it promises."""
    warmup_status = WARMUP_STATUSES.get(rounded_or_none(account.get("warmup_status")), "paused")
    return {
        "email": storable_text(account["email"]),
        "status": status_of(account.get("status")),
        "warmup_enabled": warmup_status == "active",
        "warmup_status": warmup_status,
        "warmup_score": number_or_none(account.get("stat_warmup_score")),
        "daily_send_limit": rounded_or_none(account.get("daily_limit")),
        "provider_code": rounded_or_none(account.get("provider_code")),
    }


def status_of(value: Any) -> str:
    """The status in our words: active where there is none, never where it is not understood."""
    if value is None:
        return "active"
    number = number_or_none(value)
    return STATUSES.get(number, "maintenance" if (number or 0) >= 0 else "connection_error")


def rounded_or_none(value: Any) -> int | None:
    number = number_or_none(value)
    return None if number is None else round(number)
