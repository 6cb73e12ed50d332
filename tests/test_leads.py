"""A campaign's leads: uploaded and billed once, listed by pages, deleted one by one."""

import random
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from conftest import API_KEY, Rows, Upstreams, campaign_request
from flask.testing import FlaskClient
from psycopg import OperationalError
from stand_in import RecordedRequest
from werkzeug.test import TestResponse

from instantly.config import USER_AGENT
from instantly.database import Database, Session

Campaign = dict[str, Any]
ADD = ("POST", "/api/v2/leads/add")
LIST = ("POST", "/api/v2/leads/list")
DELETE = ("DELETE", "/api/v2/leads")
COSTS = ("POST", "/v1/runs/.*/costs")
CREATED_AT = "2026-01-01T00:00:00.000Z"
LEAD_FIELDS = {
    "id",
    "instantlyCampaignId",
    "instantlyLeadId",
    "email",
    "firstName",
    "lastName",
    "companyName",
    "customVariables",
    "status",
    "orgId",
    "runId",
    "createdAt",
    "updatedAt",
}


def addresses(count: int, start: int = 0) -> list[str]:
    return [f"lead{number}@x.example" for number in range(start, start + count)]


def leads(emails: Sequence[str]) -> list[dict[str, Any]]:
    return [{"email": email} for email in emails]


def post(client: FlaskClient, campaign: Campaign, items: Any, **changes: Any) -> TestResponse:
    body = {"orgId": "org-1", "leads": items, **changes}
    return client.post(f"/campaigns/{campaign['id']}/leads", json=body)


def add(client: FlaskClient, campaign: Campaign, emails: Sequence[str]) -> dict[str, Any]:
    answer = post(client, campaign, leads(emails))
    assert answer.status_code == 201, answer.text
    body: dict[str, Any] = answer.get_json()
    return body


def delete(client: FlaskClient, campaign: Campaign, emails: Any) -> TestResponse:
    return client.delete(f"/campaigns/{campaign['id']}/leads", json={"emails": emails})


def rows(db: Rows) -> list[str]:
    """The addresses that we hold, in lower case and in the order of their arrival."""
    found = db.all("SELECT lower(email) AS email FROM instantly_leads ORDER BY position")
    return [row["email"] for row in found]


def in_instantly(upstreams: Upstreams, campaign: Campaign) -> set[str]:
    return upstreams.leads_in_instantly(campaign["instantlyCampaignId"])


def put_into_instantly(
    upstreams: Upstreams, campaign: Campaign, email: str, at: str = CREATED_AT
) -> str:
    """A lead that only Instantly holds; its id."""
    lead = upstreams.instantly.workspace("clerk-1").add_lead(
        {"email": email}, email.lower(), at, campaign=campaign["instantlyCampaignId"]
    )
    lead_id: str = lead["id"]
    return lead_id


def billed_leads(upstreams: Upstreams) -> float:
    return upstreams.runs.billed().get("instantly-lead-add", 0)


def lead_runs(upstreams: Upstreams) -> list[dict[str, Any]]:
    return [run for run in upstreams.runs.runs.values() if run["taskName"] == "leads-add"]


def only(requests: list[RecordedRequest]) -> RecordedRequest:
    assert len(requests) == 1
    return requests[0]


def forget_requests(upstreams: Upstreams) -> None:
    for http in (upstreams.keys_http, upstreams.runs_http, upstreams.instantly_http):
        http.clear()


def nothing_was_called(upstreams: Upstreams) -> bool:
    https = (upstreams.keys_http, upstreams.runs_http, upstreams.instantly_http)
    return not any(http.requests for http in https)


def watch_statements(
    monkeypatch: pytest.MonkeyPatch, before: Callable[[str], None], after: Callable[[str], None]
) -> None:
    """Calls `before` and `after` with the name of each statement of this thread's requests."""
    this_thread = threading.get_ident()

    def watched(run: Callable[..., Any]) -> Callable[..., Any]:
        def run_watched(self: Session, name: str, parameters: dict[str, Any]) -> Any:
            if threading.get_ident() != this_thread:
                return run(self, name, parameters)
            before(name)
            result = run(self, name, parameters)
            after(name)
            return result

        return run_watched

    for runner in (Session, Database):
        monkeypatch.setattr(runner, "_run", watched(runner._run))


def fail_statement(
    monkeypatch: pytest.MonkeyPatch, statement: str, failure: Exception, *, acts: bool
) -> None:
    """Let a statement fail; with `acts` it does its work first, and only its answer is lost."""

    def fail(name: str) -> None:
        if name == statement:
            raise failure

    watch_statements(
        monkeypatch, (lambda name: None) if acts else fail, fail if acts else (lambda name: None)
    )


@pytest.fixture
def empty_campaign(campaign: Campaign, upstreams: Upstreams) -> Campaign:
    """A campaign without leads, its own requests forgotten."""
    forget_requests(upstreams)
    return campaign


# Adding: what happens when all goes well


def test_leads_are_added(
    client: FlaskClient, empty_campaign: Campaign, upstreams: Upstreams, db: Rows
) -> None:
    emails = addresses(3)
    answer = post(client, empty_campaign, leads(emails))
    assert answer.status_code == 201
    assert answer.get_json() == {
        "success": True,
        "added": 3,
        "total": 3,
        "duplicates": 0,
        "rejected": [],
    }
    assert rows(db) == emails
    assert in_instantly(upstreams, empty_campaign) == set(emails)
    assert billed_leads(upstreams) == 3
    assert [run["status"] for run in lead_runs(upstreams)] == ["completed"]


def test_every_field_of_a_lead_is_sent_by_instantlys_name(
    client: FlaskClient, empty_campaign: Campaign, upstreams: Upstreams
) -> None:
    variables = {"city_name": "Köln", "n": 5, "f": 1.5, "yes": True, "no": False, "none": None}
    lead = {
        "email": " Ada@X.example ",
        "firstName": "Ada",
        "lastName": "Lovelace",
        "companyName": "Engines & Söhne",
        "jobTitle": "Analyst",
        "phone": "+44 1",
        "website": "https://x.example",
        "personalization": "Dear Ada,\nhello 😀",
        "customVariables": variables,
        "surprise": "ignored",
        "campaign": "ignored",
    }
    assert post(client, empty_campaign, [lead]).status_code == 201
    request = only(upstreams.instantly_http.calls(*ADD))
    assert request.json == {
        "campaign_id": empty_campaign["instantlyCampaignId"],
        "leads": [
            {
                "email": "Ada@X.example",
                "first_name": "Ada",
                "last_name": "Lovelace",
                "company_name": "Engines & Söhne",
                "job_title": "Analyst",
                "phone": "+44 1",
                "website": "https://x.example",
                "personalization": "Dear Ada,\nhello 😀",
                "custom_variables": variables,
            }
        ],
    }
    assert request.headers["Authorization"] == "Bearer key-1"
    assert request.headers["User-Agent"] == USER_AGENT


def test_the_requests_to_runs_service_are_those_of_its_contract(
    client: FlaskClient, empty_campaign: Campaign, upstreams: Upstreams
) -> None:
    parent = str(uuid4())
    upstreams.runs.known_parents.add(parent)
    assert post(client, empty_campaign, leads(addresses(2)), runId=parent).status_code == 201
    (run,) = lead_runs(upstreams)
    opened, billed, ended = upstreams.runs_http.requests
    assert (opened.method, opened.path) == ("POST", "/v1/runs")
    assert opened.json.get("campaignId") in (None, empty_campaign["id"])
    assert {name: value for name, value in opened.json.items() if name != "campaignId"} == {
        "clerkOrgId": "clerk-1",
        "appId": "app-1",
        "serviceName": "instantly-service",
        "taskName": "leads-add",
        "brandId": "brand-1",
        "parentRunId": parent,
    }
    assert (billed.method, billed.path) == ("POST", f"/v1/runs/{run['id']}/costs")
    assert billed.json == {"items": [{"costName": "instantly-lead-add", "quantity": 2}]}
    assert (ended.method, ended.path) == ("PATCH", f"/v1/runs/{run['id']}")
    assert ended.json == {"status": "completed"}


def test_key_service_learns_the_route(
    client: FlaskClient, empty_campaign: Campaign, upstreams: Upstreams
) -> None:
    add(client, empty_campaign, addresses(1))
    delete(client, empty_campaign, addresses(1))
    assert [
        (request.headers["X-Caller-Method"], request.headers["X-Caller-Path"])
        for request in upstreams.keys_http.requests
    ] == [
        ("POST", "/campaigns/:campaignId/leads"),
        ("DELETE", "/campaigns/:campaignId/leads"),
    ]


@pytest.mark.parametrize("org_id", ["org-1", "clerk-1"])
def test_the_organisation_may_be_named_by_either_id(
    client: FlaskClient, empty_campaign: Campaign, org_id: str
) -> None:
    assert post(client, empty_campaign, leads(addresses(1)), orgId=org_id).status_code == 201


@pytest.mark.parametrize("org_id", ["org-2", "brand-1", "app-1", "ORG-1", " org-1", "org"])
def test_another_organisation_is_refused(
    client: FlaskClient, empty_campaign: Campaign, upstreams: Upstreams, db: Rows, org_id: str
) -> None:
    answer = post(client, empty_campaign, leads(addresses(1)), orgId=org_id)
    assert answer.status_code == 403
    assert answer.get_json() == {"error": "Campaign belongs to another organization"}
    assert nothing_was_called(upstreams)
    assert rows(db) == []


def test_2500_leads_are_three_calls_and_a_handful_of_statements(
    client: FlaskClient,
    empty_campaign: Campaign,
    upstreams: Upstreams,
    db: Rows,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    statements: list[str] = []
    watch_statements(monkeypatch, statements.append, lambda name: None)
    add(client, empty_campaign, ["single@x.example"])
    for_one_lead = list(statements)
    statements.clear()
    upstreams.instantly_http.clear()
    emails = addresses(2500)
    assert add(client, empty_campaign, emails)["added"] == 2500
    sizes = [len(call.json["leads"]) for call in upstreams.instantly_http.calls(*ADD)]
    assert sizes == [1000, 1000, 500]
    assert len(upstreams.instantly_http.requests) == 3
    assert Counter(statements) == Counter(for_one_lead)
    assert len(statements) <= 10
    assert rows(db) == ["single@x.example", *emails]
    assert billed_leads(upstreams) == 2501


def test_ten_thousand_leads_are_taken(
    client: FlaskClient, empty_campaign: Campaign, upstreams: Upstreams
) -> None:
    assert add(client, empty_campaign, addresses(10_000))["added"] == 10_000
    assert billed_leads(upstreams) == 10_000


# Adding: duplicates


def test_an_address_that_stands_twice_is_one_lead(
    client: FlaskClient, empty_campaign: Campaign, upstreams: Upstreams, db: Rows
) -> None:
    emails = ["Ada@x.example", "bob@x.example", " ada@X.example\n", "ADA@X.EXAMPLE"]
    items = [{"email": email, "firstName": str(n)} for n, email in enumerate(emails)]
    answer = post(client, empty_campaign, items)
    assert answer.get_json() == {
        "success": True,
        "added": 2,
        "total": 4,
        "duplicates": 2,
        "rejected": [],
    }
    sent = only(upstreams.instantly_http.calls(*ADD)).json["leads"]
    assert [lead["email"].lower() for lead in sent] == ["ada@x.example", "bob@x.example"]
    assert rows(db) == ["ada@x.example", "bob@x.example"]
    assert billed_leads(upstreams) == 2


def test_leads_that_we_hold_are_neither_sent_nor_billed_again(
    client: FlaskClient, empty_campaign: Campaign, upstreams: Upstreams, db: Rows
) -> None:
    add(client, empty_campaign, ["a@x.example", "B@x.example"])
    forget_requests(upstreams)
    answer = add(client, empty_campaign, ["A@X.example", " b@x.example", "c@x.example"])
    assert (answer["added"], answer["duplicates"], answer["rejected"]) == (1, 2, [])
    sent = only(upstreams.instantly_http.calls(*ADD)).json["leads"]
    assert [lead["email"] for lead in sent] == ["c@x.example"]
    assert rows(db) == ["a@x.example", "b@x.example", "c@x.example"]
    assert billed_leads(upstreams) == 3


def test_nothing_new_is_a_completed_run_without_a_cost(
    client: FlaskClient, empty_campaign: Campaign, upstreams: Upstreams
) -> None:
    add(client, empty_campaign, addresses(2))
    forget_requests(upstreams)
    assert add(client, empty_campaign, addresses(2)) == {
        "success": True,
        "added": 0,
        "total": 2,
        "duplicates": 2,
        "rejected": [],
    }
    assert upstreams.instantly_http.requests == []
    assert upstreams.runs_http.calls(*COSTS) == []
    assert [run["status"] for run in lead_runs(upstreams)] == ["completed", "completed"]
    assert billed_leads(upstreams) == 2


def test_addresses_beyond_ascii_are_compared_without_case_too(
    client: FlaskClient, empty_campaign: Campaign, upstreams: Upstreams, db: Rows
) -> None:
    add(client, empty_campaign, ["a@BÜCHER.example"])
    answer = add(client, empty_campaign, ["A@bücher.example"])
    assert (answer["added"], answer["duplicates"]) == (0, 1)
    assert len(upstreams.instantly_http.calls(*ADD)) == 1
    assert delete(client, empty_campaign, ["a@Bücher.example"]).get_json()["deleted"] == 1
    assert rows(db) == []


def test_the_same_lead_may_be_in_two_campaigns(
    client: FlaskClient, empty_campaign: Campaign, upstreams: Upstreams
) -> None:
    other = client.post("/campaigns", json=campaign_request()).get_json()["campaign"]
    assert add(client, empty_campaign, addresses(2))["added"] == 2
    assert add(client, other, addresses(3))["added"] == 3
    assert in_instantly(upstreams, other) == set(addresses(3))
    assert billed_leads(upstreams) == 5


def test_two_equal_uploads_at_once_are_billed_once(
    client: FlaskClient, empty_campaign: Campaign, upstreams: Upstreams, db: Rows
) -> None:
    emails = addresses(150)
    answers: list[dict[str, Any]] = []

    def upload() -> None:
        own_client = client.application.test_client()
        own_client.environ_base["HTTP_X_API_KEY"] = API_KEY
        answers.append(add(own_client, empty_campaign, emails))

    threads = [threading.Thread(target=upload) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 4
    assert sum(answer["added"] for answer in answers) == 150
    assert sum(answer["duplicates"] for answer in answers) == 450
    assert sorted(rows(db)) == sorted(emails)
    assert len(upstreams.instantly.workspace("clerk-1").leads) == 150
    assert billed_leads(upstreams) == 150


# Adding: leads that Instantly holds already


def test_a_lead_that_only_instantly_holds_is_adopted(
    client: FlaskClient, empty_campaign: Campaign, upstreams: Upstreams, db: Rows
) -> None:
    lead_id = put_into_instantly(upstreams, empty_campaign, "Known@x.example")
    answer = add(client, empty_campaign, ["known@X.example", "new@x.example"])
    assert (answer["added"], answer["duplicates"], answer["rejected"]) == (2, 0, [])
    assert billed_leads(upstreams) == 2
    found = db.all("SELECT instantly_lead_id FROM instantly_leads WHERE email ILIKE 'known%%'")
    assert found == [{"instantly_lead_id": lead_id}]


@pytest.mark.parametrize("how", ["drop_after", "cut", "after"])
def test_a_lost_answer_makes_neither_fewer_nor_more_leads(
    client: FlaskClient, empty_campaign: Campaign, upstreams: Upstreams, db: Rows, how: Any
) -> None:
    emails = addresses(250)
    upstreams.instantly_http.fail(*ADD, how=how, status=502)
    answer = add(client, empty_campaign, emails)
    assert (answer["added"], answer["duplicates"], answer["rejected"]) == (250, 0, [])
    assert rows(db) == emails
    assert len(upstreams.instantly.workspace("clerk-1").leads) == 250
    assert billed_leads(upstreams) == 250


def test_adopted_leads_are_asked_for_a_hundred_at_a_time(
    client: FlaskClient, empty_campaign: Campaign, upstreams: Upstreams
) -> None:
    upstreams.instantly_http.fail(*ADD, how="drop_after")
    add(client, empty_campaign, addresses(250))
    bodies = [call.json for call in upstreams.instantly_http.calls(*LIST)]
    assert all(body["campaign"] == empty_campaign["instantlyCampaignId"] for body in bodies)
    assert all(1 <= len(body["contacts"]) <= 100 and body["limit"] <= 100 for body in bodies)


def test_a_lead_of_another_campaign_is_not_adopted(
    client: FlaskClient, empty_campaign: Campaign, upstreams: Upstreams, db: Rows
) -> None:
    other = client.post("/campaigns", json=campaign_request()).get_json()["campaign"]
    put_into_instantly(upstreams, other, "skip+a@x.example")
    answer = add(client, empty_campaign, ["skip+a@x.example"])
    assert (answer["added"], len(answer["rejected"])) == (0, 1)
    assert rows(db) == []


# Adding: leads that Instantly refuses


@pytest.mark.parametrize(
    ("refused", "reason"),
    [
        (["blocked@x.example", "any@blocked.example"], "blocklisted"),
        (["a@x.invalid"], "invalid"),
        (["skip+a@x.example", "Skip+b@x.example"], "skipped"),
        (["blocked@x.example", "a@x.invalid"], "unknown"),
        (["skip+a@x.example", "a@x.invalid", "blocked@x.example"], "unknown"),
    ],
)
def test_a_refused_lead_is_named_with_the_reason(
    client: FlaskClient,
    empty_campaign: Campaign,
    upstreams: Upstreams,
    db: Rows,
    refused: list[str],
    reason: str,
) -> None:
    upstreams.instantly.workspace("clerk-1").blocklist |= {"blocked@x.example", "blocked.example"}
    known = addresses(3)
    put_into_instantly(upstreams, empty_campaign, known[0])
    answer = add(client, empty_campaign, [*known, *refused])
    assert answer == {
        "success": True,
        "added": 3,
        "total": 3 + len(refused),
        "duplicates": 0,
        "rejected": [{"email": email, "reason": reason} for email in refused],
    }
    assert rows(db) == known
    assert billed_leads(upstreams) == 3


def test_when_all_are_refused_nothing_is_billed(
    client: FlaskClient, empty_campaign: Campaign, upstreams: Upstreams, db: Rows
) -> None:
    answer = add(client, empty_campaign, ["a@x.invalid", "A@X.INVALID"])
    assert (answer["added"], answer["duplicates"], answer["total"]) == (0, 1, 2)
    assert answer["rejected"] == [{"email": "a@x.invalid", "reason": "invalid"}]
    assert rows(db) == []
    assert upstreams.runs_http.calls(*COSTS) == []
    assert [run["status"] for run in lead_runs(upstreams)] == ["completed"]


@pytest.mark.parametrize("seed", range(6))
def test_added_duplicates_and_rejected_are_the_total(
    client: FlaskClient, empty_campaign: Campaign, upstreams: Upstreams, db: Rows, seed: int
) -> None:
    chance = random.Random(seed)
    upstreams.instantly.workspace("clerk-1").blocklist.add("blocked.example")
    kinds = ("lead{}@x.example", "skip+{}@x.example", "{}@x.invalid", "{}@blocked.example")
    takeable = {kinds[0].format(n) for n in range(40)}
    pool = [kind.format(n) for kind in kinds for n in range(40 if kind == kinds[0] else 5)]
    for email in chance.sample(sorted(takeable), 8):
        put_into_instantly(upstreams, empty_campaign, email)
    asked: set[str] = set()
    for _ in range(3):
        held = set(rows(db))
        emails = chance.choices(pool, k=chance.randrange(1, 60))
        asked |= set(emails)
        mixed = [chance.choice((email, email.upper(), f" {email} ")) for email in emails]
        answer = add(client, empty_campaign, mixed)
        rejected = [lead["email"].lower() for lead in answer["rejected"]]
        assert answer["total"] == len(emails)
        assert answer["added"] + answer["duplicates"] + len(rejected) == len(emails)
        assert answer["added"] == len((set(emails) & takeable) - held)
        assert sorted(rejected) == sorted(set(emails) - takeable)
    assert set(rows(db)) == asked & takeable
    assert len(rows(db)) == len(set(rows(db))) == billed_leads(upstreams)
    assert upstreams.runs.open_runs() == []


# Adding: what is refused before anything is called


INVALID: list[tuple[Any, str]] = [
    ([], "leads"),
    (leads(addresses(10_001)), "leads"),
    ({}, "leads"),
    ("a@x.example", "leads"),
    (None, "leads"),
    ({"email": "a@x.example"}, "leads"),
    (["a@x.example"], "leads.0"),
    ([{"email": "a@x.example"}, None], "leads.1"),
    ([{"email": "a@x.example"}, []], "leads.1"),
    ([{"email": "a@x.example"}, {}], "leads.1.email"),
    ([{"Email": "a@x.example"}], "leads.0.email"),
    *(
        ([*leads(addresses(3)), {"email": bad}, {"email": "z@x.example"}], "leads.3.email")
        for bad in (
            *("", " ", "nobody", "@x.example", "a@", "a@x", "a b@x.example", "a@x..example"),
            *("a@@x.example", "a@x.example,b@x.example", "<a@x.example>", "a@x.example\nBcc: b"),
            *(f"{'a' * 400}@x.example", None, 5, True, [], {}, ["a@x.example"]),
        )
    ),
    *(
        ([{"email": "a@x.example", name: bad}], f"leads.0.{name}")
        for name in (
            *("firstName", "lastName", "companyName", "jobTitle"),
            *("phone", "website", "personalization"),
        )
        for bad in (5, True, [], {}, ["x"])
    ),
    *(
        ([{"email": "a@x.example", "customVariables": bad}], "leads.0.customVariables")
        for bad in ([], "x", 5, True, ["x"], [["a", "b"]])
    ),
    *(
        ([{"email": "a@x.example", "customVariables": {"ok": 1, "bad": bad}}], path)
        for bad in ([], {}, ["x"], {"a": 1}, [[]])
        for path in ("leads.0.customVariables.bad",)
    ),
]


@pytest.mark.parametrize("path", dict.fromkeys(path for _, path in INVALID))
def test_an_invalid_lead_is_refused_by_its_index_and_nothing_is_called(
    client: FlaskClient, empty_campaign: Campaign, upstreams: Upstreams, db: Rows, path: str
) -> None:
    for items in (items for items, refused in INVALID if refused == path):
        answer = post(client, empty_campaign, items)
        assert answer.status_code == 400, items
        assert answer.get_json()["error"] == "Invalid request"
        assert list(answer.get_json()["details"]) == [path], items
    assert nothing_was_called(upstreams)
    assert rows(db) == []


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        *(({"orgId": bad}, "orgId") for bad in (None, "", 5, [], {})),
        *(({"runId": bad}, "runId") for bad in ("", "run-1", 5, [])),
    ],
)
def test_an_invalid_upload_is_refused(
    client: FlaskClient,
    empty_campaign: Campaign,
    upstreams: Upstreams,
    changes: dict[str, Any],
    path: str,
) -> None:
    answer = post(client, empty_campaign, leads(addresses(1)), **changes)
    assert answer.status_code == 400
    assert list(answer.get_json()["details"]) == [path]
    assert nothing_was_called(upstreams)


def test_every_bad_lead_is_named(client: FlaskClient, empty_campaign: Campaign) -> None:
    items = leads(addresses(20))
    items[4], items[17] = {"email": "nobody"}, {}
    answer = post(client, empty_campaign, items)
    assert answer.get_json()["details"].keys() == {"leads.4.email", "leads.17.email"}


def test_optional_fields_may_be_null(
    client: FlaskClient, empty_campaign: Campaign, upstreams: Upstreams, db: Rows
) -> None:
    names = ("firstName", "lastName", "companyName", "jobTitle", "phone", "website")
    lead = {"email": "a@x.example", **dict.fromkeys((*names, "personalization"))}
    assert post(client, empty_campaign, [lead], runId=None).status_code == 201
    (row,) = db.all("SELECT first_name, last_name, company_name FROM instantly_leads")
    assert set(row.values()) == {None}


@pytest.mark.parametrize(
    "email", ["o'brien+tag@x.example", "a_b-c.d@sub.x.example", "1@2.example", "UPPER@X.EXAMPLE"]
)
def test_unusual_addresses_are_taken(
    client: FlaskClient, empty_campaign: Campaign, upstreams: Upstreams, db: Rows, email: str
) -> None:
    assert add(client, empty_campaign, [email])["added"] == 1
    assert db.all("SELECT email FROM instantly_leads") == [{"email": email}]
    assert delete(client, empty_campaign, [email]).get_json()["deleted"] == 1


# Adding: all or nothing

FAILED_UPLOADS: list[tuple[dict[str, Any], int, str]] = [
    ({"status": 401}, 422, "Instantly API key was rejected"),
    ({"status": 400, "body": {"message": "M"}}, 422, "Instantly rejected the request"),
    ({"status": 403, "body": "<html>"}, 422, "Instantly rejected the request"),
    ({"status": 404, "body": {"message": "M"}}, 422, "Instantly rejected the request"),
    ({"status": 429, "times": None}, 503, "Instantly rate limit reached"),
    ({"status": 500, "times": None}, 502, "Instantly unavailable"),
    ({"how": "drop", "times": None}, 502, "Instantly unavailable"),
    ({"status": 200, "body": "<html>"}, 502, "Instantly unavailable"),
    ({"status": 200, "body": []}, 502, "Instantly unavailable"),
    ({"status": 200, "body": {}}, 502, "Instantly unavailable"),
    ({"status": 200, "body": {"created_leads": None}}, 502, "Instantly unavailable"),
    ({"status": 200, "body": {"created_leads": [{"id": "x"}]}}, 502, "Instantly unavailable"),
    (
        {"status": 200, "body": {"created_leads": [{"index": 5000, "id": "x"}]}},
        502,
        "Instantly unavailable",
    ),
]


@pytest.mark.parametrize(("fault", "status", "message"), FAILED_UPLOADS)
def test_a_failed_upload_leaves_nothing_behind(
    client: FlaskClient,
    empty_campaign: Campaign,
    upstreams: Upstreams,
    db: Rows,
    fault: dict[str, Any],
    status: int,
    message: str,
) -> None:
    upstreams.instantly_http.fail(*ADD, **fault)
    answer = post(client, empty_campaign, leads(addresses(3)))
    assert (answer.status_code, answer.get_json()["error"]) == (status, message)
    assert ("Retry-After" in answer.headers) == (status == 503)
    assert rows(db) == []
    assert in_instantly(upstreams, empty_campaign) == set()
    assert billed_leads(upstreams) == 0
    assert [run["status"] for run in lead_runs(upstreams)] == ["failed"]


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 500, "times": None},
        {"status": 400},
        {"status": 429, "times": None, "headers": {"Retry-After": "3600"}},
        {"status": 200, "body": "<html>"},
    ],
    ids=str,
)
@pytest.mark.parametrize("good_chunks", [1, 2])
def test_a_chunk_that_fails_takes_the_chunks_before_it_back_and_nothing_else(
    client: FlaskClient,
    empty_campaign: Campaign,
    upstreams: Upstreams,
    db: Rows,
    fault: dict[str, Any],
    good_chunks: int,
) -> None:
    ours = addresses(20)
    add(client, empty_campaign, ours)
    # One that only Instantly holds, and one of those that stands in the request too.
    foreign = ["foreign@x.example", "lead25@x.example"]
    for email in foreign:
        put_into_instantly(upstreams, empty_campaign, email)
    forget_requests(upstreams)
    upstreams.instantly_http.fail(*ADD, after=good_chunks, **fault)
    answer = post(client, empty_campaign, leads(addresses(2300)))
    assert answer.status_code in (422, 502, 503)
    assert in_instantly(upstreams, empty_campaign) == {*ours, *foreign}
    assert rows(db) == ours
    assert billed_leads(upstreams) == len(ours)
    assert [run["status"] for run in lead_runs(upstreams)] == ["completed", "failed"]
    for call in upstreams.instantly_http.calls(*DELETE):
        assert call.json["campaign_id"] == empty_campaign["instantlyCampaignId"]
        assert call.json["ids"]
        assert call.json["limit"] == len(call.json["ids"])


@pytest.mark.parametrize("how", ["after", "drop_after", "cut"])
def test_leads_of_answers_that_were_lost_for_good_are_taken_back(
    client: FlaskClient, empty_campaign: Campaign, upstreams: Upstreams, db: Rows, how: Any
) -> None:
    put_into_instantly(upstreams, empty_campaign, "foreign@x.example")
    upstreams.instantly_http.fail(*ADD, how=how, status=500, times=None)
    assert post(client, empty_campaign, leads(addresses(150))).status_code == 502
    assert in_instantly(upstreams, empty_campaign) == {"foreign@x.example"}
    assert rows(db) == []
    assert [run["status"] for run in lead_runs(upstreams)] == ["failed"]


def test_leads_of_an_answer_that_was_lost_once_are_taken_back_too(
    client: FlaskClient, empty_campaign: Campaign, upstreams: Upstreams, db: Rows
) -> None:
    upstreams.instantly_http.fail(*ADD, how="drop_after")
    upstreams.runs_http.fail(*COSTS, status=422)
    assert post(client, empty_campaign, leads(addresses(3))).status_code == 422
    assert rows(db) == []
    assert in_instantly(upstreams, empty_campaign) == set()


@pytest.mark.parametrize(
    ("call", "fault"),
    [
        (ADD, {"status": 400}),
        (ADD, {"status": 401}),
        (ADD, {"status": 429, "times": None}),
        (ADD, {"status": 200, "body": "<html>"}),
        (LIST, {"status": 400}),
        (LIST, {"status": 429, "headers": {"Retry-After": "3600"}}),
        (LIST, {"status": 200, "body": {}}),
    ],
)
def test_leads_of_an_answer_that_was_lost_before_another_failure_are_taken_back_too(
    client: FlaskClient,
    empty_campaign: Campaign,
    upstreams: Upstreams,
    db: Rows,
    call: tuple[str, str],
    fault: dict[str, Any],
) -> None:
    put_into_instantly(upstreams, empty_campaign, "lead1@x.example")
    upstreams.instantly_http.fail(*ADD, how="drop_after")
    upstreams.instantly_http.fail(*call, **fault)
    assert post(client, empty_campaign, leads(addresses(3))).status_code in (422, 502, 503)
    assert in_instantly(upstreams, empty_campaign) == {"lead1@x.example"}
    assert rows(db) == []


def test_a_lead_that_was_there_a_moment_before_stays(
    client: FlaskClient, empty_campaign: Campaign, upstreams: Upstreams, db: Rows
) -> None:
    just_now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    put_into_instantly(upstreams, empty_campaign, "lead1@x.example", at=just_now)
    upstreams.runs_http.fail(*COSTS, status=422)
    assert post(client, empty_campaign, leads(addresses(3))).status_code == 422
    assert in_instantly(upstreams, empty_campaign) == {"lead1@x.example"}
    assert rows(db) == []


@pytest.mark.parametrize(
    "failure",
    [
        "the insert is refused",
        "the answer to the insert is lost",
        "the insert hits a bug",
        "the cost is refused",
        "the cost cannot be logged",
    ],
)
def test_a_failure_after_the_upload_leaves_nothing_behind(
    client: FlaskClient,
    empty_campaign: Campaign,
    upstreams: Upstreams,
    db: Rows,
    monkeypatch: pytest.MonkeyPatch,
    failure: str,
) -> None:
    ours = addresses(5)
    add(client, empty_campaign, ours)
    foreign = ["foreign@x.example", "lead7@x.example"]
    for email in foreign:
        put_into_instantly(upstreams, empty_campaign, email)
    with monkeypatch.context() as patch:
        gone = OperationalError("gone")
        match failure:
            case "the insert is refused":
                fail_statement(patch, "insert_leads", gone, acts=False)
                expected = 503
            case "the answer to the insert is lost":
                fail_statement(patch, "insert_leads", gone, acts=True)
                expected = 503
            case "the insert hits a bug":
                fail_statement(patch, "insert_leads", RuntimeError("a bug"), acts=True)
                expected = 500
            case "the cost is refused":
                upstreams.runs_http.fail(*COSTS, status=422)
                expected = 422
            case _:
                upstreams.runs_http.fail(*COSTS, status=500)
                expected = 502
        assert post(client, empty_campaign, leads(addresses(1200))).status_code == expected
    assert in_instantly(upstreams, empty_campaign) == {*ours, *foreign}
    assert rows(db) == ours
    assert billed_leads(upstreams) == len(ours)
    assert [run["status"] for run in lead_runs(upstreams)] == ["completed", "failed"]
    # The caller may simply repeat.
    assert add(client, empty_campaign, addresses(1200))["added"] == 1195
    assert len(rows(db)) == billed_leads(upstreams) == 1200


def test_without_a_run_nothing_is_sent(
    client: FlaskClient, empty_campaign: Campaign, upstreams: Upstreams, db: Rows
) -> None:
    answer = post(client, empty_campaign, leads(addresses(1)), runId=str(uuid4()))
    assert answer.status_code == 422
    assert answer.get_json() == {
        "error": "runs-service rejected the request",
        "details": {"status": 400, "message": "Parent run does not exist"},
    }
    upstreams.runs_http.fail("POST", "/v1/runs", status=500)
    assert post(client, empty_campaign, leads(addresses(1))).status_code == 502
    assert upstreams.instantly_http.requests == []
    assert rows(db) == []


def test_without_a_key_no_run_is_opened(
    client: FlaskClient, empty_campaign: Campaign, upstreams: Upstreams
) -> None:
    upstreams.keys.organizations.clear()
    for answer in (
        post(client, empty_campaign, leads(addresses(1))),
        delete(client, empty_campaign, addresses(1)),
    ):
        assert answer.status_code == 422
        assert answer.get_json() == {"error": "BYOK key not configured for this organization"}
    assert upstreams.runs_http.requests == []
    assert upstreams.instantly_http.requests == []


def test_a_run_that_cannot_be_completed_costs_nobody_the_leads(
    client: FlaskClient, empty_campaign: Campaign, upstreams: Upstreams, db: Rows
) -> None:
    upstreams.runs_http.fail("PATCH", "/v1/runs/.*", status=500, times=None)
    assert add(client, empty_campaign, addresses(2))["added"] == 2
    assert rows(db) == addresses(2)
    assert billed_leads(upstreams) == 2


def test_leads_that_cannot_be_taken_back_do_not_hide_the_first_error(
    client: FlaskClient, empty_campaign: Campaign, upstreams: Upstreams, db: Rows
) -> None:
    upstreams.runs_http.fail(*COSTS, status=422, body={"error": "Unknown cost name"})
    upstreams.instantly_http.fail(*DELETE, status=500, times=None)
    answer = post(client, empty_campaign, leads(addresses(2)))
    assert answer.status_code == 422
    assert answer.get_json()["details"] == {"status": 422, "message": "Unknown cost name"}
    assert rows(db) == []
    assert [run["status"] for run in lead_runs(upstreams)] == ["failed"]


def test_adding_sends_nothing(
    client: FlaskClient, empty_campaign: Campaign, upstreams: Upstreams
) -> None:
    add(client, empty_campaign, addresses(2))
    campaign = upstreams.instantly.workspace("clerk-1").campaign(
        empty_campaign["instantlyCampaignId"]
    )
    assert campaign["status"] == 0


# Listing


def listed(client: FlaskClient, campaign: Campaign, query: str = "") -> dict[str, Any]:
    answer = client.get(f"/campaigns/{campaign['id']}/leads?{query}")
    assert answer.status_code == 200, answer.text
    page: dict[str, Any] = answer.get_json()
    assert page["count"] == len(page["leads"])
    return page


def emails_of(page: dict[str, Any]) -> list[str]:
    return [lead["email"] for lead in page["leads"]]


def walk(client: FlaskClient, campaign: Campaign, limit: int) -> Iterator[dict[str, Any]]:
    query = f"limit={limit}"
    while True:
        page = listed(client, campaign, query)
        yield page
        if page["nextCursor"] is None:
            return
        query = f"limit={limit}&cursor={page['nextCursor']}"


def test_a_lead_is_shown_with_all_its_fields(
    client: FlaskClient, empty_campaign: Campaign, upstreams: Upstreams
) -> None:
    variables = {"city_name": "Köln", "n": 5, "f": 1.5, "yes": True, "none": None, "": "😀"}
    lead = {
        "email": "Ada@X.example",
        "firstName": "Ada",
        "lastName": "Lovelace",
        "companyName": "Engines",
        "customVariables": variables,
    }
    post(client, empty_campaign, [lead], orgId="clerk-1")
    (shown,) = listed(client, empty_campaign)["leads"]
    assert shown.keys() >= LEAD_FIELDS
    assert {name: shown[name] for name in lead} == lead
    assert shown["instantlyCampaignId"] == empty_campaign["instantlyCampaignId"]
    assert shown["instantlyLeadId"] in upstreams.instantly.workspace("clerk-1").leads
    assert (shown["status"], shown["orgId"]) == ("active", "org-1")
    assert shown["runId"] == lead_runs(upstreams)[0]["id"]
    for name in ("createdAt", "updatedAt"):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", shown[name])


def test_what_a_lead_leaves_out_is_null(client: FlaskClient, empty_campaign: Campaign) -> None:
    add(client, empty_campaign, addresses(1))
    (shown,) = listed(client, empty_campaign)["leads"]
    assert (shown["firstName"], shown["lastName"], shown["companyName"]) == (None, None, None)
    assert shown["customVariables"] == {}


def test_leads_are_listed_oldest_first(client: FlaskClient, empty_campaign: Campaign) -> None:
    emails = addresses(30)
    random.Random(1).shuffle(emails)
    add(client, empty_campaign, emails[:20])
    add(client, empty_campaign, emails)
    page = listed(client, empty_campaign)
    assert emails_of(page) == emails
    assert (page["count"], page["total"], page["nextCursor"]) == (30, 30, None)


def test_a_campaign_without_leads_has_an_empty_list(
    client: FlaskClient, empty_campaign: Campaign
) -> None:
    empty = {"leads": [], "count": 0, "total": 0, "nextCursor": None}
    assert listed(client, empty_campaign) == empty
    assert listed(client, empty_campaign, "cursor=1000000&limit=3") == empty


def test_a_page_holds_a_hundred_unless_told(client: FlaskClient, empty_campaign: Campaign) -> None:
    add(client, empty_campaign, addresses(101))
    page = listed(client, empty_campaign)
    assert (page["count"], page["total"]) == (100, 101)
    assert page["nextCursor"] is not None


@pytest.mark.parametrize("limit", [1, 2, 7, 20, 21, 1000])
def test_pages_by_cursor_hold_every_lead_once(
    client: FlaskClient, empty_campaign: Campaign, limit: int
) -> None:
    other = client.post("/campaigns", json=campaign_request()).get_json()["campaign"]
    for part in range(4):
        add(client, other, addresses(5, start=5 * part))
        add(client, empty_campaign, addresses(5, start=5 * part))
    pages = list(walk(client, empty_campaign, limit))
    assert [email for page in pages for email in emails_of(page)] == addresses(20)
    assert [page["total"] for page in pages] == [20] * len(pages)
    assert len(pages) == -(-20 // limit)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("skip=0&limit=2", (0, 1)),
        ("skip=3&limit=2", (3, 4)),
        ("skip=4", (4,)),
        ("skip=5", ()),
        ("skip=9223372036854775807", ()),
    ],
)
def test_a_page_may_be_reached_by_skipping(
    client: FlaskClient, empty_campaign: Campaign, query: str, expected: tuple[int, ...]
) -> None:
    add(client, empty_campaign, addresses(5))
    page = listed(client, empty_campaign, query)
    assert emails_of(page) == [addresses(5)[number] for number in expected]
    assert page["total"] == 5


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=", "limit"),
        ("skip=-1", "skip"),
        ("skip=x", "skip"),
        ("cursor=", "cursor"),
        ("cursor=9223372036854775808", "cursor"),
        ("skip=1&cursor=1", "cursor"),
    ],
)
def test_a_page_that_makes_no_sense_is_a_bad_request(
    client: FlaskClient, empty_campaign: Campaign, query: str, field: str
) -> None:
    answer = client.get(f"/campaigns/{empty_campaign['id']}/leads?{query}")
    assert answer.status_code == 400
    assert list(answer.get_json()["details"]) == [field]


def test_paging_while_leads_arrive_loses_and_doubles_none(
    client: FlaskClient, empty_campaign: Campaign, db: Rows
) -> None:
    add(client, empty_campaign, addresses(100))
    problems: list[BaseException] = []

    def upload(writer: int) -> None:
        own_client = client.application.test_client()
        own_client.environ_base["HTTP_X_API_KEY"] = API_KEY
        try:
            for part in range(8):
                start = 1000 * (writer + 1) + 20 * part
                add(own_client, empty_campaign, addresses(20, start=start))
        except BaseException as problem:
            problems.append(problem)

    writers = [threading.Thread(target=upload, args=[number]) for number in range(3)]
    for writer in writers:
        writer.start()
    seen = [email for page in walk(client, empty_campaign, 7) for email in emails_of(page)]
    for writer in writers:
        writer.join()
    assert problems == []
    in_order = rows(db)
    assert len(in_order) == 100 + 3 * 8 * 20
    assert len(seen) >= 100
    # No lead that stands before the last one seen was missed.
    assert seen == in_order[: len(seen)]


# Deleting


def test_leads_are_deleted_in_instantly_and_from_our_rows(
    client: FlaskClient, empty_campaign: Campaign, upstreams: Upstreams, db: Rows
) -> None:
    add(client, empty_campaign, addresses(5))
    answer = delete(client, empty_campaign, ["lead1@x.example", " LEAD3@X.example "])
    assert answer.status_code == 200
    assert answer.get_json() == {"success": True, "deleted": 2, "notFound": []}
    left = ["lead0@x.example", "lead2@x.example", "lead4@x.example"]
    assert rows(db) == left
    assert in_instantly(upstreams, empty_campaign) == set(left)


def test_a_bulk_delete_names_its_leads_and_how_many_they_are(
    client: FlaskClient, empty_campaign: Campaign, upstreams: Upstreams
) -> None:
    add(client, empty_campaign, addresses(5))
    kept = listed(client, empty_campaign)["leads"]
    delete(client, empty_campaign, addresses(2))
    call = only(upstreams.instantly_http.calls(*DELETE))
    assert call.json["campaign_id"] == empty_campaign["instantlyCampaignId"]
    assert sorted(call.json["ids"]) == sorted(lead["instantlyLeadId"] for lead in kept[:2])
    assert call.json["limit"] == 2
    assert call.headers["Content-Type"].startswith("application/json")


def test_unknown_addresses_are_named_as_they_were_written(
    client: FlaskClient, empty_campaign: Campaign, upstreams: Upstreams, db: Rows
) -> None:
    add(client, empty_campaign, addresses(2))
    answer = delete(client, empty_campaign, ["No-One@X.example", addresses(1)[0], "b@x.example"])
    assert answer.get_json() == {
        "success": True,
        "deleted": 1,
        "notFound": ["No-One@X.example", "b@x.example"],
    }
    assert rows(db) == ["lead1@x.example"]


def test_when_no_address_is_known_nothing_is_deleted_at_all(
    client: FlaskClient, empty_campaign: Campaign, upstreams: Upstreams, db: Rows
) -> None:
    add(client, empty_campaign, addresses(3))
    answer = delete(client, empty_campaign, ["a@x.example", "b@x.example"])
    assert answer.get_json() == {
        "success": True,
        "deleted": 0,
        "notFound": ["a@x.example", "b@x.example"],
    }
    assert upstreams.instantly_http.calls(*DELETE) == []
    assert len(in_instantly(upstreams, empty_campaign)) == len(rows(db)) == 3


def test_a_lead_that_only_instantly_holds_is_deleted_there(
    client: FlaskClient, empty_campaign: Campaign, upstreams: Upstreams
) -> None:
    put_into_instantly(upstreams, empty_campaign, "only@x.example")
    put_into_instantly(upstreams, empty_campaign, "other@x.example")
    answer = delete(client, empty_campaign, ["ONLY@x.example"])
    assert answer.get_json() == {"success": True, "deleted": 1, "notFound": []}
    assert in_instantly(upstreams, empty_campaign) == {"other@x.example"}


def test_a_lead_that_instantly_lost_is_deleted_from_our_rows(
    client: FlaskClient, empty_campaign: Campaign, upstreams: Upstreams, db: Rows
) -> None:
    add(client, empty_campaign, addresses(2))
    workspace = upstreams.instantly.workspace("clerk-1")
    workspace.remove_leads(workspace.leads_of(empty_campaign["instantlyCampaignId"])[:1])
    assert delete(client, empty_campaign, addresses(1)).status_code == 200
    assert rows(db) == ["lead1@x.example"]


def test_leads_of_another_campaign_stay(
    client: FlaskClient, empty_campaign: Campaign, upstreams: Upstreams, db: Rows
) -> None:
    other = client.post("/campaigns", json=campaign_request()).get_json()["campaign"]
    add(client, empty_campaign, addresses(2))
    add(client, other, addresses(3))
    put_into_instantly(upstreams, other, "only@x.example")
    answer = delete(client, empty_campaign, [*addresses(3), "only@x.example"]).get_json()
    assert (answer["deleted"], answer["notFound"]) == (2, ["lead2@x.example", "only@x.example"])
    assert in_instantly(upstreams, other) == {*addresses(3), "only@x.example"}
    assert rows(db) == addresses(3)


def test_an_address_that_stands_twice_is_deleted_once(
    client: FlaskClient, empty_campaign: Campaign
) -> None:
    add(client, empty_campaign, addresses(1))
    twice = ["lead0@x.example", "LEAD0@x.example", "no@x.example", "NO@X.example"]
    answer = delete(client, empty_campaign, twice).get_json()
    assert answer == {"success": True, "deleted": 1, "notFound": ["no@x.example"]}


def test_deleting_is_safe_to_repeat(
    client: FlaskClient, empty_campaign: Campaign, upstreams: Upstreams, db: Rows
) -> None:
    add(client, empty_campaign, addresses(4))
    assert delete(client, empty_campaign, addresses(2)).get_json()["deleted"] == 2
    forget_requests(upstreams)
    answer = delete(client, empty_campaign, addresses(2))
    assert answer.status_code == 200
    assert answer.get_json() == {"success": True, "deleted": 0, "notFound": addresses(2)}
    assert upstreams.instantly_http.calls(*DELETE) == []
    assert rows(db) == addresses(2, start=2)


def test_a_deleted_lead_may_come_back_and_is_billed_again(
    client: FlaskClient, empty_campaign: Campaign, upstreams: Upstreams
) -> None:
    add(client, empty_campaign, addresses(1))
    delete(client, empty_campaign, addresses(1))
    assert add(client, empty_campaign, addresses(1))["added"] == 1
    assert billed_leads(upstreams) == 2


def test_2500_addresses_are_deleted_and_no_others(
    client: FlaskClient,
    empty_campaign: Campaign,
    upstreams: Upstreams,
    db: Rows,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    add(client, empty_campaign, addresses(2510))
    statements: list[str] = []
    watch_statements(monkeypatch, statements.append, lambda name: None)
    answer = delete(client, empty_campaign, addresses(2500))
    assert answer.get_json() == {"success": True, "deleted": 2500, "notFound": []}
    assert len(statements) <= 10
    calls = upstreams.instantly_http.calls(*DELETE)
    assert len({lead_id for call in calls for lead_id in call.json["ids"]}) == 2500
    assert all(call.json["limit"] == len(call.json["ids"]) > 0 for call in calls)
    assert rows(db) == addresses(10, start=2500)
    assert in_instantly(upstreams, empty_campaign) == set(addresses(10, start=2500))


def test_deleting_is_not_billed(
    client: FlaskClient, empty_campaign: Campaign, upstreams: Upstreams
) -> None:
    add(client, empty_campaign, addresses(1))
    upstreams.runs_http.clear()
    delete(client, empty_campaign, addresses(1))
    assert upstreams.runs_http.requests == []


@pytest.mark.parametrize(
    ("fault", "status", "message"),
    [
        ({"status": 401}, 422, "Instantly API key was rejected"),
        ({"status": 400, "body": {"message": "M"}}, 422, "Instantly rejected the request"),
        ({"status": 429, "times": None}, 503, "Instantly rate limit reached"),
        ({"status": 500, "times": None}, 502, "Instantly unavailable"),
        ({"how": "drop", "times": None}, 502, "Instantly unavailable"),
    ],
)
@pytest.mark.parametrize("call", [LIST, DELETE], ids=["listing", "deleting"])
def test_a_failed_delete_leaves_our_rows(
    client: FlaskClient,
    empty_campaign: Campaign,
    upstreams: Upstreams,
    db: Rows,
    call: tuple[str, str],
    fault: dict[str, Any],
    status: int,
    message: str,
) -> None:
    add(client, empty_campaign, addresses(3))
    upstreams.instantly_http.fail(*call, **fault)
    answer = delete(client, empty_campaign, [*addresses(2), "unknown@x.example"])
    assert (answer.status_code, answer.get_json()["error"]) == (status, message)
    assert rows(db) == addresses(3)
    assert in_instantly(upstreams, empty_campaign) == set(addresses(3))
    # The caller may simply repeat.
    upstreams.instantly_http.heal()
    assert delete(client, empty_campaign, addresses(2)).get_json()["deleted"] == 2
    assert rows(db) == ["lead2@x.example"]


@pytest.mark.parametrize("fault", [{"status": 503, "times": 2}, {"how": "drop_after"}], ids=str)
def test_a_delete_is_tried_again(
    client: FlaskClient,
    empty_campaign: Campaign,
    upstreams: Upstreams,
    db: Rows,
    fault: dict[str, Any],
) -> None:
    add(client, empty_campaign, addresses(3))
    upstreams.instantly_http.fail(*DELETE, **fault)
    assert delete(client, empty_campaign, addresses(2)).get_json()["deleted"] == 2
    assert rows(db) == ["lead2@x.example"]
    assert in_instantly(upstreams, empty_campaign) == {"lead2@x.example"}


def test_leads_that_instantly_no_longer_finds_are_gone(
    client: FlaskClient, empty_campaign: Campaign, upstreams: Upstreams, db: Rows
) -> None:
    add(client, empty_campaign, addresses(3))
    upstreams.instantly_http.fail(*DELETE, how="after", status=404)
    assert delete(client, empty_campaign, addresses(2)).get_json()["deleted"] == 2
    assert rows(db) == ["lead2@x.example"]


INVALID_EMAILS: list[tuple[Any, str]] = [
    ([], "emails"),
    (addresses(10_001), "emails"),
    ("a@x.example", "emails"),
    ({"a@x.example": True}, "emails"),
    (None, "emails"),
    (5, "emails"),
    *(
        (["a@x.example", bad], "emails.1")
        for bad in ("", "nobody", "a@", None, 5, [], {"email": "b@x.example"}, "a\x00@x.example")
    ),
]


def test_an_invalid_delete_deletes_nothing(
    client: FlaskClient, empty_campaign: Campaign, upstreams: Upstreams, db: Rows
) -> None:
    add(client, empty_campaign, addresses(2))
    forget_requests(upstreams)
    for emails, path in INVALID_EMAILS:
        answer = delete(client, empty_campaign, emails)
        assert answer.status_code == 400, emails
        assert list(answer.get_json()["details"]) == [path], emails
    assert nothing_was_called(upstreams)
    assert rows(db) == addresses(2)


def test_rows_and_instantly_agree_after_any_mixture_of_failures(
    client: FlaskClient, empty_campaign: Campaign, upstreams: Upstreams, db: Rows
) -> None:
    chance = random.Random(7)
    outcomes: Counter[int] = Counter()
    for _ in range(25):
        fault: dict[str, Any] = chance.choice(
            [{}, {}, {"status": 500, "times": None}, {"status": 429, "times": 2}, {"status": 422}]
        )
        http, method, path = chance.choice(
            [
                (upstreams.instantly_http, *ADD),
                (upstreams.instantly_http, *LIST),
                (upstreams.runs_http, *COSTS),
                (upstreams.runs_http, "POST", "/v1/runs"),
                (upstreams.keys_http, "GET", ".*"),
            ]
        )
        if fault:
            http.fail(method, path, **fault)
        emails = chance.sample(addresses(60), chance.randrange(1, 20))
        if chance.random() < 0.6:
            outcomes[post(client, empty_campaign, leads(emails)).status_code] += 1
        else:
            outcomes[delete(client, empty_campaign, emails).status_code] += 1
        http.heal()
        assert set(rows(db)) == in_instantly(upstreams, empty_campaign)
        assert upstreams.runs.open_runs() == []
    assert outcomes.keys() >= {200, 201, 502}
