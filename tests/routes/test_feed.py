"""GET /events: what happened to an organisation's campaigns, to be followed."""

import json
import random
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import psycopg
import pytest
from flask import Flask
from harness import explained, fresh_database, looking_at, plan_nodes, rows_read, wait_until
from world import Rows, World, client_of, opened_app

from instantly.config import Settings
from instantly.migrate import MIGRATIONS, migrate
from instantly.routes import events as events_module
from instantly.sandbox.postgres import LocalPostgres
from instantly.storage.statements import SQL_DIRECTORY, load_statements

TYPES = ("email_sent", "email_opened", "link_clicked")
STATEMENT = load_statements(SQL_DIRECTORY)["select_feed_page"]
INSERT = (
    "INSERT INTO instantly_events (campaign_id, event_type, occurred_at, fingerprint, payload)"
    " SELECT %s, %s, now(), uuid_send(gen_random_uuid()), json_build_object('n', n)"
    " FROM generate_series(%s::int, %s) AS n"
)


def page_of(ours: World, **query: Any) -> dict[str, Any]:
    asked = {"clerkOrgId": ours.campaign["clerkOrgId"], **query}
    page = ours.listed("/events", urlencode(asked, doseq=True))
    assert page.keys() == {"events", "nextCursor"}
    return page


def walk(ours: World, **query: Any) -> Iterator[list[int]]:
    """The numbers of the events of each page, up to the first empty one."""
    page = page_of(ours, payload="true", **query)
    while page["events"]:
        yield numbers(page)
        page = page_of(ours, payload="true", **{**query, "after": page["nextCursor"]})


def seen(ours: World, **query: Any) -> list[int]:
    return [number for page in walk(ours, **query) for number in page]


def numbers(page: dict[str, Any]) -> list[int]:
    return [event["payload"]["n"] for event in page["events"]]


def deliver_numbered(*worlds: World, first: int = 0, count: int = 1) -> None:
    """In turns to these campaigns, and in turns of these types."""
    for number in range(first, first + count):
        world = worlds[number % len(worlds)]
        assert world.records(TYPES[number % 3], n=number, lead_email="a@x.example")


# What is shown


def test_an_event_is_shown_with_its_campaign(ours: World) -> None:
    payload = ours.payload("link_clicked", lead_email="Ada@X.example", step=2, extra=[1e2, "é"])
    assert ours.deliver(payload).get_json()["recorded"]
    (event,) = page_of(ours)["events"]
    assert page_of(ours)["nextCursor"] == event["id"]
    assert event == ours.listed(ours.path("/events"))["events"][0]
    assert (event["campaignId"], event["eventType"]) == (ours.campaign["id"], "email_link_clicked")
    with_payload = {**event, "payload": payload}
    assert page_of(ours, payload="true") == {"events": [with_payload], "nextCursor": event["id"]}


def test_an_empty_page_has_the_cursor_that_was_given(ours: World) -> None:
    assert page_of(ours) == {"events": [], "nextCursor": "0"}
    assert page_of(ours, after=2**63 - 1)["nextCursor"] == str(2**63 - 1)
    stranger = ours.another(clerkOrgId="clerk-2")
    deliver_numbered(stranger)
    assert page_of(ours, payload="true", after=0) == {"events": [], "nextCursor": "0"}
    assert ours.listed("/events", "clerkOrgId=nobody") == {"events": [], "nextCursor": "0"}


@pytest.mark.parametrize("limit", [1, 2, 7, 24, 1000])
@pytest.mark.parametrize(
    ("types", "shown"),
    [
        ([], range(24)),
        (["email_sent"], range(0, 24, 3)),
        (["link_clicked"], range(2, 24, 3)),
        (["email_link_clicked", "link_clicked"], range(2, 24, 3)),
        (["email_opened", "email_sent", "email_sent"], [n for n in range(24) if n % 3 < 2]),
        (["EMAIL_SENT", "x" * 3000], ()),
    ],
)
def test_pages_hold_every_event_of_the_organisation_once_and_the_oldest_first(
    ours: World, types: list[str], shown: Any, limit: int
) -> None:
    elsewhere = ours.another(clerkOrgId="clerk-2")
    for number in range(24):
        deliver_numbered(ours, ours.another(brandId="brand-2"), first=number)
        deliver_numbered(elsewhere, first=number)
    pages = list(walk(ours, limit=limit, eventType=types))
    assert [n for page in pages for n in page] == list(shown)
    assert len(pages) == -(-len(shown) // limit)


def test_what_arrives_later_stands_behind_the_cursor(ours: World) -> None:
    deliver_numbered(ours, ours.another(), count=5)
    page = page_of(ours)
    assert page_of(ours, after=page["nextCursor"])["events"] == []
    deliver_numbered(ours, ours.another(), first=5, count=3)
    assert seen(ours, after=page["nextCursor"]) == [5, 6, 7]


@pytest.mark.parametrize("seed", range(10))
def test_a_few_busy_campaigns_among_many_quiet_ones_are_read_in_order(
    ours: World, seed: int
) -> None:
    """Whatever the first few events of each campaign tell of how far a page reaches."""
    dice = random.Random(seed)
    campaigns = [ours.another() for _ in range(dice.choice([1, 5, 30]))]
    weights = [dice.choice([1, 1, 50]) for _ in campaigns]
    expected: list[tuple[str, int]] = []
    for number in range(300):
        (campaign,) = dice.choices(campaigns, weights)
        event_type = dice.choice(TYPES[:2])
        ours.db.connection.execute(
            INSERT, [campaign.campaign["id"], event_type, number, number], prepare=True
        )
        expected.append((event_type, number))
    for types in ([], ["email_opened"], ["email_opened", "email_sent", "other"]):
        wanted = [n for event_type, n in expected if not types or event_type in types]
        assert seen(ours, limit=dice.choice([7, 40]), eventType=types) == wanted


def test_a_page_with_payloads_ends_where_they_are_too_many_bytes(
    ours: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert events_module.MAX_PAYLOAD_BYTES == 16 * 1024 * 1024
    for number in range(5):
        assert ours.records(n=number, text="x" * 1000)
    for most, pages in ((3000, [[0, 1], [2, 3], [4]]), (10, [[0], [1], [2], [3], [4]])):
        monkeypatch.setattr(events_module, "MAX_PAYLOAD_BYTES", most)
        assert list(walk(ours)) == pages
    assert len(page_of(ours)["events"]) == 5


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("", "clerkOrgId"),
        ("clerkOrgId=", "clerkOrgId"),
        ("clerkOrgId=a%00", "clerkOrgId"),
        ("clerkOrgId=" + "a" * 256, "clerkOrgId"),
        *((f"clerkOrgId=a&after={value}", "after") for value in ("", "-1", "x", "1.0", 2**63)),
        *((f"clerkOrgId=a&limit={value}", "limit") for value in ("", "0", "1001", "many")),
        *((f"clerkOrgId=a&payload={value}", "payload") for value in ("", "1")),
        *((f"clerkOrgId=a&eventType=b&eventType={name}", "eventType.1") for name in ("", "a%00")),
        ("clerkOrgId=a" + "".join(f"&eventType={number}" for number in range(51)), "eventType"),
    ],
)
def test_what_cannot_be_asked_is_a_bad_request(ours: World, query: str, name: str) -> None:
    answer = ours.send("GET", f"/events?{query}")
    assert (answer.status_code, answer.get_json()["error"]) == (400, "Invalid request")
    assert list(answer.get_json()["details"]) == [name]


# Exactly once


@pytest.fixture
def other_writer(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    """Its transactions are open until they are ended."""
    with psycopg.connect(database_url) as connection:
        yield connection


def insert(writer: psycopg.Connection[Any], ours: World, first: int, count: int = 1) -> None:
    writer.execute(INSERT, [ours.campaign["id"], "email_opened", first, first + count - 1])


@pytest.mark.parametrize("ends", ["commit", "rollback"])
@pytest.mark.parametrize("types", [[], ["email_opened", "email_sent", "link_clicked"]])
def test_events_wait_for_an_earlier_one_that_is_still_being_recorded(
    ours: World, other_writer: psycopg.Connection[Any], types: list[str], ends: str
) -> None:
    deliver_numbered(ours, count=3)
    insert(other_writer, ours, first=3, count=2)
    deliver_numbered(ours, first=5, count=3)
    insert(other_writer, ours, first=8)
    started = time.monotonic()
    page = page_of(ours, payload="true", eventType=types)
    # It answers at once, with what is certain: all that arrived before.
    assert (numbers(page), time.monotonic() - started < 1) == ([0, 1, 2], True)
    getattr(other_writer, ends)()
    late = range(3, 9) if ends == "commit" else range(5, 8)
    assert seen(ours, after=page["nextCursor"], eventType=types) == list(late)


def test_a_delivery_that_waits_for_its_lead_holds_back_what_arrives_after_it(
    ours: World, other_process: Flask, other_writer: psycopg.Connection[Any]
) -> None:
    ours.hold("a@x.example")
    deliver_numbered(ours)
    other_writer.execute("SELECT FROM instantly_leads FOR UPDATE")
    waiting = threading.Thread(
        target=ours.beside(other_process).records,
        args=("email_bounced",),
        kwargs={"lead_email": "a@x.example", "n": 1},
    )
    waiting.start()
    locks = "SELECT FROM pg_locks WHERE NOT granted"
    wait_until(lambda: ours.db.all(locks))
    assert ours.records(n=2, lead_email="b@x.example")
    page = page_of(ours, payload="true")
    assert numbers(page) == [0]
    other_writer.rollback()
    waiting.join()
    assert seen(ours, after=page["nextCursor"]) == [1, 2]


def test_other_transactions_hold_nothing_back(
    ours: World, other_writer: psycopg.Connection[Any]
) -> None:
    other_writer.execute("CREATE TABLE long_work (); SELECT pg_advisory_xact_lock(3011)")
    deliver_numbered(ours, count=3)
    assert seen(ours) == [0, 1, 2]


def test_thousands_of_statements_in_a_transaction_take_few_locks(
    ours: World, other_writer: psycopg.Connection[Any]
) -> None:
    """PostgreSQL has room for some thousands, for all transactions together."""
    with other_writer.pipeline():
        for number in range(3000):
            insert(other_writer, ours, number)
    held = "SELECT FROM pg_locks WHERE locktype = 'advisory'"
    assert len(ours.db.all(held)) <= 5
    deliver_numbered(ours, first=3000)
    assert seen(ours) == []
    other_writer.commit()
    assert seen(ours, limit=1000) == list(range(3001))


def test_events_that_were_recorded_before_the_feed_existed_are_in_it_once(
    postgres: LocalPostgres, settings: Settings, tmp_path: Path
) -> None:
    """The migration takes no event away that is being recorded, and stops no delivery for long."""
    older = tmp_path / "migrations"
    older.mkdir()
    shutil.copy(MIGRATIONS / "0001_schema.sql", older)
    with (
        fresh_database(postgres, is_migrated=False) as url,
        looking_at(url) as db,
        psycopg.connect(url) as writer,
        opened_app(settings, database_url=url) as app,
    ):
        migrate(url, older)
        ours = World(db, None, client_of(app)).another()  # type: ignore[arg-type]
        insert(writer, ours, first=0, count=150)
        with pytest.raises(psycopg.errors.LockNotAvailable):
            migrate(url)
        writer.commit()
        migrate(url)
        deliver_numbered(ours, first=150)
        assert seen(ours) == list(range(151))


# What a page costs


@pytest.fixture(scope="module")
def crowded(postgres: LocalPostgres) -> Iterator[tuple[Rows, dict[str, list[World]]]]:
    """Organisations of a few busy campaigns, of many and of quiet ones, mixed in time."""
    with fresh_database(postgres) as url, looking_at(url) as db:
        nowhere = World(db, None, None)  # type: ignore[arg-type]
        sizes = {"busy": 3, "many": 200, "quiet": 3}
        found = {
            name: [nowhere.another(clerkOrgId=name) for _ in range(size)]
            for name, size in sizes.items()
        }
        for part in range(10):
            for world in found["busy"]:
                events = (("email_sent", 2000), ("email_opened", 500), (f"rare {part}", 1))
                for event_type, count in events:
                    db.connection.execute(INSERT, [world.campaign["id"], event_type, 1, count])
            for world in (*found["many"], *found["quiet"]):
                db.connection.execute(INSERT, [world.campaign["id"], "email_opened", 1, 3])
        db.connection.execute("ANALYZE")
        yield db, found


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
@pytest.mark.parametrize("types", [None, ["email_opened"], ["rare 9"], ["email_sent", "rare 0"]])
def test_a_page_reads_rows_as_many_as_it_shows_and_as_there_are_campaigns(
    crowded: tuple[Rows, dict[str, list[World]]], types: list[str] | None, mode: str
) -> None:
    db, organizations = crowded
    (last,) = db.all("SELECT max(id) AS id FROM instantly_events")
    with explained(db.connection, mode) as noted:
        for name, campaigns in organizations.items():
            for after in (0, last["id"] // 2, last["id"] - 5000, last["id"]):
                for limit in (1, 100):
                    values = {
                        "clerk_org_id": name,
                        "event_types": types,
                        "after": after,
                        "until": last["id"],
                        "limit": limit,
                        "payload": False,
                        "max_bytes": 1,
                    }
                    noted.clear()
                    db.connection.execute(STATEMENT, values, prepare=True)
                    plans = [json.loads(plan)["Plan"] for plan in noted if plan]
                    nodes = [node for plan in plans for node in plan_nodes(plan)]
                    scans = [each for each in nodes if each.get("Relation Name")]
                    events = [each for each in scans if "events" in each["Relation Name"]]
                    assert all("Index" in each["Node Type"] for each in events), events
                    # A few of each campaign, then the page and what stands between, then its rows.
                    lists = len(campaigns) * len(types or [""])
                    assert sum(map(rows_read, events)) <= 9 * limit + 3 * lists, (name, after)
