"""Many at once on one campaign: each lead once, and our tables equal to Instantly."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar
from uuid import uuid4

import pytest
from conftest import API_KEY, Rows, Upstreams, campaign_request
from flask import Flask
from flask.testing import FlaskClient
from harness import HANGING_SECONDS, Places, wait_until
from werkzeug.test import TestResponse

import instantly.leases
from instantly import application
from instantly.config import Settings
from instantly.context import EXTENSION
from instantly.database import Database

ADD = ("POST", "/api/v2/leads/add")
BUSY = {"error": "Another change of this campaign is in progress"}
STATUSES = {1: "active", 2: "paused"}

Result = TypeVar("Result")


@pytest.fixture
def places(db: Rows, upstreams: Upstreams) -> Places:
    return Places(db, upstreams)


@pytest.fixture(scope="module")
def other_process(settings: Settings) -> Iterator[Flask]:
    """The service once more: it shares nothing with the first but the database."""
    app = application.create_app(settings)
    yield app
    app.extensions[EXTENSION].leases.close()
    app.extensions[EXTENSION].database.close()


@pytest.fixture
def apps(app: Flask, other_process: Flask) -> list[Flask]:
    return [app, other_process]


def client_of(app: Flask) -> FlaskClient:
    client = app.test_client()
    client.environ_base["HTTP_X_API_KEY"] = API_KEY
    return client


def all_at_once(*tasks: Callable[[], Result]) -> list[Result]:
    """The results of tasks that begin together."""
    start = threading.Barrier(len(tasks))

    def run(task: Callable[[], Result]) -> Result:
        start.wait(HANGING_SECONDS)
        return task()

    with ThreadPoolExecutor(len(tasks)) as threads:
        return [done.result(HANGING_SECONDS) for done in [threads.submit(run, t) for t in tasks]]


def emails(numbers: range) -> list[str]:
    return [f"lead{number}@example.com" for number in numbers]


def upload(app: Flask, campaign: dict[str, Any], numbers: range) -> TestResponse:
    body = {"orgId": "org-1", "leads": [{"email": email} for email in emails(numbers)]}
    return client_of(app).post(f"/campaigns/{campaign['id']}/leads", json=body)


def delete(app: Flask, campaign: dict[str, Any], numbers: range) -> TestResponse:
    body = {"emails": emails(numbers)}
    return client_of(app).delete(f"/campaigns/{campaign['id']}/leads", json=body)


def switch(app: Flask, campaign: dict[str, Any], status: str) -> TestResponse:
    return client_of(app).patch(f"/campaigns/{campaign['id']}/status", json={"status": status})


def lose_lock(db: Rows) -> None:
    """As if the holder had been silent for too long."""
    set_life(db, "(leads|status):", seconds=-1)


def billed_leads(places: Places) -> int:
    return int(places.upstreams.runs.billed().get("instantly-lead-add", 0))


@contextmanager
def under_way(task: Callable[[], Result]) -> Iterator["Future[Result]"]:
    with ThreadPoolExecutor(1) as thread:
        yield thread.submit(task)


# All at once


def test_the_same_list_by_eight_clients_is_stored_and_billed_once(
    apps: list[Flask], campaign: dict[str, Any], places: Places
) -> None:
    tasks = [partial(upload, apps[n % 2], campaign, range(300)) for n in range(8)]
    answers = all_at_once(*tasks)
    assert [answer.status_code for answer in answers] == [201] * 8
    assert sorted(answer.get_json()["added"] for answer in answers) == [0] * 7 + [300]
    for answer in answers:
        body = answer.get_json()
        assert body["added"] + body["duplicates"] == body["total"] == 300
    assert places.lead_rows().keys() == set(emails(range(300)))
    assert places.lead_rows() == places.leads()
    assert billed_leads(places) == 300
    assert set(places.runs()) == {"completed"}
    assert places.db.count("instantly_leases") == 0
    assert places.db.count("instantly_open_runs") == 0


def test_overlapping_lists_are_billed_as_their_union(
    apps: list[Flask], campaign: dict[str, Any], places: Places
) -> None:
    tasks = [partial(upload, apps[n % 2], campaign, range(50 * n, 50 * n + 100)) for n in range(8)]
    answers = all_at_once(*tasks)
    assert [answer.status_code for answer in answers] == [201] * 8
    assert sum(answer.get_json()["added"] for answer in answers) == 450
    assert places.lead_rows().keys() == set(emails(range(450)))
    assert places.lead_rows() == places.leads()
    assert billed_leads(places) == 450


def test_uploads_and_deletes_of_the_same_leads_end_with_equal_tables(
    apps: list[Flask], campaign: dict[str, Any], places: Places
) -> None:
    def uploads(app: Flask, start: int) -> int:
        added = 0
        for _ in range(5):
            answer = upload(app, campaign, range(start, start + 40))
            assert answer.status_code == 201
            added += answer.get_json()["added"]
        return added

    def deletes(app: Flask, start: int) -> int:
        deleted = 0
        for _ in range(5):
            answer = delete(app, campaign, range(start, start + 30))
            assert answer.status_code == 200
            deleted += answer.get_json()["deleted"]
        return deleted

    added_1, added_2, added_3, deleted_1, deleted_2 = all_at_once(
        lambda: uploads(apps[0], 0),
        lambda: uploads(apps[1], 20),
        lambda: uploads(apps[1], 0),
        lambda: deletes(apps[0], 10),
        lambda: deletes(apps[1], 0),
    )
    assert places.lead_rows() == places.leads()
    added = added_1 + added_2 + added_3
    assert added - deleted_1 - deleted_2 == len(places.lead_rows())
    assert billed_leads(places) == added


def test_the_row_holds_the_status_that_was_set_last_in_instantly(
    apps: list[Flask], campaign: dict[str, Any], places: Places, client: FlaskClient
) -> None:
    def switches(app: Flask, statuses: tuple[str, ...]) -> None:
        for status in statuses * 4:
            assert switch(app, campaign, status).status_code == 200

    all_at_once(
        lambda: switches(apps[0], ("active", "paused")),
        lambda: switches(apps[1], ("paused", "active")),
        lambda: switches(apps[0], ("paused", "active")),
        lambda: switches(apps[1], ("active",)),
    )
    (held,) = places.campaigns().values()
    shown = client.get(f"/campaigns/{campaign['id']}").get_json()["campaign"]
    assert shown["status"] == STATUSES[held["status"]]


def test_other_campaigns_do_not_wait(
    app: Flask, client: FlaskClient, campaign: dict[str, Any], places: Places
) -> None:
    other = client.post("/campaigns", json=campaign_request(name="Other")).get_json()["campaign"]
    stand_in = places.upstreams.instantly_http
    stand_in.fail(*ADD, how="hang")
    with under_way(lambda: upload(app, campaign, range(3))) as first:
        stand_in.wait_until_hanging()
        assert upload(app, other, range(3)).status_code == 201
        assert switch(app, campaign, "active").status_code == 200
        assert client.get(f"/campaigns/{campaign['id']}/leads").status_code == 200
        assert not first.done()
        stand_in.release()
        assert first.result(HANGING_SECONDS).status_code == 201


# Waiting for one's turn


def hold_lock(db: Rows, campaign: dict[str, Any], scope: str, seconds: float) -> None:
    db.connection.execute(
        "INSERT INTO instantly_leases (name, holder, seconds, alive_until)"
        " VALUES (%s, %s, 20, clock_timestamp() + make_interval(secs => %s))",
        [f"{scope}:{campaign['id']}", uuid4(), seconds],
    )


CHANGES: list[tuple[str, Callable[[Flask, dict[str, Any]], TestResponse]]] = [
    ("leads", lambda app, campaign: upload(app, campaign, range(3))),
    ("leads", lambda app, campaign: delete(app, campaign, range(3))),
    ("status", lambda app, campaign: switch(app, campaign, "active")),
]


@pytest.mark.parametrize(("scope", "change"), CHANGES, ids=["upload", "delete", "switch"])
def test_waiting_is_bounded(
    app: Flask,
    campaign: dict[str, Any],
    places: Places,
    monkeypatch: pytest.MonkeyPatch,
    scope: str,
    change: Callable[[Flask, dict[str, Any]], TestResponse],
) -> None:
    monkeypatch.setattr(instantly.leases, "WAIT_SECONDS", 0.2)
    hold_lock(places.db, campaign, scope, seconds=60)
    places.upstreams.instantly_http.clear()
    runs_before = len(places.runs())
    answer = change(app, campaign)
    assert (answer.status_code, answer.get_json()) == (503, BUSY)
    assert int(answer.headers["Retry-After"]) > 0
    assert places.upstreams.instantly_http.requests == []
    assert len(places.runs()) == runs_before
    assert places.db.count("instantly_leases") == 1


@pytest.mark.parametrize("seconds", [-1.0, 0.5], ids=["long ago", "just now"])
@pytest.mark.parametrize(("scope", "change"), CHANGES, ids=["upload", "delete", "switch"])
def test_the_lock_of_a_dead_holder_is_taken_over(
    app: Flask,
    campaign: dict[str, Any],
    places: Places,
    scope: str,
    change: Callable[[Flask, dict[str, Any]], TestResponse],
    seconds: float,
) -> None:
    hold_lock(places.db, campaign, scope, seconds)
    assert change(app, campaign).status_code in (200, 201)
    assert places.db.count("instantly_leases") == 0


def set_life(db: Rows, name: str, seconds: float) -> None:
    db.connection.execute(
        "UPDATE instantly_leases SET alive_until = clock_timestamp() + make_interval(secs => %s)"
        " WHERE name ~ %s",
        [seconds, name],
    )


def is_alive_for(db: Rows, name: str, seconds: float) -> bool:
    return bool(
        db.all(
            "SELECT FROM instantly_leases WHERE name ~ %s"
            " AND alive_until > clock_timestamp() + make_interval(secs => %s)",
            name,
            seconds,
        )
    )


def test_who_works_for_long_keeps_what_is_his(
    settings: Settings,
    campaign: dict[str, Any],
    places: Places,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The lock, the key and the run say again and again that they are alive."""
    monkeypatch.setattr(instantly.leases, "HEARTBEAT_SECONDS", 0.05)
    app = application.create_app(settings)
    stand_in = places.upstreams.instantly_http
    stand_in.fail(*ADD, how="hang")
    body = {"orgId": "org-1", "leads": [{"email": "ada@example.com"}]}
    path = f"/campaigns/{campaign['id']}/leads"
    headers = {"Idempotency-Key": "k"}
    with under_way(lambda: client_of(app).post(path, json=body, headers=headers)) as answer:
        stand_in.wait_until_hanging()
        for name in ("leads:", "key:", "run:"):
            set_life(places.db, name, seconds=1)
            wait_until(partial(is_alive_for, places.db, name, seconds=10))
        stand_in.release()
        assert answer.result(HANGING_SECONDS).status_code == 201
    app.extensions[EXTENSION].leases.close()
    app.extensions[EXTENSION].database.close()
    assert places.db.count("instantly_leases") == 0
    assert places.db.count("instantly_open_runs") == 0


# Who lost his lock


def test_an_upload_that_lost_its_lock_stores_nothing_and_takes_out_nothing_of_others(
    apps: list[Flask], campaign: dict[str, Any], places: Places
) -> None:
    stand_in = places.upstreams.instantly_http
    stand_in.fail(*ADD, how="hang_after")
    with under_way(lambda: upload(apps[0], campaign, range(5))) as first:
        stand_in.wait_until_hanging()
        lose_lock(places.db)
        # Its leads are in Instantly already: the second adopts those that it wants.
        second = upload(apps[1], campaign, range(3))
        stand_in.release()
        answer = first.result(HANGING_SECONDS)
    assert (second.status_code, second.get_json()["added"]) == (201, 3)
    assert (answer.status_code, answer.get_json()) == (503, BUSY)
    assert places.lead_rows().keys() == set(emails(range(3)))
    assert places.lead_rows().items() <= places.leads().items()
    assert billed_leads(places) == 3
    assert sorted(places.runs()) == ["completed", "completed", "failed"]
    # What it had to leave in Instantly is adopted by a repeat.
    assert upload(apps[0], campaign, range(5)).get_json()["added"] == 2
    assert places.lead_rows() == places.leads()
    assert billed_leads(places) == 5


def test_an_upload_that_lost_its_lock_takes_out_nothing_that_another_is_about_to_store(
    apps: list[Flask],
    campaign: dict[str, Any],
    places: Places,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reached, may_go_on = threading.Event(), threading.Event()
    run = Database._run

    def stop_at_the_first_insert(self: Database, name: str, parameters: dict[str, Any]) -> Any:
        if name == "insert_leads" and not reached.is_set():
            reached.set()
            assert may_go_on.wait(HANGING_SECONDS)
        return run(self, name, parameters)

    monkeypatch.setattr(Database, "_run", stop_at_the_first_insert)
    stand_in = places.upstreams.instantly_http
    with under_way(lambda: upload(apps[0], campaign, range(3))) as first:
        assert reached.wait(HANGING_SECONDS)
        lose_lock(places.db)
        stand_in.fail("POST", "/api/v2/leads/list", how="hang_after")
        with under_way(lambda: upload(apps[1], campaign, range(3))) as second:
            stand_in.wait_until_hanging()
            may_go_on.set()
            # It may wait for the other, but not for ever.
            deadline = time.monotonic() + 2
            while not first.done() and time.monotonic() < deadline:
                time.sleep(0.02)
            stand_in.heal()
            assert second.result(HANGING_SECONDS).status_code == 201
        assert first.result(HANGING_SECONDS).status_code == 503
    assert places.lead_rows() == places.leads()
    assert billed_leads(places) == len(places.lead_rows()) == 3


def test_a_delete_that_lost_its_lock_leaves_the_rows_of_others(
    apps: list[Flask], campaign: dict[str, Any], places: Places
) -> None:
    upload(apps[0], campaign, range(3))
    stand_in = places.upstreams.instantly_http
    stand_in.fail("DELETE", "/api/v2/leads", how="hang")
    with under_way(lambda: delete(apps[0], campaign, range(3))) as first:
        stand_in.wait_until_hanging()
        lose_lock(places.db)
        assert delete(apps[1], campaign, range(3)).get_json()["deleted"] == 3
        assert upload(apps[1], campaign, range(3)).get_json()["added"] == 3
        stand_in.release()
        first.result(HANGING_SECONDS)
    assert places.lead_rows() == places.leads()


def test_a_switch_that_lost_its_lock_does_not_overwrite_a_later_one(
    apps: list[Flask], campaign: dict[str, Any], places: Places, client: FlaskClient
) -> None:
    stand_in = places.upstreams.instantly_http
    stand_in.fail("POST", "/api/v2/campaigns/[^/]+/activate", how="hang_after")
    with under_way(lambda: switch(apps[0], campaign, "active")) as first:
        stand_in.wait_until_hanging()
        lose_lock(places.db)
        assert switch(apps[1], campaign, "paused").status_code == 200
        stand_in.release()
        first.result(HANGING_SECONDS)
    (held,) = places.campaigns().values()
    shown = client.get(f"/campaigns/{campaign['id']}").get_json()["campaign"]
    assert shown["status"] == STATUSES[held["status"]]
