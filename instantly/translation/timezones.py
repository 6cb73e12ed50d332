"""Finds the time zone of Instantly's closed list that keeps the same clock as a given one.

The list is the `timezone` enum of the official OpenAPI document, in its order. It lacks most of
the common names (New York, London, Tokyo, UTC), but nearly always holds an equal of them.
"""

from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones, reset_tzpath

DAYS_COMPARED = 366
MINUTES_A_DAY = 24 * 60

# The rules of the package tzdata, and never those that the machine's image happens to hold.
reset_tzpath(to=())
KNOWN_TIMEZONES = available_timezones()

INSTANTLY_TIMEZONES = """
Etc/GMT+12 Etc/GMT+11 Etc/GMT+10 America/Anchorage America/Dawson America/Creston America/Chihuahua
America/Boise America/Belize America/Chicago America/Bahia_Banderas America/Regina America/Bogota
America/Detroit America/Indiana/Marengo America/Caracas America/Asuncion America/Glace_Bay
America/Campo_Grande America/Anguilla America/Santiago America/St_Johns America/Sao_Paulo
America/Argentina/La_Rioja America/Araguaina America/Godthab America/Montevideo America/Bahia
America/Noronha America/Scoresbysund Atlantic/Cape_Verde Africa/Casablanca America/Danmarkshavn
Europe/Isle_of_Man Atlantic/Canary Africa/Abidjan Arctic/Longyearbyen Europe/Belgrade Africa/Ceuta
Europe/Sarajevo Africa/Algiers Africa/Windhoek Asia/Nicosia Asia/Beirut Africa/Cairo Asia/Damascus
Europe/Bucharest Africa/Blantyre Europe/Helsinki Europe/Istanbul Asia/Jerusalem Africa/Tripoli
Asia/Amman Asia/Baghdad Europe/Kaliningrad Asia/Aden Africa/Addis_Ababa Europe/Kirov
Europe/Astrakhan Asia/Tehran Asia/Dubai Asia/Baku Indian/Mahe Asia/Tbilisi Asia/Yerevan Asia/Kabul
Antarctica/Mawson Asia/Yekaterinburg Asia/Karachi Asia/Kolkata Asia/Colombo Asia/Kathmandu
Antarctica/Vostok Asia/Dhaka Asia/Rangoon Antarctica/Davis Asia/Novokuznetsk Asia/Hong_Kong
Asia/Krasnoyarsk Asia/Brunei Australia/Perth Asia/Taipei Asia/Choibalsan Asia/Irkutsk Asia/Dili
Asia/Pyongyang Australia/Adelaide Australia/Darwin Australia/Brisbane Australia/Melbourne
Antarctica/DumontDUrville Australia/Currie Asia/Chita Antarctica/Macquarie Asia/Sakhalin
Pacific/Auckland Etc/GMT-12 Pacific/Fiji Asia/Anadyr Asia/Kamchatka Etc/GMT-13 Pacific/Apia
""".split()

# Several listed zones often keep the same clock: these name their rules best.
PREFERRED = """
America/Detroit America/Boise America/Creston Europe/Isle_of_Man Europe/Belgrade Asia/Dili
Asia/Hong_Kong Australia/Melbourne Africa/Abidjan
""".split()


class UnknownTimezone(ValueError):
    """No IANA zone has this name."""


class NoEqualTimezone(ValueError):
    """No listed zone has the same UTC offsets over the coming year; `closest` comes nearest."""

    def __init__(self, name: str, closest: str) -> None:
        super().__init__(name)
        self.closest = closest


@lru_cache(maxsize=1024)
def instantly_timezone(name: str, today: date) -> str:
    """Returns the listed zone whose UTC offsets equal this IANA zone's for a year from `today`.

    Raises UnknownTimezone or NoEqualTimezone.
    """
    if name in INSTANTLY_TIMEZONES:
        return name
    if name not in KNOWN_TIMEZONES:
        raise UnknownTimezone(name)
    for listed in PREFERRED + INSTANTLY_TIMEZONES:
        if have_same_clock(listed, name, today):
            return listed
    closest = min(INSTANTLY_TIMEZONES, key=lambda listed: distance(listed, name, today))
    raise NoEqualTimezone(name, closest)


def have_same_clock(one: str, other: str, today: date) -> bool:
    """Compares two zones' UTC offsets day by day, and on days of change minute by minute."""
    offsets = daily_offsets(one, today)
    return offsets == daily_offsets(other, today) and all(
        offset_at(one, today, minute) == offset_at(other, today, minute)
        for day, (before, after) in enumerate(pairwise(offsets))
        if before != after
        for minute in range(day * MINUTES_A_DAY, (day + 1) * MINUTES_A_DAY)
    )


def distance(one: str, other: str, today: date) -> timedelta:
    """Adds up by how much two zones' UTC offsets differ on each day of the coming year."""
    pairs = zip(daily_offsets(one, today), daily_offsets(other, today), strict=True)
    return sum((abs(a - b) for a, b in pairs), timedelta())


@lru_cache(maxsize=256)
def daily_offsets(name: str, today: date) -> tuple[timedelta, ...]:
    """The zone's UTC offset at each midnight (UTC) of the coming year."""
    return tuple(offset_at(name, today, day * MINUTES_A_DAY) for day in range(DAYS_COMPARED + 1))


def offset_at(name: str, today: date, minute: int) -> timedelta:
    """The zone's UTC offset that many minutes after the midnight (UTC) that begins `today`."""
    moment = datetime.combine(today, time(), UTC) + timedelta(minutes=minute)
    return moment.astimezone(ZoneInfo(name)).utcoffset() or timedelta()
