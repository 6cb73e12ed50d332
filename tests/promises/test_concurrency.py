"""Many at once on one campaign: each lead once, and our tables equal to Instantly."""

import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import partial
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from harness import HANGING_SECONDS, Service, running, wait_until
from helpers import UNKNOWN_ID
from werkzeug.test import TestResponse
from world import World, addresses, leads_of, opened_app

import instantly.storage.leases
from instantly.storage.statements import SQL_DIRECTORY, load_statements
from instantly.web.context import EXTENSION

ADD = ("POST", "/api/v2/leads/add")
BUSY = {"error": "Another change of this campaign is in progress"}
STATUSES = {1: "active", 2: "paused"}
STATEMENTS = load_statements(SQL_DIRECTORY)
NEW_CAMPAIGN = {
    **dict.fromkeys("org_id clerk_org_id brand_id app_id".split(), "x"),
    **dict.fromkeys(("campaign_id", "instantly_campaign_id"), UNKNOWN_ID),
}
ANSWER = {
    **dict.fromkeys("key method path body".split(), "x"),
    "request_hash": b"",
    "status": 201,
    "is_final": True,
}

pytestmark = [pytest.mark.usefixtures("campaign"), pytest.mark.greenlets]


@pytest.fixture(scope="module")
def other_service(service_of_the_module, tmp_path_factory):
    world, folder = service_of_the_module, tmp_path_factory.mktemp("other")
    service = Service(world.db.connection.info.dsn, world.upstreams, folder)
    with running(service):
        yield service


@pytest.fixture
def other(world, campaign, request):
    """The same world, and campaign, by way of another process."""
    is_real = isinstance(world.client, Service)
    return world.beside(request.getfixturevalue("other_service" if is_real else "other_process"))


def all_at_once(*tasks: Callable[[], Any]) -> list[Any]:
    """The results of tasks that begin together."""
    start = threading.Barrier(len(tasks))

    def run(task: Callable[[], Any]) -> Any:
        start.wait(HANGING_SECONDS)
        return task()

    with ThreadPoolExecutor(len(tasks)) as threads:
        return [done.result(HANGING_SECONDS) for done in [threads.submit(run, t) for t in tasks]]


def upload(world: World, numbers: range) -> TestResponse:
    return world.beside().upload(leads_of(addresses(len(numbers), numbers.start)))


def delete(world: World, numbers: range) -> TestResponse:
    return world.beside().delete(addresses(len(numbers), numbers.start))


def switch(world: World, status: str) -> TestResponse:
    return world.beside().switch(status)


def lose_lock(world: World) -> None:
    """As if the holder had been silent for too long."""
    world.db.fall_silent("(leads|status):")


def has_the_status_of_instantly(world: World) -> bool:
    (held,) = world.campaigns().values()
    return bool(world.shown()["status"] == STATUSES[held["status"]])


@contextmanager
def under_way(task: Callable[[], Any]) -> Iterator["Future[Any]"]:
    with ThreadPoolExecutor(1) as thread:
        yield thread.submit(task)


# All at once


def test_the_same_list_by_eight_clients_is_stored_and_billed_once(world, other):
    answers = all_at_once(*[partial(upload, (world, other)[n % 2], range(300)) for n in range(8)])
    assert [answer.status_code for answer in answers] == [201] * 8
    assert sorted(answer.get_json()["added"] for answer in answers) == [0] * 7 + [300]
    for answer in answers:
        body = answer.get_json()
        assert body["added"] + body["duplicates"] == body["total"] == 300
    assert set(world.lead_rows()) == set(addresses(300))
    assert world.agrees()
    assert (set(world.runs()), world.billed()) == ({"completed"}, 300)
    assert world.db.count("instantly_leases") == 0
    assert world.db.count("instantly_open_runs") == 0


def test_uploads_and_deletes_of_the_same_leads_end_with_equal_tables(world, other):
    def uploads(world, start):
        answers = [upload(world, range(start, start + 40)) for _ in range(5)]
        assert {answer.status_code for answer in answers} == {201}
        return sum(answer.get_json()["added"] for answer in answers)

    def deletes(world, start):
        answers = [delete(world, range(start, start + 30)) for _ in range(5)]
        assert {answer.status_code for answer in answers} == {200}
        return sum(answer.get_json()["deleted"] for answer in answers)

    *added, deleted, deleted_too = all_at_once(
        partial(uploads, world, 0),
        partial(uploads, other, 20),
        partial(uploads, other, 0),
        partial(deletes, world, 10),
        partial(deletes, other, 0),
    )
    assert world.agrees()
    assert sum(added) - deleted - deleted_too == len(world.lead_rows())
    assert world.billed() == sum(added)


def test_the_row_holds_the_status_that_was_set_last_in_instantly(world, other):
    def switches(world, *statuses):
        for status in statuses * 4:
            assert switch(world, status).status_code == 200

    all_at_once(
        partial(switches, world, "active", "paused"),
        partial(switches, other, "paused", "active"),
        partial(switches, world, "paused", "active"),
        partial(switches, other, "active"),
    )
    assert has_the_status_of_instantly(world)


def test_other_campaigns_do_not_wait(world):
    another = world.created(name="Other")
    stand_in = world.upstreams.instantly_http
    stand_in.fail(*ADD, how="hang")
    with under_way(lambda: upload(world, range(3))) as first:
        stand_in.wait_until_hanging()
        assert world.upload(leads_of(addresses(3)), another).status_code == 201
        assert world.switch("active").status_code == 200
        assert world.listed_leads() == []
        assert not first.done()
        stand_in.release()
        assert first.result(HANGING_SECONDS).status_code == 201


# Waiting for one's turn


def hold_lock(world: World, scope: str, seconds: float) -> None:
    world.db.connection.execute(
        "INSERT INTO instantly_leases (name, holder, seconds, alive_until)"
        " VALUES (%s, %s, 20, clock_timestamp() + make_interval(secs => %s))",
        [f"{scope}:{world.campaign['id']}", uuid4(), seconds],
    )


Change = Callable[[World], TestResponse]
each_change = pytest.mark.parametrize(
    ("scope", "change"),
    [
        ("leads", partial(upload, numbers=range(3))),
        ("leads", partial(delete, numbers=range(3))),
        ("status", partial(switch, status="active")),
    ],
    ids=["upload", "delete", "switch"],
)


@each_change
def test_waiting_is_bounded(world, monkeypatch, scope, change):
    assert instantly.storage.leases.WAIT_SECONDS == 30
    monkeypatch.setattr(instantly.storage.leases, "WAIT_SECONDS", 0.2)
    hold_lock(world, scope, seconds=60)
    answer = change(world)
    assert (answer.status_code, answer.get_json()) == (503, BUSY)
    assert int(answer.headers["Retry-After"]) > 0
    assert world.upstreams.instantly_http.requests == []
    assert world.runs() == []
    assert world.db.count("instantly_leases") == 1


@each_change
def test_the_lock_of_a_dead_holder_is_taken_over(world, scope, change):
    hold_lock(world, scope, seconds=0.5)
    assert change(world).status_code in (200, 201)
    assert world.db.count("instantly_leases") == 0


def is_alive_for(world: World, name: str, seconds: float) -> bool:
    alive = (
        "SELECT FROM instantly_leases WHERE name ~ %s"
        " AND alive_until > clock_timestamp() + make_interval(secs => %s)"
    )
    return bool(world.db.all(alive, name, seconds))


def test_who_works_for_long_keeps_what_is_his(settings, world, monkeypatch):
    """The lock, the key and the run say again and again that they are alive."""
    monkeypatch.setattr(instantly.storage.leases, "HEARTBEAT_SECONDS", 0.05)
    stand_in = world.upstreams.instantly_http
    stand_in.fail(*ADD, how="hang")
    body = {"orgId": "org-1", "leads": leads_of(addresses(1))}
    with opened_app(settings) as app:
        call = partial(world.beside(app).send, "POST", world.path("/leads"), body)
        with under_way(partial(call, headers={"Idempotency-Key": "k"})) as answer:
            stand_in.wait_until_hanging()
            for name in ("leads:", "key:", "run:"):
                world.db.live_for(1, name)
                wait_until(partial(is_alive_for, world, name, seconds=10))
            stand_in.release()
            assert answer.result(HANGING_SECONDS).status_code == 201
    assert world.db.count("instantly_leases") == 0
    assert world.db.count("instantly_open_runs") == 0


def test_a_lease_that_a_statement_has_locked_does_not_keep_the_others_from_being_renewed(
    settings, world, database_url, monkeypatch
):
    """A keyed upload locks the lease of its campaign, then that of its key: no deadlock."""
    monkeypatch.setattr(instantly.storage.leases, "HEARTBEAT_SECONDS", 0.05)
    lock = "SELECT FROM instantly_leases WHERE name = %s FOR UPDATE"
    with opened_app(settings) as app, psycopg.connect(database_url) as upload:
        leases = app.extensions[EXTENSION].leases
        locked, free = leases.take("leads:locked", 20), leases.take("key:free", 20)
        world.db.live_for(1, "")
        upload.execute(lock, [locked.name])
        with leases.renewing(locked), leases.renewing(free):
            wait_until(partial(is_alive_for, world, free.name, seconds=10))
            assert not is_alive_for(world, locked.name, seconds=10)
            assert upload.execute(lock, [free.name]).rowcount
            upload.rollback()
            wait_until(partial(is_alive_for, world, locked.name, seconds=10))


# Who lost his lock


@pytest.mark.parametrize(
    ("name", "parameters", "rivals"),
    [
        ("insert_campaign", NEW_CAMPAIGN, ["update_open_run_outcome"]),
        ("insert_leads", {"leads": "[]"}, ["update_open_run_outcome", "upsert_lease"]),
        ("upsert_answer", ANSWER, ["upsert_lease"]),
        ("update_found_campaign", {"status_before": "draft", "status": "active"}, ["upsert_lease"]),
        ("upsert_found_leads", {"leads": "[]"}, ["upsert_lease"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_nobody_takes_what_a_statement_relies_on_before_its_transaction_has_ended(
    world, database_url, name, parameters, rivals
):
    def rows_of(connection: psycopg.Connection[Any], name: str, values: dict[str, Any]) -> int:
        nulls = dict.fromkeys(re.findall(r"%\((\w+)\)s", STATEMENTS[name]))
        return connection.execute(STATEMENTS[name].encode(), nulls | values).rowcount

    ours = {"name": "x", "holder": uuid4(), "run_id": uuid4(), "task_name": "x", "subject": "x"}
    ours |= {"seconds": -1, "campaign_id": world.campaign["id"], **parameters}
    theirs = ours | {"holder": uuid4(), "outcome": "failed"}
    rows_of(world.db.connection, "insert_open_run", ours)
    with psycopg.connect(database_url) as act, psycopg.connect(database_url) as rival:
        assert rows_of(act, name, ours) == 1
        for statement in rivals:
            rival.execute("SET LOCAL lock_timeout = '50ms'")
            with pytest.raises(psycopg.errors.LockNotAvailable):
                rows_of(rival, statement, theirs)
            rival.rollback()
        act.rollback()
        for statement in rivals:
            assert rows_of(rival, statement, theirs) == 1
        with ThreadPoolExecutor() as executor:
            late = executor.submit(rows_of, act, name, ours)
            wait_until(lambda: world.db.all("SELECT FROM pg_locks WHERE NOT granted"))
            rival.commit()
            assert late.result() == 0


def test_an_upload_that_lost_its_lock_stores_nothing_and_takes_out_nothing_of_others(world, other):
    stand_in = world.upstreams.instantly_http
    stand_in.fail(*ADD, how="hang_after")
    with under_way(lambda: upload(world, range(5))) as first:
        stand_in.wait_until_hanging()
        lose_lock(world)
        # Its leads are in Instantly already: the second adopts those that it wants.
        second = upload(other, range(3))
        stand_in.release()
        answer = first.result(HANGING_SECONDS)
    assert (second.status_code, second.get_json()["added"]) == (201, 3)
    assert (answer.status_code, answer.get_json()) == (503, BUSY)
    assert set(world.lead_rows()) == set(addresses(3))
    assert world.lead_rows().items() <= world.in_instantly().items()
    assert (sorted(world.runs()), world.billed()) == (["completed", "failed"], 3)
    # What it had to leave in Instantly is adopted by a repeat.
    assert upload(world, range(5)).get_json()["added"] == 2
    assert world.agrees()
    assert world.billed() == 5


def test_an_upload_that_lost_its_lock_takes_out_nothing_that_another_is_about_to_store(
    world, other, statements
):
    reached, may_go_on = threading.Event(), threading.Event()

    def stop_the_first():
        if not reached.is_set():
            reached.set()
            assert may_go_on.wait(HANGING_SECONDS)

    statements.before("insert_leads", stop_the_first)
    stand_in = world.upstreams.instantly_http
    with under_way(lambda: upload(world, range(3))) as first:
        assert reached.wait(HANGING_SECONDS)
        lose_lock(world)
        stand_in.fail("POST", "/api/v2/leads/list", how="hang_after")
        with under_way(lambda: upload(other, range(3))) as second:
            stand_in.wait_until_hanging()
            may_go_on.set()
            # It may wait for the other, but not for ever.
            wait([first], timeout=2)
            stand_in.heal()
            assert second.result(HANGING_SECONDS).status_code == 201
        assert first.result(HANGING_SECONDS).status_code == 503
    assert world.agrees()
    assert world.billed() == len(world.lead_rows()) == 3


def test_a_delete_that_lost_its_lock_leaves_the_rows_of_others(world, other):
    upload(world, range(3))
    stand_in = world.upstreams.instantly_http
    stand_in.fail("DELETE", "/api/v2/leads", how="hang")
    with under_way(lambda: delete(world, range(3))) as first:
        stand_in.wait_until_hanging()
        lose_lock(world)
        assert delete(other, range(3)).get_json()["deleted"] == 3
        assert upload(other, range(3)).get_json()["added"] == 3
        stand_in.release()
        first.result(HANGING_SECONDS)
    assert world.agrees()


def test_a_switch_that_lost_its_lock_does_not_overwrite_a_later_one(world, other):
    stand_in = world.upstreams.instantly_http
    stand_in.fail("POST", "/api/v2/campaigns/[^/]+/activate", how="hang_after")
    with under_way(lambda: switch(world, "active")) as first:
        stand_in.wait_until_hanging()
        lose_lock(world)
        assert switch(other, "paused").status_code == 200
        stand_in.release()
        first.result(HANGING_SECONDS)
    assert has_the_status_of_instantly(world)
