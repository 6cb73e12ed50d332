"""`from`, `to`, `timezone`, `day`, `accountEmail` in POST /stats: what happened when, by whom."""

import random
from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from flask import Flask
from hand_count import EXCLUDED, events_by_hand, step_row
from helpers import configure
from world import World

from instantly.translation.days import days_asked, start_of

BODY = {"appId": "app-1"}
LEADS = ["a@x.example", "b@x.example", "c@ours.example", "me@y.example", None]
SENDERS = ["me@y.example", "lena@y.example", None]
TYPES = ["email_sent", "email_sent", "email_opened", "link_clicked", "reply_received"]
RARE = ["email_bounced", "auto_reply_received", "lead_not_interested", "lead_unsubscribed", "Later"]


def local_day(payload: dict[str, Any], timezone: str) -> date:
    return datetime.fromisoformat(payload["timestamp"]).astimezone(ZoneInfo(timezone)).date()


def counted(world: World, **conditions: Any) -> dict[str, Any]:
    """An answer without steps that are nothing but zeros."""
    answer = world.statistics(**BODY, **conditions)
    steps = [row for row in answer["stepStats"] if any(list(row.values())[1:])]
    return {**answer, "stepStats": steps}


@pytest.mark.parametrize(
    ("timezone", "middle"),
    [
        ("Asia/Kolkata", "2026-08-18T18:30"),
        ("America/New_York", "2026-03-08T07:00"),  # the clock goes forward
        ("america/new_york", "2025-11-02T06:00"),  # and back
        ("Asia/Saigon", "2026-08-18T17:00"),
        ("US/Pacific", "2026-03-08T08:00"),
        ("America/Santiago", "2025-09-07T04:00"),  # there is no midnight
        ("Australia/Lord_Howe", "2026-04-04T15:00"),  # by half an hour
        (None, "2026-08-18T00:00"),
    ],
)
def test_days_are_what_an_independent_count_gives(
    ours: World, app: Flask, monkeypatch: pytest.MonkeyPatch, timezone: str | None, middle: str
) -> None:
    configure(app, monkeypatch, stats_excluded=EXCLUDED)
    chance = random.Random(middle)
    worlds = [ours, ours.another(), ours.another(appId="app-2")]
    at = datetime.fromisoformat(middle).replace(tzinfo=UTC)
    payloads = []
    for number in range(250):
        own = chance.choice(worlds)
        hours = chance.choice((0, -1, 1, chance.randint(-80, 80)))
        moment = at + timedelta(hours=hours, seconds=chance.choice((-1, 0, 0, 1800)))
        payload = own.payload(
            chance.choice((*TYPES, *TYPES, *RARE)),
            timestamp=moment.isoformat(),
            lead_email=chance.choice(LEADS),
            email_account=chance.choice(SENDERS),
            step=chance.choice([1, 2, None]),
            number=number,
        )
        assert own.deliver(payload).get_json()["recorded"]
        if own is not worlds[2]:
            payloads.append(payload)
    zone = {"timezone": timezone} if timezone else {}
    name = {"america/new_york": "America/New_York"}.get(timezone or "", timezone or "UTC")
    days = sorted({local_day(payload, name) for payload in payloads})
    for _ in range(12):
        first, last = sorted(chance.choices([days[0] - timedelta(days=1), *days], k=2))
        chosen = [each for each in payloads if first <= local_day(each, name) <= last]
        limits = {"from": str(first), "to": str(last), **zone}
        expected = events_by_hand(chosen)
        assert counted(ours, **limits) == expected
        for group_by, key_of in (
            ("day", lambda payload: str(local_day(payload, name))),
            ("accountEmail", lambda payload: payload["email_account"]),
            ("campaignId", lambda payload: payload["campaign_id"]),
        ):
            by_key = defaultdict(list)
            for payload in chosen:
                by_key[key_of(payload)].append(payload)
            groups = {key: events_by_hand(each) for key, each in by_key.items()}
            answer = counted(ours, **limits, groupBy=group_by)
            found = {group.pop("key"): group for group in answer.pop("groups")}
            if group_by == "campaignId":
                ids = {own.campaign["id"]: own.campaign["instantlyCampaignId"] for own in worlds}
                found = {ids[key]: group for key, group in found.items()}
            assert found == {
                key: {"stats": group["stats"], "recipients": group["recipients"]}
                for key, group in groups.items()
                if any(group["stats"].values())
            }
            assert answer.pop("groupsTotal") == len(found)
            assert answer == expected


def test_one_end_may_be_open(ours: World) -> None:
    for day in (1, 2, 3):
        ours.receive("email_sent", timestamp=f"2026-08-0{day}T12:00:00Z", step=day)
    for limits, sent in (
        ({"from": "2026-08-02"}, 2),
        ({"to": "2026-08-02"}, 2),
        ({"from": "0001-01-01", "to": "9999-12-31"}, 3),
        ({"from": "2026-08-02", "to": "2026-08-02"}, 1),
        ({"from": "2026-08-04"}, 0),
    ):
        assert ours.statistics(**BODY, **limits)["stats"]["emailsSent"] == sent
    answer = ours.statistics(**BODY, to="2026-08-01", groupBy="step")
    assert [group["key"] for group in answer["groups"]] == [1]
    assert answer["stepStats"] == [step_row(1, 1, 0, 0, 0)]
    # A time zone alone restricts nothing, and the figures are all there.
    assert "people" in ours.statistics(**BODY, timezone="Asia/Calcutta")


def test_days_stand_in_the_order_of_other_groups(ours: World) -> None:
    for day, count in ((3, 1), (1, 1), (2, 2)):
        for _ in range(count):
            ours.receive("email_sent", timestamp=f"2026-08-0{day}T12:00:00Z")
    groups = ours.statistics(**BODY, groupBy="day", to="2026-08-31")["groups"]
    assert [group["key"] for group in groups] == ["2026-08-02", "2026-08-01", "2026-08-03"]


@pytest.mark.parametrize(
    ("first", "last", "shown"),
    [
        (None, None, (-365, 0)),
        (None, -10, (-375, -10)),
        (-20, None, (-20, 345)),
        (-20, -10, (-20, -10)),
    ],
)
def test_single_days_are_366_where_a_range_is_open(
    first: int | None, last: int | None, shown: tuple[int, int]
) -> None:
    timezone = "Pacific/Auckland"
    today = datetime.now(ZoneInfo(timezone)).date()

    def at(days: int | None) -> date | None:
        return None if days is None else today + timedelta(days=days)

    asked = days_asked(at(first), at(last), timezone, one_by_one=True)
    assert asked["since"] == start_of(today + timedelta(days=shown[0]), timezone)
    assert asked["until"] == start_of(today + timedelta(days=shown[1] + 1), timezone)


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"from": "2026-08-02", "to": "2026-08-01"}, "to"),
        ({"from": "2025-08-01", "to": "2026-08-02", "groupBy": "day"}, "to"),
        ({"from": "yesterday"}, "from"),
        ({"to": 5}, "to"),
        ({"timezone": "Mars/Olympus"}, "timezone"),
        ({"timezone": None}, "timezone"),
        ({"timezone": ""}, "timezone"),
    ],
)
def test_what_cannot_be_asked_is_a_bad_request(
    ours: World, changes: dict[str, Any], name: str
) -> None:
    answer = ours.send("POST", "/stats", {**BODY, **changes})
    assert (answer.status_code, answer.get_json()["error"]) == (400, "Invalid request")
    assert list(answer.get_json()["details"]) == [name]


def test_a_range_alone_is_no_condition_and_366_days_can_be_shown(ours: World) -> None:
    answer = ours.send("POST", "/stats", {"from": "2026-08-01", "groupBy": "accountEmail"})
    assert list(answer.get_json()["details"]) == ["body"]
    year = {"from": "2025-08-01", "to": "2026-08-01", "groupBy": "day"}
    assert ours.statistics(**BODY, **year)["groups"] == []
    # What is longer can be asked for as one.
    assert ours.statistics(**BODY, **{"from": "2020-01-01"})["recipients"] == 0


def test_addresses_of_any_length_can_be_read_by_time(ours: World) -> None:
    """What is not ASCII takes several bytes, and an entry of an index has a limit."""
    odd = "".join(chr(0x10000 + number * 7919 % 20000) for number in range(310))
    assert ours.records(
        "auto_reply_received", lead_email=f"{odd}@x.example", email_account=f"{odd}@x.ex"
    )
    (group,) = ours.statistics(**BODY, groupBy="accountEmail")["groups"]
    assert group["stats"]["repliesAutoReply"] == 1
