"""Instantly's closed list of time zones, and which of them stands for any other.

The list is the `timezone` enum of the official OpenAPI document, in its order. It lacks most of
the common names (New York, London, Tokyo, UTC), but nearly always holds one with the same clock.
"""

from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones, reset_tzpath

DAYS_COMPARED = 366

# The rules of the package tzdata, and never those that the machine's image happens to hold.
reset_tzpath(to=())

INSTANTLY_TIMEZONES: tuple[str, ...] = (
    "Etc/GMT+12",
    "Etc/GMT+11",
    "Etc/GMT+10",
    "America/Anchorage",
    "America/Dawson",
    "America/Creston",
    "America/Chihuahua",
    "America/Boise",
    "America/Belize",
    "America/Chicago",
    "America/Bahia_Banderas",
    "America/Regina",
    "America/Bogota",
    "America/Detroit",
    "America/Indiana/Marengo",
    "America/Caracas",
    "America/Asuncion",
    "America/Glace_Bay",
    "America/Campo_Grande",
    "America/Anguilla",
    "America/Santiago",
    "America/St_Johns",
    "America/Sao_Paulo",
    "America/Argentina/La_Rioja",
    "America/Araguaina",
    "America/Godthab",
    "America/Montevideo",
    "America/Bahia",
    "America/Noronha",
    "America/Scoresbysund",
    "Atlantic/Cape_Verde",
    "Africa/Casablanca",
    "America/Danmarkshavn",
    "Europe/Isle_of_Man",
    "Atlantic/Canary",
    "Africa/Abidjan",
    "Arctic/Longyearbyen",
    "Europe/Belgrade",
    "Africa/Ceuta",
    "Europe/Sarajevo",
    "Africa/Algiers",
    "Africa/Windhoek",
    "Asia/Nicosia",
    "Asia/Beirut",
    "Africa/Cairo",
    "Asia/Damascus",
    "Europe/Bucharest",
    "Africa/Blantyre",
    "Europe/Helsinki",
    "Europe/Istanbul",
    "Asia/Jerusalem",
    "Africa/Tripoli",
    "Asia/Amman",
    "Asia/Baghdad",
    "Europe/Kaliningrad",
    "Asia/Aden",
    "Africa/Addis_Ababa",
    "Europe/Kirov",
    "Europe/Astrakhan",
    "Asia/Tehran",
    "Asia/Dubai",
    "Asia/Baku",
    "Indian/Mahe",
    "Asia/Tbilisi",
    "Asia/Yerevan",
    "Asia/Kabul",
    "Antarctica/Mawson",
    "Asia/Yekaterinburg",
    "Asia/Karachi",
    "Asia/Kolkata",
    "Asia/Colombo",
    "Asia/Kathmandu",
    "Antarctica/Vostok",
    "Asia/Dhaka",
    "Asia/Rangoon",
    "Antarctica/Davis",
    "Asia/Novokuznetsk",
    "Asia/Hong_Kong",
    "Asia/Krasnoyarsk",
    "Asia/Brunei",
    "Australia/Perth",
    "Asia/Taipei",
    "Asia/Choibalsan",
    "Asia/Irkutsk",
    "Asia/Dili",
    "Asia/Pyongyang",
    "Australia/Adelaide",
    "Australia/Darwin",
    "Australia/Brisbane",
    "Australia/Melbourne",
    "Antarctica/DumontDUrville",
    "Australia/Currie",
    "Asia/Chita",
    "Antarctica/Macquarie",
    "Asia/Sakhalin",
    "Pacific/Auckland",
    "Etc/GMT-12",
    "Pacific/Fiji",
    "Asia/Anadyr",
    "Asia/Kamchatka",
    "Etc/GMT-13",
    "Pacific/Apia",
)

# Several listed zones often keep the same clock: these name their rules best.
PREFERRED = (
    "America/Detroit",
    "America/Boise",
    "America/Creston",
    "Europe/Isle_of_Man",
    "Europe/Belgrade",
    "Asia/Dili",
    "Asia/Hong_Kong",
    "Australia/Melbourne",
    "Africa/Abidjan",
)


class UnknownTimezone(ValueError):
    """No IANA zone has this name."""


class NoEqualTimezone(ValueError):
    """No zone of the list keeps the same clock over the coming year; `closest` comes nearest."""

    def __init__(self, name: str, closest: str) -> None:
        super().__init__(name)
        self.closest = closest


@lru_cache(maxsize=1)
def known_timezones() -> frozenset[str]:
    return frozenset(available_timezones())


def instantly_timezone(name: str, today: date) -> str:
    """The zone of Instantly's list to send for this IANA name.

    Raises UnknownTimezone, or NoEqualTimezone when none has the same UTC offsets from `today` on
    for a year.
    """
    if name in INSTANTLY_TIMEZONES:
        return name
    if name not in known_timezones():
        raise UnknownTimezone(name)
    wanted = clock(name, today)
    for listed in (*PREFERRED, *INSTANTLY_TIMEZONES):
        if clock(listed, today) == wanted:
            return listed
    closest = min(INSTANTLY_TIMEZONES, key=lambda listed: distance(listed, name, today))
    raise NoEqualTimezone(name, closest)


def distance(one: str, other: str, today: date) -> timedelta:
    """By how much two clocks differ, added up over the days of the coming year."""
    pairs = zip(daily_offsets(one, today), daily_offsets(other, today), strict=True)
    return sum((abs(a - b) for a, b in pairs), timedelta())


@lru_cache(maxsize=256)
def daily_offsets(name: str, today: date) -> tuple[timedelta, ...]:
    """The UTC offset at each UTC midnight from today on."""
    zone = ZoneInfo(name)
    midnight = datetime.combine(today, time(), UTC)
    return tuple(offset_at(zone, midnight + timedelta(days=n)) for n in range(DAYS_COMPARED + 1))


@lru_cache(maxsize=256)
def clock(name: str, today: date) -> tuple[tuple[datetime | None, timedelta], ...]:
    """The UTC offsets over the coming year, each with the minute (UTC) from which it holds."""
    zone = ZoneInfo(name)
    midnight = datetime.combine(today, time(), UTC)
    offsets = daily_offsets(name, today)
    changes: list[tuple[datetime | None, timedelta]] = [(None, offsets[0])]
    for day, (before, after) in enumerate(pairwise(offsets)):
        if before != after:
            low, high = 0, 24 * 60
            while high - low > 1:
                middle = (low + high) // 2
                moment = midnight + timedelta(days=day, minutes=middle)
                low, high = (middle, high) if offset_at(zone, moment) == before else (low, middle)
            changes.append((midnight + timedelta(days=day, minutes=high), after))
    return tuple(changes)


def offset_at(zone: ZoneInfo, moment: datetime) -> timedelta:
    offset = moment.astimezone(zone).utcoffset()
    return offset if offset is not None else timedelta()
