"""All or nothing: every row of the contract's table of failures, for both billing routes.

Each test looks at all four places: our tables, Instantly, runs-service, and the answer.
"""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import Any
from uuid import uuid4

import pytest
from harness import Service, patched_command, running
from psycopg import OperationalError
from world import LONG_AGO, Act, World, addresses, leads_of

import instantly.billing.run
import instantly.billing.upload
from instantly.cleanup import clean_up
from instantly.clients.runs import RunsServiceClient
from instantly.sandbox.state import now
from instantly.storage.pool import DeadlineConnection
from instantly.storage.statements import Database

HTML = "<html><body>Bad gateway</body></html>"
LOST = ["after", "drop_after", "cut"]
"""what was done, but whose answer never came"""
UNEXPECTED_BY_LIBRARIES = {"headers": {"Transfer-Encoding": "chunked"}, "body": "-5\r\n"}
KEYS_DOWN = (502, "key-service unavailable")
RUNS_DOWN = (502, "runs-service unavailable")
RUNS_REFUSE = (422, "runs-service rejected the request")
INSTANTLY_DOWN = (502, "Instantly unavailable")
INSTANTLY_REFUSES = (422, "Instantly rejected the request")
RATE_LIMIT = (503, "Instantly rate limit reached")

Fault = dict[str, Any]
Answer = tuple[int, str]

pytestmark = pytest.mark.greenlets
keyed_or_not = pytest.mark.parametrize("key", [None, "k"], ids=["without key", "with key"])
done_or_not = pytest.mark.parametrize("acts", [False, True], ids=["not done", "done"])


# The real worker, hasty as the tests of this process are.
HASTY = """
import instantly.clients.http, instantly.clients.instantly.base, instantly.billing.upload
instantly.clients.http.sleep = lambda seconds: None
instantly.clients.instantly.base.READ_TIMEOUT_SECONDS = 1.0
instantly.billing.upload.MAX_LEADS_A_CALL = 2
"""


@pytest.fixture(scope="module")
def hasty_service(service_of_the_module, tmp_path_factory):
    world, folder = service_of_the_module, tmp_path_factory.mktemp("hasty")
    service = Service(world.db.connection.info.dsn, world.upstreams, folder)
    with running(service, patched_command(HASTY)):
        yield service


@pytest.fixture
def greenlets(served, hasty_service):
    return served.beside(hasty_service)


@pytest.fixture
def impatient(world, request):
    """The service, or one that soon has enough of an Instantly that is silent."""
    is_real = isinstance(world.client, Service)
    return world.client if is_real else request.getfixturevalue("impatient_app")


def cleaned(world: World) -> list[str]:
    """What the cleanup says once all processes are dead."""
    world.db.fall_silent()
    database = Database(world.db.connection.info.dsn, pool_size=1)
    with closing(database):
        return clean_up(database, RunsServiceClient(world.upstreams.runs_http.url, "runs-key"))


# When all goes well


def test_the_requests_to_runs_service_are_those_of_its_contract(act):
    parent = str(uuid4())
    act.world.upstreams.runs.known_parents.add(parent)
    act.body["runId"] = parent
    act.succeeds()
    is_upload = act.name == "leads"
    opened = {
        "clerkOrgId": "clerk-1",
        "appId": "app-1",
        "serviceName": "instantly-service",
        "taskName": "leads-add" if is_upload else "campaign-create",
        "brandId": "brand-1",
        "parentRunId": parent,
        **({"campaignId": act.world.campaign["id"]} if is_upload else {}),
    }
    cost_name = "instantly-lead-add" if is_upload else "instantly-campaign-create"
    costs = {"items": [{"costName": cost_name, "quantity": act.quantity}]}
    (run_id,) = act.world.upstreams.runs.runs
    requests = act.world.upstreams.runs_http.requests
    assert [(request.method, request.path, request.json) for request in requests] == [
        ("POST", "/v1/runs", opened),
        ("POST", f"/v1/runs/{run_id}/costs", costs),
        ("PATCH", f"/v1/runs/{run_id}", {"status": "completed"}),
    ]


# Org key, or creating the run: nothing was done yet


@pytest.mark.parametrize(
    ("fault", "answer"),
    [
        (
            {"status": 404, "body": {"error": "Key not found"}},
            (422, "BYOK key not configured for this organization"),
        ),
        # A route that has moved, as routers and web frameworks say it.
        *(
            ({"status": 404, "body": body}, KEYS_DOWN)
            for body in (
                None,
                "<pre>Cannot GET /internal/keys</pre>",
                {"detail": "Not Found"},
                {"statusCode": 404, "error": "Not Found", "message": "Route not found"},
                ["error"],
            )
        ),
        ({"status": 500, "times": None}, KEYS_DOWN),
        ({"status": 401}, KEYS_DOWN),
        ({"status": 200, "body": HTML}, KEYS_DOWN),
        ({"status": 429, "times": None}, KEYS_DOWN),
        ({"how": "cut", "times": None}, KEYS_DOWN),
    ],
)
def test_without_a_key_nothing_was_done(act, fault, answer):
    keys_http = act.fail("keys", **fault)
    act.fails(*answer, runs=[])
    assert act.world.upstreams.calls() == len(keys_http.requests)
    assert keys_http.calls("GET", "/internal/app-keys/.*") == []


@pytest.mark.parametrize(
    ("fault", "answer"),
    [
        ({"status": 400}, RUNS_REFUSE),
        ({"status": 404}, RUNS_REFUSE),
        ({"status": 409}, RUNS_REFUSE),
        ({"status": 422}, RUNS_REFUSE),
        ({"status": 403}, RUNS_DOWN),
        ({"status": 500}, RUNS_DOWN),
        ({"status": 429, "times": None}, RUNS_DOWN),
        ({"status": 200, "body": HTML}, RUNS_DOWN),
        ({"how": "drop"}, RUNS_DOWN),
    ],
)
def test_without_a_run_nothing_was_done(act, fault, answer):
    act.fail("runs", **fault)
    act.fails(*answer, runs=[])
    assert act.world.upstreams.instantly_http.requests == []


def test_a_parent_run_that_does_not_exist_is_refused_in_the_words_of_runs_service(act):
    act.body["runId"] = str(uuid4())
    answer = act.fails(*RUNS_REFUSE, runs=[])
    told = {"status": 400, "message": "Parent run does not exist"}
    assert answer.get_json()["details"] == told


@pytest.mark.parametrize("how", ["drop_after", "cut"])
def test_a_run_whose_id_was_lost_has_no_cost(act, how):
    """It stays open, since nobody knows it; but nothing was done in its name."""
    act.fail("runs", how=how)
    act.fails(*RUNS_DOWN, runs=["running"])
    act.succeeds()


def test_a_run_that_we_cannot_remember_is_ended_before_anything_is_done(act, statements):
    statements.fail("insert_open_run")
    act.fails(503, "Database unavailable")


# The call to Instantly


@pytest.mark.parametrize(
    ("fault", "answer"),
    [
        ({"status": 401}, (422, "Instantly API key was rejected")),
        ({"status": 402}, INSTANTLY_REFUSES),
        ({"status": 404}, INSTANTLY_REFUSES),
        ({"status": 429, "times": None}, RATE_LIMIT),
        ({"status": 500, "times": None}, INSTANTLY_DOWN),
        ({"status": 200, "body": HTML, "times": None}, INSTANTLY_DOWN),
        ({"status": 200, "body": {}, "times": None}, INSTANTLY_DOWN),
        ({"how": "drop", "times": None}, INSTANTLY_DOWN),
    ],
)
def test_what_instantly_did_not_do_is_not_billed(act, fault, answer):
    act.fail("instantly", **fault)
    act.fails(*answer)


def test_what_instantly_refuses_is_told_in_its_words(act):
    act.fail("instantly", status=402, body={"statusCode": 402, "error": "E", "message": "M"})
    told = act.fails(*INSTANTLY_REFUSES).get_json()["details"]
    assert told == {"status": 402, "message": "M"}


@pytest.mark.parametrize("seconds", [1, 3600])
def test_a_rate_limit_says_when_to_come_back(act, seconds):
    act.fail("instantly", status=429, times=None, headers={"Retry-After": str(seconds)})
    assert act.fails(*RATE_LIMIT).headers["Retry-After"] == str(seconds)


def test_what_passes_costs_nobody_the_act(act):
    for service in act.calls:
        act.fail(service, status=429, times=2)
    act.fail("runs end", times=2)
    act.succeeds()
    assert act.world.runs() == ["completed"]
    assert act.world.db.count("instantly_open_runs") == 0


@pytest.mark.parametrize("how", [*LOST, "hang_after"])
def test_a_lost_answer_leaves_one_draft_at_most(create_act, impatient, how):
    instantly_http = create_act.fail("instantly", how=how, times=None)
    world = create_act.world = create_act.world.beside(impatient)
    answer = create_act.send()
    assert (answer.status_code, answer.get_json()) == (502, {"error": "Instantly unavailable"})
    assert [draft["status"] for draft in world.campaigns().values()] == [0]
    assert (world.campaign_rows(), world.runs(), world.billed()) == ([], ["failed"], 0)
    assert len(instantly_http.requests) == 1


@pytest.mark.parametrize("chunk", [0, 1], ids=["first chunk", "second chunk"])
@pytest.mark.parametrize(
    ("fault", "answer"),
    [
        ({"status": 400}, INSTANTLY_REFUSES),
        ({"status": 429}, RATE_LIMIT),
        ({"how": "drop"}, INSTANTLY_DOWN),
        *(({"how": how}, INSTANTLY_DOWN) for how in (*LOST, "hang_after")),
        ({"how": "after", "status": 200, "body": {}}, INSTANTLY_DOWN),
        ({"how": "after", "status": 200, **UNEXPECTED_BY_LIBRARIES}, INSTANTLY_DOWN),
    ],
    ids=str,
)
def test_no_chunk_stays_when_one_fails(upload_act, impatient, chunk, fault, answer):
    upload_act.world = upload_act.world.beside(impatient)
    instantly_http = upload_act.fail("instantly", after=chunk, times=None, **fault)
    upload_act.fails(*answer)
    instantly_http.heal()
    upload_act.succeeds()


@pytest.mark.parametrize(
    ("path", "fault", "answer"),
    [
        ("/api/v2/leads/add", {"status": 400}, INSTANTLY_REFUSES),
        ("/api/v2/leads/add", {"status": 429, "headers": {"Retry-After": "60"}}, RATE_LIMIT),
        ("/api/v2/leads/list", {"status": 200, "body": {}}, INSTANTLY_DOWN),
    ],
)
def test_a_chunk_whose_first_try_was_lost_is_taken_out_when_the_next_call_fails(
    upload_act, path, fault, answer
):
    upload_act.world.put_into_instantly("Ada@example.com")
    upload_act.before = upload_act.world.state()
    upload_act.fail("instantly", how="drop_after").fail("POST", path, **fault)
    upload_act.fails(*answer)


def test_four_chunks_are_under_way_at_once_and_keep_their_order(upload_act):
    upload_act.body["leads"] = leads_of(addresses(11))
    instantly_http = upload_act.fail("instantly", times=None, how="hang")
    with ThreadPoolExecutor(1) as caller:
        answer = caller.submit(upload_act.send)
        instantly_http.wait_until_hanging(4)
        time.sleep(0.2)
        assert len(instantly_http.requests) == instantly_http.hanging == 4
        instantly_http.heal()
        body = answer.result().get_json()
    assert (body["added"], body["duplicates"], body["rejected"]) == (11, 0, [])
    assert upload_act.world.rows() == ["old@example.com", *addresses(11)]


def test_chunks_under_way_when_another_fails_are_taken_out_and_no_other_begins(upload_act):
    upload_act.body["leads"] = leads_of(addresses(20))
    instantly_http = upload_act.fail("instantly", times=3, how="hang_after")
    upload_act.fail("instantly", status=400)
    with ThreadPoolExecutor(1) as caller:
        answer = caller.submit(upload_act.send)
        instantly_http.wait_until_hanging(3)
        time.sleep(0.2)
        instantly_http.release()
        assert answer.result().status_code == 422
    assert len(instantly_http.calls(*upload_act.calls["instantly"])) == 4
    assert upload_act.world.state() == upload_act.before


def test_leads_that_were_certainly_created_go_even_when_others_cannot_be_looked_up(upload_act):
    upload_act.body["leads"] = leads_of(addresses(4))
    instantly_http = upload_act.fail("instantly", after=1, times=None)
    instantly_http.fail("POST", "/api/v2/leads/list", times=None)
    assert upload_act.send().status_code == 502
    assert upload_act.world.state()["Instantly's leads"] == upload_act.before["Instantly's leads"]


# What was in Instantly before


@pytest.mark.parametrize("created", [LONG_AGO, None], ids=["long ago", "just now"])
def test_leads_that_instantly_held_before_stay(upload_act, created):
    """They are adopted on success; on failure they are none of our business."""
    upload_act.world.put_into_instantly("Ada@example.com", created or now())
    upload_act.before = upload_act.world.state()
    upload_act.fail("runs costs")
    upload_act.fails(*RUNS_DOWN)
    upload_act.succeeds()


@pytest.mark.parametrize("how", LOST)
def test_leads_of_a_lost_first_try_are_taken_out_on_failure_and_else_adopted_and_billed(
    upload_act, how
):
    upload_act.fail("instantly", how=how)
    upload_act.fail("runs costs")
    upload_act.fails(*RUNS_DOWN)
    upload_act.fail("instantly", how=how)
    upload_act.succeeds()


# Our insert, and logging the cost


@keyed_or_not
@done_or_not
@pytest.mark.parametrize(
    ("failure", "answer"),
    [
        (OperationalError("gone"), (503, "Database unavailable")),
        (RuntimeError("a bug"), (500, "Internal server error")),
    ],
    ids=["away", "a bug"],
)
def test_an_insert_that_fails_leaves_nothing_behind(act, statements, failure, answer, acts, key):
    statements.fail(act.insert, failure=failure, acts=acts)
    act.fails(*answer, key=key)


def test_a_run_that_was_ended_meanwhile_stores_nothing(act, statements):
    """As by the cleanup, for a process that was cut off from the database."""

    end_runs = "UPDATE instantly_open_runs SET outcome = 'failed'"
    statements.before(act.insert, lambda: act.world.db.connection.execute(end_runs))
    act.fails(503, "The run has ended meanwhile")


@contextmanager
def slow_inserts(act: Act) -> Iterator[None]:
    """While Postgres takes a second for each insert; at the end all of them are over."""
    connection = act.world.db.connection
    connection.execute(
        "CREATE FUNCTION wait_a_second() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN PERFORM pg_sleep(1); RETURN NULL; END $$"
    )
    trigger = f"CREATE TRIGGER slow BEFORE INSERT ON {act.table} EXECUTE FUNCTION wait_a_second()"
    connection.execute(trigger.encode())
    try:
        yield
    finally:
        # It waits for those who are writing.
        connection.execute("DROP FUNCTION wait_a_second CASCADE")


@keyed_or_not
def test_an_insert_that_postgres_does_after_we_gave_it_up_stores_nothing(act, monkeypatch, key):
    """A stalled server still has the statement, and goes on with it one day."""
    with slow_inserts(act), monkeypatch.context() as impatience:
        impatience.setattr(DeadlineConnection, "deadline_seconds", 0.3)
        act.fails(503, "Database unavailable", key=key)
    assert act.world.state() == act.before
    act.succeeds()


@pytest.mark.parametrize(
    ("fault", "answer"),
    [
        ({"status": 500}, RUNS_DOWN),
        ({"status": 429, "times": None}, RUNS_DOWN),
        ({"status": 422, "body": {"error": "no"}}, RUNS_REFUSE),
        ({"how": "drop"}, RUNS_DOWN),
    ],
)
def test_a_cost_that_cannot_be_logged_leaves_nothing_behind(act, fault, answer):
    runs_http = act.fail("runs costs", **fault)
    act.fails(*answer)
    runs_http.heal()
    act.succeeds()


@pytest.mark.parametrize("how", LOST)
def test_a_cost_whose_answer_is_lost_stands_on_a_failed_run_only(act, how):
    """Costs may not be logged twice and cannot be taken back."""
    runs_http = act.fail("runs costs", how=how)
    answer = act.send()
    assert (answer.status_code, answer.get_json()) == (502, {"error": "runs-service unavailable"})
    assert act.world.state() == act.before
    assert act.world.runs() == ["failed"]
    assert len(runs_http.calls(*act.calls["runs costs"])) == 1
    act.succeeds()


# Completing the run


@pytest.mark.parametrize(
    "fault", [{"status": 500}, {"status": 401}, {"how": "drop_after"}], ids=str
)
def test_a_run_that_cannot_be_completed_costs_nobody_the_act(act, fault):
    runs_http = act.fail("runs end", times=None, **fault)
    assert act.send().status_code == 201
    assert (act.world.agrees(), act.world.billed()) == (True, act.quantity)
    # It is the cleanup's, which tries again until runs-service has heard it.
    (line,) = cleaned(act.world)
    assert "could not be ended" in line
    assert act.world.db.count("instantly_open_runs") == 1
    runs_http.heal()
    (line,) = cleaned(act.world)
    assert "ended as completed" in line
    assert act.world.runs() == ["completed"]
    assert act.world.db.count("instantly_open_runs") == 0
    assert cleaned(act.world) == []


def test_a_run_that_we_cannot_forget_costs_nobody_the_act(act, statements):
    statements.fail("delete_open_run")
    act.succeeds()
    assert act.world.runs() == ["completed"]


# Taking back, and ending the run as failed


@pytest.mark.parametrize("fault", [{"times": 2}, {"how": "after", "status": 404}], ids=str)
def test_taking_back_in_instantly_and_ending_the_run_are_tried_again(act, fault):
    """What is gone already is taken back."""
    act.fail("runs costs")
    act.fail("take back", **fault)
    act.fail("runs end", how="drop", times=2)
    act.fails(*RUNS_DOWN)


@done_or_not
def test_taking_our_rows_back_is_tried_again(act, statements, acts):
    """A database that went away may be away for a moment still."""
    statements.fail(act.take_back, times=1, acts=acts)
    act.fail("runs costs")
    act.fails(*RUNS_DOWN)


@pytest.mark.parametrize("what", ["in Instantly", "the run", "our rows", "all of it"])
def test_what_cannot_be_taken_back_does_not_hide_the_first_error(
    act, statements, monkeypatch, what
):
    monkeypatch.setattr(instantly.billing.run, "DATABASE_PAUSES_SECONDS", (0, 0))
    stays = {what} if what != "all of it" else {"in Instantly", "the run", "our rows"}
    act.fail("runs costs", status=422, body={"error": "Unknown cost name"})
    if "in Instantly" in stays:
        act.fail("take back", times=None)
    if "the run" in stays:
        act.fail("runs end", times=None)
    if "our rows" in stays:
        statements.fail(act.take_back)
    answer, world = act.send(), act.world
    assert (answer.status_code, answer.get_json()["error"]) == RUNS_REFUSE
    assert answer.get_json()["details"] == {"status": 422, "message": "Unknown cost name"}
    assert (world.runs(), world.billed()) == (["running" if "the run" in stays else "failed"], 0)
    # One thing that stays keeps nothing else from being taken back, but for what our rows stand
    # for: a row without its campaign or lead in Instantly would never heal.
    left = world.state()
    assert (left[f"our {act.name}"] == act.before[f"our {act.name}"]) is ("our rows" not in stays)
    assert left["our campaigns"] <= left["Instantly's campaigns"]
    assert left["our leads"].items() <= left["Instantly's leads"].items()
    if stays == {"the run"}:
        assert {**left, "open runs": 0, "leases": 0} == act.before


def test_a_run_that_cannot_be_failed_is_failed_by_the_cleanup(act):
    act.fail("instantly", status=402)
    runs_http = act.fail("runs end", times=None)
    answer = act.send()
    assert (answer.status_code, answer.get_json()["error"]) == INSTANTLY_REFUSES
    assert {**act.world.state(), "open runs": 0, "leases": 0} == act.before
    assert act.world.runs() == ["running"]
    runs_http.heal()
    (line,) = cleaned(act.world)
    assert "ended as failed" in line
    assert act.world.runs() == ["failed"]
    assert act.world.state() == act.before
