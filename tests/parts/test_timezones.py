"""The zone of Instantly's closed list that stands for each of the caller's."""

from datetime import UTC, date, datetime, timedelta
from functools import cache
from time import process_time
from zoneinfo import ZoneInfo, available_timezones

import pytest

from instantly.translation import timezones
from instantly.translation.timezones import (
    INSTANTLY_TIMEZONES,
    UnknownTimezone,
    instantly_timezone,
)

TODAY = datetime.now(UTC).date()
DAYS = [TODAY, date(2026, 1, 15), date(2026, 7, 1)]
# Each listed zone, and those that are sent as it.
EQUALS = {
    "Africa/Abidjan": "UTC Etc/UTC GMT Africa/Accra Africa/Dakar Atlantic/Reykjavik",
    "Africa/Addis_Ababa": "Africa/Nairobi Africa/Kampala Africa/Dar_es_Salaam",
    "Africa/Algiers": "Africa/Lagos Africa/Tunis Africa/Kinshasa",
    "Africa/Blantyre": "Africa/Johannesburg Africa/Harare Africa/Maputo Africa/Khartoum",
    "Africa/Cairo": "Egypt",
    "America/Anguilla": "America/Puerto_Rico America/Santo_Domingo America/La_Paz America/Manaus",
    "America/Argentina/La_Rioja": (
        "America/Argentina/Buenos_Aires America/Buenos_Aires America/Argentina/Cordoba"
        " America/Fortaleza America/Recife America/Cayenne"
    ),
    "America/Bahia_Banderas": "America/Mexico_City America/Monterrey Mexico/General",
    "America/Bogota": "America/Lima America/Panama America/Guayaquil America/Jamaica EST",
    "America/Boise": "America/Denver US/Mountain",
    "America/Chicago": "US/Central America/Menominee",
    "America/Creston": "America/Phoenix US/Arizona MST America/Hermosillo America/Mazatlan",
    "America/Detroit": "America/New_York US/Eastern America/Toronto America/Montreal",
    "America/Glace_Bay": "America/Halifax Atlantic/Bermuda",
    "America/Regina": "America/Guatemala America/Costa_Rica Canada/Saskatchewan",
    "Asia/Aden": "Asia/Riyadh Asia/Kuwait Asia/Qatar Asia/Bahrain",
    "Asia/Dili": "Asia/Tokyo Asia/Seoul Japan",
    "Asia/Dubai": "Asia/Muscat Indian/Mauritius",
    "Asia/Hong_Kong": "Asia/Singapore Asia/Shanghai Asia/Manila Asia/Kuala_Lumpur",
    "Asia/Jerusalem": "Asia/Tel_Aviv Israel",
    "Asia/Karachi": "Asia/Almaty",
    "Asia/Kolkata": "Asia/Calcutta",
    "Asia/Novokuznetsk": "Asia/Bangkok Asia/Jakarta Asia/Ho_Chi_Minh Asia/Saigon",
    "Asia/Rangoon": "Asia/Yangon",
    "Asia/Taipei": "ROC",
    "Australia/Brisbane": "Australia/Queensland Asia/Vladivostok",
    "Australia/Currie": "Australia/Hobart",
    "Australia/Melbourne": "Australia/Sydney Australia/Canberra",
    "Etc/GMT+10": "Pacific/Honolulu US/Hawaii",
    "Europe/Belgrade": (
        "Europe/Paris Europe/Berlin Europe/Madrid Europe/Rome Europe/Amsterdam Europe/Brussels"
        " Europe/Vienna Europe/Zurich Europe/Warsaw Europe/Prague Europe/Budapest Europe/Stockholm"
        " Europe/Oslo Europe/Copenhagen CET"
    ),
    "Europe/Bucharest": "Europe/Sofia",
    "Europe/Helsinki": "Europe/Athens Europe/Kyiv Europe/Kiev Europe/Riga Europe/Vilnius EET",
    "Europe/Isle_of_Man": "Europe/London Europe/Dublin Europe/Lisbon GB",
    "Europe/Istanbul": "Turkey",
    "Europe/Kirov": "Europe/Moscow",
    "Pacific/Auckland": "NZ",
}
SENT_AS = {name: listed for listed, names in EQUALS.items() for name in names.split()}
# Each listed zone, those that are sent as it although their clocks differ, and by how much.
CLOSEST = {
    "Africa/Abidjan": ("Atlantic/Azores", "1 hour ahead"),
    "America/Anchorage": ("Pacific/Pitcairn", "1 hour behind"),
    "America/Dawson": ("America/Los_Angeles US/Pacific America/Tijuana", "1 hour ahead"),
    "Asia/Dili": ("Australia/Eucla", "0.25 hours ahead all year"),
    "Asia/Sakhalin": ("Australia/Lord_Howe", "0.5 hours ahead"),
    "Etc/GMT+10": ("Pacific/Marquesas", "0.5 hours behind all year"),
    "Etc/GMT-13": ("Pacific/Kiritimati", "1 hour behind all year"),
    "Europe/Belgrade": ("Antarctica/Troll", "1 hour ahead"),
}
STAND_INS = [
    (name, listed, hours) for listed, (names, hours) in CLOSEST.items() for name in names.split()
]
UNKNOWN = [
    "",
    " ",
    "Nope",
    "America",
    "America/",
    "America/Gotham",
    "Factory",
    "factory",
    "localtime",
    "posixrules",
    "posix/Europe/Berlin",
    "right/UTC",
    "../etc/passwd",
    "/etc/passwd",
    "Local",
    "America/../UTC",
    "UTC+1",
    "CHICAGO",
    "a" * 300,
    "UTC\x00",
    "\ud800",
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
        assert {instantly_timezone(name, today) for today in DAYS} == {(name, None)}


@pytest.mark.parametrize(("name", "listed"), SENT_AS.items())
def test_a_common_zone_is_sent_as_the_one_that_has_been_equal_for_longest(name, listed):
    assert {instantly_timezone(name, today) for today in DAYS} == {(listed, None)}
    assert clock(listed) == clock(name)


@pytest.mark.parametrize(("name", "listed", "hours"), STAND_INS)
def test_a_zone_without_an_equal_is_sent_as_the_closest_with_a_warning(name, listed, hours):
    assert all(clock(other, 24) != clock(name, 24) for other in INSTANTLY_TIMEZONES)
    for today in DAYS:
        sent, warning = instantly_timezone(name, today)
        assert sent == listed
        assert f" {name}. " in warning
        assert f"{listed}, whose clock is {hours}" in warning


@pytest.mark.parametrize(
    ("today", "when"),
    [
        (date(2026, 1, 15), "until 2026-03-08 and from 2026-11-01:"),
        (date(2026, 7, 1), "from 2026-11-01 until 2027-03-14:"),
        (date(2026, 11, 1), "from 2026-11-01 until 2027-03-14:"),
        (date(2026, 11, 2), "until 2027-03-14:"),
    ],
)
def test_the_warning_says_when_the_clocks_differ(today, when):
    warning = instantly_timezone("America/Los_Angeles", today).warning
    assert f"1 hour ahead {when}" in warning


def test_no_name_at_all_is_sent_as_a_zone_with_another_clock_without_a_warning():
    for name in available_timezones() - {"Factory"}:
        sent, warning = instantly_timezone(name, TODAY)
        assert sent in INSTANTLY_TIMEZONES
        if warning is None:
            every = 1 if name in SENT_AS else 48
            assert clock(sent, every) == clock(name, every), name


@pytest.mark.parametrize("name", ["europe/berlin", "EUROPE/BERLIN", " Europe/Berlin\n", "\xa0cet "])
def test_a_name_may_be_in_any_case_and_have_blanks_around_it(name):
    assert instantly_timezone(name, TODAY) == ("Europe/Belgrade", None)
    assert instantly_timezone("asia/hong_kong ", TODAY) == ("Asia/Hong_Kong", None)


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_is_no_place_is_refused(name):
    with pytest.raises(UnknownTimezone):
        instantly_timezone(name, TODAY)


@pytest.mark.parametrize("name", ["Europe/Simferopol", "America/Los_Angeles"])
def test_the_first_question_about_a_zone_keeps_nobody_waiting(name):
    timezones.clock.cache_clear()
    timezones.stand_in.cache_clear()
    begin = process_time()
    instantly_timezone(name, TODAY)
    assert process_time() - begin < 0.3
