"""A sender account as Instantly lists it → what our table keeps of it."""

from typing import Any

from instantly.json_text import storable_text
from instantly.limits import MAX_INTEGER

# Instantly's numbers in our words, from its official OpenAPI document.
STATUSES: dict[int | None, str] = {
    1: "active",
    2: "paused",
    3: "maintenance",
    -1: "connection_error",
    -2: "soft_bounce_error",
    -3: "sending_error",
}
WARMUP_STATUSES: dict[int | None, str] = {
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
        "status": STATUSES.get(rounded_or_none(account.get("status")), "active"),
        "warmup_enabled": warmup_status == "active",
        "warmup_status": warmup_status,
        "warmup_score": number_or_none(account.get("stat_warmup_score")),
        "daily_send_limit": rounded_or_none(account.get("daily_limit")),
        "provider_code": rounded_or_none(account.get("provider_code")),
    }


def number_or_none(value: Any) -> float | None:
    """None also for what is too large to be meant."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if is_number and abs(value) <= MAX_INTEGER else None


def rounded_or_none(value: Any) -> int | None:
    number = number_or_none(value)
    return None if number is None else round(number)
