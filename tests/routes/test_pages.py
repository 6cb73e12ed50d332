"""Lists by pages: an organisation's campaigns, newest first; a campaign's leads, oldest first."""

import random
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from harness import plan_nodes, rows_read
from psycopg import ClientCursor
from world import Rows, World, addresses

from instantly.storage.statements import SQL_DIRECTORY, load_statements


@dataclass
class Listing:
    """A list whose items are numbered from 1 on, in the order in which it shows them."""

    world: World
    name: str
    statement: str
    filter_by: str
    inserted: Counter[int] = field(default_factory=Counter)

    def insert(self, count: int, owner: int = 1) -> None:
        """As the service would have left them."""
        name, numbers = f"org-{owner}", [self.inserted[owner] + 1, self.inserted[owner] + count]
        self.inserted[owner] += count
        if self.name == "campaigns":
            insert_campaigns(self.world.db, name, *numbers)
            return
        if not self.world.db.all("SELECT FROM instantly_campaigns WHERE org_id = %s", name):
            insert_campaigns(self.world.db, name, 1, 1)
        self.world.db.connection.execute(
            "INSERT INTO instantly_leads (campaign_id, instantly_lead_id, email, org_id, run_id)"
            " SELECT id, 'i', n || '@x.example', org_id, gen_random_uuid()"
            " FROM instantly_campaigns, generate_series(%s::int, %s) AS n WHERE org_id = %s",
            [*numbers, name],
        )

    def owner_id(self, owner: int = 1) -> Any:
        name = f"org-{owner}"
        if self.name == "campaigns":
            return name
        rows = self.world.db.all("SELECT id FROM instantly_campaigns WHERE org_id = %s", name)
        return rows[0]["id"]

    def page(self, query: str = "", owner: int = 1) -> dict[str, Any]:
        page = self.world.listed(self.path(owner), query)
        assert page["count"] == len(page[self.name])
        return page

    def path(self, owner: int = 1) -> str:
        if self.name == "campaigns":
            return f"/campaigns/by-org/{self.owner_id(owner)}"
        return f"/campaigns/{self.owner_id(owner)}/leads"

    def numbers(self, page: dict[str, Any]) -> list[int]:
        """Of the items of a page: the age of each."""
        if self.name == "campaigns":
            return [int(campaign["name"]) for campaign in page["campaigns"]]
        return [int(lead["email"].split("@")[0]) for lead in page["leads"]]

    def in_order(self, count: int) -> list[int]:
        numbers = list(range(1, count + 1))
        return numbers[::-1] if self.name == "campaigns" else numbers

    def walk(self, limit: int) -> Iterator[dict[str, Any]]:
        query = f"limit={limit}"
        while True:
            page = self.page(query)
            yield page
            if page["nextCursor"] is None:
                return
            query = f"limit={limit}&cursor={page['nextCursor']}"


def insert_campaigns(db: Rows, org_id: str, first: int, last: int) -> None:
    db.connection.execute(
        "INSERT INTO instantly_campaigns (id, instantly_campaign_id, org_id, clerk_org_id,"
        " brand_id, app_id, name, run_id)"
        " SELECT gen_random_uuid(), gen_random_uuid(), %s, 'clerk-1', 'b', 'a', n::text,"
        " gen_random_uuid() FROM generate_series(%s::int, %s) AS n",
        [org_id, first, last],
    )


@pytest.fixture(params=["campaigns", "leads"])
def listing(request, world):
    if request.param == "campaigns":
        return Listing(world, "campaigns", "select_campaigns_page", "org_id")
    return Listing(world, "leads", "select_leads_page", "campaign_id")


def test_a_page_holds_a_hundred_unless_told(listing):
    listing.insert(101)
    page = listing.page()
    assert listing.numbers(page) == listing.in_order(101)[:100]
    assert page["total"] == 101
    assert page["nextCursor"] is not None


def test_an_empty_list_is_one_page(listing):
    listing.insert(0)
    empty = {listing.name: [], "count": 0, "total": 0, "nextCursor": None}
    assert listing.page() == empty
    assert listing.page("cursor=1000000&limit=3") == empty


@pytest.mark.parametrize("limit", [1, 7, 20, 1000])
def test_pages_by_cursor_hold_every_item_once(listing, limit):
    for _ in range(4):
        listing.insert(5, owner=2)
        listing.insert(5)
    pages = list(listing.walk(limit))
    assert [n for page in pages for n in listing.numbers(page)] == listing.in_order(20)
    assert [page["total"] for page in pages] == [20] * len(pages)
    assert len(pages) == -(-20 // limit)
    assert all(page["count"] == limit for page in pages[:-1])


@pytest.mark.parametrize(
    ("query", "first", "end"),
    [("skip=0&limit=2", 0, 2), ("skip=3&limit=2", 3, 5), (f"skip={2**63 - 1}", 5, 5)],
)
def test_a_page_may_be_reached_by_skipping(listing, query, first, end):
    listing.insert(5)
    page = listing.page(query)
    assert listing.numbers(page) == listing.in_order(5)[first:end]
    assert page["total"] == 5
    assert (page["nextCursor"] is None) is (end == 5)
    if page["nextCursor"]:
        following = listing.page(f"limit=2&cursor={page['nextCursor']}")
        assert listing.numbers(following) == listing.in_order(5)[end : end + 2]


def test_a_cursor_of_another_list_shows_nothing_of_it(listing):
    listing.insert(5, owner=2)
    listing.insert(5)
    cursor = listing.page("limit=2", owner=2)["nextCursor"]
    assert set(listing.numbers(listing.page(f"cursor={cursor}"))) <= set(range(1, 6))
    assert listing.page(f"cursor={cursor}")["total"] == 5


@pytest.mark.parametrize(
    ("name", "bads"),
    [
        ("limit", ["0", "-1", "1001", "", "x", "1.5", "+5", "%205", "\u0661", "9" * 30]),
        ("skip", ["-1", "", "x", "9223372036854775808"]),
        ("cursor", ["-1", "", "%00", "9223372036854775808", "1&skip=0"]),
    ],
)
def test_a_page_that_makes_no_sense_is_a_bad_request(listing, name, bads):
    listing.insert(1)
    for bad in bads:
        answer = listing.world.send("GET", f"{listing.path()}?{name}={bad}")
        assert (answer.status_code, answer.get_json()["error"]) == (400, "Invalid request"), bad
        assert list(answer.get_json()["details"]) == [name], bad


@pytest.mark.parametrize("seed", range(3))
def test_paging_while_items_arrive_and_go_loses_and_doubles_none(listing, seed):
    chance = random.Random(seed)
    listing.insert(50)
    column = "name" if listing.name == "campaigns" else "split_part(email, '@', 1)"
    delete = f"DELETE FROM instantly_{listing.name} WHERE {column} = %s"  # noqa: S608
    seen = []
    gone = set()
    for page in listing.walk(4):
        seen += listing.numbers(page)
        victim = chance.randrange(1, 51)
        gone.add(victim)
        listing.world.db.connection.execute(delete.encode(), [str(victim)])
        listing.insert(chance.randrange(3))
    assert len(seen) == len(set(seen))
    assert set(seen) >= set(range(1, 51)) - gone
    # The newest stand before the first page, or after the last one.
    assert set(seen) <= set(range(1, 51)) or listing.name == "leads"


def test_paging_while_leads_are_uploaded_loses_and_doubles_none(world, campaign):
    world.add(addresses(100))
    problems = []

    def upload(writer: int) -> None:
        own_world = world.beside()
        try:
            for part in range(8):
                own_world.add(addresses(20, start=1000 * (writer + 1) + 20 * part))
        except BaseException as problem:
            problems.append(problem)

    writers = [threading.Thread(target=upload, args=[number]) for number in range(3)]
    for writer in writers:
        writer.start()
    seen = []
    query = "limit=7"
    while query:
        page = world.listed(world.path("/leads"), query)
        seen += [lead["email"] for lead in page["leads"]]
        query = page["nextCursor"] and f"limit=7&cursor={page['nextCursor']}"
    for writer in writers:
        writer.join()
    assert problems == []
    in_order = world.rows()
    assert len(in_order) == 100 + 3 * 8 * 20
    assert len(seen) >= 100
    # No lead that stands before the last one seen was missed.
    assert seen == in_order[: len(seen)]


# What a page costs


def page_plan(connection, statement: str, **parameters: Any) -> list[dict[str, Any]]:
    """The nodes of the plan, as they were really executed."""
    sql = load_statements(SQL_DIRECTORY)[statement]
    values = {"skip": None, "limit": 20, **parameters}
    with ClientCursor(connection) as cursor:
        ((plans,),) = cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}", values).fetchall()
    return list(plan_nodes(plans[0]["Plan"]))


def test_page_n_reads_no_more_rows_than_page_one(listing):
    for owner in range(1, 5):
        listing.insert(1500, owner)
    table, connection = f"instantly_{listing.name}", listing.world.db.connection
    connection.execute(f"ANALYZE {table}".encode())
    owner_id = listing.owner_id(2)
    select = f"SELECT position FROM {table} WHERE {listing.filter_by} = %s ORDER BY 1"  # noqa: S608
    positions = [row["position"] for row in listing.world.db.all(select, owner_id)]
    assert len(positions) == 1500
    for cursor in (None, positions[100], positions[750], positions[1400]):
        values = {listing.filter_by: owner_id, "cursor": cursor}
        nodes = page_plan(connection, listing.statement, **values)
        scans = [node for node in nodes if node.get("Relation Name") == table]
        # One each: the rows of the page, their positions and one more, and the total.
        *page, total = sorted(scans, key=rows_read)
        assert [rows_read(scan) for scan in page] == [20, 21], (cursor, nodes)
        assert rows_read(total) >= 1500
        assert not [scan for scan in page if scan["Node Type"] == "Seq Scan"], (cursor, nodes)
        sorts = [node for node in nodes if "Sort" in node["Node Type"]]
        assert all(rows_read(sort) <= 20 for sort in sorts), (cursor, nodes)
