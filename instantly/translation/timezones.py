"""Finds the time zone of Instantly's closed list that keeps the same clock as a given one.

The list is the `timezone` enum of the official OpenAPI document, in its order. It lacks most of
the common names (New York, London, Tokyo, UTC), but nearly always holds an equal of them.
"""

from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple
from zoneinfo import ZoneInfo, available_timezones, reset_tzpath

MINUTES_A_DAY = 24 * 60
MINUTES_COMPARED = 366 * MINUTES_A_DAY
# Since 2000 no clock on earth was changed twice within less.
MINUTES_BETWEEN_LOOKS = 6 * MINUTES_A_DAY
# Far enough back to part what belongs together from what is equal by chance.
FIRST_DAY_COMPARED = date(1940, 1, 1)

# The rules of the package tzdata, and never those that the machine's image happens to hold.
reset_tzpath(to=())
# "Factory" is the zone of machines that were not told where they are.
NAMES = {name.lower(): name for name in available_timezones() - {"Factory"}}

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

# Of zones that fit equally well, these name their rules best.
PREFERRED = """
America/Anguilla Africa/Abidjan Asia/Aden Asia/Hong_Kong Asia/Karachi Australia/Brisbane
Europe/Helsinki
""".split()
# Longyearbyen is an alias of Europe/Berlin: nobody in Central Europe looks for the Arctic.
STAND_INS = [name for name in INSTANTLY_TIMEZONES if name != "Arctic/Longyearbyen"]


class UnknownTimezone(ValueError):
    """No IANA zone has this name."""


class ListedTimezone(NamedTuple):
    name: str
    warning: str | None = None
    """how its clock differs from the one that was asked for, in a sentence"""


class Spell(NamedTuple):
    """A time in which one clock is ahead of another; `begin` and `end` are minutes since 1970."""

    begin: int
    end: int
    ahead: timedelta
    """negative where it is behind"""


def instantly_timezone(name: str, today: date) -> ListedTimezone:
    """The listed zone that has the UTC offsets of this IANA zone for a year from `today`.

    If none has, the one whose offsets differ least, with a warning. The name may be in any case.
    Raises UnknownTimezone.
    """
    return stand_in(canonical_name(name), today)


def canonical_name(name: str) -> str:
    """An IANA zone as it is spelt, from its name in any case. Raises UnknownTimezone."""
    canonical = NAMES.get(name.strip().lower())
    if canonical is None:
        raise UnknownTimezone
    return canonical


@lru_cache(maxsize=1024)
def stand_in(name: str, today: date) -> ListedTimezone:
    """What stands for an IANA zone: itself, if it is listed."""
    if name in INSTANTLY_TIMEZONES:
        return ListedTimezone(name)
    now = minute_of(today)
    coming = {zone: spells(zone, name, now, now + MINUTES_COMPARED) for zone in STAND_INS}
    if equals := [zone for zone in STAND_INS if not coming[zone]]:
        return ListedTimezone(min(equals, key=lambda zone: doubts(zone, name, now)))
    closest = min(STAND_INS, key=lambda zone: (difference(coming[zone]), zone not in PREFERRED))
    return ListedTimezone(closest, warning(name, closest, coming[closest], now))


def doubts(zone: str, name: str, now: int) -> tuple[int, bool, int]:
    """How much can be said against a listed zone that equals another one; the least is best.

    Instantly's copy of the rules may be years old and not know that they became equal, or that the
    listed zone changed its clock. So what counts first is for how long the two have been equal.
    """
    first = minute_of(FIRST_DAY_COMPARED)
    past = spells(zone, name, first, now)
    equal_since = past[-1].end if past else first
    return equal_since, zone not in PREFERRED, max(clock(zone, first, now))


def warning(name: str, zone: str, coming: list[Spell], now: int) -> str:
    times: dict[str, list[str]] = {}
    for begin, end, ahead in coming:
        hours = abs(ahead) / timedelta(hours=1)
        unit = "hour" if hours == 1 else "hours"
        apart = f"{hours:g} {unit} {'ahead' if ahead > timedelta() else 'behind'}"
        since = "" if begin == now else f"from {day_of(begin)}"
        until = "" if end == now + MINUTES_COMPARED else f"until {day_of(end)}"
        times.setdefault(apart, []).append(f"{since} {until}".strip() or "all year")
    told = ", ".join(f"{apart} {' and '.join(when)}" for apart, when in times.items())
    return (
        f"schedule.timezone: Instantly has no time zone with the clock of {name}. The campaign runs"
        f" by the closest, {zone}, whose clock is {told}: move from and to if that matters."
    )


def difference(apart: list[Spell]) -> timedelta:
    """By how much two clocks differ, added up over minutes."""
    return sum(((end - begin) * abs(ahead) for begin, end, ahead in apart), timedelta())


def spells(one: str, other: str, first: int, last: int) -> list[Spell]:
    """Every time between two minutes in which the clocks of two zones differ."""
    clocks = clock(one, first, last), clock(other, first, last)
    found = []
    ours, theirs = clocks[0][first], clocks[1][first]
    for begin, end in pairwise(sorted({*clocks[0], *clocks[1], last})):
        ours, theirs = clocks[0].get(begin, ours), clocks[1].get(begin, theirs)
        if ours != theirs:
            found.append(Spell(begin, end, ours - theirs))
    return found


@lru_cache(maxsize=1024)
def clock(name: str, first: int, last: int) -> dict[int, timedelta]:
    """The zone's UTC offset at the first minute, and each later one by the minute it begins."""
    zone = ZoneInfo(name)

    def offset(minute: int) -> timedelta:
        return datetime.fromtimestamp(minute * 60, zone).utcoffset() or timedelta()

    offsets = {first: offset(first)}
    looks = [(minute, offset(minute)) for minute in range(first, last, MINUTES_BETWEEN_LOOKS)]
    for (begin, before), (end, after) in pairwise([*looks, (last, offset(last))]):
        if before != after:
            while end - begin > 1:
                middle = (begin + end) // 2
                begin, end = (middle, end) if offset(middle) == before else (begin, middle)
            offsets[end] = after
    return offsets


def minute_of(day: date) -> int:
    """The midnight (UTC) that begins the day, in minutes since 1970."""
    return int(datetime.combine(day, time(), UTC).timestamp()) // 60


def day_of(minute: int) -> date:
    return datetime.fromtimestamp(minute * 60, UTC).date()
