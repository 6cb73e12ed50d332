"""The Idempotency-Key: the first final answer is kept for a day and given to every repeat."""

import json
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from typing import Any
from uuid import uuid4

import pytest
from harness import HANGING_SECONDS
from werkzeug.test import TestResponse
from world import Act, Rows

IN_PROGRESS = {"error": "A request with this Idempotency-Key is in progress"}
OTHER_REQUEST = {"error": "Idempotency-Key was used with a different request"}


def send(act: Act, key: str = "k", body: Any = None) -> TestResponse:
    return act.send(key, body)


def send_text(act: Act, text: str, content_type: str = "application/json") -> TestResponse:
    headers = {"Idempotency-Key": "k", "Content-Type": content_type}
    answer: TestResponse = act.world.client.post(act.path, data=text, headers=headers)
    return answer


def with_more(act: Act) -> dict[str, Any]:
    """The body of another request that would act the same."""
    return {**act.body, "unknown": 1}


def calls(act: Act) -> int:
    return act.world.upstreams.calls()


def keys_kept(act: Act) -> int:
    return act.world.db.count("instantly_idempotency_keys")


@contextmanager
def under_way(act: Act) -> Iterator["Future[TestResponse]"]:
    """While the act waits for the organisation's key."""
    keys_http = act.fail("keys", how="hang")
    with ThreadPoolExecutor(1) as caller:
        first = caller.submit(send, act.beside())
        keys_http.wait_until_hanging()
        try:
            yield first
        finally:
            keys_http.heal()


def age(db: Rows, age: str) -> None:
    """As if the answers had been kept for so long."""
    sql = "UPDATE instantly_idempotency_keys SET created_at = now() - %s::interval"
    db.connection.execute(sql, [age])


def is_replay(answer: TestResponse, of: TestResponse) -> bool:
    return (
        answer.headers.get("Idempotent-Replayed") == "true"
        and (answer.status_code, answer.get_json()) == (of.status_code, of.get_json())
        and answer.mimetype == "application/json"
    )


# Replays


def test_a_repeat_gets_the_first_answer_and_nothing_is_done(act):
    first = send(act)
    assert first.status_code == 201
    assert "Idempotent-Replayed" not in first.headers
    before = calls(act)
    assert is_replay(send(act), first)
    with ThreadPoolExecutor(8) as callers:
        answers = list(callers.map(lambda _: send(act.beside()), range(16)))
    assert all(is_replay(answer, first) for answer in answers)
    assert calls(act) == before
    assert act.is_done_once()


def test_without_the_key_nothing_is_kept(act):
    act.send()
    assert keys_kept(act) == 0


def test_the_same_value_written_otherwise_is_the_same_request(act):
    first = send(act)
    before = calls(act)
    otherwise = json.dumps(dict(reversed(act.body.items())), indent=3, separators=(" ,", " : "))
    assert is_replay(send_text(act, otherwise.replace("a", "\\u0061")), first)
    assert calls(act) == before


@pytest.mark.parametrize("value", ["true", '"1"', "null", '1, "unknown": 1'])
def test_another_value_under_the_same_key_is_refused(act, value):
    first = send(act)
    before = calls(act)
    answer = send_text(act, json.dumps(act.body).replace('"a": 1', f'"a": {value}'))
    assert (answer.status_code, answer.get_json()) == (422, OTHER_REQUEST)
    assert "Idempotent-Replayed" not in answer.headers
    assert calls(act) == before
    # And the first answer is still there.
    assert is_replay(send(act), first)
    assert act.is_done_once()


def test_a_replay_needs_our_key(act):
    send(act)
    headers = {"Idempotency-Key": "k", "X-API-Key": "wrong"}
    answer = act.world.send("POST", act.path, act.body, headers=headers)
    assert answer.status_code == 401


# The key itself


def test_every_printable_key_is_taken_and_compared_exactly(act):
    keys = ["k", "K", "k ", "x" * 255, " ~!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}"]
    answers = [send(act, key) for key in keys]
    for answer in answers:
        assert answer.status_code == 201
        assert "Idempotent-Replayed" not in answer.headers
    for key, answer in zip(keys, answers, strict=True):
        assert is_replay(send(act, key), answer)


@pytest.mark.parametrize("key", ["", "x" * 256, "é", "a\tb", "a\x7fb"], ids=repr)
def test_any_other_key_is_a_bad_request(act, key):
    before = calls(act)
    answer = send(act, key)
    assert answer.status_code == 400
    assert answer.get_json()["error"] == "Invalid request"
    assert list(answer.get_json()["details"]) == ["Idempotency-Key"]
    assert calls(act) == before
    assert keys_kept(act) == 0


def test_a_key_belongs_to_its_path(create_act):
    world = create_act.world
    created = {key: send(create_act, key) for key in ("k", "l")}
    body = {"orgId": "org-1", "leads": [{"email": "ada@example.com"}]}
    for answer in created.values():
        path = world.path("/leads", answer.get_json()["campaign"])
        answer = world.send("POST", path, body, headers={"Idempotency-Key": "k"})
        assert (answer.status_code, answer.get_json()["added"]) == (201, 1)
        assert "Idempotent-Replayed" not in answer.headers
    for key, answer in created.items():
        assert is_replay(send(create_act, key), answer)


# Which answers are kept


@pytest.mark.parametrize(
    ("service", "failure", "status"),
    [
        ("keys", 500, 502),
        ("instantly", 500, 502),
        ("instantly", 429, 503),
        # The answer was already stored with the act, and goes with it.
        ("runs costs", 500, 502),
    ],
)
def test_a_failure_is_not_kept(act, service, failure, status):
    http = act.fail(service, status=failure, times=None)
    assert send(act).status_code == status
    assert keys_kept(act) == 0
    http.heal()
    answer = send(act)
    assert answer.status_code == 201
    assert "Idempotent-Replayed" not in answer.headers
    assert act.is_done_once()


def test_the_database_away_is_not_kept(act, statements):
    statements.fail("insert_open_run")
    assert send(act).status_code == 503
    statements.heal()
    assert send(act).status_code == 201
    assert act.is_done_once()


@pytest.mark.parametrize(
    ("text", "content_type", "status"),
    [
        ("{", "application/json", 400),
        ('{"orgId": 1}', "application/json", 400),
        ("{}", "text/plain", 415),
    ],
)
def test_a_bad_request_is_not_kept(act, text, content_type, status):
    assert send_text(act, text, content_type).status_code == status
    assert keys_kept(act) == 0
    assert send(act).status_code == 201
    assert act.is_done_once()


@pytest.mark.parametrize(
    ("service", "refusal"), [("keys", 404), ("instantly", 402), ("runs costs", 422)]
)
def test_a_refusal_is_kept(act, service, refusal):
    """That of the cost replaces the answer that was already stored with the act."""
    act.fail(service, status=refusal, body={"error": "no"})
    first = send(act)
    assert first.status_code == 422
    assert is_replay(send(act), first)
    assert act.world.billed() == 0
    assert send(act, "another").status_code == 201
    assert act.is_done_once()


def test_a_foreign_and_an_unknown_campaign_are_kept(upload_act):
    upload_act.body["orgId"] = "another"
    foreign = send(upload_act)
    assert foreign.status_code == 403
    assert is_replay(send(upload_act), foreign)
    upload_act.path = f"/campaigns/{uuid4()}/leads"
    unknown = send(upload_act)
    assert unknown.status_code == 404
    assert is_replay(send(upload_act), unknown)


# At the same time


def test_a_path_that_names_no_campaign_is_no_part_of_a_key(upload_act):
    """A path may be longer than an index takes."""
    for campaign_id in ("x", "x" * 10_000, str(uuid4()) + "0"):
        path = f"/campaigns/{campaign_id}/leads"
        answer = upload_act.world.send(
            "POST", path, upload_act.body, headers={"Idempotency-Key": "k"}
        )
        assert (answer.status_code, answer.get_json()) == (404, {"error": "Campaign not found"})
    assert keys_kept(upload_act) == 0


def test_a_repeat_while_the_first_is_under_way_is_told_so(act):
    with under_way(act) as first:
        for early in (send(act), send(act, body=with_more(act))):
            assert (early.status_code, early.get_json()) == (409, IN_PROGRESS)
        (row,) = act.world.db.all(
            "SELECT extract(epoch FROM alive_until - clock_timestamp())::float AS seconds"
            " FROM instantly_leases WHERE name ~ '^key:'"
        )
    answer = first.result(HANGING_SECONDS)
    assert 60 < row["seconds"] <= 120
    assert answer.status_code == 201
    assert is_replay(send(act), answer)
    assert act.is_done_once()


# The process died


def test_the_answer_that_a_dead_process_stored_is_replayed(act):
    with under_way(act) as first:
        (lease,) = act.world.db.all("SELECT name FROM instantly_leases WHERE name ~ '^key:'")
    assert first.result(HANGING_SECONDS).status_code == 201
    # As it is when the process dies at the end of the act: nobody gives the key back.
    connection = act.world.db.connection
    connection.execute("UPDATE instantly_idempotency_keys SET is_final = false")
    connection.execute(
        "INSERT INTO instantly_leases (name, holder, seconds, alive_until)"
        " VALUES (%(name)s, gen_random_uuid(), 120, now() + interval '120 seconds')",
        lease,
    )
    assert send(act).get_json() == IN_PROGRESS
    assert send(act, body=with_more(act)).get_json() == OTHER_REQUEST
    act.world.db.fall_silent()
    answer = send(act)
    assert (answer.status_code, answer.headers["Idempotent-Replayed"]) == (201, "true")
    assert act.is_done_once()


def test_who_lost_the_key_does_nothing_and_keeps_nothing(act):
    """Another holder may be at it: only that one's answer counts."""
    with under_way(act) as first:
        act.world.db.fall_silent()
        act.world.upstreams.keys_http.heal()
        other = send(act)
    answer = first.result(HANGING_SECONDS)
    assert sorted([answer.status_code, other.status_code]) in ([201, 201], [201, 409])
    assert act.is_done_once()
    (row,) = act.world.db.all("SELECT status FROM instantly_idempotency_keys")
    assert row["status"] == 201


# Age


def test_after_a_day_the_key_is_new(act):
    send(act)
    age(act.world.db, "23 hours 59 minutes")
    assert send(act).headers["Idempotent-Replayed"] == "true"
    age(act.world.db, "24 hours 1 minute")
    answer = send(act, body=with_more(act))
    assert answer.status_code == 201
    assert "Idempotent-Replayed" not in answer.headers
    assert keys_kept(act) == 1
    assert is_replay(send(act, body=with_more(act)), answer)


def test_expired_keys_are_removed_in_bounded_batches(act):
    db = act.world.db
    db.connection.execute(
        "INSERT INTO instantly_idempotency_keys"
        " (key, method, path, holder, request_hash, status, body, created_at)"
        " SELECT 'old' || n, 'POST', '/campaigns', gen_random_uuid(), '', 201, '{}',"
        " now() - interval '25 hours' FROM generate_series(1, 1500) AS n"
    )
    left = [1500]
    for number in range(20):
        send(act, f"new{number}")
        left.append(len(db.all("SELECT FROM instantly_idempotency_keys WHERE key ~ '^old'")))
    removed = [before - after for before, after in pairwise(left)]
    assert max(removed) <= 1000
    assert removed[0] > 0
    assert left[-1] == 0
    assert db.count("instantly_idempotency_keys") == 20


# The database goes away at the end


def test_a_key_that_cannot_be_given_back_is_answered_all_the_same(act, statements):
    statements.fail("delete_lease", when=lambda values: values["name"].startswith("key:"))
    first = send(act)
    statements.heal()
    assert first.status_code == 201
    assert is_replay(send(act), first)
    assert act.is_done_once()


def test_a_refusal_that_cannot_be_kept_is_given_all_the_same(act, statements):
    act.fail("instantly", status=402)
    statements.fail("upsert_answer")
    assert send(act).status_code == 422
    statements.heal()
    assert send(act).status_code == 201
    assert act.is_done_once()


def test_without_a_database_the_key_cannot_be_claimed(act, statements):
    before = calls(act)
    statements.fail("upsert_lease")
    answer = send(act)
    assert (answer.status_code, answer.get_json()) == (503, {"error": "Database unavailable"})
    assert calls(act) == before
