"""The zone of Instantly's closed list that stands for each of the caller's."""

from datetime import UTC, date, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

import pytest

from instantly.translation.timezones import (
    INSTANTLY_TIMEZONES,
    NoEqualTimezone,
    UnknownTimezone,
    instantly_timezone,
)

TODAY = datetime.now(UTC).date()
DAYS = [TODAY, date(2026, 1, 15), date(2026, 3, 8), date(2026, 7, 1), date(2026, 10, 25)]
EQUALS = {
    "America/New_York": "America/Detroit",
    "US/Eastern": "America/Detroit",
    "America/Denver": "America/Boise",
    "America/Phoenix": "America/Creston",
    "Europe/London": "Europe/Isle_of_Man",
    "Europe/Paris": "Europe/Belgrade",
    "Europe/Berlin": "Europe/Belgrade",
    "Asia/Tokyo": "Asia/Dili",
    "Asia/Singapore": "Asia/Hong_Kong",
    "Australia/Sydney": "Australia/Melbourne",
    "UTC": "Africa/Abidjan",
    "Etc/UTC": "Africa/Abidjan",
}
# What counts of these is that the clock is the same at every hour.
COMMON = {
    *("America/Toronto", "America/Mexico_City", "America/Lima", "America/Argentina/Buenos_Aires"),
    *("America/Halifax", "Africa/Johannesburg", "Africa/Lagos", "Africa/Nairobi", "Asia/Calcutta"),
    *("Asia/Shanghai", "Asia/Dubai", "Asia/Riyadh", "Europe/Athens", "Europe/Dublin"),
    *("Europe/Lisbon", "Europe/Madrid", "Europe/Moscow", "Pacific/Honolulu", "US/Central"),
}
US_PACIFIC = ["America/Los_Angeles", "US/Pacific", "America/Tijuana"]
WITHOUT_EQUAL = [
    *US_PACIFIC,
    *("Pacific/Marquesas", "Pacific/Chatham", "Pacific/Kiritimati", "Australia/Eucla"),
]
UNKNOWN = [
    *("", " ", "Nope", "America", "America/", "America/Gotham", "america/new_york"),
    *("America/New_York ", "../etc/passwd", "/etc/passwd", "America/../UTC", "UTC+1"),
    *("CHICAGO", "a" * 300, "UTC\x00", "\ud800"),
]

MIDNIGHT = datetime(TODAY.year, TODAY.month, TODAY.day, tzinfo=UTC)
HOURS = [MIDNIGHT + timedelta(hours=hour) for hour in range(365 * 24)]


@cache
def clock(name: str, every: int = 1) -> list[timedelta | None]:
    """The UTC offset at every hour, or every so many hours, of the coming year."""
    zone = ZoneInfo(name)
    return [hour.astimezone(zone).utcoffset() for hour in HOURS[::every]]


def test_the_list_has_102_different_names_that_exist_and_are_sent_as_they_are():
    assert len(INSTANTLY_TIMEZONES) == len(set(INSTANTLY_TIMEZONES)) == 102
    assert set(INSTANTLY_TIMEZONES) <= available_timezones()
    for name in INSTANTLY_TIMEZONES:
        assert {instantly_timezone(name, today) for today in DAYS} == {name}


@pytest.mark.parametrize(("name", "equal"), EQUALS.items())
def test_a_common_zone_has_its_documented_equal_with_the_same_clock_at_every_hour(name, equal):
    assert {instantly_timezone(name, today) for today in DAYS} == {equal}
    assert clock(equal) == clock(name)


@pytest.mark.parametrize("name", WITHOUT_EQUAL)
def test_a_zone_whose_clock_no_listed_one_keeps_is_refused(name):
    with pytest.raises(NoEqualTimezone):
        instantly_timezone(name, TODAY)
    assert all(clock(listed, 24) != clock(name, 24) for listed in INSTANTLY_TIMEZONES)


def test_no_name_at_all_is_sent_as_a_zone_with_another_clock():
    for name in available_timezones():
        try:
            sent = instantly_timezone(name, TODAY)
        except NoEqualTimezone as refused:
            assert refused.closest in INSTANTLY_TIMEZONES
        else:
            assert sent in INSTANTLY_TIMEZONES
            every = 1 if name in COMMON else 48
            assert clock(sent, every) == clock(name, every), name


@pytest.mark.parametrize("name", US_PACIFIC)
def test_us_pacific_is_told_of_the_zone_that_fits_in_summer(name):
    for today in DAYS:
        with pytest.raises(NoEqualTimezone) as refused:
            instantly_timezone(name, today)
        assert refused.value.closest == "America/Dawson"


@pytest.mark.parametrize("name", UNKNOWN)
def test_an_unknown_name_is_refused(name):
    with pytest.raises(UnknownTimezone):
        instantly_timezone(name, TODAY)
