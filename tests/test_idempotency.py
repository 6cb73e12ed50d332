"""The Idempotency-Key: the first final answer is kept for a day and given to every repeat."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any
from uuid import uuid4

import pytest
from conftest import API_KEY, Rows, Upstreams, campaign_request
from flask.testing import FlaskClient
from harness import HANGING_SECONDS, Places, fall_silent
from psycopg import OperationalError
from werkzeug.test import TestResponse

from instantly.database import Database

IN_PROGRESS = {"error": "A request with this Idempotency-Key is in progress"}
OTHER_REQUEST = {"error": "Idempotency-Key was used with a different request"}

Fault = dict[str, Any]


@pytest.fixture
def places(db: Rows, upstreams: Upstreams) -> Places:
    return Places(db, upstreams)


@dataclass
class Act:
    """A billing POST that takes the key."""

    client: FlaskClient
    places: Places
    path: str
    body: dict[str, Any]
    instantly_path: str
    quantity: int

    def send(self, key: str = "k", body: Any = None, **more: Any) -> TestResponse:
        body = self.body if body is None else body
        return self.client.post(self.path, json=body, headers={"Idempotency-Key": key}, **more)

    def send_text(self, text: str) -> TestResponse:
        headers = {"Idempotency-Key": "k", "Content-Type": "application/json"}
        return self.client.post(self.path, data=text, headers=headers)

    def is_done_once(self) -> bool:
        return (
            set(self.places.campaign_rows()) == set(self.places.campaigns())
            and len(self.places.campaign_rows()) == 1
            and self.places.lead_rows() == self.places.leads()
            and self.places.billed_to_completed_runs() == self.quantity
        )

    def calls(self) -> int:
        """How often another service was asked anything."""
        upstreams = self.places.upstreams
        https = (upstreams.keys_http, upstreams.runs_http, upstreams.instantly_http)
        return sum(len(http.requests) for http in https)


def create_campaign(client: FlaskClient, places: Places) -> Act:
    body = campaign_request(metadata={"a": 1, "b": [True, None]})
    return Act(client, places, "/campaigns", body, "/api/v2/campaigns", quantity=1)


def add_leads(client: FlaskClient, places: Places) -> Act:
    campaign = client.post("/campaigns", json=campaign_request()).get_json()["campaign"]
    body = {"orgId": "org-1", "leads": [{"email": "ada@example.com", "customVariables": {"a": 1}}]}
    places.upstreams.runs.runs.clear()
    return Act(
        client, places, f"/campaigns/{campaign['id']}/leads", body, "/api/v2/leads/add", quantity=1
    )


@pytest.fixture(params=[create_campaign, add_leads], ids=["campaigns", "leads"])
def act(request: pytest.FixtureRequest, client: FlaskClient, places: Places) -> Act:
    make: Callable[[FlaskClient, Places], Act] = request.param
    return make(client, places)


def age(db: Rows, what: str, by: str = "25 hours") -> None:
    db.connection.execute(
        f"UPDATE instantly_idempotency_keys SET {what} = now() - interval '{by}'".encode()  # noqa: S608
    )


def is_replay(answer: TestResponse, of: TestResponse) -> bool:
    return (
        answer.headers.get("Idempotent-Replayed") == "true"
        and (answer.status_code, answer.get_json()) == (of.status_code, of.get_json())
        and answer.mimetype == "application/json"
    )


# Replays


def test_a_repeat_gets_the_first_answer_and_nothing_is_done(act: Act) -> None:
    first = act.send()
    assert first.status_code == 201
    assert "Idempotent-Replayed" not in first.headers
    calls = act.calls()
    assert is_replay(act.send(), first)
    assert is_replay(act.send(), first)
    assert act.calls() == calls
    assert act.is_done_once()


def test_without_the_key_nothing_is_kept(act: Act) -> None:
    act.client.post(act.path, json=act.body)
    assert act.places.db.count("instantly_idempotency_keys") == 0


@pytest.mark.parametrize(
    "written",
    [
        lambda body: json.dumps(body, indent=3),
        lambda body: "\n\t" + json.dumps(body, separators=(" ,", " : ")) + "\r\n",
        lambda body: json.dumps(dict(reversed(body.items()))),
        lambda body: json.dumps(body).replace("a", "\\u0061"),
    ],
    ids=["indented", "blanks", "other order", "escapes"],
)
def test_the_same_value_written_otherwise_is_the_same_request(
    act: Act, written: Callable[[dict[str, Any]], str]
) -> None:
    first = act.send()
    calls = act.calls()
    assert is_replay(act.send_text(written(act.body)), first)
    assert act.calls() == calls


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace('"orgId": "org-1"', '"orgId": "org-2"'),
        lambda text: text.replace('"a": 1', '"a": true'),
        lambda text: text.replace('"a": 1', '"a": "1"'),
        lambda text: text.replace('"a": 1', '"a": null'),
        lambda text: text[:-1] + ', "unknown": 1}',
    ],
)
def test_another_value_under_the_same_key_is_refused(
    act: Act, change: Callable[[str], str]
) -> None:
    assert act.send().status_code == 201
    calls = act.calls()
    other = change(json.dumps(act.body))
    assert json.loads(other) != act.body or "true" in other
    answer = act.send_text(other)
    assert (answer.status_code, answer.get_json()) == (422, OTHER_REQUEST)
    assert "Idempotent-Replayed" not in answer.headers
    assert act.calls() == calls
    # And the first answer is still there.
    assert act.send().headers["Idempotent-Replayed"] == "true"
    assert act.is_done_once()


def test_a_replay_needs_our_key(act: Act) -> None:
    act.send()
    answer = act.client.post(
        act.path, json=act.body, headers={"Idempotency-Key": "k", "X-API-Key": "wrong"}
    )
    assert answer.status_code == 401


# The key itself


@pytest.mark.parametrize("key", ["x", "x" * 255, " ~!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}", "a b"])
def test_every_printable_key_is_taken(act: Act, key: str) -> None:
    first = act.send(key)
    assert first.status_code == 201
    assert is_replay(act.send(key), first)


@pytest.mark.parametrize("key", ["", "x" * 256, "é", "a\tb", "a\x7fb", "a\x01"], ids=repr)
def test_any_other_key_is_a_bad_request(act: Act, key: str) -> None:
    calls = act.calls()
    answer = act.send(key)
    assert answer.status_code == 400
    assert answer.get_json()["error"] == "Invalid request"
    assert list(answer.get_json()["details"]) == ["Idempotency-Key"]
    assert act.calls() == calls
    assert act.places.db.count("instantly_idempotency_keys") == 0


def test_keys_are_compared_exactly(act: Act) -> None:
    first = act.send("key")
    assert "Idempotent-Replayed" not in act.send("KEY").headers
    assert is_replay(act.send("key"), first)


def test_a_key_belongs_to_its_path(client: FlaskClient, places: Places) -> None:
    campaign = create_campaign(client, places)
    created = [campaign.send("k"), campaign.send("l")]
    ids = [answer.get_json()["campaign"]["id"] for answer in created]
    body = {"orgId": "org-1", "leads": [{"email": "ada@example.com"}]}
    headers = {"Idempotency-Key": "k"}
    for campaign_id in ids:
        answer = client.post(f"/campaigns/{campaign_id}/leads", json=body, headers=headers)
        assert (answer.status_code, answer.get_json()["added"]) == (201, 1)
        assert "Idempotent-Replayed" not in answer.headers
    assert is_replay(campaign.send("k"), created[0])
    assert is_replay(campaign.send("l"), created[1])


# Which answers are kept


@pytest.mark.parametrize(
    ("stand_in", "fault", "status"),
    [
        ("keys_http", {"status": 500, "times": None}, 502),
        ("runs_http", {"status": 500, "times": None}, 502),
        ("instantly_http", {"status": 500, "times": None}, 502),
        ("instantly_http", {"status": 429, "times": None}, 503),
    ],
)
def test_a_failure_is_not_kept(act: Act, stand_in: str, fault: Fault, status: int) -> None:
    http = getattr(act.places.upstreams, stand_in)
    for method, path in (("GET", ".*"), ("POST", "/v1/runs"), ("POST", act.instantly_path)):
        http.fail(method, path, **fault)
    assert act.send().status_code == status
    assert act.places.db.count("instantly_idempotency_keys") == 0
    http.heal()
    answer = act.send()
    assert answer.status_code == 201
    assert "Idempotent-Replayed" not in answer.headers
    assert act.is_done_once()


def test_a_failed_cost_is_not_kept_with_the_act(act: Act) -> None:
    """The answer was already stored with the act, and goes with it."""
    act.places.upstreams.runs_http.fail("POST", "/v1/runs/[^/]+/costs")
    assert act.send().status_code == 502
    assert act.send().status_code == 201
    assert act.is_done_once()


def test_a_refused_cost_replaces_the_answer_that_was_stored_with_the_act(act: Act) -> None:
    act.places.upstreams.runs_http.fail("POST", "/v1/runs/[^/]+/costs", status=422)
    first = act.send()
    assert first.status_code == 422
    assert is_replay(act.send(), first)
    assert act.places.billed() == 0


def test_the_database_away_is_not_kept(act: Act, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        break_statement(patch, "insert_open_run", lambda _: True)
        assert act.send().status_code == 503
    assert act.send().status_code == 201
    assert act.is_done_once()


@pytest.mark.parametrize("body", [{}, {"orgId": 1}, {"orgId": "org-1", "leads": []}])
def test_a_bad_request_is_not_kept(act: Act, body: dict[str, Any]) -> None:
    assert act.send(body=body).status_code == 400
    answer = act.send()
    assert answer.status_code == 201
    assert act.is_done_once()


@pytest.mark.parametrize(("text", "status"), [("{", 400), ("[]", 400), ("\xff", 400)])
def test_what_is_no_json_claims_no_key(act: Act, text: str, status: int) -> None:
    assert act.send_text(text).status_code == status
    assert act.places.db.count("instantly_idempotency_keys") == 0


def test_another_content_type_claims_no_key(act: Act) -> None:
    headers = {"Idempotency-Key": "k", "Content-Type": "text/plain"}
    assert act.client.post(act.path, data="{}", headers=headers).status_code == 415
    assert act.places.db.count("instantly_idempotency_keys") == 0


def test_a_missing_org_key_is_kept(act: Act) -> None:
    keys = act.places.upstreams.keys.organizations
    held = dict(keys)
    keys.clear()
    first = act.send()
    assert first.status_code == 422
    keys.update(held)
    assert is_replay(act.send(), first)
    assert act.send("another").status_code == 201


def test_a_refusal_by_instantly_is_kept(act: Act) -> None:
    act.places.upstreams.instantly_http.fail("POST", act.instantly_path, status=402)
    first = act.send()
    assert first.status_code == 422
    assert is_replay(act.send(), first)


def test_a_foreign_campaign_is_kept(client: FlaskClient, places: Places) -> None:
    act = add_leads(client, places)
    body = {**act.body, "orgId": "another"}
    first = act.send(body=body)
    assert first.status_code == 403
    assert is_replay(act.send(body=body), first)


def test_an_unknown_campaign_is_kept(client: FlaskClient, places: Places) -> None:
    act = add_leads(client, places)
    act.path = f"/campaigns/{uuid4()}/leads"
    first = act.send()
    assert first.status_code == 404
    assert is_replay(act.send(), first)


# At the same time


def test_a_repeat_while_the_first_is_under_way_is_told_so(act: Act) -> None:
    keys_http = act.places.upstreams.keys_http
    keys_http.fail("GET", ".*", how="hang")
    with ThreadPoolExecutor(1) as caller:
        first = caller.submit(act.send)
        keys_http.wait_until_hanging()
        other_client = act.client.application.test_client()
        other_client.environ_base["HTTP_X_API_KEY"] = API_KEY
        act.client, client = other_client, act.client
        early = act.send()
        other = act.send(body={**act.body, "unknown": 1})
        (row,) = act.places.db.all(
            "SELECT extract(epoch FROM alive_until - clock_timestamp())::float AS seconds"
            " FROM instantly_leases WHERE name ~ '^key:'"
        )
        keys_http.release()
        answer = first.result(HANGING_SECONDS)
        act.client = client
    assert (early.status_code, early.get_json()) == (409, IN_PROGRESS)
    assert (other.status_code, other.get_json()) == (409, IN_PROGRESS)
    assert 60 < row["seconds"] <= 120
    assert answer.status_code == 201
    assert is_replay(act.send(), answer)
    assert act.is_done_once()


def test_of_eight_at_once_one_acts(act: Act) -> None:
    def send(_: int) -> TestResponse:
        client = act.client.application.test_client()
        headers = {"Idempotency-Key": "k", "X-API-Key": API_KEY}
        return client.post(act.path, json=act.body, headers=headers)

    with ThreadPoolExecutor(8) as clients:
        answers = list(clients.map(send, range(8)))
    acted = [
        answer
        for answer in answers
        if answer.status_code == 201 and "Idempotent-Replayed" not in answer.headers
    ]
    assert len(acted) == 1
    for answer in answers:
        assert answer in acted or answer.status_code == 409 or is_replay(answer, acted[0])
    assert act.is_done_once()


# The process died


def take_key(db: Rows, act: Act, client: FlaskClient) -> None:
    """As a process that dies in the middle of the act leaves it: nobody gives the key back."""
    keys_http = act.places.upstreams.keys_http
    keys_http.fail("GET", ".*", how="hang")
    with ThreadPoolExecutor(1) as caller:
        first = caller.submit(act.send)
        keys_http.wait_until_hanging()
        (lease,) = db.all("SELECT * FROM instantly_leases WHERE name ~ '^key:'")
        keys_http.heal()
        first.result(HANGING_SECONDS)
    give_key(db, lease)


def give_key(db: Rows, lease: dict[str, Any]) -> None:
    """The key is held again, by nobody who lives."""
    db.connection.execute(
        "INSERT INTO instantly_leases (name, holder, seconds, alive_until)"
        " VALUES (%(name)s, gen_random_uuid(), 120, now() + interval '120 seconds')",
        lease,
    )


def test_the_key_of_a_dead_process_is_free_again(client: FlaskClient, places: Places) -> None:
    act = create_campaign(client, places)
    take_key(places.db, act, client)
    places.db.connection.execute("DELETE FROM instantly_idempotency_keys")
    assert act.send().status_code == 409
    assert act.send(body={**act.body, "name": "Other"}).status_code == 409
    fall_silent(places.db)
    answer = act.send(body={**act.body, "name": "Other"})
    assert answer.status_code == 201
    assert "Idempotent-Replayed" not in answer.headers
    assert is_replay(act.send(body={**act.body, "name": "Other"}), answer)
    assert act.send().get_json() == OTHER_REQUEST


def test_the_answer_that_a_dead_process_stored_is_replayed(act: Act, client: FlaskClient) -> None:
    take_key(act.places.db, act, client)
    assert act.send().get_json() == IN_PROGRESS
    assert act.send(body={**act.body, "unknown": 1}).get_json() == OTHER_REQUEST
    fall_silent(act.places.db)
    answer = act.send()
    assert (answer.status_code, answer.headers["Idempotent-Replayed"]) == (201, "true")
    assert act.is_done_once()


def test_who_lost_the_key_does_nothing_and_keeps_nothing(act: Act) -> None:
    """Another holder may be at it: only that one's answer counts."""
    keys_http = act.places.upstreams.keys_http
    keys_http.fail("GET", ".*", how="hang")
    with ThreadPoolExecutor(1) as caller:
        first = caller.submit(act.send)
        keys_http.wait_until_hanging()
        fall_silent(act.places.db)
        keys_http.heal()
        other = act.client.application.test_client().post(
            act.path, json=act.body, headers={"Idempotency-Key": "k", "X-API-Key": API_KEY}
        )
        answer = first.result(HANGING_SECONDS)
    assert sorted([answer.status_code, other.status_code]) in ([201, 201], [201, 409])
    assert act.is_done_once()
    (row,) = act.places.db.all("SELECT status FROM instantly_idempotency_keys")
    assert row["status"] == 201


# Age


def test_after_a_day_the_key_is_new(act: Act) -> None:
    act.send()
    age(act.places.db, "created_at", by="23 hours 59 minutes")
    assert act.send().headers["Idempotent-Replayed"] == "true"
    age(act.places.db, "created_at", by="24 hours 1 minute")
    answer = act.send(body={**act.body, "unknown": 1})
    assert answer.status_code == 201
    assert "Idempotent-Replayed" not in answer.headers
    assert act.places.db.count("instantly_idempotency_keys") == 1
    assert is_replay(act.send(body={**act.body, "unknown": 1}), answer)


def test_expired_keys_are_removed_in_bounded_batches(act: Act) -> None:
    db = act.places.db
    db.connection.execute(
        "INSERT INTO instantly_idempotency_keys"
        " (key, method, path, request_hash, status, body, created_at)"
        " SELECT 'old' || n, 'POST', '/campaigns', '', 201, '{}',"
        " now() - interval '25 hours' FROM generate_series(1, 1500) AS n"
    )
    left = [1500]
    for number in range(20):
        act.send(f"new{number}")
        left.append(len(db.all("SELECT FROM instantly_idempotency_keys WHERE key ~ '^old'")))
    removed = [before - after for before, after in pairwise(left)]
    assert max(removed) <= 1000
    assert removed[0] > 0
    assert left[-1] == 0
    assert db.count("instantly_idempotency_keys") == 20


# The database goes away at the end


def break_statement(
    monkeypatch: pytest.MonkeyPatch, statement: str, when: Callable[[dict[str, Any]], bool]
) -> None:
    run = Database._run

    def run_or_break(self: Database, name: str, parameters: dict[str, Any]) -> Any:
        if name == statement and when(parameters):
            raise OperationalError("the connection is lost")
        return run(self, name, parameters)

    monkeypatch.setattr(Database, "_run", run_or_break)


def test_a_key_that_cannot_be_given_back_is_free_when_its_holder_is_silent(
    act: Act, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        break_statement(patch, "delete_lease", lambda values: values["name"].startswith("key:"))
        first = act.send()
    assert first.status_code == 201
    assert act.send().status_code == 409
    fall_silent(act.places.db)
    assert is_replay(act.send(), first)
    assert act.is_done_once()


def test_a_refusal_that_cannot_be_kept_is_given_all_the_same(
    act: Act, monkeypatch: pytest.MonkeyPatch
) -> None:
    act.places.upstreams.instantly_http.fail("POST", act.instantly_path, status=402)
    with monkeypatch.context() as patch:
        break_statement(patch, "upsert_answer", lambda _: True)
        assert act.send().status_code == 422
    assert act.send().status_code == 201
    assert act.is_done_once()


def test_without_a_database_the_key_cannot_be_claimed(
    act: Act, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = act.calls()
    with monkeypatch.context() as patch:
        break_statement(patch, "upsert_lease", lambda _: True)
        answer = act.send()
    assert (answer.status_code, answer.get_json()) == (503, {"error": "Database unavailable"})
    assert act.calls() == calls
