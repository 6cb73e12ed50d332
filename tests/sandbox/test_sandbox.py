"""The stand-ins behave as what they stand for, and campaigns are played."""

import json
import threading
from collections import Counter
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from uuid import UUID

import pytest
import requests
from flask import Flask
from harness import wait_until
from helpers import UNKNOWN_ID, campaign_at_instantly
from jsonschema import Draft202012Validator
from stand_in import StandIn

from instantly.sandbox.instantly_api import InstantlyStandIn
from instantly.sandbox.internal_services import KeyServiceStandIn, RunsServiceStandIn
from instantly.sandbox.operations import find_operation

Json = dict[str, Any]

SAMPLES = Path(__file__).parents[1] / "webhook_samples.json"
LENA = "lena@try-northbeam.example"


class Caller:
    """Calls a stand-in."""

    def __init__(self, url: str, **headers: str) -> None:
        self.url = url
        self.http = requests.Session()
        self.http.trust_env = False
        self.http.headers.update(headers)

    def __call__(self, method: str, path: str, body: Any = None, **more: Any) -> requests.Response:
        extra = {} if body is None else {"json": body}
        return self.http.request(method, self.url + path, **extra, **more)

    def get(self, method: str, path: str, body: Any = None, **more: Any) -> Any:
        """The body of the answer to a call that succeeds."""
        answer = self(method, path, body, **more)
        assert answer.ok, answer.text
        return answer.json()


# Instantly


class InstantlyCaller(Caller):
    """Calls Instantly as the service would, and checks each successful answer."""

    def __call__(self, method: str, path: str, body: Any = None, **more: Any) -> requests.Response:
        answer = super().__call__(method, f"/api/v2{path}", body, **more)
        if answer.ok:
            operation = find_operation(method, "/api/v2" + unquote(path.partition("?")[0]))
            Draft202012Validator(operation.answer).validate(answer.json())
        return answer

    def pages(self, method: str, path: str, **asked: Any) -> list[list[Json]]:
        """All pages of a list, of which the last is empty."""
        pages: list[list[Json]] = []
        while not pages or pages[-1]:
            page = self.get(method, path, **{"params" if method == "GET" else "json": asked})
            pages.append(page["items"])
            asked["starting_after"] = page.get("next_starting_after")
        assert asked["starting_after"] is None
        return pages

    def all(self, path: str, **query: str) -> list[Json]:
        return list(chain.from_iterable(self.pages("GET", path, **query)))

    def add(self, campaign_id: str, *emails: str, **data: Any) -> Json:
        leads = [{"email": email, **data} for email in emails]
        return self.get("POST", "/leads/add", {"campaign_id": campaign_id, "leads": leads})

    def leads(self, **filters: Any) -> list[Json]:
        return self.get("POST", "/leads/list", {"limit": 100, **filters})["items"]

    def emails(self, **filters: Any) -> list[str]:
        return [lead["email"] for lead in self.leads(**filters)]

    def campaign(self, *bodies: str, **changes: Any) -> Json:
        """A new campaign that sends these bodies."""
        steps = [
            {"type": "email", "delay": 1, "variants": [{"subject": "Hi", "body": body}]}
            for body in bodies
        ]
        changes["sequences"] = [{"steps": steps}]
        return self.get("POST", "/campaigns", campaign_at_instantly(**changes))


@pytest.fixture
def instantly() -> InstantlyStandIn:
    stand_in = InstantlyStandIn({"acme-key": "acme", "globex-key": "globex"}, plays=False)
    stand_in.delivery_retry_seconds = stand_in.player.pause_seconds = 0.0
    return stand_in


@pytest.fixture
def acme(instantly):
    return instantly.workspace("acme")


@pytest.fixture
def call(instantly) -> Iterator[InstantlyCaller]:
    headers = {"User-Agent": "instantly-service/1", "Authorization": "Bearer acme-key"}
    with StandIn(instantly.app) as stand_in:
        caller = InstantlyCaller(stand_in.url, **headers)
        yield caller
        caller.http.close()


@pytest.fixture
def campaign_id(call) -> str:
    bodies = ("<p>Hello {{firstName}} in {{city}}</p>", "<p>Again</p>")
    return call.campaign(*bodies, email_list=[LENA])["id"]


def test_strangers_are_refused(call, campaign_id):
    for key, message in ((None, "Missing Authorization header"), ("Bearer x", "Invalid API key")):
        answer = call("GET", "/accounts", headers={"Authorization": key})
        error = {"statusCode": 401, "error": "Unauthorized", "message": message}
        assert (answer.status_code, answer.json()) == (401, error)
    for agent in ("python-requests/2.32", ""):
        answer = call("GET", "/accounts", headers={"User-Agent": agent})
        assert answer.status_code == 403
        assert answer.headers["Content-Type"].startswith("text/html")
    other_workspace = {"Authorization": "Bearer globex-key"}
    assert call("GET", f"/campaigns/{campaign_id}", headers=other_workspace).status_code == 404


ONE_LEAD = [{"email": "a@x.example"}]
NOT_FOUND = "Resource not found"


@pytest.mark.parametrize(
    ("request_line", "body", "status", "message"),
    [
        ("GET /campaigns/123", None, 400, "params/id must match"),
        (f"GET /campaigns/{UNKNOWN_ID}", None, 404, NOT_FOUND),
        ("POST /campaigns", {}, 400, "body (required): 'name'"),
        ("POST /leads/add", {"leads": ONE_LEAD}, 400, "body must have exactly one of"),
        ("POST /leads/add", {"campaign_id": UNKNOWN_ID, "leads": ONE_LEAD}, 404, NOT_FOUND),
        ("POST /leads/add", {"list_id": UNKNOWN_ID, "leads": ONE_LEAD}, 404, NOT_FOUND),
        ("DELETE /leads", {}, 400, "body (anyOf)"),
        ("DELETE /leads", {"campaign_id": UNKNOWN_ID, "ids": ["x"]}, 404, NOT_FOUND),
        ("DELETE /leads", {"list_id": UNKNOWN_ID}, 404, NOT_FOUND),
        ("GET /accounts?limit=0", None, 400, "querystring/limit (minimum)"),
        ("GET /accounts/nobody@x.example", None, 404, NOT_FOUND),
        ("GET /background-jobs/123", None, 404, NOT_FOUND),
        ("POST /webhooks", {"target_hook_url": "ftp://x.example"}, 400, "body/target_hook_url"),
        (f"GET /webhooks/{UNKNOWN_ID}", None, 404, NOT_FOUND),
        (f"PATCH /webhooks/{UNKNOWN_ID}", {"status": 1}, 400, "body (additionalProperties)"),
        (f"PATCH /webhooks/{UNKNOWN_ID}", {"headers": {"X": 1}}, 400, "body/headers/X (type)"),
        ("GET /webhook-events/summary?from=today", None, 400, "querystring/from (format)"),
        ("GET /nothing", None, 404, "Route GET:/api/v2/nothing not found"),
    ],
)
def test_refusals_have_the_shape_of_instantly(call, request_line, body, status, message):
    answer = call(*request_line.split(), body)
    error = answer.json()
    assert error.pop("message").startswith(message)
    assert error == {"statusCode": status, "error": {400: "Bad Request", 404: "Not Found"}[status]}
    assert answer.status_code == status


def test_json_without_a_body_and_a_broken_one_are_refused(call):
    for data, message in ((b"", "Body cannot be empty"), (b"{", "Body is not valid JSON")):
        answer = call(
            "POST", "/leads/list", data=data, headers={"Content-Type": "application/json"}
        )
        assert answer.status_code == 400
        assert answer.json()["message"].startswith(message)


def test_a_campaign_lives_from_draft_to_deleted(call, campaign_id):
    path = f"/campaigns/{campaign_id}"
    campaign = call.get("GET", path)
    assert UUID(campaign["id"])
    assert (campaign["status"], campaign["email_list"]) == (0, [LENA])
    assert call.get("PATCH", path, {"email_list": ["b@x.example"]})["email_list"] == ["b@x.example"]
    assert call.get("POST", f"{path}/activate")["status"] == 1
    assert call.get("POST", f"{path}/pause")["status"] == 2
    call.add(campaign_id, "a@x.example")
    assert call.get("DELETE", path)["id"] == campaign_id
    assert call("GET", path).status_code == 404
    assert call.leads() == []


@pytest.mark.parametrize(
    ("body", "kept"),
    [
        ("plain text", ""),
        ("before<p>in &amp; <b>bold</b></p>after", "<p>in &amp; <b>bold</b></p>"),
        ("one<br/>two<br>three", "<br/><br>"),
        ('<div style="color:red">a<br>b</div>&nbsp;', '<div style="color:red">a<br>b</div>'),
        ("<p>{{firstName}} &#8211;</p>", "<p>{{firstName}} &#8211;</p>"),
    ],
)
def test_text_outside_any_element_is_stripped(call, body, kept):
    for sent in (body, kept):
        (sequence,) = call.campaign(sent)["sequences"]
        assert sequence["steps"][0]["variants"][0]["body"] == kept


def test_adding_leads_counts_refusals_and_names_only_the_created(acme, call, campaign_id):
    acme.blocklist = {"blocked.example", "ceo@x.example"}
    call.add(campaign_id, "Old@x.example")
    refused = ["OLD@x.example", "NEW@x.example", "a@blocked.example", "ceo@x.example"]
    refused += ["b@nowhere.invalid", "no address", "skip+c@x.example"]
    answer = call.add(campaign_id, "new@x.example", *refused, "last@x.example")
    created = [(lead["index"], lead["email"]) for lead in answer.pop("created_leads")]
    assert created == [(0, "new@x.example"), (8, "last@x.example")]
    assert answer.pop("remaining_in_plan") > 0
    assert answer == {
        "status": "success",
        "total_sent": 9,
        "leads_uploaded": 2,
        "in_blocklist": 2,
        "blocklist_used": "workspace",
        "duplicated_leads": 1,
        "duplicate_email_count": 1,
        "skipped_count": 1,
        "invalid_email_count": 2,
        "incomplete_count": 0,
    }
    assert call.emails(campaign=campaign_id) == ["Old@x.example", "new@x.example", "last@x.example"]


def test_lists_come_in_pages_of_ten(call, campaign_id):
    emails = [f"{number}@x.example" for number in range(25)]
    call.add(campaign_id, *emails)
    pages = call.pages("POST", "/leads/list", campaign=campaign_id)
    assert [len(page) for page in pages] == [10, 10, 5, 0]
    assert [lead["email"] for page in pages for lead in page] == emails
    pages = call.pages("GET", "/accounts", unknown="names are ignored")
    assert [len(page) for page in pages] == [10, 2, 0]
    assert len({account["email"] for page in pages for account in page}) == 12
    assert "&" in call.get("GET", "/accounts")["next_starting_after"]


def test_leads_are_found_by_every_filter(call, campaign_id):
    call.add(campaign_id, "Ada@x.example", "bob@x.example")
    other = call.campaign()["id"]
    call.add(other, "ada@x.example")
    (bob,) = call.leads(search="BO")
    everybody = ["Ada@x.example", "bob@x.example", "ada@x.example"]
    assert call.emails() == call.emails(campaign_id="a name that is ignored") == everybody
    assert call.emails(campaign=campaign_id) == ["Ada@x.example", "bob@x.example"]
    assert call.emails(contacts=["ADA@x.example"]) == ["Ada@x.example", "ada@x.example"]
    assert call.emails(contacts=["ADA@x.example"], campaign=other) == ["ada@x.example"]
    assert call.emails(contacts=["nobody@x.example"], campaign=other) == []
    assert call.emails(ids=[bob["id"], UNKNOWN_ID]) == ["bob@x.example"]
    assert call.emails(ids=[bob["id"]], campaign=other) == []
    assert call.emails(ids=[bob["id"]], contacts=["ada@x.example"]) == []


def test_a_listed_lead_carries_its_data(call, campaign_id):
    data = {"company_name": None, "custom_variables": {"city": "London", "size": 3}}
    call.add(campaign_id, "ada@engines.example", first_name="Ada", **data)
    (listed,) = call.leads(campaign=campaign_id)
    assert listed["first_name"] == "Ada"
    assert listed["company_domain"] == "engines.example"
    assert listed["payload"] == {"city": "London", "size": 3, "firstName": "Ada"}
    assert "custom_variables" not in listed


def test_leads_are_deleted_by_id(call, campaign_id):
    created = call.add(campaign_id, "a@x.example", "b@x.example")["created_leads"]
    other = call.campaign()["id"]
    elsewhere = call.add(other, "c@x.example")["created_leads"]
    ids = [created[0]["id"], created[0]["id"], elsewhere[0]["id"], UNKNOWN_ID]
    body = {"campaign_id": campaign_id, "ids": ids, "limit": 4}
    assert call.get("DELETE", "/leads", body) == {"count": 1}
    assert call.get("DELETE", "/leads", body) == {"count": 0}
    assert call.emails(campaign=other) == ["c@x.example"]
    assert call.add(campaign_id, "A@x.example")["leads_uploaded"] == 1
    assert call.emails(campaign=campaign_id) == ["b@x.example", "A@x.example"]


@pytest.mark.parametrize(
    ("more", "left"),
    [({}, 0), ({"ids": []}, 0), ({"delete_list": ["a@x.example"]}, 0), ({"limit": 2}, 1)],
)
def test_deleting_without_ids_empties_the_campaign(call, campaign_id, more, left):
    call.add(campaign_id, "a@x.example", "b@x.example", "c@x.example")
    answer = call.get("DELETE", "/leads", {"campaign_id": campaign_id, **more})
    assert answer == {"count": 3 - left}
    assert len(call.leads(campaign=campaign_id)) == left


def test_warmup_changes_when_its_job_is_done(call):
    def seen_while_the_job_runs(act: str) -> list[tuple[str, int]]:
        """Its status, poll by poll, and that of the account's warmup after it."""
        job = call.get("POST", f"/accounts/warmup/{act}", {"emails": [LENA, "nobody@x.example"]})
        assert (job["status"], len(job["id"])) == ("pending", 24)
        jobs = (call.get("GET", f"/background-jobs/{job['id']}") for _ in range(4))
        path = f"/accounts/{LENA}"
        return [(job["status"], call.get("GET", path)["warmup_status"]) for job in jobs]

    for act, before, after in (("enable", 0, 1), ("disable", 1, 0)):
        under_way, done = ("in-progress", before), ("success", after)
        assert seen_while_the_job_runs(act) == [under_way, under_way, done, done]


def test_warmup_analytics_leave_out_accounts_without_warmup(call):
    emails = [LENA, "marc@try-northbeam.example", "nobody@x.example"]
    analytics = call.get("POST", "/accounts/warmup-analytics", {"emails": emails})
    assert set(analytics["aggregate_data"]) == {"marc@try-northbeam.example"}
    assert set(analytics["email_date_data"]) == {"marc@try-northbeam.example"}


# Webhooks


@pytest.fixture
def receiver() -> Iterator[StandIn]:
    """Takes deliveries; answers 200 unless a fault says otherwise."""
    app = Flask("receiver")
    app.add_url_rule("/hook", view_func=dict, methods=["POST"])
    with StandIn(app) as stand_in:
        yield stand_in


def test_webhooks_are_managed(call):
    body = {"target_hook_url": "https://x.example/hook", "event_type": "email_sent"}
    webhook = call.get("POST", "/webhooks", body)
    path = f"/webhooks/{webhook['id']}"
    assert webhook["status"] == 1
    assert call.get("PATCH", path, {"name": "mine"})["name"] == "mine"
    assert call.get("GET", path)["target_hook_url"] == "https://x.example/hook"
    assert [listed["name"] for listed in call.all("/webhooks")] == ["mine"]


@pytest.mark.parametrize(
    ("subscription", "delivered"),
    [
        ({"event_type": "all_events"}, ["email_sent", "link_clicked", "Call back in Q4"]),
        ({"event_type": "email_link_clicked"}, ["link_clicked"]),
        ({"event_type": "email_sent"}, ["email_sent"]),
        ({"event_type": "all_events", "campaign": UNKNOWN_ID}, ["link_clicked"]),
        ({"name": "nothing subscribed"}, []),
    ],
)
def test_a_webhook_gets_what_it_subscribes_to(instantly, call, receiver, subscription, delivered):
    body = {"target_hook_url": f"{receiver.url}/hook", "headers": {"X-Secret": "s"}, **subscription}
    call.get("POST", "/webhooks", body)
    acme = instantly.workspace("acme")
    instantly.deliver(acme, {"event_type": "email_sent", "campaign_id": "other"})
    instantly.deliver(acme, {"event_type": "link_clicked", "campaign_id": UNKNOWN_ID})
    instantly.deliver(acme, {"event_type": "Call back in Q4"})
    instantly.deliver(instantly.workspace("globex"), {"event_type": "email_sent"})
    assert [delivery.json["event_type"] for delivery in receiver.requests] == delivered
    assert all(delivery.headers["X-Secret"] == "s" for delivery in receiver.requests)


def test_a_failed_delivery_is_retried_and_every_attempt_kept(instantly, acme, call, receiver):
    instantly.add_webhook("acme", f"{receiver.url}/hook")
    receiver.fail("POST", "/hook", status=503)
    receiver.fail("POST", "/hook", how="drop")
    payload = {"event_type": "email_sent", "lead_email": "a@x.example", "campaign_id": "c"}
    instantly.deliver(acme, payload)
    assert [delivery.json for delivery in receiver.requests] == [payload] * 3
    events = call.all("/webhook-events", limit="2")
    kept = {
        "payload": [payload] * 3,
        "success": [False, False, True],
        "status_code": [503, None, 200],
        "retry_count": [0, 1, 2],
        "will_retry": [True, True, False],
        "retry_successful": [True, True, None],
    }
    assert {name: [event[name] for event in events] for name in kept} == kept
    assert len({event["retry_group_id"] for event in events}) == 1
    today = events[0]["timestamp_created_date"]
    assert len(call.all("/webhook-events", success="false")) == 2
    assert len(call.all("/webhook-events", **{"from": today, "to": today})) == 3
    assert call.all("/webhook-events", to="2020-01-01") == []
    summary = call.get("GET", f"/webhook-events/summary?from={today}&to={today}")
    assert [summary[f"{name}_events"] for name in ("total", "successful", "failed")] == [3, 1, 2]
    assert round(summary["success_rate"]) == 33
    assert round(summary["failure_rate"]) == 67
    assert set(call.get("GET", "/webhook-events/summary?to=2020-01-01").values()) == {0}


def test_a_webhook_is_switched_off_after_repeated_failures(instantly, acme, call, receiver):
    webhook = instantly.add_webhook("acme", f"{receiver.url}/hook")
    receiver.fail("POST", "/hook", times=None, status=500)
    for number in range(7):
        instantly.deliver(acme, {"event_type": "email_sent", "number": number})
    assert len(receiver.requests) == len(acme.events) == 20
    path = f"/webhooks/{webhook['id']}"
    assert call.get("GET", path)["status"] == -1
    receiver.heal()
    assert call.get("POST", f"{path}/resume")["status"] == 1
    instantly.deliver(acme, {"event_type": "email_sent", "number": 7})
    assert receiver.requests[-1].json["number"] == 7
    assert acme.events[-1]["success"] is True


# Playing


@pytest.fixture
def play(instantly, call, campaign_id, receiver):
    """What is delivered once the campaign is activated with so many leads."""

    def play(leads: int) -> list[Json]:
        instantly.plays = True
        instantly.add_webhook("acme", f"{receiver.url}/hook")
        data = {"first_name": "Ada", "custom_variables": {"city": "Kassel", "step": "a name"}}
        call.add(campaign_id, *(f"lead-{number}@x.example" for number in range(leads)), **data)
        call.get("POST", f"/campaigns/{campaign_id}/activate")
        wait_until(lambda: not instantly.player.playing)
        return [delivery.json for delivery in receiver.requests]

    return play


def test_an_activated_campaign_is_played_to_its_end(call, campaign_id, play):
    assert call.get("GET", f"/campaigns/analytics?id={campaign_id}") == []
    deliveries = play(leads=8)
    events = list({json.dumps(event, sort_keys=True): event for event in deliveries}.values())
    assert len(events) < len(deliveries)  # some are delivered twice, unchanged
    assert Counter(event["event_type"] for event in events) == {
        "email_sent": 14,  # nothing more after the bounces
        "email_opened": 8,
        "link_clicked": 4,
        "reply_received": 2,
        "email_bounced": 2,
        "campaign_completed": 1,
    }
    assert events[-1]["event_type"] == "campaign_completed"
    sent = events[0]
    assert (sent["event_type"], sent["lead_email"]) == ("email_sent", "lead-0@x.example")
    assert (sent["step"], sent["variant"], sent["is_first"]) == (1, 1, True)
    assert sent["email_html"] == "<p>Hello Ada in Kassel</p>"
    assert (sent["firstName"], sent["city"]) == ("Ada", "Kassel")
    (analytics,) = call.get("GET", f"/campaigns/analytics?id={campaign_id}")
    figures = {"campaign_status": 3, "leads_count": 8, "contacted_count": 8, "completed_count": 6}
    figures |= {"emails_sent_count": 14, "open_count": 8, "open_count_unique": 4}
    assert analytics | figures == analytics
    assert call.get("GET", f"/campaigns/analytics?id={UNKNOWN_ID}") == []
    listed = call.leads(campaign=campaign_id)
    assert [lead["status"] for lead in listed] == [3, 3, 3, -1] * 2
    assert sum(lead["email_open_count"] for lead in listed) == 8


def test_deliveries_have_the_form_of_the_documented_samples(play):
    documented: dict[str, set[str]] = {}
    for sample in json.loads(SAMPLES.read_text()):
        if sample["basis"] == "documented":
            names = documented.setdefault(sample["payload"]["event_type"], set())
            names.update(sample["payload"])
    own_data = {"city", "step", "firstName", "email"}
    for event in play(leads=4):
        assert event.keys() - own_data <= documented[event["event_type"]]


def test_tracking_that_is_off_reports_nothing(call, campaign_id, play):
    off = {"open_tracking": False, "link_tracking": False}
    call.get("PATCH", f"/campaigns/{campaign_id}", off)
    assert not {"email_opened", "link_clicked"} & {event["event_type"] for event in play(leads=2)}


def test_a_paused_campaign_goes_on_where_it_stopped(instantly, call, campaign_id, receiver, play):
    receiver.fail("POST", "/hook", how="hang")
    path = f"/campaigns/{campaign_id}"
    playing = threading.Thread(target=play, args=(3,))
    playing.start()
    receiver.wait_until_hanging()
    call.get("POST", f"{path}/pause")  # a delivery does not hold up the API
    receiver.heal()
    playing.join()
    assert len({delivery.json["lead_email"] for delivery in receiver.requests}) == 1
    call.get("POST", f"{path}/activate")
    wait_until(lambda: not instantly.player.playing)
    events = [delivery.json for delivery in receiver.requests]
    sent = [event for event in events if event["event_type"] == "email_sent"]
    assert len(sent) == len({(event["lead_email"], event["step"]) for event in sent}) == 6
    assert call.get("GET", path)["status"] == 3


def test_leads_added_to_an_active_campaign_are_played_too(instantly, call, campaign_id):
    instantly.plays = True
    path = f"/campaigns/{campaign_id}"
    call.get("POST", f"{path}/activate")
    wait_until(lambda: not instantly.player.playing)
    assert call.get("GET", path)["status"] == 1  # it waits for leads
    call.add(campaign_id, "a@x.example")
    wait_until(lambda: call.get("GET", path)["status"] == 3)


# key-service and runs-service


def test_key_service_hands_out_keys_to_callers_who_say_who_they_are():
    service = KeyServiceStandIn("secret", {"org_1": "k1"}, "app")
    who = dict.fromkeys(("X-Caller-Service", "X-Caller-Method", "X-Caller-Path"), "some")
    app_key = "/internal/app-keys/instantly/decrypt?appId="
    key = "/internal/keys/instantly/decrypt"
    with StandIn(service.app) as stand_in:
        call = Caller(stand_in.url, **{"x-api-key": "secret"})
        for path, found in (
            (f"{key}?clerkOrgId=org_1", "k1"),
            (f"{app_key}instantly-service", "app"),
        ):
            assert call.get("GET", path, headers=who) == {"provider": "instantly", "key": found}
            assert call("GET", path, headers={**who, "x-api-key": "wrong"}).status_code == 401
            assert call("GET", path).status_code == 400
        service.app_key = None
        missing = (key, f"{key}?clerkOrgId=org_2", f"{app_key}other", f"{app_key}instantly-service")
        for path in missing:
            answer = call("GET", path, headers=who)
            assert (answer.status_code, answer.json()) == (404, {"error": "Key not found"})
        call.http.close()


RUN = dict.fromkeys(("clerkOrgId", "appId", "serviceName", "taskName", "brandId"), "some")


@pytest.fixture
def runs() -> RunsServiceStandIn:
    return RunsServiceStandIn("secret")


@pytest.fixture
def runs_call(runs) -> Iterator[Caller]:
    with StandIn(runs.app) as stand_in:
        caller = Caller(f"{stand_in.url}/v1/runs", **{"X-API-Key": "secret"})
        yield caller
        caller.http.close()


def test_runs_are_created_billed_and_ended(runs, runs_call):
    run = runs_call.get("POST", "", RUN)
    assert UUID(run["id"])
    assert run == {**RUN, "id": run["id"], "status": "running", "startedAt": run["startedAt"]}
    child = runs_call.get("POST", "", {**RUN, "parentRunId": run["id"]})
    assert [open_run["id"] for open_run in runs.open_runs()] == [run["id"], child["id"]]
    costs = [{"costName": "instantly-lead-add", "quantity": 3}]
    for each in (run, child):
        assert runs_call.get("POST", f"/{each['id']}/costs", {"items": costs}) == {"costs": costs}
    assert runs.billed() == {"instantly-lead-add": 6}
    runs_call.get("PATCH", f"/{run['id']}", {"status": "completed"})
    runs_call.get("PATCH", f"/{child['id']}", {"status": "failed", "error": "x"})
    assert runs.open_runs() == []
    assert runs.runs[child["id"]]["error"] == "x"
    listed = [(run["status"], run["costs"]) for run in runs_call.get("GET", "")["runs"]]
    assert listed == [("completed", costs), ("failed", costs)]


@pytest.mark.parametrize(
    ("request_line", "body", "status"),
    [
        ("POST /", [], 400),
        ("POST /", {**RUN, "clerkOrgId": ""}, 400),
        ("POST /", {**RUN, "parentRunId": "no uuid"}, 400),
        (f"POST /{UNKNOWN_ID}/costs", {"items": []}, 404),
        (f"PATCH /{UNKNOWN_ID}", {"status": "failed"}, 404),
        ("PATCH /run", {"status": "done"}, 400),
        ("POST /run/costs", {}, 400),
        ("POST /run/costs", {"items": ["x"]}, 400),
        ("POST /run/costs", {"items": [{"costName": "other", "quantity": 1}]}, 422),
        ("POST /run/costs", {"items": [{"costName": "instantly-lead-add", "quantity": 0}]}, 400),
    ],
)
def test_runs_service_refuses(runs, runs_call, request_line, body, status):
    run = runs_call.get("POST", "", RUN)
    method, path = request_line.replace("/run", f"/{run['id']}").split()
    assert runs_call(method, path.rstrip("/"), body).status_code == status
    assert runs.billed() == {}


def test_runs_service_needs_its_key(runs_call):
    assert runs_call("POST", "", RUN, headers={"X-API-Key": "wrong"}).status_code == 401
