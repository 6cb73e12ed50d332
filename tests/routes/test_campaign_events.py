"""GET /campaigns/{campaignId}/events: what was delivered, newest first, and what a page costs."""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import pytest
from flask.testing import FlaskClient
from harness import explained, fresh_database, looking_at, plan_nodes, rows_read
from helpers import UNKNOWN_ID
from world import Rows, World

from instantly.routes import campaigns as campaigns_module
from instantly.sandbox.postgres import LocalPostgres
from instantly.storage.statements import SQL_DIRECTORY, load_statements

STATEMENT = load_statements(SQL_DIRECTORY)["select_events_page"]
RARE_LEAD = "rare@x.example"
FILTERS: dict[str, dict[str, str]] = {
    "none": {},
    "type": {"eventType": "email_opened"},
    "lead": {"leadEmail": RARE_LEAD},
    "type and lead": {"eventType": "email_opened", "leadEmail": RARE_LEAD},
}


def page_of(ours: World, **query: Any) -> dict[str, Any]:
    page = ours.listed(ours.path("/events"), urlencode(query))
    assert page["count"] == len(page["events"])
    return page


def walk(ours: World, **query: Any) -> Iterator[dict[str, Any]]:
    page = page_of(ours, **query)
    yield page
    while page["nextCursor"] is not None:
        page = page_of(ours, **query, cursor=page["nextCursor"])
        yield page


def deliver_numbered(ours: World, *numbers: int, **fields: Any) -> None:
    for number in numbers:
        event_type = ("email_sent", "email_opened", "link_clicked")[number % 3]
        lead = f"Lead{number % 2}@x.example"
        assert ours.records(event_type, **{"n": number, "lead_email": lead, **fields})


def numbers(page: dict[str, Any]) -> list[int]:
    return [event["payload"]["n"] for event in page["events"]]


# What is shown


def test_an_event_is_shown_as_it_was_read(ours: World) -> None:
    payload = ours.payload(
        "link_clicked",
        lead_email=" Ada@X.example",
        email_account="Lena@Y.example",
        step=2,
        variant=1,
        timestamp="2026-08-18T09:12:44.318+02:00",
        extra={"to": ["us", None, 1.5]},
    )
    assert ours.deliver(payload).get_json()["recorded"]
    (row,) = ours.events()
    page = page_of(ours)
    received = page["events"][0]["receivedAt"]
    assert page == {
        "events": [
            {
                "id": str(row["id"]),
                "campaignId": ours.campaign["id"],
                "eventType": "email_link_clicked",
                "leadEmail": "ada@x.example",
                "accountEmail": "lena@y.example",
                "step": 2,
                "variant": 1,
                "occurredAt": "2026-08-18T07:12:44.318Z",
                "receivedAt": received,
            }
        ],
        "count": 1,
        "total": 1,
        "nextCursor": None,
    }
    with_payload = page_of(ours, payload="true")
    assert with_payload["events"] == [{**page["events"][0], "payload": payload}]
    assert page_of(ours, payload="false") == page


@pytest.mark.parametrize(
    "value",
    [
        "3.14159265358979323846264338327950288",
        "1e400",
        "9" * 200_000,
        "[1e2, 1.50, -0.0]",
        '{"b": 1, "a": 2, "b": 3}',
        '"NUL \\u0000, half \\ud83d"',
        '"\\u00fc\\/ü"',
        " [\r\n\t] ",
    ],
    ids=lambda value: ascii(value)[:30],
)
def test_a_payload_is_shown_as_the_text_that_was_delivered(ours: World, value: str) -> None:
    instantly_id = ours.campaign["instantlyCampaignId"]
    text = f'{{"value": {value}, "event_type": "é", "campaign_id": "{instantly_id}"}}'
    assert ours.deliver(text).get_json()["recorded"]
    answer = ours.send("GET", ours.path("/events?payload=true"))
    assert text in answer.text


def test_what_a_payload_does_not_say_is_null(ours: World) -> None:
    assert ours.records("account_error")
    (event,) = page_of(ours)["events"]
    names = ("leadEmail", "accountEmail", "step", "variant")
    assert [event[name] for name in names] == [None] * 4


def test_a_campaign_without_events_is_an_empty_page(ours: World) -> None:
    empty = {"events": [], "count": 0, "total": 0, "nextCursor": None}
    assert page_of(ours) == empty
    assert page_of(ours, payload="true", cursor=5) == empty
    assert page_of(ours, eventType="email_sent") == {**empty, "total": None}


def test_events_of_other_campaigns_are_not_shown(ours: World) -> None:
    other = ours.another()
    deliver_numbered(ours, 1)
    deliver_numbered(other, 1, 2)
    assert (page_of(ours)["total"], page_of(other)["total"]) == (1, 2)
    assert numbers(page_of(ours, leadEmail="lead1@x.example", payload="true")) == [1]


@pytest.mark.parametrize("campaign_id", [UNKNOWN_ID, str(uuid4()), "none", "%00"])
def test_events_of_an_unknown_campaign_are_404(client: FlaskClient, campaign_id: str) -> None:
    answer = client.get(f"/campaigns/{campaign_id}/events")
    assert (answer.status_code, answer.get_json()) == (404, {"error": "Campaign not found"})


# Pages and filters


@pytest.mark.parametrize("limit", [1, 3, 12, 13, 1000])
@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ({}, range(12)),
        ({"eventType": "email_opened"}, (1, 4, 7, 10)),
        ({"eventType": "link_clicked"}, (2, 5, 8, 11)),
        ({"eventType": "email_link_clicked"}, (2, 5, 8, 11)),
        ({"leadEmail": "lead0@x.example"}, range(0, 12, 2)),
        ({"leadEmail": "  LEAD0@X.Example "}, range(0, 12, 2)),
        ({"leadEmail": "lead1@x.example", "eventType": "email_sent"}, (3, 9)),
        ({"leadEmail": "nobody@x.example"}, ()),
        ({"eventType": "EMAIL_SENT"}, ()),
        ({"eventType": "%"}, ()),
    ],
)
def test_pages_hold_every_event_asked_for_once_and_the_newest_first(
    ours: World, query: dict[str, str], shown: Any, limit: int
) -> None:
    deliver_numbered(ours, *range(12))
    pages = list(walk(ours, limit=limit, payload="true", **query))
    assert [n for page in pages for n in numbers(page)] == sorted(shown, reverse=True)
    assert len(pages) == max(1, -(-len(shown) // limit))
    assert {page["total"] for page in pages} == {None if query else 12}


def test_pages_can_be_skipped_to(ours: World) -> None:
    deliver_numbered(ours, *range(6))
    for query, shown in (
        ({}, [3, 2]),
        ({"eventType": "email_sent"}, []),
        ({"leadEmail": "lead1@x.example"}, [1]),
    ):
        page = page_of(ours, skip=2, limit=2, payload="true", **query)
        assert numbers(page) == shown


def test_events_that_arrive_while_somebody_reads_move_no_page(ours: World) -> None:
    deliver_numbered(ours, *range(9))
    seen = []
    for page in walk(ours, limit=2, payload="true"):
        seen += numbers(page)
        deliver_numbered(ours, 100 + len(seen))
    assert seen == list(range(8, -1, -1))


def test_the_longest_name_of_an_event_can_be_asked_for(ours: World) -> None:
    name = "".join(chr(0x4E00 + number * 7919 % 20000) for number in range(2000))
    assert ours.records(name, lead_email="a" * 312 + "@x.example")
    assert page_of(ours, eventType=name)["count"] == 1
    assert page_of(ours, eventType=name[:-1])["count"] == 0


def test_events_are_counted_up_to_ten_thousand(ours: World) -> None:
    insert(ours, "email_sent", "a@x.example", 10_000)
    assert page_of(ours, limit=1)["total"] == 10_000
    deliver_numbered(ours, 1)
    assert page_of(ours, limit=1)["total"] is None


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("limit=0", "limit"),
        ("skip=1&cursor=1", "cursor"),
        ("eventType=", "eventType"),
        ("eventType=a%00", "eventType"),
        ("leadEmail=", "leadEmail"),
        ("leadEmail=%20%20", "leadEmail"),
        ("leadEmail=" + "a" * 321, "leadEmail"),
        ("payload=", "payload"),
        ("payload=1", "payload"),
        ("payload=True", "payload"),
    ],
)
def test_what_cannot_be_asked_is_a_bad_request(ours: World, query: str, name: str) -> None:
    answer = ours.send("GET", ours.path(f"/events?{query}"))
    assert (answer.status_code, answer.get_json()["error"]) == (400, "Invalid request")
    assert list(answer.get_json()["details"]) == [name]


# What a page costs


def insert(ours: World, event_type: str, lead: str, count: int) -> None:
    """As deliveries would have left them, by PostgreSQL itself."""
    ours.db.connection.execute(
        "INSERT INTO instantly_events (campaign_id, event_type, lead_email, occurred_at,"
        " fingerprint, payload)"
        " SELECT %s, %s, %s, now(), uuid_send(gen_random_uuid()), '{}'"
        " FROM generate_series(1, %s)",
        [ours.campaign["id"], event_type, lead, count],
    )


def scans(
    db: Rows, noted: list[str], campaign_id: str, limit: int, query: dict[str, str], **more: Any
) -> list[dict[str, Any]]:
    """Every scan of the events, as it was really executed."""
    values = {
        **dict.fromkeys(("skip", "cursor")),
        "event_type": query.get("eventType"),
        "lead_email": query.get("leadEmail"),
        "campaign_id": campaign_id,
        "limit": limit,
        "payload": False,
        "max_bytes": 1,
        **more,
    }
    noted.clear()
    db.connection.execute(STATEMENT, values, prepare=True)
    nodes = [node for plan in noted if plan for node in plan_nodes(json.loads(plan)["Plan"])]
    found = [node for node in nodes if node.get("Relation Name") == "instantly_events"]
    # The ids and the rows, and the count if there is no filter.
    assert len(found) == (2 if query else 3), noted
    return found


@pytest.fixture(scope="module")
def crowded(postgres: LocalPostgres) -> Iterator[tuple[Rows, str]]:
    """A hundred thousand events, and a campaign of them: what fills its neighbours is rare in it.

    The planner's statistics say that nearly every event is an email_sent to the same lead.
    """
    with fresh_database(postgres) as url, looking_at(url) as db:
        one, *others = (World(db, None, None).another() for _ in range(3))
        insert(one, "email_opened", RARE_LEAD, 15)
        insert(one, "email_opened", "b@x.example", 15)
        insert(one, "email_sent", RARE_LEAD, 15)
        insert(one, "email_clicked", "b@x.example", 20_000)
        for other in others:
            insert(other, "email_opened", RARE_LEAD, 40_000)
        insert(one, "email_sent", RARE_LEAD, 15)
        insert(one, "email_opened", "b@x.example", 15)
        insert(one, "email_opened", RARE_LEAD, 15)
        db.connection.execute("ANALYZE")
        yield db, one.campaign["id"]


MODES = pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])


@pytest.mark.parametrize("limit", [1, 10, 1000])
@MODES
@pytest.mark.parametrize("query", FILTERS.values(), ids=FILTERS)
def test_a_page_reads_no_more_rows_than_it_shows_and_one(
    crowded: tuple[Rows, str], query: dict[str, str], mode: str, limit: int
) -> None:
    db, campaign_id = crowded
    ids = "SELECT id FROM instantly_events WHERE campaign_id = %s ORDER BY id"
    events = db.all(ids, campaign_id)
    cursors = [None, *(events[at]["id"] for at in (-20, 20_080, 5000, 20))]
    with explained(db.connection, mode) as noted:
        for cursor in cursors:
            read = scans(db, noted, campaign_id, limit, query, cursor=cursor)
            assert all("Index" in scan["Node Type"] for scan in read), read
            counts = sorted(map(rows_read, read))
            assert query or counts.pop() == 10_001
            # Of a type and a lead: no more than the lead has.
            assert counts[-1] <= max(limit + 1, 60 if len(query) == 2 else 0), (cursor, read)


@MODES
def test_a_page_is_read_by_its_index_before_the_table_was_ever_analyzed(
    postgres: LocalPostgres, mode: str
) -> None:
    with fresh_database(postgres) as url, looking_at(url) as db:
        db.connection.execute("ALTER TABLE instantly_events SET (autovacuum_enabled = false)")
        one, other = (World(db, None, None).another() for _ in range(2))
        insert(one, "email_opened", RARE_LEAD, 50)
        insert(one, "email_sent", "b@x.example", 3000)
        insert(other, "email_opened", RARE_LEAD, 3000)
        with explained(db.connection, mode) as noted:
            for query in FILTERS.values():
                counts = sorted(map(rows_read, scans(db, noted, one.campaign["id"], 3, query)))
                assert query or counts.pop() == 3050
                assert counts == [3, 4], query


def test_a_page_with_payloads_ends_where_they_are_too_many_bytes(
    ours: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert campaigns_module.MAX_PAYLOAD_BYTES == 16 * 1024 * 1024
    deliver_numbered(ours, *range(5), text="x" * 1000)
    monkeypatch.setattr(campaigns_module, "MAX_PAYLOAD_BYTES", 3000)
    assert [numbers(page) for page in walk(ours, payload="true")] == [[4, 3], [2, 1], [0]]
    # One at least, however large it is.
    monkeypatch.setattr(campaigns_module, "MAX_PAYLOAD_BYTES", 10)
    assert [numbers(page) for page in walk(ours, payload="true", limit=3)] == [
        [number] for number in range(4, -1, -1)
    ]
    assert page_of(ours)["count"] == 5
