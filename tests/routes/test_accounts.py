"""Sender accounts: the synchronised list, warmup and its job, warmup figures, and whose key."""

import random
from dataclasses import dataclass
from itertools import chain
from typing import Any
from urllib.parse import quote

import pytest
from flask.testing import FlaskClient
from stand_in import RecordedRequest
from werkzeug.test import TestResponse
from world import Upstreams, campaign_request

from instantly.routes import accounts as accounts_routes
from instantly.sandbox.instantly_api import Workspace

ACCOUNT_FIELDS = set(
    "id email status warmupEnabled warmupStatus warmupScore dailySendLimit"
    " providerCode createdAt updatedAt".split()
)
LIST = "/api/v2/accounts"
ENABLE = "/api/v2/accounts/warmup/enable"
DISABLE = "/api/v2/accounts/warmup/disable"
JOBS = "/api/v2/background-jobs/.*"
FIGURES = "/api/v2/accounts/warmup-analytics"
MISSING = object()
LENA, MARC = "lena@try-northbeam.example", "marc@try-northbeam.example"
SYNC = ("POST", "/accounts/sync", None)
WARMUP = ("POST", f"/accounts/{LENA}/warmup", {"enabled": True})
ANALYTICS = ("GET", "/accounts/warmup-analytics?emails=a@x.example", None)


@dataclass
class Accounts:
    """Calls the routes of accounts, and what the app key opens at Instantly: three accounts."""

    client: FlaskClient
    upstreams: Upstreams

    @property
    def workspace(self) -> Workspace:
        return self.upstreams.instantly.workspace("app")

    def at_instantly(self, *emails: str) -> None:
        """Lets Instantly hold exactly these accounts."""
        self.workspace.seed_accounts(len(emails))
        seeded = list(self.workspace.accounts.values())
        self.workspace.accounts = {
            email: {**account, "email": email}
            for email, account in zip(emails, seeded, strict=True)
        }

    def fail(self, method: str, path: str, **fault: Any) -> None:
        self.upstreams.instantly_http.fail(method, path, **fault)

    def calls(self, method: str, path: str) -> list[RecordedRequest]:
        """What Instantly was asked."""
        return self.upstreams.instantly_http.calls(method, path)

    def sync(self) -> tuple[int, int]:
        """How many accounts were taken over, and how many have newly gone."""
        answer = self.client.post("/accounts/sync")
        assert answer.status_code == 200
        body = answer.get_json()
        assert body == {"success": True, "synced": body["synced"], "removed": body["removed"]}
        return body["synced"], body["removed"]

    def synced_from(self, *accounts: dict[str, Any]) -> int:
        """The status of a sync that reads these."""
        items = [
            {name: value for name, value in account.items() if value is not MISSING}
            for account in accounts
        ]
        self.fail("GET", LIST, status=200, body={"items": items})
        return self.client.post("/accounts/sync").status_code

    def listed(self) -> dict[str, dict[str, Any]]:
        """GET /accounts by address."""
        answer = self.client.get("/accounts")
        assert answer.status_code == 200
        return {account["email"]: account for account in answer.get_json()["accounts"]}

    def statuses(self) -> dict[str, str]:
        return {email: account["status"] for email, account in self.listed().items()}

    def switch(self, email: str, enabled: object = True) -> TestResponse:
        return self.client.post(f"/accounts/{email}/warmup", json={"enabled": enabled})

    def figures(self, emails: str | None = None) -> TestResponse:
        query = "" if emails is None else f"?emails={emails}"
        return self.client.get(f"/accounts/warmup-analytics{query}")

    def asked_for(self) -> list[list[str]]:
        """The addresses of each call for figures."""
        return [request.json["emails"] for request in self.calls("POST", FIGURES)]


@pytest.fixture
def accounts(client, upstreams, monkeypatch):
    monkeypatch.setattr(accounts_routes, "POLL_JOB_SECONDS", 0.01)
    accounts = Accounts(client, upstreams)
    accounts.workspace.seed_accounts(3)
    return accounts


@pytest.fixture
def synced(accounts):
    accounts.sync()
    accounts.upstreams.instantly_http.clear()
    return accounts


def account(**changes: Any) -> dict[str, Any]:
    """One of Instantly's."""
    return {
        "email": LENA,
        "status": 1,
        "warmup_status": 1,
        "stat_warmup_score": 97,
        "daily_limit": 30,
        "provider_code": 2,
        **changes,
    }


# The list


def test_an_account_is_shown_with_its_fields(synced):
    account = synced.listed()[MARC]
    assert account.keys() >= ACCOUNT_FIELDS
    assert (account["status"], account["warmupStatus"]) == ("active", "active")
    assert account["warmupEnabled"] is True
    figures = (account["warmupScore"], account["dailySendLimit"], account["providerCode"])
    assert figures == (0, 30, 2)


def test_accounts_are_ordered_by_address_whatever_its_case(accounts):
    accounts.at_instantly("b@x.example", "C@x.example", "a@x.example", "Bb@x.example")
    accounts.sync()
    assert list(accounts.listed()) == ["a@x.example", "b@x.example", "Bb@x.example", "C@x.example"]


# Synchronising


@pytest.mark.parametrize("count", [0, 100, 101, 250])
def test_a_sync_reads_every_page(accounts, count):
    accounts.workspace.seed_accounts(count)
    assert accounts.sync() == (count, 0)
    assert set(accounts.listed()) == set(accounts.workspace.accounts)


def test_an_address_is_one_account_whatever_its_case(accounts):
    assert accounts.synced_from(account(), account(email=LENA.upper())) == 200
    assert len(accounts.listed()) == 1
    for email in (LENA.title(), LENA):
        accounts.at_instantly(email)
        assert accounts.sync() == (1, 0)
        assert len(accounts.listed()) == 1


def test_a_sync_repeated_changes_nothing_but_what_changed(synced):
    before = synced.listed()
    synced.workspace.accounts[MARC].update(daily_limit=50, status=-1)
    assert synced.sync() == (3, 0)
    after = synced.listed()
    assert after[MARC]["dailySendLimit"] == 50
    assert after[MARC]["status"] == "connection_error"
    for email, account in after.items():
        assert account["id"] == before[email]["id"]
        assert account["createdAt"] == before[email]["createdAt"]


def test_only_the_newly_missing_accounts_count_as_removed(accounts):
    accounts.at_instantly("a@x.example", "b@x.example", "c@x.example")
    accounts.sync()
    accounts.at_instantly("a@x.example", "c@x.example")
    assert accounts.sync() == (2, 1)
    gone = {"b@x.example": "removed"}
    assert accounts.statuses() == {"a@x.example": "active", "c@x.example": "active", **gone}
    accounts.at_instantly("a@x.example")
    assert accounts.sync() == (1, 1)
    assert accounts.sync() == (1, 0)
    assert accounts.statuses() == {"a@x.example": "active", "c@x.example": "removed", **gone}


@pytest.mark.parametrize("returns", ["to a sync", "to warmup"])
def test_an_account_that_returns_is_active_again(accounts, returns):
    accounts.at_instantly("a@x.example")
    accounts.sync()
    first_id = accounts.listed()["a@x.example"]["id"]
    accounts.at_instantly()
    accounts.sync()
    accounts.at_instantly("a@x.example")
    if returns == "to warmup":
        assert accounts.switch("a@x.example").status_code == 200
    else:
        assert accounts.sync() == (1, 0)
    assert accounts.statuses() == {"a@x.example": "active"}
    assert accounts.listed()["a@x.example"]["id"] == first_id


@pytest.mark.parametrize(
    ("fault", "status", "error"),
    [
        ({"status": 401}, 422, "Instantly API key was rejected"),
        ({"status": 429, "times": None}, 503, "Instantly rate limit reached"),
        ({"status": 200, "body": {"items": ["a@x.example"]}}, 502, "Instantly unavailable"),
    ],
)
def test_a_failure_on_a_later_page_changes_nothing(synced, fault, status, error):
    before = synced.listed()
    synced.workspace.seed_accounts(250)
    for account in synced.workspace.accounts.values():
        account["daily_limit"] = 99
    synced.fail("GET", LIST, after=2, **fault)
    answer = synced.client.post("/accounts/sync")
    assert (answer.status_code, answer.get_json()["error"]) == (status, error)
    assert synced.listed() == before


def test_the_status_is_told_in_our_words(accounts):
    words = {1: "active", 2: "paused", 3: "maintenance", -1: "connection_error"}
    words |= {-2: "soft_bounce_error", -3: "sending_error"}
    for number, status in words.items():
        assert accounts.synced_from(account(status=number)) == 200
        assert accounts.statuses() == {LENA: status}
    # Instantly does not promise a status.
    assert accounts.synced_from(account(status=MISSING)) == 200
    assert accounts.statuses() == {LENA: "active"}


@pytest.mark.parametrize("number", [1, 0, -1, MISSING])
def test_warmup_is_enabled_when_instantly_says_that_it_is_active(accounts, number):
    assert accounts.synced_from(account(warmup_status=number)) == 200
    shown = accounts.listed()[LENA]
    assert shown["warmupEnabled"] is (number == 1)
    assert (shown["warmupStatus"] == "active") is (number == 1)


@pytest.mark.parametrize(
    ("value", "score", "limit"),
    [
        (0, 0, 0),
        (97.25, 97.25, 97),
        (MISSING, None, None),
        ("30", 30, 30),
        ("many", None, None),
        (True, None, None),
    ],
)
def test_figures_are_taken_over_where_they_are_numbers(accounts, value, score, limit):
    assert accounts.synced_from(account(stat_warmup_score=value, daily_limit=value)) == 200
    listed = accounts.listed()[LENA]
    assert (listed["warmupScore"], listed["dailySendLimit"]) == (score, limit)


ODD_VALUES = [
    None,
    "",
    "1",
    True,
    [],
    {"1": 1},
    0.5,
    7,
    2**31,
    2**70,
    -(2**70),
    1e300,
    10**400,
    float("nan"),
    float("-inf"),
]
# The last is one that Postgres cannot compress into an index.
ODD_ADDRESSES = [
    MISSING,
    None,
    5,
    "",
    "a\x00@x.example",
    "a\ud800@x.example",
    "".join(map(chr, random.Random(1).sample(range(0x4E00, 0x9FFF), 5000))) + "@x.example",
]


@pytest.mark.parametrize(
    ("name", "values"),
    [
        *((name, ODD_VALUES) for name in ("status", "warmup_status", "stat_warmup_score")),
        *((name, ODD_VALUES) for name in ("daily_limit", "provider_code")),
        ("email", ODD_ADDRESSES),
    ],
)
def test_no_odd_value_makes_the_list_of_accounts_unusable(accounts, name, values):
    for value in values:
        assert accounts.synced_from(account(**{name: value})) in (200, 502)
        # Compared with the document, as every answer is.
        accounts.listed()


# Warmup


@pytest.mark.parametrize(("enabled", "path"), [(True, ENABLE), (False, DISABLE)])
def test_warmup_is_switched_by_instantlys_job(accounts, enabled, path):
    at_instantly = accounts.workspace.accounts[LENA]
    at_instantly["warmup_status"] = int(not enabled)
    accounts.sync()
    answer = accounts.switch(LENA, enabled)
    (job_id,) = accounts.workspace.jobs
    job = {"id": job_id, "status": "success"}
    body = {"success": True, "email": LENA, "warmupEnabled": enabled, "job": job}
    assert (answer.status_code, answer.get_json()) == (200, body)
    (request,) = accounts.calls("POST", ENABLE + "|" + DISABLE)
    assert (request.path, request.json) == (path, {"emails": [LENA]})
    assert len(accounts.calls("GET", f"/api/v2/background-jobs/{job_id}")) == 3
    assert at_instantly["warmup_status"] == int(enabled)
    account = accounts.listed()[LENA]
    assert account["warmupEnabled"] is enabled
    assert account["warmupStatus"] == ("active" if enabled else "paused")


def test_a_job_that_is_done_at_once_is_not_followed(synced):
    job = {"id": "65f0", "status": "success"}
    synced.fail("POST", ENABLE, status=200, body=job)
    answer = synced.switch(LENA)
    assert (answer.status_code, answer.get_json()["job"]) == (200, job)
    assert not synced.calls("GET", JOBS)


@pytest.mark.parametrize("status", ["in-progress", "new to us"])
def test_a_job_that_is_still_running_is_202(synced, monkeypatch, status):
    assert accounts_routes.FOLLOW_JOB_SECONDS == 10
    monkeypatch.setattr(accounts_routes, "FOLLOW_JOB_SECONDS", 0.05)
    job = {"id": "65f0", "status": status}
    synced.fail("POST", ENABLE, status=200, body=job)
    synced.fail("GET", JOBS, times=None, status=200, body=job)
    answer = synced.switch(LENA)
    body = {"success": True, "email": LENA, "warmupEnabled": True, "job": job}
    assert (answer.status_code, answer.get_json()) == (202, body)
    assert synced.calls("GET", JOBS)
    # Our row follows what Instantly accepted.
    assert synced.listed()[LENA]["warmupEnabled"] is True


@pytest.mark.parametrize("outcome", ["failed", "cancelled"])
def test_a_job_that_fails_is_502_and_leaves_our_row(synced, outcome):
    before = synced.listed()
    synced.upstreams.instantly.job_outcome = outcome
    answer = synced.switch(LENA)
    (job_id,) = synced.workspace.jobs
    told = {"error": "Warmup job failed", "details": {"id": job_id, "status": outcome}}
    assert (answer.status_code, answer.get_json()) == (502, told)
    assert synced.listed() == before


@pytest.mark.parametrize(
    ("method", "path", "fault", "error"),
    [
        ("POST", ENABLE, {"status": 403}, (422, "Instantly rejected the request")),
        ("POST", ENABLE, {"status": 200, "body": {}}, (502, "Instantly unavailable")),
        ("GET", JOBS, {"status": 503, "times": None}, (502, "Instantly unavailable")),
    ],
)
def test_a_refused_switch_leaves_our_row(synced, method, path, fault, error):
    before = synced.listed()
    synced.fail(method, path, **fault)
    answer = synced.switch(LENA)
    assert (answer.status_code, answer.get_json()["error"]) == error
    assert synced.listed() == before


def test_an_account_that_only_instantly_knows_becomes_a_row_beside_the_others(synced):
    synced.at_instantly("b@x.example")
    synced.workspace.accounts["b@x.example"].update(warmup_status=0, daily_limit=44)
    assert synced.switch("b@x.example").status_code == 200
    account = synced.listed()["b@x.example"]
    assert (account["status"], account["dailySendLimit"]) == ("active", 44)
    assert account["warmupEnabled"] is True
    assert synced.statuses()[LENA] == "active"


@pytest.mark.parametrize(
    ("fault", "status", "error"),
    [
        (None, 404, "Account not found"),
        ({"status": 400}, 404, "Account not found"),
        ({"status": 403}, 422, "Instantly rejected the request"),
        ({"status": 200, "body": {"status": 1}}, 502, "Instantly unavailable"),
    ],
)
def test_an_account_that_neither_we_nor_instantly_know_is_404(accounts, fault, status, error):
    if fault:
        accounts.fail("GET", f"{LIST}/.*", **fault)
    answer = accounts.switch("no+body/at@x.example")
    assert (answer.status_code, answer.get_json()["error"]) == (status, error)
    assert accounts.listed() == {}


# The path goes into one of Instantly's, whose document says that it is an address there.
NO_ADDRESSES = [
    "no address",
    "sync",
    "..",
    "../campaigns",
    "a%00b@x.example",
    "a" * 2000 + "@x.example",
]


@pytest.mark.parametrize("text", NO_ADDRESSES, ids=lambda text: text[:20])
def test_what_is_no_address_is_nobodys_and_not_sent_to_instantly(accounts, text):
    answer = accounts.switch(text)
    assert (answer.status_code, answer.get_json()) == (404, {"error": "Account not found"})
    assert accounts.upstreams.instantly_http.requests == []
    assert accounts.listed() == {}


@pytest.mark.parametrize("is_quoted", [True, False])
@pytest.mark.parametrize("email", ["lena+news/emea@x.example", "50%off.voß@grün.example"])
def test_an_address_reaches_instantly_letter_by_letter(accounts, email, is_quoted):
    accounts.at_instantly(email)
    # First an account that only Instantly knows, then one of ours.
    for _ in range(2):
        answer = accounts.switch(quote(email, safe="" if is_quoted else "@/+'&="))
        assert (answer.status_code, answer.get_json()["email"]) == (200, email)
    asked = [request.json for request in accounts.calls("POST", ENABLE)]
    assert asked == [{"emails": [email]}] * 2
    assert list(accounts.listed()) == [email]


def test_the_case_of_a_known_address_does_not_matter(accounts):
    accounts.at_instantly("Lena@X.example")
    accounts.sync()
    assert accounts.switch("lENA@x.EXAMPLE").status_code == 200
    (request,) = accounts.calls("POST", ENABLE)
    assert request.json == {"emails": ["Lena@X.example"]}
    assert accounts.listed()["Lena@X.example"]["warmupEnabled"] is True


# Warmup figures


def test_figures_of_all_accounts_are_merged_from_calls_of_at_most_a_hundred(accounts):
    accounts.workspace.seed_accounts(250)
    for account in accounts.workspace.accounts.values():
        account["warmup_status"] = 1
    accounts.sync()
    answer = accounts.figures()
    assert answer.status_code == 200
    analytics = answer.get_json()["analytics"]
    assert analytics.keys() == {"email_date_data", "aggregate_data"}
    for part in analytics.values():
        assert set(part) == set(accounts.workspace.accounts)
    calls = accounts.asked_for()
    assert [len(emails) for emails in calls] == [100, 100, 50]
    assert sorted(chain.from_iterable(calls)) == sorted(accounts.workspace.accounts)


def test_removed_accounts_are_not_asked_for_and_without_any_nobody_is_called(accounts):
    accounts.at_instantly("a@x.example", "b@x.example", "c@x.example")
    accounts.sync()
    accounts.at_instantly("a@x.example", "c@x.example")
    accounts.sync()
    assert accounts.figures().status_code == 200
    assert accounts.asked_for() == [["a@x.example", "c@x.example"]]
    accounts.at_instantly()
    accounts.sync()
    accounts.upstreams.forget_requests()
    answer = accounts.figures()
    empty = {"analytics": {"email_date_data": {}, "aggregate_data": {}}}
    assert (answer.status_code, answer.get_json()) == (200, empty)
    assert accounts.upstreams.calls() == 0


@pytest.mark.parametrize(
    "query",
    [
        "%20a%2Bnews@x.example%20,%20sales%2Femea@x.example",
        # No address holds a blank: it was a plus.
        "a+news@x.example,sales%2Femea@x.example,",
    ],
)
def test_figures_of_the_addresses_that_are_asked_for(accounts, query):
    answer = accounts.figures(query)
    assert (answer.status_code, answer.get_json().keys()) == (200, {"analytics"})
    assert accounts.asked_for() == [["a+news@x.example", "sales/emea@x.example"]]


@pytest.mark.parametrize("query", ["", ",", "a@x.example,,b@x.example", "lena"])
def test_bad_addresses_are_400(accounts, query):
    answer = accounts.figures(query)
    assert (answer.status_code, answer.get_json()["error"]) == (400, "Invalid request")
    assert list(answer.get_json()["details"]) == ["emails"]
    assert accounts.upstreams.instantly_http.requests == []


@pytest.mark.parametrize("body", [{"email_date_data": None}, {"aggregate_data": {LENA: {"a": 97}}}])
def test_parts_that_instantly_leaves_out_are_empty(accounts, body):
    accounts.fail("POST", FIGURES, status=200, body=body)
    answer = accounts.figures(LENA)
    assert answer.status_code == 200
    expected = {"email_date_data": {}, "aggregate_data": body.get("aggregate_data", {})}
    assert answer.get_json()["analytics"] == expected


@pytest.mark.parametrize(
    ("fault", "status", "error"),
    [
        ({"status": 400}, 422, "Instantly rejected the request"),
        ({"status": 200, "body": []}, 502, "Instantly unavailable"),
    ],
)
def test_a_failure_in_a_later_part_is_an_error(accounts, fault, status, error):
    accounts.workspace.seed_accounts(101)
    accounts.sync()
    accounts.fail("POST", FIGURES, after=1, **fault)
    answer = accounts.figures()
    assert (answer.status_code, answer.get_json()["error"]) == (status, error)


# Whose key


def keys_used(upstreams: Upstreams) -> set[str]:
    return {request.headers["Authorization"] for request in upstreams.instantly_http.requests}


APP_KEY = ("/internal/app-keys/instantly/decrypt", {"appId": ["instantly-service"]})
ORGANIZATION_KEY = ("/internal/keys/instantly/decrypt", {"clerkOrgId": ["clerk-1"]})


def asks_for_key(upstreams, method, path):
    """Which key this route asks for; key-service is told who asks and for which route."""
    (request,) = upstreams.keys_http.requests
    assert request.headers["X-Api-Key"] == "keys-key"
    assert request.headers["X-Caller-Service"] == "instantly"
    assert (request.headers["X-Caller-Method"], request.headers["X-Caller-Path"]) == (method, path)
    return request.path, request.query


@pytest.mark.parametrize(
    ("route", "pattern"),
    [
        (SYNC, "/accounts/sync"),
        (WARMUP, "/accounts/:email/warmup"),
        (ANALYTICS, "/accounts/warmup-analytics"),
    ],
)
def test_account_routes_use_the_app_key_and_no_other(accounts, route, pattern):
    method, path, body = route
    upstreams = accounts.upstreams
    assert accounts.client.open(path, method=method, json=body).status_code == 200
    assert asks_for_key(upstreams, method, pattern) == APP_KEY
    assert keys_used(upstreams) == {"Bearer app-key"}
    # Without it they are refused, whatever keys organisations have.
    upstreams.keys.app_key = None
    upstreams.instantly_http.clear()
    answer = accounts.client.open(path, method=method, json=body)
    not_configured = {"error": "Instantly app key not configured"}
    assert (answer.status_code, answer.get_json()) == (503, not_configured)
    for status in (403, 500):
        upstreams.keys_http.fail("GET", ".*", times=None, status=status)
        answer = accounts.client.open(path, method=method, json=body)
        unavailable = {"error": "key-service unavailable"}
        assert (answer.status_code, answer.get_json()) == (502, unavailable)
        upstreams.keys_http.heal()
    assert keys_used(upstreams) == set()


@pytest.mark.parametrize(
    ("method", "pattern", "body"),
    [
        ("POST", "/campaigns", campaign_request()),
        ("PATCH", "/campaigns/:campaignId/status", {"status": "active"}),
        ("POST", "/campaigns/:campaignId/leads", {"orgId": "org-1", "leads": [{"email": LENA}]}),
        ("DELETE", "/campaigns/:campaignId/leads", {"emails": [LENA]}),
        ("GET", "/campaigns/:campaignId/analytics", None),
        (
            "POST",
            "/webhooks/instantly/recover",
            {"clerkOrgId": "clerk-1", "from": "2026-08-17", "to": "2026-08-19"},
        ),
    ],
)
def test_campaign_routes_use_the_organizations_key_and_never_the_app_key(
    world, campaign, method, pattern, body
):
    path = pattern.replace(":campaignId", campaign["id"])
    assert world.send(method, path, body).status_code in (200, 201)
    assert asks_for_key(world.upstreams, method, pattern) == ORGANIZATION_KEY
    assert keys_used(world.upstreams) == {"Bearer key-1"}
    world.upstreams.keys.organizations.clear()
    world.upstreams.instantly_http.clear()
    before = world.state(), world.shown()
    answer = world.send(method, path, body)
    not_configured = {"error": "BYOK key not configured for this organization"}
    assert (answer.status_code, answer.get_json()) == (422, not_configured)
    assert keys_used(world.upstreams) == set()
    assert (world.state(), world.shown()) == before
