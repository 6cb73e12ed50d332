"""Sender accounts: the synchronised list, warmup and its job, warmup figures, and whose key."""

import json
import random
import re
from datetime import datetime
from itertools import chain
from typing import Any
from urllib.parse import quote

import pytest
from conftest import Rows, Upstreams
from flask.testing import FlaskClient

from instantly.routes import accounts as accounts_routes
from instantly.sandbox.instantly_api import Workspace

ACCOUNT_FIELDS = {
    "id",
    "email",
    "status",
    "warmupEnabled",
    "warmupStatus",
    "warmupScore",
    "dailySendLimit",
    "providerCode",
    "createdAt",
    "updatedAt",
}
STATUSES = {
    "active",
    "paused",
    "maintenance",
    "connection_error",
    "soft_bounce_error",
    "sending_error",
    "removed",
}
LIST = "/api/v2/accounts"
ENABLE = "/api/v2/accounts/warmup/enable"
DISABLE = "/api/v2/accounts/warmup/disable"
ANALYTICS = "/api/v2/accounts/warmup-analytics"
MISSING = object()
NO_ANALYTICS: dict[str, Any] = {"analytics": {"email_date_data": {}, "aggregate_data": {}}}


@pytest.fixture
def workspace(upstreams: Upstreams) -> Workspace:
    """What the app key opens at Instantly: three accounts."""
    workspace = upstreams.instantly.workspace("app")
    workspace.seed_accounts(3)
    return workspace


@pytest.fixture(autouse=True)
def quick_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounts_routes, "POLL_JOB_SECONDS", 0.01)


def hold(workspace: Workspace, *emails: str) -> None:
    """Lets Instantly hold exactly these accounts."""
    workspace.seed_accounts(len(emails))
    seeded = list(workspace.accounts.values())
    workspace.accounts = {
        email: {**account, "email": email} for email, account in zip(emails, seeded, strict=True)
    }


def sync(client: FlaskClient) -> dict[str, Any]:
    answer = client.post("/accounts/sync")
    assert answer.status_code == 200
    body: dict[str, Any] = answer.get_json()
    return body


def listed(client: FlaskClient) -> dict[str, dict[str, Any]]:
    """GET /accounts by address."""
    answer = client.get("/accounts")
    assert answer.status_code == 200
    return {account["email"]: account for account in answer.get_json()["accounts"]}


def switch(client: FlaskClient, email: str, enabled: object = True) -> Any:
    return client.post(f"/accounts/{email}/warmup", json={"enabled": enabled})


def synced_from(client: FlaskClient, upstreams: Upstreams, **changes: Any) -> Any:
    """The answer of a sync that reads one account, with these fields changed."""
    account = {
        "email": "lena@try.example",
        "status": 1,
        "warmup_status": 1,
        "stat_warmup_score": 97,
        "daily_limit": 30,
        "provider_code": 2,
        **changes,
    }
    account = {name: value for name, value in account.items() if value is not MISSING}
    upstreams.instantly_http.fail("GET", LIST, status=200, body={"items": [account]})
    return client.post("/accounts/sync")


# The list


def test_no_account_is_an_empty_list(client: FlaskClient) -> None:
    answer = client.get("/accounts")
    assert (answer.status_code, answer.get_json()) == (200, {"accounts": []})


def test_an_account_is_shown_with_its_fields(client: FlaskClient, workspace: Workspace) -> None:
    sync(client)
    account = listed(client)["marc@try-northbeam.example"]
    assert account.keys() >= ACCOUNT_FIELDS
    assert account["status"] == "active"
    assert account["warmupEnabled"] is True
    assert account["warmupStatus"] == "active"
    assert (account["warmupScore"], account["dailySendLimit"], account["providerCode"]) == (
        0,
        30,
        2,
    )
    for name in ("createdAt", "updatedAt"):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", account[name])
        datetime.fromisoformat(account[name])


def test_accounts_are_ordered_by_address_whatever_its_case(
    client: FlaskClient, workspace: Workspace
) -> None:
    hold(workspace, "b@x.example", "C@x.example", "a@x.example", "Bb@x.example")
    sync(client)
    assert list(listed(client)) == ["a@x.example", "b@x.example", "Bb@x.example", "C@x.example"]


# Synchronising


@pytest.mark.parametrize("count", [0, 1, 10, 11, 99, 100, 101, 250])
def test_a_sync_reads_every_page(
    client: FlaskClient, workspace: Workspace, upstreams: Upstreams, count: int
) -> None:
    workspace.seed_accounts(count)
    assert sync(client) == {"success": True, "synced": count, "removed": 0}
    assert set(listed(client)) == set(workspace.accounts)


def test_a_cursor_that_repeats_ends_the_sync(client: FlaskClient, upstreams: Upstreams) -> None:
    page = {"items": [{"email": "a@x.example"}], "next_starting_after": "again"}
    upstreams.instantly_http.fail("GET", LIST, status=200, body=page, times=20)
    assert sync(client) == {"success": True, "synced": 1, "removed": 0}
    assert len(upstreams.instantly_http.calls("GET", LIST)) < 20


@pytest.mark.parametrize("cursor", [None, "", MISSING])
def test_no_cursor_ends_the_sync(client: FlaskClient, upstreams: Upstreams, cursor: object) -> None:
    page: dict[str, Any] = {"items": [{"email": "a@x.example"}]}
    if cursor is not MISSING:
        page["next_starting_after"] = cursor
    upstreams.instantly_http.fail("GET", LIST, status=200, body=page, times=20)
    assert sync(client)["synced"] == 1
    assert len(upstreams.instantly_http.calls("GET", LIST)) == 1


def test_an_address_that_two_pages_list_is_one_account(
    client: FlaskClient, upstreams: Upstreams
) -> None:
    items = [
        {"email": "a@x.example", "daily_limit": 1},
        {"email": "A@X.example", "daily_limit": 2},
    ]
    upstreams.instantly_http.fail("GET", LIST, status=200, body={"items": items})
    assert sync(client)["synced"] == 1
    assert len(listed(client)) == 1


def test_a_sync_repeated_changes_nothing_but_what_changed(
    client: FlaskClient, workspace: Workspace
) -> None:
    sync(client)
    before = listed(client)
    workspace.accounts["marc@try-northbeam.example"].update(daily_limit=50, status=-1)
    assert sync(client) == {"success": True, "synced": 3, "removed": 0}
    after = listed(client)
    assert after["marc@try-northbeam.example"]["dailySendLimit"] == 50
    assert after["marc@try-northbeam.example"]["status"] == "connection_error"
    for email, account in after.items():
        assert account["id"] == before[email]["id"]
        assert account["createdAt"] == before[email]["createdAt"]


def test_an_account_that_changes_the_case_of_its_address_stays_itself(
    client: FlaskClient, workspace: Workspace
) -> None:
    hold(workspace, "lena@x.example")
    sync(client)
    hold(workspace, "Lena@X.example")
    assert sync(client) == {"success": True, "synced": 1, "removed": 0}
    assert len(listed(client)) == 1


def test_only_the_newly_missing_accounts_count_as_removed(
    client: FlaskClient, workspace: Workspace
) -> None:
    hold(workspace, "a@x.example", "b@x.example", "c@x.example")
    sync(client)
    hold(workspace, "a@x.example", "c@x.example")
    assert sync(client) == {"success": True, "synced": 2, "removed": 1}
    assert listed(client)["b@x.example"]["status"] == "removed"
    hold(workspace, "a@x.example")
    assert sync(client) == {"success": True, "synced": 1, "removed": 1}
    assert sync(client) == {"success": True, "synced": 1, "removed": 0}
    statuses = {email: account["status"] for email, account in listed(client).items()}
    assert statuses == {
        "a@x.example": "active",
        "b@x.example": "removed",
        "c@x.example": "removed",
    }


def test_an_account_that_returns_is_active_again(client: FlaskClient, workspace: Workspace) -> None:
    hold(workspace, "a@x.example", "b@x.example")
    sync(client)
    first_id = listed(client)["b@x.example"]["id"]
    hold(workspace, "a@x.example")
    sync(client)
    hold(workspace, "a@x.example", "b@x.example")
    assert sync(client) == {"success": True, "synced": 2, "removed": 0}
    assert listed(client)["b@x.example"]["status"] == "active"
    assert listed(client)["b@x.example"]["id"] == first_id


@pytest.mark.parametrize(
    ("fault", "status", "error"),
    [
        ({"status": 500, "times": None}, 502, "Instantly unavailable"),
        ({"status": 401}, 422, "Instantly API key was rejected"),
        ({"status": 403, "body": {"message": "scope"}}, 422, "Instantly rejected the request"),
        ({"status": 429, "times": None}, 503, "Instantly rate limit reached"),
        ({"status": 200, "body": {"items": "none"}}, 502, "Instantly unavailable"),
        ({"status": 200, "body": {"items": ["a@x.example"]}}, 502, "Instantly unavailable"),
        ({"status": 200, "body": {}}, 502, "Instantly unavailable"),
        ({"status": 200, "body": []}, 502, "Instantly unavailable"),
        ({"status": 200, "body": "<html>"}, 502, "Instantly unavailable"),
        ({"how": "drop", "times": None}, 502, "Instantly unavailable"),
    ],
)
def test_a_failure_on_a_later_page_changes_nothing(
    client: FlaskClient,
    workspace: Workspace,
    upstreams: Upstreams,
    fault: dict[str, Any],
    status: int,
    error: str,
) -> None:
    sync(client)
    before = listed(client)
    workspace.seed_accounts(250)
    for account in workspace.accounts.values():
        account["daily_limit"] = 99
    upstreams.instantly_http.fail("GET", LIST, after=2, **fault)
    answer = client.post("/accounts/sync")
    assert answer.status_code == status
    assert answer.get_json()["error"] == error
    assert listed(client) == before


@pytest.mark.parametrize(
    ("number", "status"),
    [
        (1, "active"),
        (2, "paused"),
        (3, "maintenance"),
        (-1, "connection_error"),
        (-2, "soft_bounce_error"),
        (-3, "sending_error"),
        # Instantly does not promise a status.
        (MISSING, "active"),
    ],
)
def test_the_status_is_told_in_our_words(
    client: FlaskClient, upstreams: Upstreams, number: object, status: str
) -> None:
    assert synced_from(client, upstreams, status=number).status_code == 200
    assert listed(client)["lena@try.example"]["status"] == status


@pytest.mark.parametrize(
    ("number", "is_enabled"),
    [(1, True), (0, False), (-1, False), (-2, False), (-3, False), (MISSING, False), (None, False)],
)
def test_warmup_is_enabled_when_instantly_says_that_it_is_active(
    client: FlaskClient, upstreams: Upstreams, number: object, is_enabled: bool
) -> None:
    assert synced_from(client, upstreams, warmup_status=number).status_code == 200
    account = listed(client)["lena@try.example"]
    assert account["warmupEnabled"] is is_enabled
    assert isinstance(account["warmupStatus"], str)
    assert (account["warmupStatus"] == "active") is is_enabled


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [("stat_warmup_score", "warmupScore"), ("daily_limit", "dailySendLimit")],
)
@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, 0), (30, 30), (99.0, 99), (None, None), (MISSING, None), ("30", None), (True, None)],
)
def test_figures_are_taken_over_where_they_are_numbers(
    client: FlaskClient,
    upstreams: Upstreams,
    theirs: str,
    ours: str,
    value: object,
    shown: float | None,
) -> None:
    assert synced_from(client, upstreams, **{theirs: value}).status_code == 200
    assert listed(client)["lena@try.example"][ours] == shown


def test_a_score_keeps_its_fraction(client: FlaskClient, upstreams: Upstreams) -> None:
    assert synced_from(client, upstreams, stat_warmup_score=97.25).status_code == 200
    assert listed(client)["lena@try.example"]["warmupScore"] == 97.25


@pytest.mark.parametrize(
    "name", ["status", "warmup_status", "stat_warmup_score", "daily_limit", "provider_code"]
)
@pytest.mark.parametrize(
    "values",
    [
        [None, "", "1", True, False],
        [[], {}, [1], {"1": 1}],
        [0.5, 7, -99, 2**31, 2**70, -(2**70), 1e300],
        [10**400],
        [float("nan")],
        [float("inf"), float("-inf")],
    ],
    ids=["scalars", "collections", "numbers", "huge", "nan", "infinity"],
)
def test_no_odd_value_makes_the_list_of_accounts_unusable(
    client: FlaskClient, upstreams: Upstreams, name: str, values: list[object]
) -> None:
    for value in values:
        assert synced_from(client, upstreams, **{name: value}).status_code in (200, 502)
        for account in listed(client).values():
            assert account["status"] in STATUSES - {"removed"}
            assert isinstance(account["warmupEnabled"], bool)
            for figure in ("warmupScore", "dailySendLimit", "providerCode"):
                assert account[figure] is None or isinstance(account[figure], int | float)


@pytest.mark.parametrize(
    "email",
    [
        MISSING,
        None,
        5,
        "",
        "a\x00@x.example",
        "a\ud800@x.example",
        # One that Postgres cannot compress into an index.
        "".join(map(chr, random.Random(1).sample(range(0x4E00, 0x9FFF), 5000))) + "@x.example",
    ],
    ids=lambda email: ascii(email)[:20],
)
def test_no_odd_address_is_an_error_of_ours(
    client: FlaskClient, upstreams: Upstreams, email: object
) -> None:
    assert synced_from(client, upstreams, email=email).status_code in (200, 502)
    assert client.get("/accounts").status_code == 200


# Warmup


@pytest.mark.parametrize(
    ("enabled", "path", "warmup_status"), [(True, ENABLE, 1), (False, DISABLE, 0)]
)
def test_warmup_is_switched_by_instantlys_job(
    client: FlaskClient,
    workspace: Workspace,
    upstreams: Upstreams,
    enabled: bool,
    path: str,
    warmup_status: int,
) -> None:
    email = "lena@try-northbeam.example"
    workspace.accounts[email]["warmup_status"] = 1 - warmup_status
    sync(client)
    answer = switch(client, email, enabled)
    assert answer.status_code == 200
    body = answer.get_json()
    (job_id,) = workspace.jobs
    assert body == {
        "success": True,
        "email": email,
        "warmupEnabled": enabled,
        "job": {"id": job_id, "status": "success"},
    }
    (request,) = upstreams.instantly_http.calls("POST", ENABLE + "|" + DISABLE)
    assert (request.path, request.json) == (path, {"emails": [email]})
    assert len(upstreams.instantly_http.calls("GET", f"/api/v2/background-jobs/{job_id}")) == 3
    assert workspace.accounts[email]["warmup_status"] == warmup_status
    account = listed(client)[email]
    assert account["warmupEnabled"] is enabled
    assert account["warmupStatus"] == ("active" if enabled else "paused")


def test_a_job_that_is_done_at_once_is_not_followed(
    client: FlaskClient, workspace: Workspace, upstreams: Upstreams
) -> None:
    sync(client)
    upstreams.instantly_http.fail(
        "POST", ENABLE, status=200, body={"id": "65f0", "status": "success"}
    )
    answer = switch(client, "lena@try-northbeam.example")
    assert answer.status_code == 200
    assert answer.get_json()["job"] == {"id": "65f0", "status": "success"}
    assert not upstreams.instantly_http.calls("GET", "/api/v2/background-jobs/.*")


@pytest.mark.parametrize("status", ["pending", "in-progress", "draining", "paused", "new to us"])
def test_a_job_that_is_still_running_is_202(
    client: FlaskClient,
    workspace: Workspace,
    upstreams: Upstreams,
    monkeypatch: pytest.MonkeyPatch,
    status: str,
) -> None:
    monkeypatch.setattr(accounts_routes, "FOLLOW_JOB_SECONDS", 0.05)
    sync(client)
    job = {"id": "65f0", "status": status}
    upstreams.instantly_http.fail("POST", ENABLE, status=200, body=job)
    upstreams.instantly_http.fail(
        "GET", ".*/background-jobs/65f0", times=None, status=200, body=job
    )
    email = "lena@try-northbeam.example"
    answer = switch(client, email)
    assert answer.status_code == 202
    assert answer.get_json() == {
        "success": True,
        "email": email,
        "warmupEnabled": True,
        "job": job,
    }
    assert upstreams.instantly_http.calls("GET", "/api/v2/background-jobs/65f0")
    # Our row follows what Instantly accepted.
    assert listed(client)[email]["warmupEnabled"] is True


@pytest.mark.parametrize("outcome", ["failed", "cancelled"])
def test_a_job_that_fails_is_502_and_leaves_our_row(
    client: FlaskClient, workspace: Workspace, upstreams: Upstreams, outcome: str
) -> None:
    sync(client)
    before = listed(client)
    upstreams.instantly.job_outcome = outcome
    answer = switch(client, "lena@try-northbeam.example")
    (job_id,) = workspace.jobs
    assert answer.status_code == 502
    assert answer.get_json() == {
        "error": "Warmup job failed",
        "details": {"id": job_id, "status": outcome},
    }
    assert listed(client) == before


@pytest.mark.parametrize(
    ("path", "fault", "status", "error"),
    [
        (ENABLE, {"status": 500, "times": None}, 502, "Instantly unavailable"),
        (ENABLE, {"status": 403}, 422, "Instantly rejected the request"),
        (ENABLE, {"status": 200, "body": {}}, 502, "Instantly unavailable"),
        (ENABLE, {"status": 200, "body": {"id": 5, "status": "success"}}, 502, None),
        (".*jobs.*", {"method": "GET", "status": 503, "times": None}, 502, "Instantly unavailable"),
        (".*jobs.*", {"method": "GET", "status": 200, "body": []}, 502, "Instantly unavailable"),
    ],
)
def test_a_refused_switch_leaves_our_row(
    client: FlaskClient,
    workspace: Workspace,
    upstreams: Upstreams,
    path: str,
    fault: dict[str, Any],
    status: int,
    error: str | None,
) -> None:
    sync(client)
    before = listed(client)
    upstreams.instantly_http.fail(**{"method": "POST", "path_pattern": path, **fault})
    answer = switch(client, "lena@try-northbeam.example")
    assert answer.status_code == status
    assert answer.get_json()["error"] == (error or "Instantly unavailable")
    assert listed(client) == before


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"enabled": None},
        {"enabled": "true"},
        {"enabled": "false"},
        {"enabled": ""},
        {"enabled": 1},
        {"enabled": 0},
        {"enabled": 1.0},
        {"enabled": []},
        {"enabled": [True]},
        {"enabled": {}},
        {"Enabled": True},
    ],
)
def test_enabled_is_a_real_boolean(
    client: FlaskClient, workspace: Workspace, upstreams: Upstreams, body: dict[str, Any]
) -> None:
    sync(client)
    upstreams.instantly_http.clear()
    answer = client.post("/accounts/lena@try-northbeam.example/warmup", json=body)
    assert answer.status_code == 400
    assert answer.get_json()["error"] == "Invalid request"
    assert list(answer.get_json()["details"]) == ["enabled"]
    assert upstreams.instantly_http.requests == []


def test_an_account_that_only_instantly_knows_becomes_a_row(
    client: FlaskClient, workspace: Workspace, db: Rows
) -> None:
    email = "lena@try-northbeam.example"
    workspace.accounts[email].update(warmup_status=0, daily_limit=44)
    assert db.count("instantly_accounts") == 0
    assert switch(client, email).status_code == 200
    assert set(listed(client)) == {email}
    account = listed(client)[email]
    assert (account["status"], account["dailySendLimit"]) == ("active", 44)
    assert account["warmupEnabled"] is True


def test_learning_of_one_account_removes_no_other(
    client: FlaskClient, workspace: Workspace
) -> None:
    hold(workspace, "a@x.example")
    sync(client)
    hold(workspace, "b@x.example")
    assert switch(client, "b@x.example").status_code == 200
    assert listed(client)["a@x.example"]["status"] == "active"


def test_a_removed_account_that_instantly_knows_again_is_active_again(
    client: FlaskClient, workspace: Workspace
) -> None:
    hold(workspace, "a@x.example")
    sync(client)
    hold(workspace)
    sync(client)
    hold(workspace, "a@x.example")
    assert switch(client, "a@x.example").status_code == 200
    assert listed(client)["a@x.example"]["status"] == "active"


@pytest.mark.parametrize(
    "email",
    [
        "nobody@x.example",
        "nobody/at@x.example",
        "../nobody@x.example",
        "no+body%2Bat@x.example",
        "%C3%BC@x.example",
        "%FF@x.example",
        "%ED%A0%80@x.example",
    ],
)
def test_an_account_that_nobody_knows_is_404(
    client: FlaskClient, workspace: Workspace, db: Rows, email: str
) -> None:
    answer = switch(client, email)
    assert answer.status_code == 404
    assert answer.get_json() == {"error": "Account not found"}
    assert db.count("instantly_accounts") == 0


@pytest.mark.parametrize("status", [400, 404])
def test_an_address_that_instantly_refuses_is_nobodys(
    client: FlaskClient, upstreams: Upstreams, status: int
) -> None:
    upstreams.instantly_http.fail("GET", f"{LIST}/.*", status=status)
    answer = switch(client, "nobody@x.example")
    assert (answer.status_code, answer.get_json()) == (404, {"error": "Account not found"})


# The path goes into one of Instantly's, whose document says that it is an address there.
@pytest.mark.parametrize(
    "text",
    [
        "no address",
        "sync",
        "warmup-analytics",
        "a/b/c",
        ".",
        "..",
        "../campaigns",
        "%25",
        "%00@x.example",
        "a%00b@x.example",
        pytest.param("a" * 2000 + "@x.example", id="2000 letters"),
    ],
)
def test_what_is_no_address_is_nobodys_and_not_sent_to_instantly(
    client: FlaskClient, workspace: Workspace, upstreams: Upstreams, db: Rows, text: str
) -> None:
    answer = switch(client, text)
    assert answer.status_code == 404
    assert answer.get_json() == {"error": "Account not found"}
    assert upstreams.instantly_http.requests == []
    assert db.count("instantly_accounts") == 0


def test_an_account_answer_without_an_address_is_502(
    client: FlaskClient, upstreams: Upstreams, db: Rows
) -> None:
    upstreams.instantly_http.fail("GET", f"{LIST}/a@x.example", status=200, body={"status": 1})
    answer = switch(client, "a@x.example")
    assert answer.status_code == 502
    assert answer.get_json()["error"] == "Instantly unavailable"
    assert db.count("instantly_accounts") == 0


@pytest.mark.parametrize("is_synced", [True, False])
@pytest.mark.parametrize("is_quoted", [True, False])
@pytest.mark.parametrize(
    "email",
    [
        "lena+news@x.example",
        "o'brien@x.example",
        "sales/emea@x.example",
        "Mixed.Case@X.example",
        "petra.voß@grün.example",
        "a&b=c@x.example",
        "50%off@x.example",
        "warmup/warmup@x.example",
    ],
)
def test_an_address_reaches_instantly_letter_by_letter(
    client: FlaskClient,
    workspace: Workspace,
    upstreams: Upstreams,
    email: str,
    is_quoted: bool,
    is_synced: bool,
) -> None:
    hold(workspace, email)
    if is_synced:
        sync(client)
    answer = switch(client, quote(email, safe="" if is_quoted else "@/+'&="))
    assert answer.status_code == 200
    assert answer.get_json()["email"] == email
    (request,) = upstreams.instantly_http.calls("POST", ENABLE)
    assert request.json == {"emails": [email]}
    assert list(listed(client)) == [email]


def test_the_case_of_a_known_address_does_not_matter(
    client: FlaskClient, workspace: Workspace, upstreams: Upstreams
) -> None:
    hold(workspace, "Lena@X.example")
    sync(client)
    answer = switch(client, "lENA@x.EXAMPLE")
    assert answer.status_code == 200
    (request,) = upstreams.instantly_http.calls("POST", ENABLE)
    assert request.json == {"emails": ["Lena@X.example"]}
    assert listed(client)["Lena@X.example"]["warmupEnabled"] is True


# Warmup figures


def asked_for(upstreams: Upstreams) -> list[list[str]]:
    return [request.json["emails"] for request in upstreams.instantly_http.calls("POST", ANALYTICS)]


def test_figures_of_all_accounts_are_merged_from_calls_of_at_most_a_hundred(
    client: FlaskClient, workspace: Workspace, upstreams: Upstreams
) -> None:
    workspace.seed_accounts(250)
    for account in workspace.accounts.values():
        account["warmup_status"] = 1
    sync(client)
    answer = client.get("/accounts/warmup-analytics")
    assert answer.status_code == 200
    analytics = answer.get_json()["analytics"]
    assert analytics.keys() == {"email_date_data", "aggregate_data"}
    for part in analytics.values():
        assert set(part) == set(workspace.accounts)
    calls = asked_for(upstreams)
    assert len(calls) == 3
    assert all(len(emails) <= 100 for emails in calls)
    assert sorted(chain.from_iterable(calls)) == sorted(workspace.accounts)


def test_removed_accounts_are_not_asked_for(
    client: FlaskClient, workspace: Workspace, upstreams: Upstreams
) -> None:
    hold(workspace, "a@x.example", "b@x.example", "c@x.example")
    sync(client)
    hold(workspace, "a@x.example", "c@x.example")
    sync(client)
    assert client.get("/accounts/warmup-analytics").status_code == 200
    assert asked_for(upstreams) == [["a@x.example", "c@x.example"]]


@pytest.mark.parametrize("had_accounts", [True, False])
def test_without_accounts_nobody_is_called(
    client: FlaskClient, workspace: Workspace, upstreams: Upstreams, had_accounts: bool
) -> None:
    if had_accounts:
        sync(client)
        hold(workspace)
        sync(client)
    upstreams.instantly_http.clear()
    upstreams.keys_http.clear()
    answer = client.get("/accounts/warmup-analytics")
    assert (answer.status_code, answer.get_json()) == (200, NO_ANALYTICS)
    assert upstreams.instantly_http.requests == []
    assert upstreams.keys_http.requests == []


@pytest.mark.parametrize(
    ("query", "emails"),
    [
        ("a@x.example", ["a@x.example"]),
        ("a@x.example,b@x.example", ["a@x.example", "b@x.example"]),
        ("%20a@x.example%20,%20b@x.example", ["a@x.example", "b@x.example"]),
        ("a%2Bnews@x.example", ["a+news@x.example"]),
        ("sales%2Femea@x.example", ["sales/emea@x.example"]),
    ],
)
def test_figures_of_the_addresses_that_are_asked_for(
    client: FlaskClient,
    workspace: Workspace,
    upstreams: Upstreams,
    query: str,
    emails: list[str],
) -> None:
    sync(client)
    answer = client.get(f"/accounts/warmup-analytics?emails={query}")
    assert answer.status_code == 200
    assert answer.get_json().keys() == {"analytics"}
    assert asked_for(upstreams) == [emails]


def test_more_than_a_hundred_asked_for_are_asked_in_parts(
    client: FlaskClient, upstreams: Upstreams
) -> None:
    emails = [f"sender{number}@x.example" for number in range(201)]
    answer = client.get("/accounts/warmup-analytics?emails=" + ",".join(emails))
    assert answer.status_code == 200
    assert [len(part) for part in asked_for(upstreams)] == [100, 100, 1]


@pytest.mark.parametrize(
    "query",
    ["", ",", "a@x.example,", ",a@x.example", "a@x.example,,b@x.example", "lena", "a@x.example;b"],
)
def test_bad_addresses_are_400(client: FlaskClient, upstreams: Upstreams, query: str) -> None:
    answer = client.get(f"/accounts/warmup-analytics?emails={query}")
    assert answer.status_code == 400
    assert answer.get_json()["error"] == "Invalid request"
    assert list(answer.get_json()["details"]) == ["emails"]
    assert upstreams.instantly_http.requests == []


@pytest.mark.parametrize(
    ("body", "analytics"),
    [
        ({}, {"email_date_data": {}, "aggregate_data": {}}),
        ({"email_date_data": None}, {"email_date_data": {}, "aggregate_data": {}}),
        (
            {"aggregate_data": {"a@x.example": {"health_score_label": "Good"}}},
            {
                "email_date_data": {},
                "aggregate_data": {"a@x.example": {"health_score_label": "Good"}},
            },
        ),
    ],
)
def test_parts_that_instantly_leaves_out_are_empty(
    client: FlaskClient, upstreams: Upstreams, body: dict[str, Any], analytics: dict[str, Any]
) -> None:
    upstreams.instantly_http.fail("POST", ANALYTICS, status=200, body=body)
    answer = client.get("/accounts/warmup-analytics?emails=a@x.example")
    assert answer.status_code == 200
    assert answer.get_json()["analytics"] == analytics


@pytest.mark.parametrize("body", [[], "<html>", 5])
def test_nonsense_instead_of_figures_is_502(
    client: FlaskClient, upstreams: Upstreams, body: object
) -> None:
    upstreams.instantly_http.fail("POST", ANALYTICS, status=200, body=body)
    answer = client.get("/accounts/warmup-analytics?emails=a@x.example")
    assert answer.status_code == 502
    assert answer.get_json()["error"] == "Instantly unavailable"


def test_a_failure_in_a_later_part_is_an_error(
    client: FlaskClient, workspace: Workspace, upstreams: Upstreams
) -> None:
    workspace.seed_accounts(101)
    sync(client)
    upstreams.instantly_http.fail("POST", ANALYTICS, after=1, status=400, body={"message": "no"})
    answer = client.get("/accounts/warmup-analytics")
    assert answer.status_code == 422
    assert answer.get_json()["details"] == {"status": 400, "message": "no"}


# Whose key


ACCOUNT_ROUTES = [
    ("POST", "/accounts/sync", None),
    ("POST", "/accounts/lena@try-northbeam.example/warmup", {"enabled": True}),
    ("GET", "/accounts/warmup-analytics?emails=a@x.example", None),
]


def keys_used(upstreams: Upstreams) -> set[str]:
    return {request.headers["Authorization"] for request in upstreams.instantly_http.requests}


@pytest.mark.parametrize(("method", "path", "body"), ACCOUNT_ROUTES)
def test_account_routes_use_the_app_key_and_no_other(
    client: FlaskClient,
    workspace: Workspace,
    upstreams: Upstreams,
    method: str,
    path: str,
    body: object,
) -> None:
    assert client.open(path, method=method, json=body).status_code == 200
    assert keys_used(upstreams) == {"Bearer app-key"}
    (request,) = upstreams.keys_http.requests
    assert request.path == "/internal/app-keys/instantly/decrypt"
    assert request.query == {"appId": ["instantly-service"]}


@pytest.mark.parametrize(
    ("method", "path", "body", "pattern"),
    [
        ("POST", "/accounts/sync", None, "/accounts/sync"),
        ("POST", "/accounts/a@x.example/warmup", {"enabled": True}, "/accounts/:email/warmup"),
        (
            "GET",
            "/accounts/warmup-analytics?emails=a@x.example",
            None,
            "/accounts/warmup-analytics",
        ),
    ],
)
def test_key_service_is_told_which_route_asks(
    client: FlaskClient,
    upstreams: Upstreams,
    method: str,
    path: str,
    body: object,
    pattern: str,
) -> None:
    client.open(path, method=method, json=body)
    (request,) = upstreams.keys_http.requests
    headers = {name.lower(): value for name, value in request.headers.items()}
    assert headers["x-api-key"] == "keys-key"
    assert headers["x-caller-service"] == "instantly"
    assert headers["x-caller-method"] == method
    assert headers["x-caller-path"] == pattern


@pytest.mark.parametrize(("method", "path", "body"), ACCOUNT_ROUTES)
def test_account_routes_without_an_app_key_are_503_whatever_keys_organizations_have(
    client: FlaskClient, upstreams: Upstreams, method: str, path: str, body: object
) -> None:
    upstreams.keys.app_key = None
    answer = client.open(path, method=method, json=body)
    assert answer.status_code == 503
    assert answer.get_json() == {"error": "Instantly app key not configured"}
    assert upstreams.instantly_http.requests == []


@pytest.mark.parametrize(("method", "path", "body"), ACCOUNT_ROUTES)
@pytest.mark.parametrize("status", [401, 403, 429, 500])
def test_account_routes_while_key_service_fails_are_502(
    client: FlaskClient, upstreams: Upstreams, method: str, path: str, body: object, status: int
) -> None:
    upstreams.keys_http.fail("GET", ".*", times=None, status=status)
    answer = client.open(path, method=method, json=body)
    assert answer.status_code == 502
    assert answer.get_json() == {"error": "key-service unavailable"}
    assert upstreams.instantly_http.requests == []


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/campaigns", json.dumps({"name": "Autumn"})),
        ("PATCH", "/campaigns/{id}/status", json.dumps({"status": "active"})),
        ("POST", "/campaigns/{id}/leads", json.dumps({"leads": [{"email": "a@x.example"}]})),
        ("DELETE", "/campaigns/{id}/leads", json.dumps({"emails": ["a@x.example"]})),
        ("GET", "/campaigns/{id}/analytics", None),
    ],
)
@pytest.mark.parametrize("has_key", [True, False])
def test_campaign_routes_use_the_organizations_key_and_never_the_app_key(
    client: FlaskClient,
    campaign: dict[str, Any],
    upstreams: Upstreams,
    method: str,
    path: str,
    body: str | None,
    has_key: bool,
) -> None:
    upstreams.instantly_http.clear()
    upstreams.keys_http.clear()
    if not has_key:
        upstreams.keys.organizations.clear()
    ids = {"orgId": "org-1", "clerkOrgId": "clerk-1", "brandId": "brand-1", "appId": "app-1"}
    answer = client.open(
        path.replace("{id}", campaign["id"]),
        method=method,
        json=None if body is None else {**ids, **json.loads(body)},
    )
    if has_key:
        assert answer.status_code in (200, 201)
        assert keys_used(upstreams) == {"Bearer key-1"}
    else:
        assert answer.status_code == 422
        assert answer.get_json() == {"error": "BYOK key not configured for this organization"}
        assert keys_used(upstreams) == set()
    assert {request.path for request in upstreams.keys_http.requests} == {
        "/internal/keys/instantly/decrypt"
    }
