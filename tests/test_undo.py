"""All or nothing: every row of the contract's table of failures, for both billing routes.

Each test looks at all four places: our tables, Instantly, runs-service, and the answer.
"""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from conftest import Rows, Upstreams, campaign_request
from flask.testing import FlaskClient
from harness import Places, fall_silent, tell
from psycopg import OperationalError
from werkzeug.test import TestResponse

import instantly.billing
import instantly.upload
from instantly.cleanup import clean_up
from instantly.context import EXTENSION
from instantly.database import Database, DeadlineConnection, Session
from instantly.sandbox.workspace import now

HTML = "<html><body>Bad gateway</body></html>"
OLD = "2020-01-01T00:00:00.000Z"

KEY_PATH = "/internal/keys/.*"
RUNS_PATH = "/v1/runs"
COSTS_PATH = "/v1/runs/[^/]+/costs"
RUN_PATH = "/v1/runs/[^/]+"
CREATE_PATH = "/api/v2/campaigns"
ADD_PATH = "/api/v2/leads/add"
LIST_PATH = "/api/v2/leads/list"

Fault = dict[str, Any]


@pytest.fixture
def places(db: Rows, upstreams: Upstreams) -> Places:
    return Places(db, upstreams)


@dataclass
class Act:
    """A billing POST, and what was there before it."""

    name: str
    client: FlaskClient
    places: Places
    path: str
    body: dict[str, Any]
    instantly_path: str
    insert: str
    take_back: str
    take_back_path: str
    quantity: int
    before: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.places.upstreams.runs.runs.clear()
        self.before = self.state()

    def send(self, headers: dict[str, str] | None = None) -> TestResponse:
        return self.client.post(self.path, json=self.body, headers=headers)

    def state(self) -> dict[str, Any]:
        """What stands in our tables and in Instantly."""
        return {
            "our campaigns": set(self.places.campaign_rows()),
            "our leads": self.places.lead_rows(),
            "Instantly's campaigns": set(self.places.campaigns()),
            "Instantly's leads": self.places.leads(),
            "open runs": self.places.db.count("instantly_open_runs"),
            "leases": self.places.db.count("instantly_leases"),
            "keys": self.places.db.count("instantly_idempotency_keys"),
        }

    def fails(self, fault: str, status: int, error: str, *, runs: list[str]) -> TestResponse:
        """It is answered so, and leaves nothing behind but the failed run."""
        answer = self.send()
        tell(f"POST {self.name}", fault, f"answer {status}", self.places)
        assert (answer.status_code, answer.get_json()["error"]) == (status, error), answer.text
        assert self.state() == self.before
        assert self.places.runs() == runs
        assert self.places.billed() == 0
        return answer

    def succeeds(self) -> None:
        """Everything is there, once."""
        assert self.send().status_code == 201
        assert self.places.billed_to_completed_runs() == self.quantity
        assert set(self.places.campaign_rows()) == set(self.places.campaigns())
        assert self.places.lead_rows() == self.places.leads()


def create_campaign(client: FlaskClient, places: Places) -> Act:
    return Act(
        "/campaigns",
        client,
        places,
        "/campaigns",
        campaign_request(),
        CREATE_PATH,
        "insert_campaign",
        "delete_campaign",
        "/api/v2/campaigns/[^/]+",
        quantity=1,
    )


def add_leads(client: FlaskClient, places: Places) -> Act:
    """Three leads, in two chunks when CHUNK leads fit into a call."""
    campaign = client.post("/campaigns", json=campaign_request()).get_json()["campaign"]
    leads = [{"email": f"{name}@example.com"} for name in ("ada", "bea", "cyd")]
    return Act(
        "leads",
        client,
        places,
        f"/campaigns/{campaign['id']}/leads",
        {"orgId": "org-1", "leads": leads},
        ADD_PATH,
        "insert_leads",
        "delete_leads_of_run",
        "/api/v2/leads",
        quantity=3,
    )


@pytest.fixture(params=[create_campaign, add_leads], ids=["campaigns", "leads"])
def act(request: pytest.FixtureRequest, client: FlaskClient, places: Places) -> Act:
    make: Callable[[FlaskClient, Places], Act] = request.param
    return make(client, places)


@pytest.fixture
def leads_act(client: FlaskClient, places: Places, monkeypatch: pytest.MonkeyPatch) -> Act:
    """An upload of three leads in two calls."""
    monkeypatch.setattr(instantly.upload, "MAX_LEADS_A_CALL", 2)
    return add_leads(client, places)


def break_statement(
    monkeypatch: pytest.MonkeyPatch, statement: str, *, times: int = 1000, acts: bool = False
) -> None:
    """The database goes away at a statement: before it is done, or before it is answered."""
    left = [times]

    def breaking(run: Callable[..., Any]) -> Callable[..., Any]:
        def run_or_break(self: Session, name: str, parameters: dict[str, Any]) -> Any:
            if name != statement or not left[0]:
                return run(self, name, parameters)
            left[0] -= 1
            if acts:
                run(self, name, parameters)
            raise OperationalError("the connection is lost")

        return run_or_break

    for kind in (Session, Database):
        monkeypatch.setattr(kind, "_run", breaking(kind._run))


def cleaned(client: FlaskClient, places: Places) -> list[str]:
    """What the cleanup says once all processes are dead."""
    fall_silent(places.db)
    parts = client.application.extensions[EXTENSION]
    return clean_up(parts.database, parts.runs)


# Org key, or creating the run: nothing was done yet


@pytest.mark.parametrize(
    ("fault", "status", "error"),
    [
        ({"status": 404}, 422, "BYOK key not configured for this organization"),
        ({"status": 500, "times": None}, 502, "key-service unavailable"),
        ({"status": 401}, 502, "key-service unavailable"),
        ({"status": 200, "body": HTML}, 502, "key-service unavailable"),
        ({"status": 200, "body": {}}, 502, "key-service unavailable"),
        ({"how": "drop", "times": None}, 502, "key-service unavailable"),
        ({"how": "cut", "times": None}, 502, "key-service unavailable"),
    ],
)
def test_without_a_key_nothing_was_done(act: Act, fault: Fault, status: int, error: str) -> None:
    act.places.upstreams.keys_http.fail("GET", KEY_PATH, **fault)
    calls_before = len(act.places.upstreams.instantly_http.requests)
    act.fails(f"org key: {fault}", status, error, runs=[])
    assert len(act.places.upstreams.instantly_http.requests) == calls_before


@pytest.mark.parametrize(
    ("fault", "status", "error"),
    [
        ({"status": 400}, 422, "runs-service rejected the request"),
        ({"status": 422}, 422, "runs-service rejected the request"),
        ({"status": 403}, 502, "runs-service unavailable"),
        ({"status": 500}, 502, "runs-service unavailable"),
        ({"status": 429, "times": None}, 502, "runs-service unavailable"),
        ({"status": 200, "body": HTML}, 502, "runs-service unavailable"),
        ({"status": 201, "body": {"id": 1}}, 502, "runs-service unavailable"),
        ({"how": "drop"}, 502, "runs-service unavailable"),
    ],
)
def test_without_a_run_nothing_was_done(act: Act, fault: Fault, status: int, error: str) -> None:
    act.places.upstreams.runs_http.fail("POST", RUNS_PATH, **fault)
    calls_before = len(act.places.upstreams.instantly_http.requests)
    act.fails(f"create run: {fault}", status, error, runs=[])
    assert len(act.places.upstreams.instantly_http.requests) == calls_before


@pytest.mark.parametrize("how", ["drop_after", "cut"])
def test_a_run_whose_id_was_lost_has_no_cost(act: Act, how: Any) -> None:
    """It stays open, since nobody knows it; but nothing was done in its name."""
    act.places.upstreams.runs_http.fail("POST", RUNS_PATH, how=how)
    act.fails(f"create run: {how}", 502, "runs-service unavailable", runs=["running"])
    act.succeeds()


def test_a_run_that_we_cannot_remember_is_ended_before_anything_is_done(
    act: Act, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_statement(monkeypatch, "insert_open_run")
    act.fails("our row of the run", 503, "Database unavailable", runs=["failed"])


# The call to Instantly


@pytest.mark.parametrize(
    ("fault", "status", "error"),
    [
        ({"status": 400}, 422, "Instantly rejected the request"),
        ({"status": 401}, 422, "Instantly API key was rejected"),
        ({"status": 402}, 422, "Instantly rejected the request"),
        ({"status": 404}, 422, "Instantly rejected the request"),
        ({"status": 429, "times": None}, 503, "Instantly rate limit reached"),
        ({"status": 500, "times": None}, 502, "Instantly unavailable"),
        ({"status": 503, "body": HTML, "times": None}, 502, "Instantly unavailable"),
        ({"status": 200, "body": HTML, "times": None}, 502, "Instantly unavailable"),
        ({"status": 200, "body": [], "times": None}, 502, "Instantly unavailable"),
        ({"status": 200, "body": {}, "times": None}, 502, "Instantly unavailable"),
        ({"how": "drop", "times": None}, 502, "Instantly unavailable"),
    ],
)
def test_what_instantly_did_not_do_is_not_billed(
    act: Act, fault: Fault, status: int, error: str
) -> None:
    act.places.upstreams.instantly_http.fail("POST", act.instantly_path, **fault)
    act.fails(f"Instantly: {fault}", status, error, runs=["failed"])


@pytest.mark.parametrize(
    "fault", [{"how": "after"}, {"how": "drop_after"}, {"how": "cut"}], ids=str
)
def test_a_lost_answer_leaves_one_draft_at_most(
    client: FlaskClient, places: Places, fault: Fault
) -> None:
    act = create_campaign(client, places)
    places.upstreams.instantly_http.fail("POST", CREATE_PATH, **fault, times=None)
    answer = act.send()
    tell("POST /campaigns", f"Instantly: answer lost, {fault}", "answer 502", places)
    assert (answer.status_code, answer.get_json()) == (502, {"error": "Instantly unavailable"})
    assert len(places.upstreams.instantly_http.calls("POST", CREATE_PATH)) == 1
    assert [draft["status"] for draft in places.campaigns().values()] == [0]
    assert (places.campaign_rows(), places.runs(), places.billed()) == ([], ["failed"], 0)


def test_a_campaign_that_instantly_is_slow_to_create_leaves_one_draft_at_most(
    client: FlaskClient, places: Places
) -> None:
    act = create_campaign(client, places)
    client_of_instantly = client.application.extensions[EXTENSION].instantly
    before = client_of_instantly._timeout
    client_of_instantly._timeout = (3, 0.3)
    try:
        places.upstreams.instantly_http.fail("POST", CREATE_PATH, how="hang_after")
        answer = act.send()
    finally:
        client_of_instantly._timeout = before
    tell("POST /campaigns", "Instantly: silent", "answer 502", places)
    assert (answer.status_code, answer.get_json()) == (502, {"error": "Instantly unavailable"})
    assert len(places.campaigns()) == 1
    assert (places.campaign_rows(), places.runs(), places.billed()) == ([], ["failed"], 0)


@pytest.mark.parametrize("chunk", [0, 1], ids=["first chunk", "second chunk"])
@pytest.mark.parametrize(
    ("fault", "status", "error"),
    [
        ({"status": 400}, 422, "Instantly rejected the request"),
        ({"status": 402}, 422, "Instantly rejected the request"),
        ({"status": 429, "times": None}, 503, "Instantly rate limit reached"),
        ({"status": 500, "times": None}, 502, "Instantly unavailable"),
        ({"how": "drop", "times": None}, 502, "Instantly unavailable"),
        ({"how": "after", "times": None}, 502, "Instantly unavailable"),
        ({"how": "drop_after", "times": None}, 502, "Instantly unavailable"),
        ({"how": "cut", "times": None}, 502, "Instantly unavailable"),
        ({"how": "after", "status": 200, "body": HTML}, 502, "Instantly unavailable"),
        ({"how": "after", "status": 200, "body": {}}, 502, "Instantly unavailable"),
    ],
)
def test_no_chunk_stays_when_one_fails(
    leads_act: Act, chunk: int, fault: Fault, status: int, error: str
) -> None:
    instantly_http = leads_act.places.upstreams.instantly_http
    instantly_http.fail("POST", ADD_PATH, after=chunk, **fault)
    leads_act.fails(f"chunk {chunk + 1}: {fault}", status, error, runs=["failed"])
    instantly_http.heal()
    leads_act.succeeds()


def test_a_chunk_whose_first_try_was_lost_is_taken_out_when_the_next_is_refused(
    leads_act: Act,
) -> None:
    instantly_http = leads_act.places.upstreams.instantly_http
    instantly_http.fail("POST", ADD_PATH, how="drop_after")
    instantly_http.fail("POST", ADD_PATH, status=429, headers={"Retry-After": "60"})
    leads_act.fails("lost, then 429", 503, "Instantly rate limit reached", runs=["failed"])


def test_a_chunk_whose_first_try_was_lost_is_taken_out_when_it_cannot_be_looked_up(
    leads_act: Act,
) -> None:
    instantly_http = leads_act.places.upstreams.instantly_http
    instantly_http.fail("POST", ADD_PATH, how="drop_after")
    instantly_http.fail("POST", LIST_PATH, status=400)
    leads_act.fails("lost, lookup fails", 422, "Instantly rejected the request", runs=["failed"])


def test_a_silent_upload_is_taken_out(leads_act: Act, client: FlaskClient) -> None:
    client_of_instantly = client.application.extensions[EXTENSION].instantly
    before = client_of_instantly._timeout
    client_of_instantly._timeout = (3, 0.3)
    instantly_http = leads_act.places.upstreams.instantly_http
    try:
        instantly_http.fail("POST", ADD_PATH, after=1, how="hang_after", times=3)
        leads_act.fails("chunk 2: silent", 502, "Instantly unavailable", runs=["failed"])
    finally:
        client_of_instantly._timeout = before


def test_four_chunks_are_under_way_at_once_and_keep_their_order(
    client: FlaskClient, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(instantly.upload, "MAX_LEADS_A_CALL", 2)
    act = add_leads(client, places)
    act.body["leads"] = [{"email": f"lead{number}@example.com"} for number in range(11)]
    instantly_http = places.upstreams.instantly_http
    instantly_http.clear()
    instantly_http.fail("POST", ADD_PATH, times=None, how="hang")
    with ThreadPoolExecutor(1) as caller:
        answer = caller.submit(act.send)
        instantly_http.wait_until_hanging(4)
        time.sleep(0.2)
        assert len(instantly_http.requests) == instantly_http.hanging == 4
        instantly_http.heal()
        body = answer.result().get_json()
    assert (body["added"], body["duplicates"], body["rejected"]) == (11, 0, [])
    rows = places.db.all("SELECT email FROM instantly_leads ORDER BY position")
    assert [row["email"] for row in rows] == [lead["email"] for lead in act.body["leads"]]


def test_chunks_under_way_when_another_fails_are_taken_out_and_no_other_begins(
    client: FlaskClient, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(instantly.upload, "MAX_LEADS_A_CALL", 1)
    act = add_leads(client, places)
    act.body["leads"] = [{"email": f"lead{number}@example.com"} for number in range(9)]
    instantly_http = places.upstreams.instantly_http
    instantly_http.clear()
    instantly_http.fail("POST", ADD_PATH, status=400)
    instantly_http.fail("POST", ADD_PATH, times=3, how="hang_after")
    with ThreadPoolExecutor(1) as caller:
        answer = caller.submit(act.send)
        instantly_http.wait_until_hanging(3)
        assert len(places.leads()) == 3
        time.sleep(0.2)
        instantly_http.release()
        assert answer.result().status_code == 422
    sent = [request for request in instantly_http.requests if request.path == ADD_PATH]
    assert len(sent) == 4
    assert act.state() == act.before
    assert (places.runs(), places.billed()) == (["failed"], 0)


# What was in Instantly before


@pytest.mark.parametrize("created", [OLD, None], ids=["long ago", "just now"])
def test_leads_that_instantly_held_before_stay(leads_act: Act, created: str | None) -> None:
    """They are adopted on success; on failure they are none of our business."""
    places = leads_act.places
    workspace = places.upstreams.instantly.workspace("clerk-1")
    (campaign_id,) = places.campaigns()
    at = created or now()
    workspace.add_lead({"email": "Ada@example.com"}, "ada@example.com", at, campaign=campaign_id)
    leads_act.before = leads_act.state()
    places.upstreams.runs_http.fail("POST", COSTS_PATH)
    leads_act.fails(
        f"costs, a lead was there {created}", 502, "runs-service unavailable", runs=["failed"]
    )
    leads_act.succeeds()
    assert places.lead_rows().keys() == {"ada@example.com", "bea@example.com", "cyd@example.com"}


@pytest.mark.parametrize("how", ["after", "drop_after", "cut"])
def test_leads_of_a_lost_first_try_are_taken_out_on_a_later_failure(
    leads_act: Act, how: Any
) -> None:
    upstreams = leads_act.places.upstreams
    upstreams.instantly_http.fail("POST", ADD_PATH, how=how)
    upstreams.runs_http.fail("POST", COSTS_PATH)
    leads_act.fails(f"{how}, then costs", 502, "runs-service unavailable", runs=["failed"])


@pytest.mark.parametrize("how", ["after", "drop_after", "cut"])
def test_leads_of_a_lost_first_try_are_adopted_and_billed(leads_act: Act, how: Any) -> None:
    leads_act.places.upstreams.instantly_http.fail("POST", ADD_PATH, how=how)
    leads_act.succeeds()


# Our insert, and logging the cost


@pytest.mark.parametrize("is_keyed", [False, True], ids=["without key", "with key"])
@pytest.mark.parametrize("acts", [False, True], ids=["not done", "done"])
def test_an_insert_that_fails_leaves_nothing_behind(
    act: Act, monkeypatch: pytest.MonkeyPatch, acts: bool, is_keyed: bool
) -> None:
    break_statement(monkeypatch, act.insert, acts=acts)
    answer = act.send({"Idempotency-Key": "k"} if is_keyed else None)
    tell(f"POST {act.name}", f"our insert, {acts=}", "answer 503", act.places)
    assert (answer.status_code, answer.get_json()) == (503, {"error": "Database unavailable"})
    assert answer.headers["Retry-After"]
    assert act.state() == act.before
    assert (act.places.runs(), act.places.billed()) == (["failed"], 0)


@contextmanager
def slow_inserts(db: Rows, table: str) -> Iterator[None]:
    """While Postgres takes a second for each insert; at the end all of them are over."""
    db.connection.execute(
        "CREATE FUNCTION wait_a_second() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN PERFORM pg_sleep(1); RETURN NULL; END $$"
    )
    trigger = f"CREATE TRIGGER slow BEFORE INSERT ON {table} EXECUTE FUNCTION wait_a_second()"
    db.connection.execute(trigger.encode())
    try:
        yield
    finally:
        # It waits for those who are writing.
        db.connection.execute("DROP FUNCTION wait_a_second CASCADE")


@pytest.mark.parametrize("is_keyed", [False, True], ids=["without key", "with key"])
def test_an_insert_that_postgres_does_after_we_gave_it_up_stores_nothing(
    act: Act, monkeypatch: pytest.MonkeyPatch, is_keyed: bool
) -> None:
    """A stalled server still has the statement, and goes on with it one day."""
    table = act.insert.replace("insert_", "instantly_").removesuffix("s") + "s"
    with slow_inserts(act.places.db, table), monkeypatch.context() as impatience:
        impatience.setattr(DeadlineConnection, "deadline_seconds", 0.3)
        answer = act.send({"Idempotency-Key": "k"} if is_keyed else None)
    tell(f"POST {act.name}", "our insert, done late", "answer 503", act.places)
    assert (answer.status_code, answer.get_json()) == (503, {"error": "Database unavailable"})
    assert act.state() == act.before
    assert (act.places.runs(), act.places.billed()) == (["failed"], 0)
    act.succeeds()


@pytest.mark.parametrize(
    ("fault", "status", "error"),
    [
        ({"status": 500}, 502, "runs-service unavailable"),
        ({"status": 401}, 502, "runs-service unavailable"),
        ({"status": 429, "times": None}, 502, "runs-service unavailable"),
        ({"status": 422, "body": {"error": "no"}}, 422, "runs-service rejected the request"),
        ({"how": "drop"}, 502, "runs-service unavailable"),
    ],
)
def test_a_cost_that_cannot_be_logged_leaves_nothing_behind(
    act: Act, fault: Fault, status: int, error: str
) -> None:
    act.places.upstreams.runs_http.fail("POST", COSTS_PATH, **fault)
    act.fails(f"log costs: {fault}", status, error, runs=["failed"])
    act.places.upstreams.runs_http.heal()
    act.succeeds()


@pytest.mark.parametrize("how", ["after", "drop_after", "cut"])
def test_a_cost_whose_answer_is_lost_stands_on_a_failed_run_only(act: Act, how: Any) -> None:
    """Costs may not be logged twice and cannot be taken back."""
    act.places.upstreams.runs_http.fail("POST", COSTS_PATH, how=how)
    answer = act.send()
    tell(f"POST {act.name}", f"log costs: {how}", "answer 502", act.places)
    assert (answer.status_code, answer.get_json()) == (502, {"error": "runs-service unavailable"})
    assert act.state() == act.before
    assert act.places.runs() == ["failed"]
    assert len(act.places.upstreams.runs_http.calls("POST", COSTS_PATH)) == (
        1 if act.name == "/campaigns" else 2
    )
    act.succeeds()


# Completing the run


@pytest.mark.parametrize(
    "fault", [{"status": 500}, {"status": 404}, {"how": "drop"}, {"how": "drop_after"}], ids=str
)
def test_a_run_that_cannot_be_completed_costs_nobody_the_act(
    act: Act, client: FlaskClient, fault: Fault
) -> None:
    runs_http = act.places.upstreams.runs_http
    runs_http.fail("PATCH", RUN_PATH, times=None, **fault)
    answer = act.send()
    tell(f"POST {act.name}", f"complete the run: {fault}", "answer 201", act.places)
    assert answer.status_code == 201
    assert act.places.billed() == act.quantity
    assert set(act.places.campaign_rows()) == set(act.places.campaigns())
    assert act.places.lead_rows() == act.places.leads()
    assert act.places.db.count("instantly_open_runs") == 1
    runs_http.heal()
    (line,) = cleaned(client, act.places)
    assert "ended as completed" in line
    assert act.places.runs() == ["completed"]
    assert act.places.db.count("instantly_open_runs") == 0


def test_completing_the_run_is_tried_again(act: Act) -> None:
    act.places.upstreams.runs_http.fail("PATCH", RUN_PATH, times=2)
    act.succeeds()
    assert act.places.runs() == ["completed"]
    assert act.places.db.count("instantly_open_runs") == 0


def test_a_run_that_we_cannot_forget_costs_nobody_the_act(
    act: Act, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_statement(monkeypatch, "delete_open_run")
    act.succeeds()
    assert act.places.runs() == ["completed"]


# Taking back, and ending the run as failed


def test_taking_back_in_instantly_is_tried_again(act: Act) -> None:
    act.places.upstreams.runs_http.fail("POST", COSTS_PATH)
    act.places.upstreams.instantly_http.fail("DELETE", act.take_back_path, times=2)
    act.fails("costs; take back, 3rd try", 502, "runs-service unavailable", runs=["failed"])


@pytest.mark.parametrize("acts", [False, True], ids=["not done", "done"])
def test_taking_our_rows_back_is_tried_again(
    act: Act, monkeypatch: pytest.MonkeyPatch, acts: bool
) -> None:
    """A database that went away may be away for a moment still."""
    break_statement(monkeypatch, act.take_back, times=1, acts=acts)
    act.places.upstreams.runs_http.fail("POST", COSTS_PATH)
    act.fails("costs; our rows, 2nd try", 502, "runs-service unavailable", runs=["failed"])


def test_what_cannot_be_taken_back_in_instantly_does_not_hide_the_first_error(act: Act) -> None:
    act.places.upstreams.runs_http.fail("POST", COSTS_PATH)
    act.places.upstreams.instantly_http.fail("DELETE", act.take_back_path, times=None)
    answer = act.send()
    tell(f"POST {act.name}", "costs; taking back fails", "answer 502", act.places)
    assert (answer.status_code, answer.get_json()) == (502, {"error": "runs-service unavailable"})
    assert (act.places.runs(), act.places.billed()) == (["failed"], 0)
    left = act.state()
    assert left["our campaigns"] == act.before["our campaigns"]
    assert left["our leads"] == act.before["our leads"]
    assert left["open runs"] == 0


def test_our_rows_that_cannot_be_taken_back_do_not_hide_the_first_error(
    act: Act, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(instantly.billing, "DATABASE_PAUSES_SECONDS", (0, 0))
    break_statement(monkeypatch, act.take_back)
    act.places.upstreams.runs_http.fail("POST", COSTS_PATH)
    answer = act.send()
    tell(f"POST {act.name}", "costs; our rows stay", "answer 502", act.places)
    assert (answer.status_code, answer.get_json()) == (502, {"error": "runs-service unavailable"})
    assert (act.places.runs(), act.places.billed()) == (["failed"], 0)
    # A row without its campaign or lead in Instantly would never heal.
    assert set(act.places.campaign_rows()) <= set(act.places.campaigns())
    assert act.places.lead_rows().items() <= act.places.leads().items()


@pytest.mark.parametrize("fault", [{"status": 500}, {"how": "drop"}], ids=str)
def test_a_run_that_cannot_be_failed_is_failed_by_the_cleanup(
    act: Act, client: FlaskClient, fault: Fault
) -> None:
    runs_http = act.places.upstreams.runs_http
    act.places.upstreams.instantly_http.fail("POST", act.instantly_path, status=402)
    runs_http.fail("PATCH", RUN_PATH, times=None, **fault)
    answer = act.send()
    tell(f"POST {act.name}", f"Instantly 402; end run: {fault}", "answer 422", act.places)
    assert (answer.status_code, answer.get_json()["error"]) == (
        422,
        "Instantly rejected the request",
    )
    assert {**act.state(), "open runs": 0, "leases": 0} == act.before
    assert act.places.runs() == ["running"]
    runs_http.heal()
    (line,) = cleaned(client, act.places)
    assert "ended as failed" in line
    assert act.places.runs() == ["failed"]
    assert act.state() == act.before


def test_the_cleanup_tries_again_what_runs_service_did_not_hear(
    act: Act, client: FlaskClient
) -> None:
    runs_http = act.places.upstreams.runs_http
    runs_http.fail("PATCH", RUN_PATH, times=None)
    assert act.send().status_code == 201
    (line,) = cleaned(client, act.places)
    assert "could not be ended" in line
    assert act.places.db.count("instantly_open_runs") == 1
    runs_http.heal()
    (line,) = cleaned(client, act.places)
    assert "ended as completed" in line
    assert cleaned(client, act.places) == []
