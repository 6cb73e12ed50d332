"""Campaigns: create one and bill it, read, list by pages, switch on and off."""

import random
import string
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from conftest import ORG, Rows, Upstreams, campaign_request
from flask.testing import FlaskClient
from psycopg import ClientCursor, OperationalError
from stand_in import RecordedRequest, StandIn
from werkzeug.test import TestResponse

from instantly.config import USER_AGENT
from instantly.context import EXTENSION
from instantly.database import SQL_DIRECTORY, Database, Session, load_statements

CREATE = ("POST", "/api/v2/campaigns")
CAMPAIGN_FIELDS = {
    "id",
    "instantlyCampaignId",
    "name",
    "status",
    "orgId",
    "clerkOrgId",
    "brandId",
    "appId",
    "runId",
    "parentRunId",
    "metadata",
    "createdAt",
    "updatedAt",
}
STEP = {"subject": "Hello", "bodyHtml": "<p>Hi</p>"}
NEXT = {**STEP, "daysSinceLastStep": 1}


def create(client: FlaskClient, **changes: Any) -> TestResponse:
    return client.post("/campaigns", json=campaign_request(**changes))


def created(answer: TestResponse) -> dict[str, Any]:
    assert answer.status_code == 201, answer.text
    campaign: dict[str, Any] = answer.get_json()["campaign"]
    return campaign


def only(requests: list[RecordedRequest]) -> RecordedRequest:
    assert len(requests) == 1
    return requests[0]


def sent(upstreams: Upstreams) -> dict[str, Any]:
    """The one body that went to Instantly's POST /campaigns."""
    body: dict[str, Any] = only(upstreams.instantly_http.calls(*CREATE)).json
    return body


def sent_steps(upstreams: Upstreams) -> list[dict[str, Any]]:
    sequences = sent(upstreams)["sequences"]
    assert len(sequences) == 1
    steps: list[dict[str, Any]] = sequences[0]["steps"]
    return steps


def sent_schedule(upstreams: Upstreams) -> dict[str, Any]:
    schedules = sent(upstreams)["campaign_schedule"]["schedules"]
    assert len(schedules) == 1
    schedule: dict[str, Any] = schedules[0]
    return schedule


def campaigns_in_instantly(upstreams: Upstreams) -> dict[str, dict[str, Any]]:
    return upstreams.instantly.workspace("clerk-1").campaigns


def nothing_was_called(upstreams: Upstreams) -> bool:
    https = (upstreams.keys_http, upstreams.runs_http, upstreams.instantly_http)
    return not any(http.requests for http in https)


def nothing_is_left(upstreams: Upstreams, db: Rows) -> bool:
    """No row, no cost, no campaign in Instantly, and no run that is still open."""
    return (
        db.count("instantly_campaigns") == 0
        and upstreams.runs.billed() == {}
        and campaigns_in_instantly(upstreams) == {}
        and upstreams.runs.open_runs() == []
    )


def fail_statement(
    monkeypatch: pytest.MonkeyPatch, statement: str, failure: Exception, *, acts: bool
) -> None:
    """Let a statement fail; with `acts` it does its work first, and only its answer is lost."""
    for runner in (Session, Database):
        monkeypatch.setattr(runner, "_run", failing(runner._run, statement, failure, acts))


def failing(
    run: Callable[..., Any], statement: str, failure: Exception, acts: bool
) -> Callable[..., Any]:
    def run_or_fail(self: Session, name: str, parameters: dict[str, Any]) -> Any:
        if name != statement:
            return run(self, name, parameters)
        if acts:
            run(self, name, parameters)
        raise failure

    return run_or_fail


@contextmanager
def unreachable(http: StandIn) -> Iterator[None]:
    """While nobody listens on the service's port."""
    http.stop()
    try:
        yield
    finally:
        http.start()


# Creating: what happens when all goes well


def test_a_campaign_is_created_as_a_draft(
    client: FlaskClient, upstreams: Upstreams, db: Rows
) -> None:
    answer = create(client)
    campaign = created(answer)
    assert answer.get_json() == {
        "success": True,
        "campaign": {
            "id": campaign["id"],
            "instantlyCampaignId": next(iter(campaigns_in_instantly(upstreams))),
            "name": "Autumn",
            "status": "draft",
        },
    }
    assert str(UUID(campaign["id"])) == campaign["id"]
    assert campaigns_in_instantly(upstreams)[campaign["instantlyCampaignId"]]["status"] == 0


def test_the_row_holds_what_was_asked_for(
    client: FlaskClient, upstreams: Upstreams, db: Rows
) -> None:
    parent = str(uuid4())
    upstreams.runs.known_parents.add(parent)
    campaign = created(create(client, runId=parent, metadata={"a": 1}))
    (row,) = db.all("SELECT * FROM instantly_campaigns")
    assert str(row["id"]) == campaign["id"]
    assert str(row["instantly_campaign_id"]) == campaign["instantlyCampaignId"]
    assert (row["org_id"], row["clerk_org_id"]) == ("org-1", "clerk-1")
    assert (row["brand_id"], row["app_id"], row["name"]) == ("brand-1", "app-1", "Autumn")
    assert (row["status"], row["metadata"]) == ("draft", {"a": 1})
    assert [str(row["run_id"])] == list(upstreams.runs.runs)
    assert str(row["parent_run_id"]) == parent


def test_creating_bills_one_campaign_and_completes_its_run(
    client: FlaskClient, upstreams: Upstreams
) -> None:
    created(create(client))
    assert upstreams.runs.billed() == {"instantly-campaign-create": 1}
    assert upstreams.run_statuses() == ["completed"]


def test_the_requests_to_runs_service_are_those_of_its_contract(
    client: FlaskClient, upstreams: Upstreams
) -> None:
    parent = str(uuid4())
    upstreams.runs.known_parents.add(parent)
    created(create(client, runId=parent))
    (run_id,) = upstreams.runs.runs
    opened, billed, ended = upstreams.runs_http.requests
    assert (opened.method, opened.path) == ("POST", "/v1/runs")
    assert {name: value for name, value in opened.json.items() if name != "campaignId"} == {
        "clerkOrgId": "clerk-1",
        "appId": "app-1",
        "serviceName": "instantly-service",
        "taskName": "campaign-create",
        "brandId": "brand-1",
        "parentRunId": parent,
    }
    assert (billed.method, billed.path) == ("POST", f"/v1/runs/{run_id}/costs")
    assert billed.json == {"items": [{"costName": "instantly-campaign-create", "quantity": 1}]}
    assert (ended.method, ended.path) == ("PATCH", f"/v1/runs/{run_id}")
    assert ended.json == {"status": "completed"}
    for request in (opened, billed, ended):
        assert request.headers["X-Api-Key"] == "runs-key"
        assert request.headers["User-Agent"] == USER_AGENT


def test_without_a_run_of_the_caller_the_run_has_no_parent(
    client: FlaskClient, upstreams: Upstreams
) -> None:
    created(create(client, runId=None))
    assert "parentRunId" not in only(upstreams.runs_http.calls("POST", "/v1/runs")).json


def test_the_request_to_key_service_says_who_asks_and_why(
    client: FlaskClient, upstreams: Upstreams
) -> None:
    created(create(client))
    request = only(upstreams.keys_http.requests)
    assert (request.method, request.path) == ("GET", "/internal/keys/instantly/decrypt")
    assert request.query == {"clerkOrgId": ["clerk-1"]}
    assert request.headers["X-Api-Key"] == "keys-key"
    assert request.headers["X-Caller-Service"] == "instantly"
    assert request.headers["X-Caller-Method"] == "POST"
    assert request.headers["X-Caller-Path"] == "/campaigns"
    assert request.headers["User-Agent"] == USER_AGENT


def test_the_smallest_request_to_instantly(client: FlaskClient, upstreams: Upstreams) -> None:
    created(create(client))
    request = only(upstreams.instantly_http.requests)
    assert (request.method, request.path, request.query) == (*CREATE, {})
    assert request.headers["Authorization"] == "Bearer key-1"
    assert request.headers["User-Agent"] == USER_AGENT
    body = request.json
    assert body["campaign_schedule"]["schedules"][0].pop("name") != ""
    assert body == {
        "name": "Autumn",
        "campaign_schedule": {
            "schedules": [
                {
                    "timing": {"from": "08:00", "to": "17:00"},
                    "days": {str(day): 1 <= day <= 5 for day in range(7)},
                    "timezone": "America/Chicago",
                }
            ]
        },
        "stop_on_reply": True,
        "insert_unsubscribe_header": True,
    }


@pytest.mark.parametrize("org", ["a b", "ö/ü", "a&b=c", "100%", "x" * 255, "org_😀", "+"])
def test_ids_are_taken_as_they_are(
    client: FlaskClient, upstreams: Upstreams, db: Rows, org: str
) -> None:
    upstreams.keys.organizations[org] = "key-1"
    body = {**campaign_request(), **dict.fromkeys(ORG, org)}
    campaign = created(client.post("/campaigns", json=body))
    shown = client.get(f"/campaigns/{campaign['id']}").get_json()["campaign"]
    assert {shown[name] for name in ORG} == {org}
    assert only(upstreams.keys_http.requests).query == {"clerkOrgId": [org]}


def test_the_same_request_twice_makes_two_campaigns(
    client: FlaskClient, upstreams: Upstreams
) -> None:
    assert created(create(client))["id"] != created(create(client))["id"]
    assert len(campaigns_in_instantly(upstreams)) == 2
    assert upstreams.runs.billed() == {"instantly-campaign-create": 2}


# Creating: what each field becomes


def test_waits_before_steps_become_waits_after_steps(
    client: FlaskClient, upstreams: Upstreams
) -> None:
    days = [0, 3, 0, 5, 2**31 - 1]
    sequence = [{**STEP, "daysSinceLastStep": wait} for wait in days]
    created(create(client, sequence=sequence))
    steps = sent_steps(upstreams)
    assert [step["delay"] for step in steps] == [3, 0, 5, 2**31 - 1, 0]
    assert {step["type"] for step in steps} == {"email"}
    assert all(step.get("delay_unit", "days") == "days" for step in steps)


def test_the_first_wait_may_be_absent(client: FlaskClient, upstreams: Upstreams) -> None:
    created(create(client, sequence=[STEP, {**STEP, "daysSinceLastStep": 4}]))
    assert [step["delay"] for step in sent_steps(upstreams)] == [4, 0]


def test_a_single_step_waits_for_nothing(client: FlaskClient, upstreams: Upstreams) -> None:
    created(create(client, sequence=[STEP]))
    assert sent_steps(upstreams) == [
        {"type": "email", "delay": 0, "variants": [{"subject": "Hello", "body": "<p>Hi</p>"}]}
    ]


def test_fifty_steps_are_taken(client: FlaskClient, upstreams: Upstreams) -> None:
    created(create(client, sequence=[STEP, *[NEXT] * 49]))
    assert len(sent_steps(upstreams)) == 50


def test_variants_of_a_step_are_sent_in_their_order(
    client: FlaskClient, upstreams: Upstreams
) -> None:
    variants = [{"subject": f"S{n}", "bodyHtml": f"Text {n}"} for n in range(3)]
    created(create(client, sequence=[STEP, {"variants": variants, "daysSinceLastStep": 2}]))
    first, second = sent_steps(upstreams)
    assert len(first["variants"]) == 1
    assert second["variants"] == [
        {"subject": f"S{n}", "body": f"<p>Text {n}</p>"} for n in range(3)
    ]


@pytest.mark.parametrize(
    ("body", "sent_body"),
    [
        ("<p>Hi {{firstName}}</p>", "<p>Hi {{firstName}}</p>"),
        ("Hi {{firstName}}", "<p>Hi {{firstName}}</p>"),
        ("1 < 2 & 3", "<p>1 &lt; 2 &amp; 3</p>"),
        ("one\ntwo", "<p>one<br/>two</p>"),
        ("one\n\ntwo", "<p>one</p><p>two</p>"),
        ("Hi <b>you</b>", "<p>Hi <b>you</b></p>"),
        ("Before<div>inside</div>after", "<p>Before</p><div>inside</div><p>after</p>"),
    ],
)
def test_no_word_of_a_body_is_lost_in_instantly(
    client: FlaskClient, upstreams: Upstreams, body: str, sent_body: str
) -> None:
    campaign = created(create(client, sequence=[{"subject": "S", "bodyHtml": body}]))
    assert sent_steps(upstreams)[0]["variants"][0]["body"] == sent_body
    kept = campaigns_in_instantly(upstreams)[campaign["instantlyCampaignId"]]
    assert kept["sequences"][0]["steps"][0]["variants"][0]["body"] == sent_body


def test_an_empty_subject_continues_the_thread(client: FlaskClient, upstreams: Upstreams) -> None:
    created(create(client, sequence=[STEP, {**NEXT, "subject": ""}]))
    assert sent_steps(upstreams)[1]["variants"][0]["subject"] == ""


@pytest.mark.parametrize(
    ("day", "number"),
    [("sun", 0), ("mon", 1), ("tue", 2), ("wed", 3), ("thu", 4), ("fri", 5), ("sat", 6)],
)
def test_a_day_becomes_its_number(
    client: FlaskClient, upstreams: Upstreams, day: str, number: int
) -> None:
    created(create(client, schedule={"days": [day]}))
    assert [n for n, sends in sent_schedule(upstreams)["days"].items() if sends] == [str(number)]


def test_a_whole_schedule(client: FlaskClient, upstreams: Upstreams) -> None:
    schedule = {
        "timezone": "Europe/Isle_of_Man",
        "from": "00:00",
        "to": "23:59",
        "days": ["sun", "sat", "sat"],
        "startDate": "2027-02-28",
        "endDate": "2027-02-28",
    }
    created(create(client, schedule=schedule))
    body = sent(upstreams)["campaign_schedule"]
    assert (body["start_date"], body["end_date"]) == ("2027-02-28", "2027-02-28")
    (only_schedule,) = body["schedules"]
    assert only_schedule["timing"] == {"from": "00:00", "to": "23:59"}
    assert only_schedule["timezone"] == "Europe/Isle_of_Man"
    assert only_schedule["days"] == {str(day): day in (0, 6) for day in range(7)}


@pytest.mark.parametrize("schedule", [{}, {"from": "07:30"}, {"to": "18:00"}, {"days": ["mon"]}])
def test_what_a_schedule_leaves_out_has_a_default(
    client: FlaskClient, upstreams: Upstreams, schedule: dict[str, Any]
) -> None:
    created(create(client, schedule=schedule))
    body = sent_schedule(upstreams)
    assert body["timing"] == {
        "from": schedule.get("from", "08:00"),
        "to": schedule.get("to", "17:00"),
    }
    assert body["days"]["1"] is True
    assert body["days"]["5"] is ("days" not in schedule)
    assert body["timezone"] == "America/Chicago"


@pytest.mark.parametrize(
    ("asked", "in_instantly"),
    [
        ("America/Chicago", "America/Chicago"),
        ("America/New_York", "America/Detroit"),
        ("America/Denver", "America/Boise"),
        ("Europe/London", "Europe/Isle_of_Man"),
        ("Europe/Berlin", "Europe/Belgrade"),
        ("Asia/Tokyo", "Asia/Dili"),
        ("UTC", "Africa/Abidjan"),
    ],
)
def test_a_timezone_is_sent_by_a_name_that_instantly_knows(
    client: FlaskClient, upstreams: Upstreams, asked: str, in_instantly: str
) -> None:
    created(create(client, schedule={"timezone": asked}))
    assert sent_schedule(upstreams)["timezone"] == in_instantly


@pytest.mark.parametrize("timezone", ["America/Los_Angeles", "US/Pacific"])
def test_a_timezone_without_an_equal_is_refused_with_the_closest(
    client: FlaskClient, upstreams: Upstreams, timezone: str
) -> None:
    answer = create(client, schedule={"timezone": timezone})
    assert answer.status_code == 400
    (message,) = answer.get_json()["details"]["schedule.timezone"]
    assert "America/" in message
    assert nothing_was_called(upstreams)


SETTINGS: list[tuple[str, str, list[Any]]] = [
    ("dailyLimit", "daily_limit", [1, 50, 2**31 - 1]),
    ("dailyMaxLeads", "daily_max_leads", [1, 50]),
    ("emailGap", "email_gap", [0, 10]),
    ("randomWaitMax", "random_wait_max", [0, 10]),
    ("stopOnReply", "stop_on_reply", [True, False]),
    ("stopOnAutoReply", "stop_on_auto_reply", [True, False]),
    ("stopForCompany", "stop_for_company", [True, False]),
    ("openTracking", "open_tracking", [True, False]),
    ("linkTracking", "link_tracking", [True, False]),
    ("textOnly", "text_only", [True, False]),
    ("insertUnsubscribeHeader", "insert_unsubscribe_header", [True, False]),
    ("prioritizeNewLeads", "prioritize_new_leads", [True, False]),
    ("matchLeadEsp", "match_lead_esp", [True, False]),
    ("allowRiskyContacts", "allow_risky_contacts", [True, False]),
    ("disableBounceProtect", "disable_bounce_protect", [True, False]),
    ("ccList", "cc_list", [["a@x.example", "b@x.example"], []]),
    ("bccList", "bcc_list", [["a@x.example"], []]),
]


def test_the_settings_are_seventeen() -> None:
    assert len(SETTINGS) == 17


@pytest.mark.parametrize(("name", "option", "values"), SETTINGS)
def test_a_setting_becomes_an_option_of_instantly(
    client: FlaskClient, upstreams: Upstreams, name: str, option: str, values: list[Any]
) -> None:
    for value in values:
        upstreams.instantly_http.clear()
        created(create(client, settings={name: value}))
        body = sent(upstreams)
        assert (body[option], type(body[option])) == (value, type(value))
        protections = {"stop_on_reply": True, "insert_unsubscribe_header": True}
        options = {key: body[key] for key in body.keys() - {"name", "campaign_schedule"}}
        assert options == {**protections, option: value}


def test_senders_become_the_email_list(client: FlaskClient, upstreams: Upstreams) -> None:
    senders = ["lena@try-northbeam.example", "Marc@Try-Northbeam.example"]
    campaign = created(create(client, accountIds=[senders[0], f"  {senders[1]} "]))
    assert sent(upstreams)["email_list"] == senders
    assert upstreams.instantly_http.calls("PATCH", ".*") == []
    kept = campaigns_in_instantly(upstreams)[campaign["instantlyCampaignId"]]
    assert kept["email_list"] == senders


def test_senders_that_instantly_lost_are_set_again(
    client: FlaskClient, upstreams: Upstreams
) -> None:
    upstreams.instantly.loses_email_list = True
    senders = ["lena@try-northbeam.example", "marc@try-northbeam.example"]
    campaign = created(create(client, accountIds=senders))
    repair = only(upstreams.instantly_http.calls("PATCH", ".*"))
    assert repair.path == f"/api/v2/campaigns/{campaign['instantlyCampaignId']}"
    assert repair.json == {"email_list": senders}
    kept = campaigns_in_instantly(upstreams)[campaign["instantlyCampaignId"]]
    assert kept["email_list"] == senders


@pytest.mark.parametrize("senders", [{}, {"accountIds": []}])
def test_without_senders_there_is_nothing_to_lose(
    client: FlaskClient, upstreams: Upstreams, senders: dict[str, Any]
) -> None:
    upstreams.instantly.loses_email_list = True
    created(create(client, **senders))
    assert upstreams.instantly_http.calls("PATCH", ".*") == []


def test_senders_that_cannot_be_set_again_undo_the_campaign(
    client: FlaskClient, upstreams: Upstreams, db: Rows
) -> None:
    upstreams.instantly.loses_email_list = True
    upstreams.instantly_http.fail("PATCH", ".*", status=400, body={"message": "no such sender"})
    answer = create(client, accountIds=["lena@try-northbeam.example"])
    assert answer.status_code == 422
    assert answer.get_json()["details"] == {"status": 400, "message": "no such sender"}
    assert nothing_is_left(upstreams, db)
    assert upstreams.run_statuses() == ["failed"]


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"integers": [0, -1, 2**53 + 1, 10**30, -(10**30)]},
        {"floats": [0.1, -1.5, 1e-7, 123456789.123456789]},
        {"truth": [True, False, None]},
        {"text": "Grüße \u2028 😀 \" \\ / \t\n\r \x01 \x7f ' ; --", "": "", " ": " "},
        {"ключ": {"鍵": "clé"}},
        {"snake_case": 1, "camelCase": 2, "__proto__": {"a": 1}, "$ref": "#", "a.b": 3},
        {"empty": [[], {}, [[]], [{}], ""]},
        {"%s": "%(name)s", "{}": "{0}"},
        {"many": {str(n): n for n in range(2000)}},
        {"long": "x" * 100_000},
        {"a": {"b": {"c": {"d": [[[[{"e": {"f": [1, [2, [3]]]}}]]]]}}}},
    ],
    ids=range(12),
)
def test_metadata_is_kept_exactly(
    client: FlaskClient, upstreams: Upstreams, metadata: dict[str, Any]
) -> None:
    campaign = created(create(client, metadata=metadata))
    answer = client.get(f"/campaigns/{campaign['id']}")
    assert answer.get_json()["campaign"]["metadata"] == metadata
    listed = client.get("/campaigns/by-org/org-1").get_json()["campaigns"]
    assert [item["metadata"] for item in listed] == [metadata]


def test_one_is_not_one_point_nought_and_not_true(
    client: FlaskClient, upstreams: Upstreams
) -> None:
    metadata = {"integer": 1, "float": 1.5, "truth": True, "text": "1"}
    campaign = created(create(client, metadata=metadata))
    kept = client.get(f"/campaigns/{campaign['id']}").get_json()["campaign"]["metadata"]
    assert {name: type(value) for name, value in kept.items()} == {
        "integer": int,
        "float": float,
        "truth": bool,
        "text": str,
    }


@pytest.mark.parametrize("changes", [{}, {"metadata": None}])
def test_no_metadata_is_null(
    client: FlaskClient, upstreams: Upstreams, changes: dict[str, Any]
) -> None:
    campaign = created(create(client, **changes))
    shown = client.get(f"/campaigns/{campaign['id']}").get_json()["campaign"]
    assert shown["metadata"] is None


def test_metadata_may_be_nested_fifty_deep(client: FlaskClient, upstreams: Upstreams) -> None:
    metadata: dict[str, Any] = {"end": [1]}
    for _ in range(50):
        metadata = {"a": [metadata]} if "end" in metadata else {"a": metadata}
    campaign = created(create(client, metadata=metadata))
    shown = client.get(f"/campaigns/{campaign['id']}").get_json()["campaign"]
    assert shown["metadata"] == metadata


# Creating: what is refused before anything is called

ABSENT = object()


def sequence_of(*steps: Any) -> dict[str, Any]:
    return {"sequence": list(steps)}


def schedule_of(**fields: Any) -> dict[str, Any]:
    return {"schedule": {name.rstrip("_"): value for name, value in fields.items()}}


def settings_of(**fields: Any) -> dict[str, Any]:
    return {"settings": fields}


INVALID: list[tuple[dict[str, Any], str]] = [
    *(
        ({name: value}, name)
        for name in ("orgId", "clerkOrgId", "brandId", "appId", "name")
        for value in (ABSENT, None, "", 5, True, ["x"], {"x": "y"})
    ),
    *(({name: "x" * 10_000}, name) for name in ("orgId", "clerkOrgId", "brandId", "appId")),
    *(({"runId": value}, "runId") for value in ("", "run-1", 5, [], "0b6f4a52-6a6e-4b0e-9c0f")),
    *(({"metadata": value}, "metadata") for value in ([], "x", 5, True, [["a", 1]])),
    # Senders
    *(({"accountIds": value}, "accountIds") for value in ("a@x.example", 5, {"a": 1})),
    ({"accountIds": ["a@x.example", "nobody"]}, "accountIds.1"),
    ({"accountIds": ["a@x.example", ""]}, "accountIds.1"),
    ({"accountIds": [None]}, "accountIds.0"),
    ({"accountIds": [{"email": "a@x.example"}]}, "accountIds.0"),
    # Sequences
    *(({"sequence": value}, "sequence") for value in ([], {}, "x", 5, {"0": STEP})),
    (sequence_of(STEP, *[NEXT] * 50), "sequence"),
    (sequence_of("x"), "sequence.0"),
    (sequence_of(None), "sequence.0"),
    (sequence_of({"bodyHtml": "x"}), "sequence.0.subject"),
    (sequence_of({"subject": "x"}), "sequence.0.bodyHtml"),
    (sequence_of({**STEP, "subject": 5}), "sequence.0.subject"),
    (sequence_of({**STEP, "subject": None}), "sequence.0.subject"),
    (sequence_of({**STEP, "bodyHtml": None}), "sequence.0.bodyHtml"),
    (sequence_of({**STEP, "bodyHtml": ["x"]}), "sequence.0.bodyHtml"),
    (sequence_of({**STEP, "variants": [STEP]}), "sequence.0.variants"),
    (sequence_of({"subject": "x", "variants": [STEP]}), "sequence.0.variants"),
    (sequence_of({"bodyHtml": "x", "variants": [STEP]}), "sequence.0.variants"),
    (sequence_of({"variants": []}), "sequence.0.variants"),
    (sequence_of({"variants": STEP}), "sequence.0.variants"),
    (sequence_of({"variants": [STEP, {"subject": "x"}]}), "sequence.0.variants.1.bodyHtml"),
    (sequence_of({"variants": [{"bodyHtml": "x"}]}), "sequence.0.variants.0.subject"),
    (sequence_of({"variants": [STEP, "x"]}), "sequence.0.variants.1"),
    (sequence_of(NEXT), "sequence.0.daysSinceLastStep"),
    (sequence_of(STEP, STEP), "sequence.1.daysSinceLastStep"),
    (sequence_of(STEP, NEXT, STEP), "sequence.2.daysSinceLastStep"),
    *(
        (sequence_of(STEP, {**STEP, "daysSinceLastStep": days}), "sequence.1.daysSinceLastStep")
        for days in (-1, "1", 1.5, 1.0, True, None, [], 2**31)
    ),
    # Schedules
    *(({"schedule": value}, "schedule") for value in ([], "x", 5)),
    *(
        (schedule_of(timezone=name), "schedule.timezone")
        for name in ("", "Mars/Base", "america/chicago", "CST6", "../etc/passwd", 5, None, [])
    ),
    *(
        (schedule_of(from_=time), "schedule.from")
        for time in (
            "",
            "8:00",
            "24:00",
            "08:60",
            "08:00:00",
            "08:00\n",
            "\u0660\u0668:\u0660\u0660",
            "8",
            8,
            None,
        )
    ),
    *((schedule_of(to=time), "schedule.to") for time in ("", "5 pm", "17.00", "25:00", 17, None)),
    (schedule_of(from_="17:00", to="08:00"), "schedule.to"),
    (schedule_of(from_="08:00", to="08:00"), "schedule.to"),
    (schedule_of(from_="17:00"), "schedule.to"),
    (schedule_of(to="07:59"), "schedule.to"),
    (schedule_of(days=[]), "schedule.days"),
    (schedule_of(days="mon"), "schedule.days"),
    (schedule_of(days={"mon": True}), "schedule.days"),
    *(
        (schedule_of(days=["mon", day]), "schedule.days.1")
        for day in ("Mon", "monday", 1, None, "")
    ),
    *(
        (schedule_of(**{name: value}), f"schedule.{name}")
        for name in ("startDate", "endDate")
        for value in ("", "today", "28.02.2027", "2027-02-29", "2027-13-01", 20270228)
    ),
    (schedule_of(startDate="2027-03-01", endDate="2027-02-28"), "schedule.endDate"),
    # Settings
    *(({"settings": value}, "settings") for value in ([], "x", 5)),
    *(
        (settings_of(**{name: value}), f"settings.{name}")
        for name in ("dailyLimit", "dailyMaxLeads", "emailGap", "randomWaitMax")
        for value in (-1, "1", 1.5, True, None, [], 2**31, 2**64)
    ),
    *((settings_of(**{name: 0}), f"settings.{name}") for name in ("dailyLimit", "dailyMaxLeads")),
    *(
        (settings_of(**{name: value}), f"settings.{name}")
        for name, _, values in SETTINGS
        if values == [True, False]
        for value in (0, 1, "true", "yes", None, [])
    ),
    *(
        (settings_of(**{name: value}), f"settings.{name}")
        for name in ("ccList", "bccList")
        for value in ("a@x.example", 5, None, {"a": "a@x.example"})
    ),
    (settings_of(ccList=["a@x.example", "nobody"]), "settings.ccList.1"),
    (settings_of(bccList=[None]), "settings.bccList.0"),
    *(
        (settings_of(**{name: True}), f"settings.{name}")
        for name in ("stop_on_reply", "StopOnReply", "stopOnClick", "daily_limit", "name", "x")
    ),
]


@pytest.mark.parametrize("path", dict.fromkeys(path for _, path in INVALID))
def test_an_invalid_campaign_is_refused_by_field_and_nothing_is_called(
    client: FlaskClient, upstreams: Upstreams, db: Rows, path: str
) -> None:
    for changes in (changes for changes, refused in INVALID if refused == path):
        body = {**campaign_request(), **changes}
        body = {name: value for name, value in body.items() if value is not ABSENT}
        answer = client.post("/campaigns", json=body)
        assert answer.status_code == 400, changes
        assert answer.get_json()["error"] == "Invalid request"
        assert list(answer.get_json()["details"]) == [path], changes
    assert nothing_was_called(upstreams)
    assert db.count("instantly_campaigns") == 0


# Creating: what other services can do to it

KEYS_FAILURES: list[tuple[dict[str, Any], int, str]] = [
    ({"status": 404}, 422, "BYOK key not configured for this organization"),
    ({"status": 404, "body": "<html>"}, 422, "BYOK key not configured for this organization"),
    *(
        ({"status": status, "times": None}, 502, "key-service unavailable")
        for status in (302, 400, 401, 403, 418, 422, 429, 500, 502, 503)
    ),
    *(
        ({"status": 200, "body": body}, 502, "key-service unavailable")
        for body in (
            "<html></html>",
            None,
            "",
            [],
            ["key-1"],
            {},
            {"provider": "instantly"},
            {"key": ""},
            {"key": None},
            {"key": 5},
            {"key": ["key-1"]},
            {"key": "a b"},
            {"key": "a\r\nX-Other: b"},
            {"key": "schlüssel"},
            "null",
            '"key-1"',
            "[" * 100_000,
        )
    ),
    ({"status": 500, "body": "<h1>oops</h1>", "times": None}, 502, "key-service unavailable"),
    ({"how": "drop", "times": None}, 502, "key-service unavailable"),
    ({"how": "cut", "times": None}, 502, "key-service unavailable"),
]


@pytest.mark.parametrize(("fault", "status", "message"), KEYS_FAILURES)
def test_without_a_key_nothing_is_done(
    client: FlaskClient,
    upstreams: Upstreams,
    db: Rows,
    fault: dict[str, Any],
    status: int,
    message: str,
) -> None:
    upstreams.keys_http.fail("GET", ".*", **fault)
    answer = create(client)
    assert (answer.status_code, answer.get_json()) == (status, {"error": message})
    assert upstreams.runs_http.requests == []
    assert upstreams.instantly_http.requests == []
    assert nothing_is_left(upstreams, db)


def test_an_organisation_without_a_key_gets_no_other_key(
    client: FlaskClient, upstreams: Upstreams
) -> None:
    answer = create(client, clerkOrgId="somebody-else")
    assert answer.status_code == 422
    assert answer.get_json() == {"error": "BYOK key not configured for this organization"}
    assert upstreams.keys_http.calls("GET", "/internal/app-keys/.*") == []
    assert upstreams.instantly_http.requests == []


RUNS_REFUSALS = [(status, text) for status in (400, 404, 422) for text in ("No such run", None)]


@pytest.mark.parametrize(("status", "text"), RUNS_REFUSALS)
def test_a_run_that_runs_service_refuses_is_told_in_its_words(
    client: FlaskClient, upstreams: Upstreams, db: Rows, status: int, text: str | None
) -> None:
    body = {"error": text} if text else "<html>"
    upstreams.runs_http.fail("POST", "/v1/runs", status=status, body=body)
    answer = create(client)
    assert answer.status_code == 422
    told = answer.get_json()
    assert told["error"] == "runs-service rejected the request"
    assert told["details"]["status"] == status
    assert told["details"]["message"] == (text or HTTPStatus(status).phrase)
    assert upstreams.instantly_http.requests == []
    assert nothing_is_left(upstreams, db)


def test_a_parent_run_that_does_not_exist_is_refused(
    client: FlaskClient, upstreams: Upstreams, db: Rows
) -> None:
    answer = create(client, runId=str(uuid4()))
    assert answer.status_code == 422
    assert answer.get_json() == {
        "error": "runs-service rejected the request",
        "details": {"status": 400, "message": "Parent run does not exist"},
    }
    assert upstreams.instantly_http.requests == []


RUNS_FAILURES: list[dict[str, Any]] = [
    *({"status": status, "times": None} for status in (302, 401, 403, 409, 429, 500, 503)),
    *(
        {"status": 201, "body": body}
        for body in ("<html>", None, [], {}, "null", {"id": None}, {"id": 5}, {"id": "run-1"})
    ),
    {"how": "drop"},
]


@pytest.mark.parametrize("fault", RUNS_FAILURES, ids=str)
def test_without_a_run_nothing_is_done(
    client: FlaskClient, upstreams: Upstreams, db: Rows, fault: dict[str, Any]
) -> None:
    upstreams.runs_http.fail("POST", "/v1/runs", **fault)
    answer = create(client)
    assert answer.status_code == 502
    assert answer.get_json() == {"error": "runs-service unavailable"}
    assert upstreams.instantly_http.requests == []
    assert nothing_is_left(upstreams, db)


@pytest.mark.parametrize("how", ["drop", "drop_after", "cut"])
def test_a_run_is_not_opened_twice(client: FlaskClient, upstreams: Upstreams, how: Any) -> None:
    upstreams.runs_http.fail("POST", "/v1/runs", how=how)
    assert create(client).status_code == 502
    assert len(upstreams.runs_http.calls("POST", "/v1/runs")) == 1


REJECTED = "Instantly rejected the request"
INSTANTLY_FAILURES: list[tuple[dict[str, Any], int, dict[str, Any]]] = [
    ({"status": 401}, 422, {"error": "Instantly API key was rejected"}),
    ({"status": 401, "body": "<html>"}, 422, {"error": "Instantly API key was rejected"}),
    *(
        (
            {"status": status, "body": {"statusCode": status, "error": "E", "message": "M"}},
            422,
            {"error": REJECTED, "details": {"status": status, "message": "M"}},
        )
        for status in (400, 402, 403, 404, 409, 413, 422)
    ),
    (
        {"status": 403, "body": "<html><h1>403 Forbidden</h1></html>"},
        422,
        {"error": REJECTED, "details": {"status": 403, "message": "Forbidden"}},
    ),
    (
        {"status": 402, "body": {"error": "No active plan"}},
        422,
        {"error": REJECTED, "details": {"status": 402, "message": "No active plan"}},
    ),
    ({"status": 429, "times": None}, 503, {"error": "Instantly rate limit reached"}),
    *(
        ({"status": status, "body": body}, 502, {"error": "Instantly unavailable"})
        for status in (302, 500, 502, 503, 504)
        for body in ("<html>", {"message": "M"})
    ),
    *(
        ({"status": 200, "body": body}, 502, {"error": "Instantly unavailable"})
        for body in ("<html>", None, [], "null", {}, {"id": None}, {"id": 5}, {"id": "../x"})
    ),
    ({"how": "drop"}, 502, {"error": "Instantly unavailable"}),
]


@pytest.mark.parametrize(("fault", "status", "told"), INSTANTLY_FAILURES)
def test_what_instantly_refuses_leaves_nothing_behind(
    client: FlaskClient,
    upstreams: Upstreams,
    db: Rows,
    fault: dict[str, Any],
    status: int,
    told: dict[str, Any],
) -> None:
    upstreams.instantly_http.fail(*CREATE, **fault)
    answer = create(client)
    assert (answer.status_code, answer.get_json()) == (status, told)
    assert nothing_is_left(upstreams, db)
    assert upstreams.run_statuses() == ["failed"]
    if fault.get("status") != 429:
        assert len(upstreams.instantly_http.calls(*CREATE)) == 1


@pytest.mark.parametrize("seconds", [1, 20, 31, 3600])
def test_a_rate_limit_says_when_to_come_back(
    client: FlaskClient, upstreams: Upstreams, db: Rows, seconds: int
) -> None:
    upstreams.instantly_http.fail(
        *CREATE, status=429, times=None, headers={"Retry-After": str(seconds)}
    )
    answer = create(client)
    assert answer.status_code == 503
    assert answer.get_json() == {"error": "Instantly rate limit reached"}
    assert answer.headers["Retry-After"] == str(seconds)
    assert nothing_is_left(upstreams, db)


def test_a_rate_limit_without_a_time_says_when_to_come_back_all_the_same(
    client: FlaskClient, upstreams: Upstreams
) -> None:
    upstreams.instantly_http.fail(*CREATE, status=429, times=None)
    assert int(create(client).headers["Retry-After"]) > 0


def test_a_rate_limit_that_passes_makes_one_campaign(
    client: FlaskClient, upstreams: Upstreams
) -> None:
    for http in (upstreams.keys_http, upstreams.runs_http, upstreams.instantly_http):
        http.fail("GET", ".*", status=429, times=2)
        http.fail("POST", ".*", status=429, times=2)
        http.fail("PATCH", ".*", status=429, times=2)
    created(create(client))
    assert len(campaigns_in_instantly(upstreams)) == 1
    assert upstreams.runs.billed() == {"instantly-campaign-create": 1}
    assert upstreams.run_statuses() == ["completed"]


@pytest.mark.parametrize("how", ["after", "drop_after", "cut"])
def test_a_lost_answer_leaves_a_draft_at_most(
    client: FlaskClient, upstreams: Upstreams, db: Rows, how: Any
) -> None:
    upstreams.instantly_http.fail(*CREATE, how=how, status=500)
    answer = create(client)
    assert (answer.status_code, answer.get_json()) == (502, {"error": "Instantly unavailable"})
    assert len(upstreams.instantly_http.calls(*CREATE)) == 1
    assert [campaign["status"] for campaign in campaigns_in_instantly(upstreams).values()] == [0]
    assert db.count("instantly_campaigns") == 0
    assert upstreams.runs.billed() == {}
    assert upstreams.run_statuses() == ["failed"]


@pytest.mark.parametrize(
    ("service", "message"),
    [
        ("keys_http", "key-service unavailable"),
        ("runs_http", "runs-service unavailable"),
        ("instantly_http", "Instantly unavailable"),
    ],
)
def test_an_unreachable_service_is_a_502(
    client: FlaskClient, upstreams: Upstreams, db: Rows, service: str, message: str
) -> None:
    with unreachable(getattr(upstreams, service)):
        answer = create(client)
    assert (answer.status_code, answer.get_json()) == (502, {"error": message})
    assert nothing_is_left(upstreams, db)


@pytest.mark.parametrize(
    ("service", "method", "path", "message"),
    [
        ("keys", "GET", ".*", "key-service unavailable"),
        ("runs", "POST", "/v1/runs", "runs-service unavailable"),
        ("instantly", *CREATE, "Instantly unavailable"),
    ],
)
def test_a_service_that_takes_too_long_is_a_502(
    client: FlaskClient,
    upstreams: Upstreams,
    db: Rows,
    monkeypatch: pytest.MonkeyPatch,
    service: str,
    method: str,
    path: str,
    message: str,
) -> None:
    http = getattr(upstreams, f"{service}_http")
    http.fail(method, path, how="hang", times=None)
    impatient = getattr(client.application.extensions[EXTENSION], service)
    monkeypatch.setattr(impatient, "_timeout", (1, 0.1))
    answer = create(client)
    assert (answer.status_code, answer.get_json()) == (502, {"error": message})
    monkeypatch.undo()
    http.heal()
    assert nothing_is_left(upstreams, db)


# Creating: all or nothing

COST_FAILURES: list[tuple[dict[str, Any], int, str]] = [
    *(({"status": n}, 422, "runs-service rejected the request") for n in (400, 404, 422)),
    *(
        ({"status": n, "times": None}, 502, "runs-service unavailable")
        for n in (401, 403, 429, 500, 503)
    ),
    ({"how": "drop"}, 502, "runs-service unavailable"),
]


@pytest.mark.parametrize(("fault", "status", "message"), COST_FAILURES)
def test_a_failed_cost_leaves_nothing_behind(
    client: FlaskClient,
    upstreams: Upstreams,
    db: Rows,
    fault: dict[str, Any],
    status: int,
    message: str,
) -> None:
    upstreams.runs_http.fail("POST", "/v1/runs/.*/costs", **fault)
    answer = create(client)
    assert (answer.status_code, answer.get_json()["error"]) == (status, message)
    assert nothing_is_left(upstreams, db)
    assert upstreams.run_statuses() == ["failed"]


@pytest.mark.parametrize("how", ["drop", "drop_after", "after", "cut"])
def test_a_cost_is_never_logged_twice(
    client: FlaskClient, upstreams: Upstreams, db: Rows, how: Any
) -> None:
    upstreams.runs_http.fail("POST", "/v1/runs/.*/costs", how=how)
    assert create(client).status_code == 502
    assert len(upstreams.runs_http.calls("POST", "/v1/runs/.*/costs")) == 1
    assert db.count("instantly_campaigns") == 0
    assert campaigns_in_instantly(upstreams) == {}
    assert upstreams.run_statuses() == ["failed"]


def test_nothing_is_billed_before_the_row_is_kept(
    client: FlaskClient, upstreams: Upstreams, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_statement(monkeypatch, "insert_campaign", OperationalError("gone"), acts=False)
    create(client)
    assert upstreams.runs_http.calls("POST", "/v1/runs/.*/costs") == []


@pytest.mark.parametrize("acts", [False, True], ids=["refused", "answer lost"])
@pytest.mark.parametrize(
    ("failure", "status", "message"),
    [
        (OperationalError("gone"), 503, "Database unavailable"),
        (RuntimeError("a bug"), 500, "Internal server error"),
    ],
)
def test_a_failed_insert_leaves_nothing_behind(
    client: FlaskClient,
    upstreams: Upstreams,
    db: Rows,
    monkeypatch: pytest.MonkeyPatch,
    failure: Exception,
    status: int,
    message: str,
    acts: bool,
) -> None:
    fail_statement(monkeypatch, "insert_campaign", failure, acts=acts)
    answer = create(client)
    assert (answer.status_code, answer.get_json()) == (status, {"error": message})
    assert ("Retry-After" in answer.headers) == (status == 503)
    assert nothing_is_left(upstreams, db)
    assert upstreams.run_statuses() == ["failed"]


@pytest.mark.parametrize(
    "fault", [{"status": 500, "times": None}, {"status": 404}, {"how": "drop", "times": None}]
)
def test_a_run_that_cannot_be_completed_costs_nobody_the_campaign(
    client: FlaskClient, upstreams: Upstreams, db: Rows, fault: dict[str, Any]
) -> None:
    upstreams.runs_http.fail("PATCH", "/v1/runs/.*", **fault)
    campaign = created(create(client))
    assert db.count("instantly_campaigns") == 1
    assert list(campaigns_in_instantly(upstreams)) == [campaign["instantlyCampaignId"]]
    assert upstreams.runs.billed() == {"instantly-campaign-create": 1}


def test_completing_a_run_is_tried_again(client: FlaskClient, upstreams: Upstreams) -> None:
    upstreams.runs_http.fail("PATCH", "/v1/runs/.*", status=500, times=2)
    created(create(client))
    assert upstreams.run_statuses() == ["completed"]


def test_taking_the_campaign_back_is_tried_again(
    client: FlaskClient, upstreams: Upstreams, db: Rows
) -> None:
    upstreams.runs_http.fail("POST", "/v1/runs/.*/costs", status=422)
    upstreams.instantly_http.fail("DELETE", ".*", status=500, times=2)
    upstreams.runs_http.fail("PATCH", "/v1/runs/.*", how="drop", times=2)
    assert create(client).status_code == 422
    assert nothing_is_left(upstreams, db)
    assert upstreams.run_statuses() == ["failed"]


@pytest.mark.parametrize("what", ["the campaign", "the run", "the row", "all of it"])
def test_what_cannot_be_taken_back_does_not_hide_the_first_error(
    client: FlaskClient,
    upstreams: Upstreams,
    db: Rows,
    monkeypatch: pytest.MonkeyPatch,
    what: str,
) -> None:
    everything = what == "all of it"
    body = {"error": "Unknown cost name"}
    upstreams.runs_http.fail("POST", "/v1/runs/.*/costs", status=422, body=body)
    if everything or what == "the campaign":
        upstreams.instantly_http.fail("DELETE", ".*", status=500, times=None)
    if everything or what == "the run":
        upstreams.runs_http.fail("PATCH", "/v1/runs/.*", status=500, times=None)
    if everything or what == "the row":
        fail_statement(monkeypatch, "delete_campaign", OperationalError("gone"), acts=False)
    answer = create(client)
    assert answer.status_code == 422
    assert answer.get_json() == {
        "error": "runs-service rejected the request",
        "details": {"status": 422, "message": "Unknown cost name"},
    }
    # One thing that fails keeps nothing else from being taken back, but a row keeps what it
    # stands for.
    assert (db.count("instantly_campaigns") == 0) == (what not in ("the row", "all of it"))
    gone = campaigns_in_instantly(upstreams) == {}
    assert gone == (what not in ("the campaign", "the row", "all of it"))
    assert (upstreams.run_statuses() == ["failed"]) == (what not in ("the run", "all of it"))


def test_a_campaign_that_is_gone_already_is_taken_back(
    client: FlaskClient, upstreams: Upstreams, db: Rows
) -> None:
    upstreams.runs_http.fail("POST", "/v1/runs/.*/costs", status=422)
    upstreams.instantly_http.fail("DELETE", ".*", how="after", status=404)
    assert create(client).status_code == 422
    assert nothing_is_left(upstreams, db)


def test_after_a_failure_the_caller_may_simply_repeat(
    client: FlaskClient, upstreams: Upstreams, db: Rows
) -> None:
    upstreams.runs_http.fail("POST", "/v1/runs/.*/costs", status=500)
    assert create(client).status_code == 502
    created(create(client))
    assert db.count("instantly_campaigns") == 1
    assert len(campaigns_in_instantly(upstreams)) == 1
    assert upstreams.runs.billed() == {"instantly-campaign-create": 1}


# Reading one


def test_a_campaign_is_shown_with_all_its_fields(
    client: FlaskClient, campaign: dict[str, Any], upstreams: Upstreams
) -> None:
    answer = client.get(f"/campaigns/{campaign['id']}")
    assert answer.status_code == 200
    assert answer.mimetype == "application/json"
    body = answer.get_json()
    assert body.keys() == {"campaign"}
    shown = body["campaign"]
    assert shown.keys() >= CAMPAIGN_FIELDS
    assert {name: shown[name] for name in campaign} == campaign
    assert {name: shown[name] for name in ORG} == ORG
    assert [shown["runId"]] == list(upstreams.runs.runs)
    assert shown["parentRunId"] is None


def test_times_are_utc_with_milliseconds(
    client: FlaskClient, campaign: dict[str, Any], db: Rows
) -> None:
    db.connection.execute(
        "UPDATE instantly_campaigns SET created_at = '2026-02-25 14:00:00+02',"
        " updated_at = '2026-12-31 23:59:59.9994+00'"
    )
    shown = client.get(f"/campaigns/{campaign['id']}").get_json()["campaign"]
    assert shown["createdAt"] == "2026-02-25T12:00:00.000Z"
    assert shown["updatedAt"] == "2026-12-31T23:59:59.999Z"


ODD_IDS: list[Callable[[str], str]] = [
    lambda known: str(uuid4()),
    lambda known: known.replace("-", ""),
    lambda known: "{" + known + "}",
    lambda known: f"urn:uuid:{known}",
    lambda known: f"{known}0",
    lambda known: known[:-1],
    lambda known: f"%20{known}",
    lambda known: f"{known}%0A",
    lambda known: known.replace("-", "_"),
    lambda known: "nobody",
    lambda known: "0",
    lambda known: "1e3",
    lambda known: "%00",
    lambda known: "%ff",
    lambda known: "null",
    lambda known: "\u0660" * 32,
    lambda known: "x" * 5000,
    lambda known: "'%20OR%20true%20--",
]
ON_A_CAMPAIGN: list[tuple[str, str, dict[str, Any] | None]] = [
    ("GET", "", None),
    ("PATCH", "/status", {"status": "active"}),
    ("GET", "/leads", None),
    ("POST", "/leads", {"orgId": "org-1", "leads": [{"email": "a@x.example"}]}),
    ("DELETE", "/leads", {"emails": ["a@x.example"]}),
    ("GET", "/analytics", None),
]


@pytest.mark.parametrize(("method", "path", "body"), ON_A_CAMPAIGN)
def test_what_is_no_id_of_a_campaign_is_not_found(
    client: FlaskClient,
    campaign: dict[str, Any],
    upstreams: Upstreams,
    method: str,
    path: str,
    body: dict[str, Any] | None,
) -> None:
    for http in (upstreams.keys_http, upstreams.runs_http, upstreams.instantly_http):
        http.clear()
    for odd in ODD_IDS:
        odd_id = odd(campaign["id"])
        answer = client.open(f"/campaigns/{odd_id}{path}", method=method, json=body)
        assert (answer.status_code, answer.get_json()) == (
            404,
            {"error": "Campaign not found"},
        ), odd_id
    assert nothing_was_called(upstreams)


def test_by_org_alone_is_no_campaign(client: FlaskClient) -> None:
    assert client.get("/campaigns/by-org").get_json() == {"error": "Campaign not found"}


def test_instantlys_id_is_not_ours(client: FlaskClient, campaign: dict[str, Any]) -> None:
    assert client.get(f"/campaigns/{campaign['instantlyCampaignId']}").status_code == 404


# Listing those of an organisation


def insert_campaigns(db: Rows, count: int, org_id: str = "org-1") -> None:
    """Rows as the service would have left them, the name of each its number from 1 on."""
    db.connection.execute(
        "INSERT INTO instantly_campaigns (id, instantly_campaign_id, org_id, clerk_org_id,"
        " brand_id, app_id, name, run_id)"
        " SELECT gen_random_uuid(), gen_random_uuid(), %s, 'clerk-1', 'b', 'a', n::text,"
        " gen_random_uuid() FROM generate_series(1, %s) AS n",
        [org_id, count],
    )


def listed(client: FlaskClient, query: str = "", org_id: str = "org-1") -> dict[str, Any]:
    answer = client.get(f"/campaigns/by-org/{org_id}?{query}")
    assert answer.status_code == 200, answer.text
    page: dict[str, Any] = answer.get_json()
    assert page["count"] == len(page["campaigns"])
    return page


def names(page: dict[str, Any]) -> list[int]:
    return [int(campaign["name"]) for campaign in page["campaigns"]]


def walk(client: FlaskClient, limit: int) -> Iterator[dict[str, Any]]:
    query = f"limit={limit}"
    while True:
        page = listed(client, query)
        yield page
        if page["nextCursor"] is None:
            return
        query = f"limit={limit}&cursor={page['nextCursor']}"


def test_campaigns_are_listed_newest_first(client: FlaskClient, upstreams: Upstreams) -> None:
    ids = [created(create(client))["id"] for _ in range(3)]
    page = listed(client)
    assert [campaign["id"] for campaign in page["campaigns"]] == ids[::-1]
    assert (page["count"], page["total"], page["nextCursor"]) == (3, 3, None)


def test_a_listed_campaign_is_the_one_that_is_shown(
    client: FlaskClient, campaign: dict[str, Any]
) -> None:
    shown = client.get(f"/campaigns/{campaign['id']}").get_json()["campaign"]
    assert listed(client)["campaigns"] == [shown]


def test_an_unknown_organisation_has_no_campaigns(
    client: FlaskClient, campaign: dict[str, Any]
) -> None:
    for org_id in ("nobody", "org-", "ORG-1", "org-1%20", "clerk-1", "%25", "org%5F1", "ö"):
        assert listed(client, org_id=org_id) == {
            "campaigns": [],
            "count": 0,
            "total": 0,
            "nextCursor": None,
        }


@pytest.mark.parametrize("org_id", ["%00", "org-1%00", "%00org-1"])
def test_an_organisation_with_nul_in_its_name_is_a_bad_request(
    client: FlaskClient, org_id: str
) -> None:
    answer = client.get(f"/campaigns/by-org/{org_id}")
    assert answer.status_code == 400
    assert answer.get_json()["error"] == "Invalid request"
    assert list(answer.get_json()["details"]) == ["orgId"]


def test_a_page_holds_a_hundred_unless_told(client: FlaskClient, db: Rows) -> None:
    insert_campaigns(db, 101)
    page = listed(client)
    assert names(page) == list(range(101, 1, -1))
    assert page["total"] == 101
    assert page["nextCursor"] is not None


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 10, 20, 21, 1000])
def test_pages_by_cursor_hold_every_campaign_once(
    client: FlaskClient, db: Rows, limit: int
) -> None:
    insert_campaigns(db, 10, "org-2")
    insert_campaigns(db, 20)
    insert_campaigns(db, 10, "org-2")
    pages = list(walk(client, limit))
    assert [name for page in pages for name in names(page)] == list(range(20, 0, -1))
    assert [page["total"] for page in pages] == [20] * len(pages)
    assert len(pages) == -(-20 // limit)
    assert all(page["count"] == limit for page in pages[:-1])


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("skip=0&limit=2", [5, 4]),
        ("skip=1&limit=2", [4, 3]),
        ("skip=4&limit=2", [1]),
        ("skip=5", []),
        ("skip=9223372036854775807", []),
        ("skip=3", [2, 1]),
        ("limit=5", [5, 4, 3, 2, 1]),
    ],
)
def test_a_page_may_be_reached_by_skipping(
    client: FlaskClient, db: Rows, query: str, expected: list[int]
) -> None:
    insert_campaigns(db, 5)
    page = listed(client, query)
    assert (names(page), page["total"]) == (expected, 5)
    is_last = not expected or expected[-1] == 1
    assert (page["nextCursor"] is None) == is_last


def test_one_can_go_on_by_cursor_after_skipping(client: FlaskClient, db: Rows) -> None:
    insert_campaigns(db, 5)
    page = listed(client, "skip=1&limit=2")
    assert names(listed(client, f"limit=2&cursor={page['nextCursor']}")) == [2, 1]


def test_a_cursor_of_another_organisation_shows_nothing_of_it(
    client: FlaskClient, db: Rows
) -> None:
    insert_campaigns(db, 5, "org-2")
    insert_campaigns(db, 5)
    cursor = listed(client, "limit=2", org_id="org-2")["nextCursor"]
    assert listed(client, f"cursor={cursor}")["campaigns"] == []


@pytest.mark.parametrize(
    ("query", "field"),
    [
        *(
            (f"limit={value}", "limit")
            for value in (
                "0",
                "-1",
                "1001",
                "",
                "x",
                "1.5",
                "1e2",
                "+5",
                "%205",
                "0x10",
                "\u0661",
                "null",
            )
        ),
        ("limit=99999999999999999999999", "limit"),
        *((f"skip={value}", "skip") for value in ("-1", "", "x", "1.0", "9223372036854775808")),
        *((f"cursor={value}", "cursor") for value in ("", "x", "-1", "9223372036854775808", "%00")),
        ("skip=0&cursor=1", "cursor"),
    ],
)
def test_a_page_that_makes_no_sense_is_a_bad_request(
    client: FlaskClient, query: str, field: str
) -> None:
    answer = client.get(f"/campaigns/by-org/org-1?{query}")
    assert answer.status_code == 400, answer.text
    assert answer.get_json()["error"] == "Invalid request"
    assert list(answer.get_json()["details"]) == [field]


@pytest.mark.parametrize("seed", range(3))
def test_paging_while_campaigns_arrive_and_go_loses_and_doubles_none(
    client: FlaskClient, db: Rows, seed: int
) -> None:
    chance = random.Random(seed)
    insert_campaigns(db, 50)
    seen: list[int] = []
    gone: set[int] = set()
    for page in walk(client, 4):
        seen += names(page)
        insert_campaigns(db, chance.randrange(3))
        victim = chance.randrange(1, 51)
        db.connection.execute(
            "DELETE FROM instantly_campaigns WHERE name = %s AND position <="
            " (SELECT min(position) + 49 FROM instantly_campaigns)",
            [str(victim)],
        )
        gone.add(victim)
    assert len(seen) == len(set(seen))
    assert set(seen) >= set(range(1, 51)) - gone
    assert set(seen) <= set(range(1, 51))


PAGE_STATEMENTS = [
    ("select_campaigns_page", "instantly_campaigns", "org_id"),
    ("select_leads_page", "instantly_leads", "campaign_id"),
]


def plan_nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from plan_nodes(child)


def page_plan(
    connection: psycopg.Connection[Any], statement: str, **parameters: Any
) -> list[dict[str, Any]]:
    """The nodes of the plan, as they were really executed."""
    sql = load_statements(SQL_DIRECTORY)[statement]
    with ClientCursor(connection) as cursor:
        cursor.execute(
            f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}",
            {"skip": None, "cursor": None, "limit": 20, **parameters},
        )
        row = cursor.fetchone()
    assert row is not None
    return list(plan_nodes(row[0][0]["Plan"]))


def rows_read(node: dict[str, Any]) -> int:
    rows: int = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
    return rows * int(node["Actual Loops"])


@pytest.mark.parametrize(("statement", "table", "filter_name"), PAGE_STATEMENTS)
def test_page_n_reads_no_more_rows_than_page_one(
    client: FlaskClient, db: Rows, statement: str, table: str, filter_name: str
) -> None:
    connection = db.connection
    for letter in string.ascii_lowercase[:4]:
        insert_campaigns(db, 1500, f"org-{letter}")
    connection.execute(
        "INSERT INTO instantly_leads (campaign_id, instantly_lead_id, email, org_id, run_id)"
        " SELECT id, n::text, n || '@x.example', 'org', gen_random_uuid()"
        " FROM (SELECT id FROM instantly_campaigns ORDER BY position LIMIT 3) AS c,"
        " generate_series(1, 1500) AS n"
    )
    connection.execute("ANALYZE instantly_campaigns, instantly_leads")
    value = db.all("SELECT campaign_id FROM instantly_leads LIMIT 1")[0]["campaign_id"]
    value = "org-b" if filter_name == "org_id" else value
    positions = [
        row["position"]
        for row in db.all(
            f"SELECT position FROM {table} WHERE {filter_name} = %s ORDER BY position",  # noqa: S608
            value,
        )
    ]
    assert len(positions) == 1500
    for cursor in (None, positions[100], positions[750], positions[1400]):
        nodes = page_plan(connection, statement, **{filter_name: value}, cursor=cursor)
        scans = [node for node in nodes if node.get("Relation Name") == table]
        # One each: the rows of the page, their positions and one more, and the total.
        *page, total = sorted(scans, key=rows_read)
        assert [rows_read(scan) for scan in page] == [20, 21], (cursor, nodes)
        assert rows_read(total) >= 1500
        assert not [scan for scan in page if scan["Node Type"] == "Seq Scan"], (cursor, nodes)
        sorts = [node for node in nodes if "Sort" in node["Node Type"]]
        assert all(rows_read(sort) <= 20 for sort in sorts), (cursor, nodes)


# Switching on and off


def set_status(client: FlaskClient, campaign: dict[str, Any], status: Any) -> TestResponse:
    return client.patch(f"/campaigns/{campaign['id']}/status", json={"status": status})


def status_of(client: FlaskClient, campaign: dict[str, Any]) -> str:
    shown = client.get(f"/campaigns/{campaign['id']}").get_json()["campaign"]
    return str(shown["status"])


@pytest.mark.parametrize(
    ("status", "verb", "in_instantly"),
    [("active", "activate", 1), ("paused", "pause", 2), ("completed", "pause", 2)],
)
def test_a_campaign_is_switched_in_instantly_and_in_our_row(
    client: FlaskClient,
    campaign: dict[str, Any],
    upstreams: Upstreams,
    status: str,
    verb: str,
    in_instantly: int,
) -> None:
    upstreams.instantly_http.clear()
    answer = set_status(client, campaign, status)
    assert answer.status_code == 200
    body = answer.get_json()
    assert body.keys() == {"campaign"}
    assert body["campaign"].keys() >= CAMPAIGN_FIELDS
    assert body["campaign"]["status"] == status
    assert body == client.get(f"/campaigns/{campaign['id']}").get_json()
    instantly_id = campaign["instantlyCampaignId"]
    request = only(upstreams.instantly_http.requests)
    assert (request.method, request.path) == ("POST", f"/api/v2/campaigns/{instantly_id}/{verb}")
    assert campaigns_in_instantly(upstreams)[instantly_id]["status"] == in_instantly


@pytest.mark.parametrize("status", ["active", "paused", "completed"])
def test_a_switch_has_neither_body_nor_content_type(
    client: FlaskClient, campaign: dict[str, Any], upstreams: Upstreams, status: str
) -> None:
    upstreams.instantly_http.clear()
    set_status(client, campaign, status)
    request = only(upstreams.instantly_http.requests)
    assert request.body == b""
    assert "Content-Type" not in request.headers
    assert request.headers["Authorization"] == "Bearer key-1"


def test_a_switch_tells_key_service_its_route(
    client: FlaskClient, campaign: dict[str, Any], upstreams: Upstreams
) -> None:
    upstreams.keys_http.clear()
    set_status(client, campaign, "active")
    request = only(upstreams.keys_http.requests)
    assert request.headers["X-Caller-Method"] == "PATCH"
    assert request.headers["X-Caller-Path"] == "/campaigns/:campaignId/status"


def test_a_switch_is_not_billed(
    client: FlaskClient, campaign: dict[str, Any], upstreams: Upstreams
) -> None:
    upstreams.runs_http.clear()
    set_status(client, campaign, "active")
    assert upstreams.runs_http.requests == []


def test_a_campaign_can_be_switched_to_and_fro(
    client: FlaskClient, campaign: dict[str, Any]
) -> None:
    for status in ("active", "active", "paused", "active", "completed", "active"):
        assert set_status(client, campaign, status).status_code == 200
        assert status_of(client, campaign) == status


def test_a_switch_moves_the_time_of_update_only(
    client: FlaskClient, campaign: dict[str, Any], db: Rows
) -> None:
    db.connection.execute(
        "UPDATE instantly_campaigns SET created_at = '2020-01-01Z', updated_at = '2020-01-01Z'"
    )
    shown = set_status(client, campaign, "active").get_json()["campaign"]
    assert shown["createdAt"] == "2020-01-01T00:00:00.000Z"
    assert shown["updatedAt"] > shown["createdAt"]


@pytest.mark.parametrize("status", ["", "draft", "Active", "active ", "pause", "bounce_protect"])
def test_a_wrong_status_is_told_the_right_ones(
    client: FlaskClient, campaign: dict[str, Any], upstreams: Upstreams, status: str
) -> None:
    upstreams.instantly_http.clear()
    answer = set_status(client, campaign, status)
    assert answer.status_code == 400
    body = answer.get_json()
    assert body["error"] == "Invalid status"
    assert body["allowed"] == ["active", "paused", "completed"]
    assert upstreams.instantly_http.requests == []
    assert status_of(client, campaign) == "draft"


@pytest.mark.parametrize(
    "body", [{}, *({"status": x} for x in (None, 1, True, [], ["active"], {}))]
)
def test_a_status_that_is_no_text_is_a_bad_request(
    client: FlaskClient, campaign: dict[str, Any], upstreams: Upstreams, body: dict[str, Any]
) -> None:
    upstreams.instantly_http.clear()
    assert client.patch(f"/campaigns/{campaign['id']}/status", json=body).status_code == 400
    assert upstreams.instantly_http.requests == []
    assert status_of(client, campaign) == "draft"


@pytest.mark.parametrize(
    ("negative", "shown"),
    [(-1, "accounts_unhealthy"), (-2, "bounce_protect"), (-99, "account_suspended")],
)
def test_trouble_that_instantly_reports_wins(
    client: FlaskClient,
    campaign: dict[str, Any],
    upstreams: Upstreams,
    negative: int,
    shown: str,
) -> None:
    upstreams.instantly.activate_status = negative
    answer = set_status(client, campaign, "active")
    assert answer.status_code == 200
    assert answer.get_json()["campaign"]["status"] == shown
    assert status_of(client, campaign) == shown
    upstreams.instantly.activate_status = 1
    assert set_status(client, campaign, "active").get_json()["campaign"]["status"] == "active"


@pytest.mark.parametrize("status", ["paused", "completed"])
def test_trouble_wins_on_pausing_too(
    client: FlaskClient, campaign: dict[str, Any], upstreams: Upstreams, status: str
) -> None:
    instantly_id = campaign["instantlyCampaignId"]
    body = {**campaigns_in_instantly(upstreams)[instantly_id], "status": -99}
    upstreams.instantly_http.fail("POST", ".*/pause", status=200, body=body)
    assert set_status(client, campaign, status).get_json()["campaign"]["status"] == (
        "account_suspended"
    )


@pytest.mark.parametrize("number", [0, 1, 2, 3, 4, -3, None, 1.5])
def test_any_other_status_of_instantly_leaves_ours_as_asked(
    client: FlaskClient, campaign: dict[str, Any], upstreams: Upstreams, number: Any
) -> None:
    body = {"id": campaign["instantlyCampaignId"], "status": number}
    upstreams.instantly_http.fail("POST", ".*/activate", status=200, body=body)
    assert set_status(client, campaign, "active").get_json()["campaign"]["status"] == "active"


SWITCH_FAILURES: list[tuple[dict[str, Any], int, dict[str, Any]]] = [
    ({"status": 401}, 422, {"error": "Instantly API key was rejected"}),
    *(
        (
            {"status": status, "body": {"message": "M"}},
            422,
            {"error": REJECTED, "details": {"status": status, "message": "M"}},
        )
        for status in (400, 402, 403, 404)
    ),
    ({"status": 429, "times": None}, 503, {"error": "Instantly rate limit reached"}),
    ({"status": 500, "times": None}, 502, {"error": "Instantly unavailable"}),
    ({"how": "drop", "times": None}, 502, {"error": "Instantly unavailable"}),
    ({"status": 200, "body": "<html>"}, 502, {"error": "Instantly unavailable"}),
    ({"status": 200, "body": []}, 502, {"error": "Instantly unavailable"}),
]


@pytest.mark.parametrize(("fault", "status", "told"), SWITCH_FAILURES)
def test_a_failed_switch_leaves_our_row_as_it_was(
    client: FlaskClient,
    campaign: dict[str, Any],
    upstreams: Upstreams,
    db: Rows,
    fault: dict[str, Any],
    status: int,
    told: dict[str, Any],
) -> None:
    assert set_status(client, campaign, "paused").status_code == 200
    before = db.all("SELECT * FROM instantly_campaigns")
    upstreams.instantly_http.fail("POST", ".*/(activate|pause)", **fault)
    answer = set_status(client, campaign, "active")
    assert (answer.status_code, answer.get_json()) == (status, told)
    assert db.all("SELECT * FROM instantly_campaigns") == before


@pytest.mark.parametrize("fault", [{"status": 503, "times": 2}, {"how": "drop_after"}], ids=str)
def test_a_switch_is_tried_again(
    client: FlaskClient, campaign: dict[str, Any], upstreams: Upstreams, fault: dict[str, Any]
) -> None:
    upstreams.instantly_http.fail("POST", ".*/activate", **fault)
    assert set_status(client, campaign, "active").status_code == 200


def test_without_a_key_a_campaign_is_not_switched(
    client: FlaskClient, campaign: dict[str, Any], upstreams: Upstreams
) -> None:
    upstreams.instantly_http.clear()
    upstreams.keys.organizations.clear()
    answer = set_status(client, campaign, "active")
    assert answer.status_code == 422
    assert answer.get_json() == {"error": "BYOK key not configured for this organization"}
    assert upstreams.instantly_http.requests == []
    assert status_of(client, campaign) == "draft"


def test_a_campaign_is_switched_with_its_own_organisations_key(
    client: FlaskClient, campaign: dict[str, Any], upstreams: Upstreams
) -> None:
    upstreams.keys_http.clear()
    assert set_status(client, campaign, "active").status_code == 200
    assert only(upstreams.keys_http.requests).query == {"clerkOrgId": ["clerk-1"]}
