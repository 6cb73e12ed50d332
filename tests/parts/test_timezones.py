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
    "Europe/Madrid": "Europe/Belgrade",
    "Asia/Tokyo": "Asia/Dili",
    "Asia/Singapore": "Asia/Hong_Kong",
    "Australia/Sydney": "Australia/Melbourne",
    "UTC": "Africa/Abidjan",
    "Etc/UTC": "Africa/Abidjan",
}
# Mapped in one way or another; what counts is that the clock is the same.
COMMON = [
    *EQUALS,
    *("America/Toronto", "America/Mexico_City", "America/Lima", "America/Argentina/Buenos_Aires"),
    *("America/Halifax", "Africa/Johannesburg", "Africa/Lagos", "Africa/Nairobi"),
    *("Asia/Calcutta", "Asia/Shanghai", "Asia/Dubai", "Asia/Kuala_Lumpur", "Asia/Riyadh"),
    *("Asia/Seoul", "Europe/Athens", "Europe/Dublin", "Europe/Kyiv", "Europe/Lisbon"),
    *("Europe/Moscow", "Europe/Warsaw", "Europe/Zurich", "GMT", "Pacific/Honolulu"),
    *("Pacific/Port_Moresby", "US/Central"),
]
US_PACIFIC = ["America/Los_Angeles", "US/Pacific", "America/Tijuana"]
WITHOUT_EQUAL = [
    *US_PACIFIC,
    *("Pacific/Marquesas", "Pacific/Chatham", "Pacific/Kiritimati", "Australia/Eucla"),
]
UNKNOWN = [
    *("", " ", "Nope", "America", "America/", "America/Gotham", "america/new_york"),
    *("America/New_York ", "../etc/passwd", "/etc/passwd", "America/../UTC", "UTC+1", "+01:00"),
    *("CHICAGO", "a" * 300, "UTC\x00", "\ud800"),
]


MIDNIGHT = datetime(TODAY.year, TODAY.month, TODAY.day, tzinfo=UTC)
HOURS = [MIDNIGHT + timedelta(hours=hour) for hour in range(365 * 24)]


@cache
def offsets(name: str) -> list[timedelta | None]:
    """The UTC offset at every hour of the coming year."""
    zone = ZoneInfo(name)
    return [hour.astimezone(zone).utcoffset() for hour in HOURS]


def test_the_list_has_102_different_names_that_all_exist():
    assert len(INSTANTLY_TIMEZONES) == 102
    assert len(set(INSTANTLY_TIMEZONES)) == 102
    assert set(INSTANTLY_TIMEZONES) <= available_timezones()


@pytest.mark.parametrize("name", INSTANTLY_TIMEZONES)
def test_a_listed_zone_is_sent_as_it_is(name):
    assert {instantly_timezone(name, today) for today in DAYS} == {name}


@pytest.mark.parametrize("today", DAYS, ids=str)
@pytest.mark.parametrize(("name", "equal"), EQUALS.items())
def test_a_common_zone_has_its_documented_equal(name, equal, today):
    assert instantly_timezone(name, today) == equal


@pytest.mark.parametrize("name", COMMON)
def test_the_zone_that_is_sent_keeps_the_same_clock_at_every_hour_of_the_coming_year(name):
    sent = instantly_timezone(name, TODAY)
    assert sent in INSTANTLY_TIMEZONES
    assert offsets(sent) == offsets(name)


@pytest.mark.parametrize("name", WITHOUT_EQUAL)
def test_a_zone_whose_clock_no_listed_one_keeps_is_refused(name):
    assert all(offsets(listed) != offsets(name) for listed in INSTANTLY_TIMEZONES)
    with pytest.raises(NoEqualTimezone) as refused:
        instantly_timezone(name, TODAY)
    assert refused.value.closest in INSTANTLY_TIMEZONES


def test_no_name_at_all_is_sent_as_a_zone_with_another_clock():
    for name in available_timezones():
        try:
            sent = instantly_timezone(name, TODAY)
        except NoEqualTimezone as refused:
            assert refused.closest in INSTANTLY_TIMEZONES
        else:
            assert clock_of_every_second_day(sent) == clock_of_every_second_day(name), name


def clock_of_every_second_day(name: str) -> list[timedelta | None]:
    zone = ZoneInfo(name)
    return [hour.astimezone(zone).utcoffset() for hour in HOURS[::48]]


@pytest.mark.parametrize("name", US_PACIFIC)
@pytest.mark.parametrize("today", DAYS, ids=str)
def test_us_pacific_is_told_of_the_zone_that_fits_in_summer(name, today):
    with pytest.raises(NoEqualTimezone) as refused:
        instantly_timezone(name, today)
    assert refused.value.closest == "America/Dawson"


@pytest.mark.parametrize("name", UNKNOWN)
def test_an_unknown_name_is_refused(name):
    with pytest.raises(UnknownTimezone):
        instantly_timezone(name, TODAY)
