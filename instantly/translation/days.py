"""Days in a time zone → moments, by the rules of tzdata, whatever a clock does at midnight."""

from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from instantly.translation.timezones import clock, minute_of

MAX_DAYS = 366
FIRST_DAY, LAST_DAY = date(1970, 1, 1), date(2100, 1, 1)
ONE_DAY = timedelta(days=1)


def start_of(day: date, timezone: str) -> datetime:
    """When a day begins there; a midnight that the clock leaves out is the moment of the change.

    Days before 1970 and after 2100 are taken for those.
    """
    day = min(max(day, FIRST_DAY), LAST_DAY)
    return datetime.combine(day, time(), ZoneInfo(timezone)).astimezone(UTC)


def days_asked(
    first: date | None, last: date | None, timezone: str, *, one_by_one: bool
) -> dict[str, Any]:
    """What the statement select_event_stats takes of a range of days, both included.

    Days that are shown one by one end today and are MAX_DAYS, where that is left open.
    """
    changes, offsets = clock_of(timezone) if one_by_one else (None, None)
    if one_by_one:
        longest = (MAX_DAYS - 1) * ONE_DAY
        today = datetime.now(ZoneInfo(timezone)).date()
        last = last or (min(first, LAST_DAY) + longest if first else today)
        first = first or max(last, FIRST_DAY + longest) - longest
    return {
        "since": start_of(first, timezone) if first else None,
        "until": start_of(min(last, LAST_DAY) + ONE_DAY, timezone) if last else None,
        "changes": changes,
        "offsets": offsets,
    }


@lru_cache(maxsize=128)
def clock_of(timezone: str) -> tuple[list[datetime], list[timedelta]]:
    """When the zone's offset changes; the offset before the first change, and that from each on."""
    offsets = clock(timezone, minute_of(FIRST_DAY), minute_of(LAST_DAY))
    changes = [datetime.fromtimestamp(minute * 60, UTC) for minute in list(offsets)[1:]]
    return changes, list(offsets.values())
