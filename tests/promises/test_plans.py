"""Statements over many addresses, whatever PostgreSQL knew of the tables when it planned them.

A plan for a small table may read it whole, and that for each address. Connections keep their plans,
and the planner its statistics, until PostgreSQL has analyzed a table again: a minute or more.
"""

import json
from collections.abc import Iterator

import pytest
from harness import explained, fresh_database, looking_at, plan_nodes, rows_read
from world import Upstreams, World, addresses, client_of, opened_app

from instantly.config import Settings
from instantly.sandbox.postgres import LocalPostgres
from instantly.web.context import EXTENSION

EMPTIED = ("leads", "lead_activity", "events", "erased", "erased_leads")
MANY = 1000


@pytest.fixture
def alone(
    postgres: LocalPostgres, settings: Settings, upstreams: Upstreams
) -> Iterator[tuple[World, list[str]]]:
    """A service with one connection to a database of its own; the plans of what runs there."""
    with (
        fresh_database(postgres) as url,
        looking_at(url) as db,
        opened_app(settings, database_url=url, database_pool_size=1) as app,
    ):
        for table in (*EMPTIED, "campaigns"):
            off = f"ALTER TABLE instantly_{table} SET (autovacuum_enabled = false)"
            db.connection.execute(off.encode())
        world = World(db, upstreams, client_of(app))
        world.campaign = world.created()
        pool = app.extensions[EXTENSION].database._pool
        connection = pool.take()
        pool.give_back(connection)
        with explained(connection, "auto") as noted:
            yield world, noted


def use(world: World, emails: list[str]) -> None:
    """The even ones are erased, the odd ones are deleted."""
    world.add(emails)
    world.receive("email_sent", lead=emails[0])
    asked = {"clerkOrgId": "clerk-1", "emails": emails}
    assert world.send("POST", "/leads/status", asked).status_code == 200
    erased = {"clerkOrgId": "clerk-1", "emails": emails[::2]}
    assert world.send("POST", "/leads/erase", erased).status_code == 200
    assert world.delete(emails[1::2]).get_json()["deleted"] == len(emails[1::2])


def small(world: World) -> None:
    """Every plan is from when there were a few rows; now there are many."""
    world.db.connection.execute("VACUUM ANALYZE")
    for number in range(12):
        use(world, addresses(2, start=10_000 + 2 * number))
    world.hold(*addresses(MANY, start=20_000))
    world.db.connection.execute(
        "INSERT INTO instantly_lead_activity (campaign_id, lead_email, step)"
        " SELECT campaign_id, email, 0 FROM instantly_leads"
    )


def emptied(world: World) -> None:
    """The statistics say that there is nothing in all the pages of the tables."""
    use(world, addresses(20, start=10_000))
    for table in EMPTIED:
        world.db.connection.execute(f"DELETE FROM instantly_{table}".encode())  # noqa: S608
    world.db.connection.execute("ANALYZE")


@pytest.mark.parametrize("prepare", [small, emptied])
def test_no_table_is_read_for_each_of_many_addresses(alone, prepare):
    world, noted = alone
    prepare(world)
    noted.clear()
    use(world, addresses(MANY))
    assert len(noted) > 20
    for plan in filter(None, noted):
        planned = json.loads(plan)
        for node in plan_nodes(planned["Plan"]):
            # A table of a few dozen rows may be.
            assert rows_read(node) <= MANY * MANY / 20, (planned["Query Text"], node)
