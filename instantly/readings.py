"""What numbers and times of Instantly's may look like: either has come as text, too."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

from instantly.limits import MAX_INTEGER

NUMBER = re.compile(r"\s*[-+]?[0-9]{1,18}(\.[0-9]{1,18})?\s*")
# Python also takes digits alone for a date.
DATE = re.compile(r"\d{4}-\d\d-\d\d")
# From 2001 to 2286.
EPOCH_SECONDS = (1e9, 1e10)
EPOCH_MILLISECONDS = (1e12, 1e13)


def number_or_none(value: Any, most: int = MAX_INTEGER) -> float | None:
    """A number, also one in digits; None for all else and for what is too large to be meant."""
    if isinstance(value, str) and NUMBER.fullmatch(value):
        value = float(value) if "." in value else int(value)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if is_number and abs(value) <= most else None


def whole_or_none(value: Any, most: int = MAX_INTEGER) -> int | None:
    """A whole number, also one in digits."""
    number = number_or_none(value, most)
    return int(number) if number is not None and number == int(number) else None


def moment_or_none(value: Any) -> datetime | None:
    """A time in UTC, from ISO 8601 or seconds or milliseconds since 1970.

    One without an offset is taken for UTC.
    """
    number = number_or_none(value, 10**13)
    try:
        if number is not None:
            return moment_of_epoch(number)
        if not isinstance(value, str) or not DATE.match(value.strip()):
            return None
        moment = datetime.fromisoformat(value.strip().upper())
        return moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def moment_of_epoch(number: float) -> datetime | None:
    if EPOCH_MILLISECONDS[0] <= number < EPOCH_MILLISECONDS[1]:
        number /= 1000
    elif not EPOCH_SECONDS[0] <= number < EPOCH_SECONDS[1]:
        return None
    return datetime.fromtimestamp(number, UTC)


def past_or_none(value: Any, now: datetime) -> datetime | None:
    """The time, unless it cannot be meant: more than a day from now."""
    moment = moment_or_none(value)
    return moment if moment and moment <= now + timedelta(days=1) else None
