"""Sender accounts: the synchronised list, warmup and its job, warmup figures, and whose key."""

import random
import re
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from typing import Any
from urllib.parse import quote

import pytest
from conftest import Upstreams, campaign_request
from flask.testing import FlaskClient
from stand_in import RecordedRequest
from werkzeug.test import TestResponse

from instantly.routes import accounts as accounts_routes
from instantly.sandbox.instantly_api import Workspace

ACCOUNT_FIELDS = {
    *("id", "email", "status", "warmupEnabled", "warmupStatus", "warmupScore", "dailySendLimit"),
    *("providerCode", "createdAt", "updatedAt"),
}
# What an account may be whose row Instantly still has.
STATUSES = {
    *("active", "paused", "maintenance"),
    *("connection_error", "soft_bounce_error", "sending_error"),
}
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


def test_no_account_is_an_empty_list(client):
    answer = client.get("/accounts")
    assert (answer.status_code, answer.get_json()) == (200, {"accounts": []})


def test_an_account_is_shown_with_its_fields(synced):
    account = synced.listed()[MARC]
    assert account.keys() >= ACCOUNT_FIELDS
    assert (account["status"], account["warmupStatus"]) == ("active", "active")
    assert account["warmupEnabled"] is True
    figures = (account["warmupScore"], account["dailySendLimit"], account["providerCode"])
    assert figures == (0, 30, 2)
    for name in ("createdAt", "updatedAt"):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", account[name])
        datetime.fromisoformat(account[name])


def test_accounts_are_ordered_by_address_whatever_its_case(accounts):
    accounts.at_instantly("b@x.example", "C@x.example", "a@x.example", "Bb@x.example")
    accounts.sync()
    assert list(accounts.listed()) == ["a@x.example", "b@x.example", "Bb@x.example", "C@x.example"]


# Synchronising


@pytest.mark.parametrize("count", [0, 1, 99, 100, 101, 250])
def test_a_sync_reads_every_page(accounts, count):
    accounts.workspace.seed_accounts(count)
    assert accounts.sync() == (count, 0)
    assert set(accounts.listed()) == set(accounts.workspace.accounts)


def test_an_address_that_is_listed_twice_is_one_account(accounts):
    assert accounts.synced_from(account(), account(email=LENA.upper())) == 200
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


def test_an_account_that_changes_the_case_of_its_address_stays_itself(accounts):
    for email in ("lena@x.example", "Lena@X.example"):
        accounts.at_instantly(email)
        assert accounts.sync() == (1, 0)
        assert len(accounts.listed()) == 1


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


@pytest.mark.parametrize("number", [1, 0, -1, -2, -3, MISSING, None])
def test_warmup_is_enabled_when_instantly_says_that_it_is_active(accounts, number):
    assert accounts.synced_from(account(warmup_status=number)) == 200
    shown = accounts.listed()[LENA]
    assert shown["warmupEnabled"] is (number == 1)
    assert isinstance(shown["warmupStatus"], str)
    assert (shown["warmupStatus"] == "active") is (number == 1)


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, 0), (30, 30), (99.0, 99), (None, None), (MISSING, None), ("30", None), (True, None)],
)
def test_figures_are_taken_over_where_they_are_numbers(accounts, value, shown):
    assert accounts.synced_from(account(stat_warmup_score=value, daily_limit=value)) == 200
    listed = accounts.listed()[LENA]
    assert (listed["warmupScore"], listed["dailySendLimit"]) == (shown, shown)


def test_a_score_keeps_its_fraction(accounts):
    assert accounts.synced_from(account(stat_warmup_score=97.25)) == 200
    assert accounts.listed()[LENA]["warmupScore"] == 97.25


ODD_VALUES = [
    *(None, "", "1", True, False, [], {}, [1], {"1": 1}, 0.5, 7, -99, 2**31, 2**70, -(2**70)),
    *(1e300, 10**400, float("nan"), float("inf"), float("-inf")),
]


@pytest.mark.parametrize(
    "name", ["status", "warmup_status", "stat_warmup_score", "daily_limit", "provider_code"]
)
def test_no_odd_value_makes_the_list_of_accounts_unusable(accounts, name):
    for value in ODD_VALUES:
        assert accounts.synced_from(account(**{name: value})) in (200, 502)
        for shown in accounts.listed().values():
            assert shown["status"] in STATUSES
            assert isinstance(shown["warmupEnabled"], bool)
            for figure in ("warmupScore", "dailySendLimit", "providerCode"):
                assert shown[figure] is None or isinstance(shown[figure], int | float)


def test_no_odd_address_is_an_error_of_ours(accounts):
    # One that Postgres cannot compress into an index.
    long = "".join(map(chr, random.Random(1).sample(range(0x4E00, 0x9FFF), 5000))) + "@x.example"
    for email in (MISSING, None, 5, "", "a\x00@x.example", "a\ud800@x.example", long):
        assert accounts.synced_from(account(email=email)) in (200, 502)
        assert accounts.client.get("/accounts").status_code == 200


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


@pytest.mark.parametrize("status", ["pending", "in-progress", "paused", "new to us"])
def test_a_job_that_is_still_running_is_202(synced, monkeypatch, status):
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
    details = {"id": job_id, "status": outcome}
    assert answer.status_code == 502
    assert answer.get_json() == {"error": "Warmup job failed", "details": details}
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


def test_an_account_that_only_instantly_knows_becomes_a_row(accounts):
    accounts.workspace.accounts[LENA].update(warmup_status=0, daily_limit=44)
    assert accounts.listed() == {}
    assert accounts.switch(LENA).status_code == 200
    assert set(accounts.listed()) == {LENA}
    account = accounts.listed()[LENA]
    assert (account["status"], account["dailySendLimit"]) == ("active", 44)
    assert account["warmupEnabled"] is True


def test_learning_of_one_account_removes_no_other(synced):
    synced.at_instantly("b@x.example")
    assert synced.switch("b@x.example").status_code == 200
    assert synced.statuses()[LENA] == "active"


@pytest.mark.parametrize(
    "email",
    ["nobody/at@x.example", "../nobody@x.example", "no+body%2Bat@x.example", "%ED%A0%80@x.example"],
)
def test_an_account_that_nobody_knows_is_404(accounts, email):
    answer = accounts.switch(email)
    assert (answer.status_code, answer.get_json()) == (404, {"error": "Account not found"})
    assert accounts.listed() == {}


@pytest.mark.parametrize("status", [400, 404])
def test_an_address_that_instantly_refuses_is_nobodys(accounts, status):
    accounts.fail("GET", f"{LIST}/.*", status=status)
    answer = accounts.switch("nobody@x.example")
    assert (answer.status_code, answer.get_json()) == (404, {"error": "Account not found"})


# The path goes into one of Instantly's, whose document says that it is an address there.
NO_ADDRESSES = [
    *("no address", "sync", "warmup-analytics", "a/b/c", ".", "..", "../campaigns", "%25"),
    *("%00@x.example", "a%00b@x.example", "a" * 2000 + "@x.example"),
]


@pytest.mark.parametrize("text", NO_ADDRESSES, ids=lambda text: text[:20])
def test_what_is_no_address_is_nobodys_and_not_sent_to_instantly(accounts, text):
    answer = accounts.switch(text)
    assert (answer.status_code, answer.get_json()) == (404, {"error": "Account not found"})
    assert accounts.upstreams.instantly_http.requests == []
    assert accounts.listed() == {}


def test_an_account_answer_without_an_address_is_502(accounts):
    accounts.fail("GET", f"{LIST}/a@x.example", status=200, body={"status": 1})
    answer = accounts.switch("a@x.example")
    assert (answer.status_code, answer.get_json()["error"]) == (502, "Instantly unavailable")
    assert accounts.listed() == {}


ADDRESSES = [
    "lena+news@x.example",
    "sales/emea@x.example",
    "Petra.voß@grün.example",
    "50%off@x.example",
]


@pytest.mark.parametrize("is_quoted", [True, False])
@pytest.mark.parametrize("email", ADDRESSES)
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


def test_removed_accounts_are_not_asked_for(accounts):
    accounts.at_instantly("a@x.example", "b@x.example", "c@x.example")
    accounts.sync()
    accounts.at_instantly("a@x.example", "c@x.example")
    accounts.sync()
    assert accounts.figures().status_code == 200
    assert accounts.asked_for() == [["a@x.example", "c@x.example"]]


@pytest.mark.parametrize("had_accounts", [True, False])
def test_without_accounts_nobody_is_called(accounts, had_accounts):
    if had_accounts:
        accounts.sync()
        accounts.at_instantly()
        accounts.sync()
    others = (accounts.upstreams.instantly_http, accounts.upstreams.keys_http)
    for http in others:
        http.clear()
    answer = accounts.figures()
    empty = {"analytics": {"email_date_data": {}, "aggregate_data": {}}}
    assert (answer.status_code, answer.get_json()) == (200, empty)
    assert [http.requests for http in others] == [[], []]


@pytest.mark.parametrize(
    ("query", "emails"),
    [
        ("a@x.example", ["a@x.example"]),
        ("%20a@x.example%20,%20b@x.example", ["a@x.example", "b@x.example"]),
        ("a%2Bnews@x.example,sales%2Femea@x.example", ["a+news@x.example", "sales/emea@x.example"]),
    ],
)
def test_figures_of_the_addresses_that_are_asked_for(accounts, query, emails):
    answer = accounts.figures(query)
    assert (answer.status_code, answer.get_json().keys()) == (200, {"analytics"})
    assert accounts.asked_for() == [emails]


@pytest.mark.parametrize(
    "query",
    ["", ",", "a@x.example,", ",a@x.example", "a@x.example,,b@x.example", "lena", "a@x.example;b"],
)
def test_bad_addresses_are_400(accounts, query):
    answer = accounts.figures(query)
    assert (answer.status_code, answer.get_json()["error"]) == (400, "Invalid request")
    assert list(answer.get_json()["details"]) == ["emails"]
    assert accounts.upstreams.instantly_http.requests == []


@pytest.mark.parametrize(
    "body", [{}, {"email_date_data": None}, {"aggregate_data": {LENA: {"health_score": 97}}}]
)
def test_parts_that_instantly_leaves_out_are_empty(accounts, body):
    accounts.fail("POST", FIGURES, status=200, body=body)
    answer = accounts.figures(LENA)
    assert answer.status_code == 200
    expected = {"email_date_data": {}, "aggregate_data": body.get("aggregate_data", {})}
    assert answer.get_json()["analytics"] == expected


def test_nonsense_instead_of_figures_is_502(accounts):
    accounts.fail("POST", FIGURES, status=200, body=[])
    answer = accounts.figures(LENA)
    assert (answer.status_code, answer.get_json()["error"]) == (502, "Instantly unavailable")


def test_a_failure_in_a_later_part_is_an_error(accounts):
    accounts.workspace.seed_accounts(101)
    accounts.sync()
    accounts.fail("POST", FIGURES, after=1, status=400, body={"message": "no"})
    answer = accounts.figures()
    assert answer.status_code == 422
    assert answer.get_json()["details"] == {"status": 400, "message": "no"}


# Whose key


def keys_used(upstreams: Upstreams) -> set[str]:
    return {request.headers["Authorization"] for request in upstreams.instantly_http.requests}


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
    assert accounts.client.open(path, method=method, json=body).status_code == 200
    assert keys_used(accounts.upstreams) == {"Bearer app-key"}
    (request,) = accounts.upstreams.keys_http.requests
    assert request.path == "/internal/app-keys/instantly/decrypt"
    assert request.query == {"appId": ["instantly-service"]}
    # key-service is told which route asks.
    headers = {name.lower(): value for name, value in request.headers.items()}
    assert headers["x-api-key"] == "keys-key"
    assert headers["x-caller-service"] == "instantly"
    assert (headers["x-caller-method"], headers["x-caller-path"]) == (method, pattern)


@pytest.mark.parametrize(("method", "path", "body"), [SYNC, WARMUP, ANALYTICS])
def test_account_routes_without_an_app_key_are_refused_whatever_keys_organizations_have(
    client, upstreams, method, path, body
):
    upstreams.keys.app_key = None
    answer = client.open(path, method=method, json=body)
    assert answer.status_code == 503
    assert answer.get_json() == {"error": "Instantly app key not configured"}
    for status in (401, 403, 429, 500):
        upstreams.keys_http.heal()
        upstreams.keys_http.fail("GET", ".*", times=None, status=status)
        answer = client.open(path, method=method, json=body)
        assert answer.status_code == 502
        assert answer.get_json() == {"error": "key-service unavailable"}
    assert upstreams.instantly_http.requests == []


@pytest.mark.parametrize(
    ("request_line", "body"),
    [
        ("POST /campaigns", campaign_request()),
        ("PATCH /campaigns/{id}/status", {"status": "active"}),
        ("POST /campaigns/{id}/leads", {"orgId": "org-1", "leads": [{"email": "a@x.example"}]}),
        ("DELETE /campaigns/{id}/leads", {"emails": ["a@x.example"]}),
        ("GET /campaigns/{id}/analytics", None),
        (
            "POST /webhooks/instantly/recover",
            {"clerkOrgId": "clerk-1", "from": "2026-08-17", "to": "2026-08-19"},
        ),
    ],
)
def test_campaign_routes_use_the_organizations_key_and_never_the_app_key(
    accounts, campaign, request_line, body
):
    method, path = request_line.replace("{id}", campaign["id"]).split()
    client, upstreams = accounts.client, accounts.upstreams
    for http in (upstreams.instantly_http, upstreams.keys_http):
        http.clear()
    assert client.open(path, method=method, json=body).status_code in (200, 201)
    assert keys_used(upstreams) == {"Bearer key-1"}
    for request in upstreams.keys_http.requests:
        assert request.path == "/internal/keys/instantly/decrypt"
        assert request.query == {"clerkOrgId": ["clerk-1"]}
    upstreams.keys.organizations.clear()
    upstreams.instantly_http.clear()
    answer = client.open(path, method=method, json=body)
    assert answer.status_code == 422
    assert answer.get_json() == {"error": "BYOK key not configured for this organization"}
    assert keys_used(upstreams) == set()
