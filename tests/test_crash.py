"""The process dies in the middle of an act: what is left, and that a repeat does not double it."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import pytest
import requests
from conftest import Upstreams, campaign_request
from harness import (
    HANGING_SECONDS,
    TABLES,
    Places,
    Service,
    fall_silent,
    fresh_database,
    looking_at,
    running,
    tell,
    wait_until,
)
from stand_in import StandIn

from instantly.sandbox.postgres import LocalPostgres

pytestmark = pytest.mark.crash

LEADS = [{"email": f"lead{number}@example.com"} for number in range(1001)]

When = Literal["hang", "hang_after"]


@dataclass(frozen=True)
class Call:
    """A call of the act to another service, the `after`th of its kind."""

    name: str
    service: Literal["keys", "runs", "instantly"]
    method: str
    path: str
    after: int = 0

    def stand_in(self, upstreams: Upstreams) -> StandIn:
        stand_in: StandIn = getattr(upstreams, f"{self.service}_http")
        return stand_in


KEY = Call("org key", "keys", "GET", "/internal/keys/.*")
CREATE_RUN = Call("create run", "runs", "POST", "/v1/runs")
CREATE = Call("create in Instantly", "instantly", "POST", "/api/v2/campaigns")
FIRST_ADD = Call("first leads/add", "instantly", "POST", "/api/v2/leads/add")
SECOND_ADD = Call("second leads/add", "instantly", "POST", "/api/v2/leads/add", after=1)
# The upload's leads and the campaign are both taken back by a DELETE, when the cost is not logged.
TAKE_BACK = Call("take back", "instantly", "DELETE", "/api/v2/.*")
COSTS = Call("log costs", "runs", "POST", "/v1/runs/[^/]+/costs")
END_RUN = Call("end run", "runs", "PATCH", "/v1/runs/[^/]+")


@pytest.fixture(scope="module")
def places(postgres: LocalPostgres, sockets: Upstreams) -> Iterator[Places]:
    with fresh_database(postgres) as url, looking_at(url) as db:
        yield Places(db, sockets)


@pytest.fixture(scope="module")
def running_service(
    places: Places, sockets: Upstreams, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    url = places.db.connection.info.dsn
    with running(Service(url, sockets, tmp_path_factory.mktemp("crash"))) as service:
        yield service


@pytest.fixture
def service(running_service: Service, places: Places, upstreams: Upstreams) -> Service:
    """On empty tables."""
    places.db.connection.execute(f"TRUNCATE {', '.join(TABLES)} CASCADE".encode())
    return running_service


@dataclass(frozen=True)
class Request:
    path: str
    body: dict[str, Any]
    headers: dict[str, str]

    def send(self, service: Service) -> requests.Response:
        return service.call("POST", self.path, json=self.body, headers=self.headers)


def die_at(service: Service, places: Places, request: Request, call: Call, when: When) -> str:
    """The server is killed while the call is under way. Returns what is left behind."""
    stand_in = call.stand_in(places.upstreams)
    stand_in.fail(call.method, call.path, after=call.after, how=when)
    if call is TAKE_BACK:
        places.upstreams.runs_http.fail(COSTS.method, COSTS.path)
    with ThreadPoolExecutor(1) as caller:
        answer = caller.submit(request.send, service)
        stand_in.wait_until_hanging(timeout=HANGING_SECONDS)
        service.kill()
        with pytest.raises(requests.ConnectionError):
            answer.result(HANGING_SECONDS)
    stand_in.heal()
    wait_until(lambda: stand_in.hanging == 0)
    return str(places)


def go_on(service: Service, places: Places, request: Request) -> tuple[str, requests.Response]:
    """What an operator does, and the client: start again, clean up, repeat.

    Returns what the cleanup says, and the answer of the repeat.
    """
    fall_silent(places.db, "run:")
    with ThreadPoolExecutor(1) as operator:
        cleanup = operator.submit(service.clean_up)
        service.start()
        cleaned = cleanup.result(HANGING_SECONDS)
    if request.headers:
        # Nobody knows yet that the first try is dead.
        early = request.send(service)
        assert early.status_code == 409
        assert early.json() == {"error": "A request with this Idempotency-Key is in progress"}
    fall_silent(places.db)
    answer = request.send(service)
    assert answer.status_code == 201, answer.text
    return cleaned, answer


def headers_of(is_keyed: bool) -> dict[str, str]:
    return {"Idempotency-Key": "one act"} if is_keyed else {}


def end_of_first_run(call: Call, when: When) -> list[str]:
    """Failed, but for an act that was done and billed.

    A run whose id was never told to us stays open: nobody can end it, but it has no cost.
    """
    if call is KEY or (call, when) == (CREATE_RUN, "hang"):
        return []
    if call is CREATE_RUN:
        return ["running"]
    return ["completed" if call is END_RUN else "failed"]


def tell_case(route: str, call: Call, when: When, is_keyed: bool, crash: str, end: object) -> None:
    before_or_after = "before" if when == "hang" else "after"
    with_or_without = "with" if is_keyed else "without"
    fault = f"dies at: {call.name}, {before_or_after} it acted"
    tell(route, fault, f"{with_or_without} key", f"left: {crash}", f"in the end: {end}")


@pytest.mark.parametrize("is_keyed", [False, True], ids=["without key", "with key"])
@pytest.mark.parametrize("when", ["hang", "hang_after"])
@pytest.mark.parametrize(
    "call", [KEY, CREATE_RUN, CREATE, COSTS, END_RUN, TAKE_BACK], ids=lambda call: call.name
)
def test_a_campaign_survives_the_death_of_its_process(
    service: Service, places: Places, call: Call, when: When, is_keyed: bool
) -> None:
    request = Request("/campaigns", campaign_request(), headers_of(is_keyed))
    crash = die_at(service, places, request, call, when)
    stored = places.campaign_rows()
    cleaned, answer = go_on(service, places, request)
    tell_case("POST /campaigns", call, when, is_keyed, crash, places)

    # With the key there is one campaign, without it the repeat is another one.
    rows = places.campaign_rows()
    created = answer.json()["campaign"]["instantlyCampaignId"]
    is_replayed = is_keyed and bool(stored)
    assert set(rows) == {*stored, created}
    assert len(rows) == (2 if stored and not is_keyed else 1)
    assert ("Idempotent-Replayed" in answer.headers) is is_replayed
    # None is billed twice.
    is_unbilled = call is COSTS and when == "hang"
    assert places.billed() == len(rows) - is_unbilled
    # One draft may be left over, when the act was not stored, and it is named.
    orphans = places.campaigns().keys() - set(rows)
    assert len(orphans) == ((call, when) in [(CREATE, "hang_after"), (TAKE_BACK, "hang")])
    assert set(rows) <= places.campaigns().keys()
    for orphan in orphans:
        assert places.campaigns()[orphan]["status"] == 0
        assert "'Autumn'" in cleaned
        assert "a draft" in cleaned
    assert places.runs() == end_of_first_run(call, when) + ["completed"] * (not is_replayed)
    assert places.db.count("instantly_open_runs") == 0


@pytest.mark.parametrize("is_keyed", [False, True], ids=["without key", "with key"])
@pytest.mark.parametrize("when", ["hang", "hang_after"])
@pytest.mark.parametrize(
    "call",
    [KEY, CREATE_RUN, FIRST_ADD, SECOND_ADD, COSTS, END_RUN, TAKE_BACK],
    ids=lambda call: call.name,
)
def test_leads_survive_the_death_of_their_process(
    service: Service, places: Places, call: Call, when: When, is_keyed: bool
) -> None:
    campaign = service.call("POST", "/campaigns", json=campaign_request()).json()["campaign"]
    places.upstreams.runs.runs.clear()
    body = {"orgId": "org-1", "leads": LEADS}
    request = Request(f"/campaigns/{campaign['id']}/leads", body, headers_of(is_keyed))
    crash = die_at(service, places, request, call, when)
    was_stored = bool(places.lead_rows())
    cleaned, answer = go_on(service, places, request)
    tell_case("POST leads", call, when, is_keyed, crash, places)

    # All of them are there in the end, each once, and the same as in Instantly.
    assert places.lead_rows().keys() == {lead["email"] for lead in LEADS}
    assert places.lead_rows() == places.leads()
    is_replayed = is_keyed and was_stored
    added = len(LEADS) if is_replayed or not was_stored else 0
    assert answer.json() == {
        "success": True,
        "added": added,
        "total": len(LEADS),
        "duplicates": len(LEADS) - added,
        "rejected": [],
    }
    assert ("Idempotent-Replayed" in answer.headers) is is_replayed
    # None is billed twice.
    is_unbilled = call is COSTS and when == "hang"
    assert places.billed() == (0 if is_unbilled else len(LEADS))
    assert places.runs() == end_of_first_run(call, when) + ["completed"] * (not is_replayed)
    assert places.db.count("instantly_open_runs") == 0
    if call in (FIRST_ADD, SECOND_ADD, TAKE_BACK):
        assert campaign["id"] in cleaned
        assert campaign["instantlyCampaignId"] in cleaned


def test_the_cleanup_leaves_a_living_run_alone(service: Service, places: Places) -> None:
    request = Request("/campaigns", campaign_request(), {})
    stand_in = CREATE.stand_in(places.upstreams)
    stand_in.fail(CREATE.method, CREATE.path, how="hang")
    with ThreadPoolExecutor(1) as caller:
        answer = caller.submit(request.send, service)
        stand_in.wait_until_hanging(timeout=HANGING_SECONDS)
        assert service.clean_up() == "nothing to clean up\n"
        stand_in.release()
        assert answer.result(HANGING_SECONDS).status_code == 201
    assert places.runs() == ["completed"]
    assert service.clean_up() == "nothing to clean up\n"
