"""The stand-ins behave as what they stand for, and campaigns are played."""

import json
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlencode

import pytest
from flask import Flask
from flask.testing import FlaskClient
from harness import wait_until
from helpers import UNKNOWN_ID, campaign_at_instantly
from jsonschema import Draft202012Validator
from stand_in import StandIn
from werkzeug.test import TestResponse

from instantly.sandbox.instantly_api import InstantlyStandIn
from instantly.sandbox.internal_services import KeyServiceStandIn, RunsServiceStandIn
from instantly.sandbox.operations import OPERATIONS, find_operation

Json = dict[str, Any]

SAMPLES = Path(__file__).parents[1] / "webhook_samples.json"
LENA, MARC = "lena@try-northbeam.example", "marc@try-northbeam.example"


class Caller:
    """Calls a stand-in. `operations` are those of Instantly's that succeeded, and were checked."""

    def __init__(self, app: Flask, root: str = "", **headers: str) -> None:
        self.client, self.root, self.headers = FlaskClient(app, app.response_class), root, headers
        self.operations: set[str] = set()

    def __call__(
        self, method: str, path: str, body: Any = None, headers: Any = None, **more: Any
    ) -> TestResponse:
        sent = {**self.headers, **(headers or {})}
        path = self.root + path
        answer = self.client.open(path, method=method, json=body, headers=sent, **more)
        operation = find_operation(method, unquote(path.partition("?")[0]))
        if operation and answer.status_code == 200:
            Draft202012Validator(operation.answer).validate(answer.get_json())
            self.operations.add(operation.name)
        return answer

    def get(self, method: str, path: str, body: Any = None, **more: Any) -> Any:
        """The body of the answer to a call that succeeds."""
        answer = self(method, path, body, **more)
        assert answer.status_code in (200, 201), answer.text
        return answer.get_json()

    def all(self, path: str, **query: Any) -> list[Json]:
        """The items of all pages of a list of Instantly's, of which the last is empty."""
        items: list[Json] = []
        while (page := self.get("GET", f"{path}?{urlencode(query)}"))["items"]:
            items += page["items"]
            query["starting_after"] = page["next_starting_after"]
        assert "next_starting_after" not in page
        return items

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


# Instantly


@pytest.fixture
def instantly() -> InstantlyStandIn:
    stand_in = InstantlyStandIn({"acme-key": "acme", "globex-key": "globex"}, plays=False)
    stand_in.delivery_retry_seconds = stand_in.player.pause_seconds = 0.0
    return stand_in


@pytest.fixture
def acme(instantly):
    return instantly.workspace("acme")


@pytest.fixture
def call(instantly) -> Caller:
    headers = {"User-Agent": "instantly-service/1", "Authorization": "Bearer acme-key"}
    return Caller(instantly.app, "/api/v2", **headers)


@pytest.fixture
def campaign_id(call) -> str:
    bodies = ("<p>Hello {{firstName}} in {{city}}</p>", "<p>Again</p>")
    return call.campaign(*bodies, email_list=[LENA])["id"]


def test_strangers_are_refused(call, campaign_id):
    for key, message in (("", "Missing Authorization header"), ("Bearer x", "Invalid API key")):
        answer = call("GET", "/accounts", headers={"Authorization": key})
        error = {"statusCode": 401, "error": "Unauthorized", "message": message}
        assert (answer.status_code, answer.get_json()) == (401, error)
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
        ("DELETE /leads", {}, 400, "body (anyOf)"),
        ("DELETE /leads", {"campaign_id": UNKNOWN_ID, "ids": ["x"]}, 404, NOT_FOUND),
        ("GET /accounts/nobody@x.example", None, 404, NOT_FOUND),
        ("GET /background-jobs/123", None, 404, NOT_FOUND),
        ("POST /webhooks", {"target_hook_url": "ftp://x.example"}, 400, "body/target_hook_url"),
        (f"PATCH /webhooks/{UNKNOWN_ID}", {"status": 1}, 400, "body (additionalProperties)"),
        ("GET /webhook-events/summary?from=today", None, 400, "querystring/from (format)"),
        ("GET /nothing", None, 404, "Route GET:/api/v2/nothing not found"),
    ],
)
def test_refusals_have_the_shape_of_instantly(call, request_line, body, status, message):
    answer = call(*request_line.split(), body)
    error = answer.get_json()
    assert error.pop("message").startswith(message)
    assert error == {"statusCode": status, "error": {400: "Bad Request", 404: "Not Found"}[status]}
    assert answer.status_code == status


def test_json_without_a_body_and_a_broken_one_are_refused(call):
    for data, message in ((b"", "Body cannot be empty"), (b"{", "Body is not valid JSON")):
        answer = call("POST", "/leads/list", data=data, content_type="application/json")
        assert answer.status_code == 400
        assert answer.get_json()["message"].startswith(message)


def test_every_operation_answers_as_the_document_says(call, campaign_id):
    path = f"/campaigns/{campaign_id}"
    campaign = call.get("GET", path)
    assert (campaign["status"], campaign["email_list"]) == (0, [LENA])
    assert call.get("PATCH", path, {"email_list": [MARC]})["email_list"] == [MARC]
    assert call.get("POST", f"{path}/activate")["status"] == 1
    assert call.get("POST", f"{path}/pause")["status"] == 2
    call.get("GET", f"{path}/sending-status")
    call.get("GET", f"/campaigns/analytics?id={campaign_id}")
    data = {"company_name": None, "custom_variables": {"city": "London", "size": 3}}
    call.add(campaign_id, "ada@engines.example", first_name="Ada", **data)
    (lead,) = call.leads(campaign=campaign_id)
    assert (lead["first_name"], lead["company_domain"]) == ("Ada", "engines.example")
    assert lead["payload"] == {"city": "London", "size": 3, "firstName": "Ada"}
    assert call.get("DELETE", "/leads", {"campaign_id": campaign_id, "ids": [lead["id"]]})
    call.add(campaign_id, "a@x.example")
    assert call.get("DELETE", path)["id"] == campaign_id
    assert call("GET", path).status_code == 404
    assert call.leads() == []

    # A warmup changes when its job is done, at the third look at it.
    for act, status in (("enable", 1), ("disable", 0)):
        job = call.get("POST", f"/accounts/warmup/{act}", {"emails": [LENA, "nobody@x.example"]})
        looks = [call.get("GET", f"/background-jobs/{job['id']}")["status"] for _ in range(4)]
        assert [job["status"], *looks] == ["pending", *["in-progress"] * 2, *["success"] * 2]
        assert call.get("GET", f"/accounts/{LENA}")["warmup_status"] == status
    figures = call.get("POST", "/accounts/warmup-analytics", {"emails": [LENA, MARC]})
    assert set(figures["aggregate_data"]) == set(figures["email_date_data"]) == {MARC}

    body = {"target_hook_url": "https://x.example/hook", "event_type": "email_sent"}
    path = f"/webhooks/{call.get('POST', '/webhooks', body)['id']}"
    assert call.get("PATCH", path, {"name": "mine"})["name"] == "mine"
    assert call.get("GET", path)["target_hook_url"] == "https://x.example/hook"
    assert call.get("POST", f"{path}/resume")["status"] == 1
    assert [webhook["name"] for webhook in call.all("/webhooks")] == ["mine"]
    assert call.all("/webhook-events") == []
    call.get("GET", "/webhook-events/summary")
    assert len({account["email"] for account in call.all("/accounts")}) == 12
    assert call.operations == {operation.name for operation in OPERATIONS}


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


def test_leads_are_found_by_every_filter(call, campaign_id):
    call.add(campaign_id, "Ada@x.example", "bob@x.example")
    other = call.campaign()["id"]
    call.add(other, "ada@x.example")
    (bob,) = call.leads(search="BO")
    everybody = ["Ada@x.example", "bob@x.example", "ada@x.example"]
    for filters, found in (
        ({}, everybody),
        ({"campaign_id": "a name that is ignored"}, everybody),
        ({"campaign": campaign_id}, everybody[:2]),
        ({"contacts": ["ADA@x.example"]}, everybody[::2]),
        ({"contacts": ["ADA@x.example"], "campaign": other}, everybody[2:]),
        ({"contacts": ["nobody@x.example"], "campaign": other}, []),
        ({"ids": [bob["id"], UNKNOWN_ID]}, everybody[1:2]),
        ({"ids": [bob["id"]], "campaign": other}, []),
        ({"ids": [bob["id"]], "contacts": ["ada@x.example"]}, []),
    ):
        assert call.emails(**filters) == found, filters


@pytest.mark.parametrize(
    ("more", "left"),
    [({}, 0), ({"ids": []}, 0), ({"delete_list": ["a@x.example"]}, 0), ({"limit": 2}, 1)],
)
def test_deleting_without_ids_empties_the_campaign(call, campaign_id, more, left):
    call.add(campaign_id, "a@x.example", "b@x.example", "c@x.example")
    answer = call.get("DELETE", "/leads", {"campaign_id": campaign_id, **more})
    assert answer == {"count": 3 - left}
    assert len(call.leads(campaign=campaign_id)) == left


# Webhooks


@pytest.fixture
def receiver() -> Iterator[StandIn]:
    """Takes deliveries; answers 200 unless a fault says otherwise."""
    app = Flask("receiver")
    app.add_url_rule("/hook", view_func=dict, methods=["POST"])
    with StandIn(app) as stand_in:
        yield stand_in


def test_a_failed_delivery_is_retried_and_every_attempt_kept(instantly, acme, call, receiver):
    instantly.add_webhook("acme", f"{receiver.url}/hook")
    receiver.fail("POST", "/hook", status=503)
    receiver.fail("POST", "/hook", how="drop")
    payload = {"event_type": "email_sent", "lead_email": "a@x.example", "campaign_id": "c"}
    instantly.deliver(acme, payload)
    assert [delivery.json for delivery in receiver.requests] == [payload] * 3
    events = call.all("/webhook-events", limit=2)
    assert [event["status_code"] for event in events] == [503, None, 200]
    assert [event["will_retry"] for event in events] == [True, True, False]
    today = events[0]["timestamp_created_date"]
    assert len(call.all("/webhook-events", success="false")) == 2
    assert len(call.all("/webhook-events", **{"from": today, "to": today})) == 3
    assert call.all("/webhook-events", to="2020-01-01") == []
    summary = call.get("GET", f"/webhook-events/summary?from={today}&to={today}")
    assert {name: round(figure) for name, figure in summary.items()} == {
        "total_events": 3,
        "successful_events": 1,
        "failed_events": 2,
        "success_rate": 33,
        "failure_rate": 67,
    }
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
    call = Caller(service.app, "/internal", **{"x-api-key": "secret"})
    key, app_key = "/keys/instantly/decrypt", "/app-keys/instantly/decrypt?appId="
    for path, found in ((f"{key}?clerkOrgId=org_1", "k1"), (f"{app_key}instantly-service", "app")):
        assert call.get("GET", path, headers=who) == {"provider": "instantly", "key": found}
        assert call("GET", path, headers={**who, "x-api-key": "wrong"}).status_code == 401
        assert call("GET", path).status_code == 400
    service.app_key = None
    missing = (key, f"{key}?clerkOrgId=org_2", f"{app_key}other", f"{app_key}instantly-service")
    for path in missing:
        answer = call("GET", path, headers=who)
        assert (answer.status_code, answer.get_json()) == (404, {"error": "Key not found"})


RUN = dict.fromkeys(("clerkOrgId", "appId", "serviceName", "taskName", "brandId"), "some")


@pytest.fixture
def runs() -> RunsServiceStandIn:
    return RunsServiceStandIn("secret")


@pytest.fixture
def runs_call(runs) -> Caller:
    return Caller(runs.app, "/v1/runs", **{"X-API-Key": "secret"})


def test_runs_are_created_billed_ended_and_listed(runs, runs_call):
    run = runs_call.get("POST", "", RUN)
    assert run == {**RUN, "id": run["id"], "status": "running", "startedAt": run["startedAt"]}
    child = runs_call.get("POST", "", {**RUN, "parentRunId": run["id"]})
    costs = [{"costName": "instantly-lead-add", "quantity": 3}]
    for each in (run, child):
        assert runs_call.get("POST", f"/{each['id']}/costs", {"items": costs}) == {"costs": costs}
    runs_call.get("PATCH", f"/{run['id']}", {"status": "completed"})
    assert [each["id"] for each in runs.open_runs()] == [child["id"]]
    assert runs.billed() == {"instantly-lead-add": 6}
    listed = [(each["status"], each["costs"]) for each in runs_call.get("GET", "")["runs"]]
    assert listed == [("completed", costs), ("running", costs)]
    assert runs_call("POST", "", RUN, headers={"X-API-Key": "wrong"}).status_code == 401


@pytest.mark.parametrize(
    ("request_line", "body", "status"),
    [
        ("POST /", [], 400),
        ("POST /", {**RUN, "clerkOrgId": ""}, 400),
        (f"POST /{UNKNOWN_ID}/costs", {"items": []}, 404),
        (f"PATCH /{UNKNOWN_ID}", {"status": "failed"}, 404),
        ("PATCH /run", {"status": "done"}, 400),
        ("POST /run/costs", {"items": [{"costName": "other", "quantity": 1}]}, 422),
        ("POST /run/costs", {"items": [{"costName": "instantly-lead-add", "quantity": 0}]}, 400),
    ],
)
def test_runs_service_refuses(runs, runs_call, request_line, body, status):
    run = runs_call.get("POST", "", RUN)
    method, path = request_line.replace("/run", f"/{run['id']}").split()
    assert runs_call(method, path.rstrip("/"), body).status_code == status
    assert runs.billed() == {}
