"""The stand-ins behave as what they stand for, and campaigns are played."""

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
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

from instantly.sandbox.campaigns import Sanitizer
from instantly.sandbox.instantly_api import InstantlyStandIn
from instantly.sandbox.internal_services import KeyServiceStandIn, RunsServiceStandIn
from instantly.sandbox.operations import find_operation
from instantly.sandbox.workspace import Workspace

Json = dict[str, Any]
RunsCall = Callable[..., tuple[int, Any]]

SAMPLES = Path(__file__).parents[3] / "shared" / "webhook-samples.json"
HEADERS = {"User-Agent": "instantly-service/1", "Authorization": "Bearer acme-key"}


def steps(*bodies: str) -> list[Json]:
    def variants(body: str) -> list[Json]:
        return [{"subject": "Hi {{firstName}}", "body": body}]

    return [{"steps": [{"type": "email", "delay": 1, "variants": variants(b)} for b in bodies]}]


# Instantly


class Caller:
    """Calls the stand-in as the service would, and checks each successful answer."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.http = requests.Session()
        self.http.trust_env = False
        self.http.headers.update(HEADERS)

    def __call__(
        self, method: str, path: str, body: object = None, **options: Any
    ) -> requests.Response:
        extra: Json = {} if body is None else {"json": body}
        answer = self.http.request(method, f"{self.url}/api/v2{path}", **extra, **options)
        if answer.ok:
            operation = find_operation(method, "/api/v2" + unquote(path.partition("?")[0]))
            assert operation
            Draft202012Validator(operation.answer).validate(answer.json())
        return answer

    def get(self, method: str, path: str, body: object = None, **options: Any) -> Any:
        answer = self(method, path, body, **options)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def pages(self, path: str, **query: str) -> list[Json]:
        items: list[Json] = []
        while True:
            page = self.get("GET", path, params=query)
            items += page["items"]
            if not page["items"]:
                assert "next_starting_after" not in page
                return items
            query["starting_after"] = page["next_starting_after"]


@pytest.fixture
def instantly() -> InstantlyStandIn:
    stand_in = InstantlyStandIn({"acme-key": "acme", "globex-key": "globex"}, plays=False)
    stand_in.delivery_retry_seconds = 0.0
    stand_in.player.pause_seconds = 0.0
    return stand_in


@pytest.fixture
def acme(instantly: InstantlyStandIn) -> Workspace:
    return instantly.workspace("acme")


@pytest.fixture
def call(instantly: InstantlyStandIn) -> Iterator[Caller]:
    with StandIn(instantly.app) as stand_in:
        caller = Caller(stand_in.url)
        yield caller
        caller.http.close()


@pytest.fixture
def campaign_id(call: Caller) -> str:
    sequences = steps("<p>Hello {{firstName}} in {{city}}</p>", "<p>Again</p>")
    body = campaign_at_instantly(sequences=sequences, email_list=["lena@try-northbeam.example"])
    return str(call.get("POST", "/campaigns", body)["id"])


def add(call: Caller, campaign_id: str, *emails: str) -> Json:
    body = {"campaign_id": campaign_id, "leads": [{"email": email} for email in emails]}
    return dict(call.get("POST", "/leads/add", body))


def emails_of(workspace: Workspace, campaign_id: str) -> list[str]:
    return [lead["email"] for lead in workspace.leads_of(campaign_id)]


def test_strangers_are_refused(call: Caller) -> None:
    for key, message in ((None, "Missing Authorization header"), ("Bearer x", "Invalid API key")):
        answer = call("GET", "/accounts", headers={"Authorization": key})
        error = {"statusCode": 401, "error": "Unauthorized", "message": message}
        assert (answer.status_code, answer.json()) == (401, error)
    for agent in ("python-requests/2.32", ""):
        answer = call("GET", "/accounts", headers={"User-Agent": agent})
        assert answer.status_code == 403
        assert answer.headers["Content-Type"].startswith("text/html")


ONE_LEAD = [{"email": "a@x.example"}]
NOT_FOUND = "Resource not found"
REFUSED: list[tuple[str, object, int, str]] = [
    ("GET /campaigns/123", None, 400, "params/id must match"),
    (f"GET /campaigns/{UNKNOWN_ID}", None, 404, NOT_FOUND),
    (f"POST /campaigns/{UNKNOWN_ID}/activate", None, 404, NOT_FOUND),
    ("POST /campaigns", {}, 400, "body (required): 'name'"),
    ("POST /leads/list", {"limit": 101}, 400, "body/limit (maximum)"),
    ("POST /leads/list", None, 400, "body (type)"),
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
    ("POST /webhooks", {"event_type": "all_events"}, 400, "body (required)"),
    (f"PATCH /webhooks/{UNKNOWN_ID}", {"status": 1}, 400, "body (additionalProperties)"),
    (f"PATCH /webhooks/{UNKNOWN_ID}", {}, 400, "body (minProperties)"),
    (f"PATCH /webhooks/{UNKNOWN_ID}", {"headers": {"X": 1}}, 400, "body/headers/X (type)"),
    (f"POST /webhooks/{UNKNOWN_ID}/resume", None, 404, NOT_FOUND),
    ("GET /webhook-events/summary?from=today", None, 400, "querystring/from (format)"),
    ("GET /nothing", None, 404, "Route GET:/api/v2/nothing not found"),
]


@pytest.mark.parametrize(("request_line", "body", "status", "message"), REFUSED)
def test_refusals_have_the_shape_of_instantly(
    call: Caller, request_line: str, body: object, status: int, message: str
) -> None:
    answer = call(*request_line.split(), body)
    assert answer.status_code == status
    error = answer.json()
    assert error.pop("message").startswith(message)
    assert error == {"statusCode": status, "error": {400: "Bad Request", 404: "Not Found"}[status]}


def test_json_without_a_body_and_a_broken_one_are_refused(call: Caller, campaign_id: str) -> None:
    headers = {"Content-Type": "application/json"}
    answer = call("POST", f"/campaigns/{campaign_id}/pause", headers=headers)
    assert answer.status_code == 400
    assert answer.json()["message"].startswith("Body cannot be empty")
    assert call("POST", "/leads/list", data=b"{", headers=headers).status_code == 400


def test_unknown_names_are_ignored_where_production_ignores_them(
    call: Caller, campaign_id: str
) -> None:
    add(call, campaign_id, "a@x.example")
    listed = call.get("POST", "/leads/list", {"campaign_id": UNKNOWN_ID})
    assert len(listed["items"]) == 1
    assert len(call.get("GET", "/accounts?foo=1")["items"]) == 10


def test_a_key_opens_its_own_workspace_only(call: Caller, campaign_id: str) -> None:
    call.http.headers["Authorization"] = "Bearer globex-key"
    assert call("GET", f"/campaigns/{campaign_id}").status_code == 404


def test_a_campaign_lives_from_draft_to_deleted(call: Caller, campaign_id: str) -> None:
    path = f"/campaigns/{campaign_id}"
    campaign = call.get("GET", path)
    assert UUID(campaign["id"])
    assert campaign["status"] == 0
    assert campaign["email_list"] == ["lena@try-northbeam.example"]
    assert call.get("PATCH", path, {"email_list": ["b@x.example"]})["email_list"] == ["b@x.example"]
    assert call.get("POST", f"{path}/activate")["status"] == 1
    assert call.get("POST", f"{path}/pause")["status"] == 2
    add(call, campaign_id, "a@x.example")
    assert call.get("DELETE", path)["id"] == campaign_id
    assert call("GET", path).status_code == 404
    assert call.get("POST", "/leads/list", {}) == {"items": []}


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
def test_text_outside_any_element_is_stripped(call: Caller, body: str, kept: str) -> None:
    campaign = call.get("POST", "/campaigns", campaign_at_instantly(sequences=steps(body)))
    assert campaign["sequences"][0]["steps"][0]["variants"][0]["body"] == kept
    assert Sanitizer.sanitize(kept) == kept


def test_adding_leads_counts_refusals_and_names_only_the_created(
    acme: Workspace, call: Caller, campaign_id: str
) -> None:
    acme.blocklist = {"blocked.example", "ceo@x.example"}
    add(call, campaign_id, "Old@x.example")
    refused = ["OLD@x.example", "NEW@x.example", "a@blocked.example", "ceo@x.example"]
    refused += ["b@nowhere.invalid", "no address", "skip+c@x.example"]
    answer = add(call, campaign_id, "new@x.example", *refused, "last@x.example")
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
    assert emails_of(acme, campaign_id) == ["Old@x.example", "new@x.example", "last@x.example"]


def test_leads_are_listed_in_pages_by_id(call: Caller, campaign_id: str) -> None:
    emails = [f"{number}@x.example" for number in range(25)]
    add(call, campaign_id, *emails)
    pages: list[list[str]] = []
    cursor: Json = {}
    while not pages or pages[-1]:
        page = call.get("POST", "/leads/list", {"campaign": campaign_id, **cursor})
        pages.append([lead["email"] for lead in page["items"]])
        cursor = {"starting_after": page.get("next_starting_after")}
    assert cursor == {"starting_after": None}
    assert [len(page) for page in pages] == [10, 10, 5, 0]
    assert list(chain.from_iterable(pages)) == emails


def test_leads_are_found_by_every_filter(call: Caller, campaign_id: str) -> None:
    add(call, campaign_id, "Ada@x.example", "bob@x.example")
    other = call.get("POST", "/campaigns", campaign_at_instantly())["id"]
    add(call, other, "ada@x.example")

    def found(**filters: Any) -> list[str]:
        page = call.get("POST", "/leads/list", {"limit": 100, **filters})
        return [lead["email"] for lead in page["items"]]

    (bob,) = call.get("POST", "/leads/list", {"search": "BO"})["items"]
    assert found() == ["Ada@x.example", "bob@x.example", "ada@x.example"]
    assert found(campaign=campaign_id) == ["Ada@x.example", "bob@x.example"]
    assert found(contacts=["ADA@x.example"]) == ["Ada@x.example", "ada@x.example"]
    assert found(contacts=["ADA@x.example"], campaign=other) == ["ada@x.example"]
    assert found(contacts=["nobody@x.example"], campaign=other) == []
    assert found(ids=[bob["id"], UNKNOWN_ID]) == ["bob@x.example"]
    assert found(ids=[bob["id"]], campaign=other) == []
    assert found(ids=[bob["id"]], contacts=["ada@x.example"]) == []


def test_a_listed_lead_carries_its_data(call: Caller, campaign_id: str) -> None:
    lead = {
        "email": "ada@engines.example",
        "first_name": "Ada",
        "company_name": None,
        "custom_variables": {"city": "London", "size": 3},
    }
    call.get("POST", "/leads/add", {"campaign_id": campaign_id, "leads": [lead]})
    listed = call.get("POST", "/leads/list", {"campaign": campaign_id})["items"][0]
    assert listed["first_name"] == "Ada"
    assert listed["company_domain"] == "engines.example"
    assert listed["payload"] == {"city": "London", "size": 3, "firstName": "Ada"}
    assert "custom_variables" not in listed


def test_leads_are_deleted_by_id(acme: Workspace, call: Caller, campaign_id: str) -> None:
    created = add(call, campaign_id, "a@x.example", "b@x.example")["created_leads"]
    other = call.get("POST", "/campaigns", campaign_at_instantly())["id"]
    elsewhere = add(call, other, "c@x.example")["created_leads"]
    ids = [created[0]["id"], created[0]["id"], elsewhere[0]["id"], UNKNOWN_ID]
    body = {"campaign_id": campaign_id, "ids": ids, "limit": 4}
    assert call.get("DELETE", "/leads", body) == {"count": 1}
    assert call.get("DELETE", "/leads", body) == {"count": 0}
    assert emails_of(acme, other) == ["c@x.example"]
    assert add(call, campaign_id, "A@x.example")["leads_uploaded"] == 1
    assert emails_of(acme, campaign_id) == ["b@x.example", "A@x.example"]


@pytest.mark.parametrize(
    ("more", "left"),
    [({}, 0), ({"ids": []}, 0), ({"delete_list": ["a@x.example"]}, 0), ({"limit": 2}, 1)],
)
def test_deleting_without_ids_empties_the_campaign(
    acme: Workspace, call: Caller, campaign_id: str, more: Json, left: int
) -> None:
    add(call, campaign_id, "a@x.example", "b@x.example", "c@x.example")
    answer = call.get("DELETE", "/leads", {"campaign_id": campaign_id, **more})
    assert answer == {"count": 3 - left}
    assert len(emails_of(acme, campaign_id)) == left


def test_the_default_page_does_not_hold_all_accounts(call: Caller) -> None:
    first = call.get("GET", "/accounts")
    assert len(first["items"]) == 10
    assert "&" in first["next_starting_after"]
    assert first["items"][0]["warmup"].keys() == {"limit"}
    listed = [account["email"] for account in call.pages("/accounts")]
    assert len(set(listed)) == len(listed) == 12


def test_warmup_changes_when_its_job_is_done(call: Caller) -> None:
    email = "lena@try-northbeam.example"

    def warmup_status() -> int:
        return int(call.get("GET", f"/accounts/{email}")["warmup_status"])

    body = {"emails": [email, "nobody@x.example"]}
    job = call.get("POST", "/accounts/warmup/enable", body)
    assert job["status"] == "pending"
    assert len(job["id"]) == 24
    path = f"/background-jobs/{job['id']}"
    seen = []
    for _ in range(4):
        assert warmup_status() == (1 if "success" in seen else 0)
        seen.append(call.get("GET", path)["status"])
    assert seen == ["in-progress", "in-progress", "success", "success"]
    job = call.get("POST", "/accounts/warmup/disable", body)
    for _ in range(3):
        call.get("GET", f"/background-jobs/{job['id']}")
    assert warmup_status() == 0


def test_warmup_analytics_leave_out_accounts_without_warmup(call: Caller) -> None:
    emails = ["lena@try-northbeam.example", "marc@try-northbeam.example", "nobody@x.example"]
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


def test_webhooks_are_managed(call: Caller) -> None:
    body = {"target_hook_url": "https://x.example/hook", "event_type": "email_sent"}
    webhook = call.get("POST", "/webhooks", body)
    path = f"/webhooks/{webhook['id']}"
    assert webhook["status"] == 1
    assert call.get("PATCH", path, {"name": "mine"})["name"] == "mine"
    assert call.get("GET", path)["target_hook_url"] == "https://x.example/hook"
    assert [listed["name"] for listed in call.pages("/webhooks")] == ["mine"]


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
def test_a_webhook_gets_what_it_subscribes_to(
    instantly: InstantlyStandIn,
    call: Caller,
    receiver: StandIn,
    subscription: Json,
    delivered: list[str],
) -> None:
    body = {"target_hook_url": f"{receiver.url}/hook", "headers": {"X-Secret": "s"}, **subscription}
    call.get("POST", "/webhooks", body)
    acme = instantly.workspace("acme")
    instantly.deliver(acme, {"event_type": "email_sent", "campaign_id": "other"})
    instantly.deliver(acme, {"event_type": "link_clicked", "campaign_id": UNKNOWN_ID})
    instantly.deliver(acme, {"event_type": "Call back in Q4"})
    instantly.deliver(instantly.workspace("globex"), {"event_type": "email_sent"})
    assert [delivery.json["event_type"] for delivery in receiver.requests] == delivered
    for delivery in receiver.requests:
        assert delivery.headers["X-Secret"] == "s"


def test_a_failed_delivery_is_retried_and_every_attempt_kept(
    instantly: InstantlyStandIn, acme: Workspace, call: Caller, receiver: StandIn
) -> None:
    instantly.add_webhook("acme", f"{receiver.url}/hook")
    receiver.fail("POST", "/hook", status=503)
    receiver.fail("POST", "/hook", how="drop")
    payload = {"event_type": "email_sent", "lead_email": "a@x.example", "campaign_id": "c"}
    instantly.deliver(acme, payload)
    assert [delivery.json for delivery in receiver.requests] == [payload] * 3
    events = call.pages("/webhook-events", limit="2")
    assert [event["payload"] for event in events] == [payload] * 3
    assert [event["success"] for event in events] == [False, False, True]
    assert [event["status_code"] for event in events] == [503, None, 200]
    assert [event["retry_count"] for event in events] == [0, 1, 2]
    assert [event["will_retry"] for event in events] == [True, True, False]
    assert [event["retry_successful"] for event in events] == [True, True, None]
    assert len({event["retry_group_id"] for event in events}) == 1
    today = events[0]["timestamp_created_date"]
    assert len(call.pages("/webhook-events", success="false")) == 2
    assert len(call.pages("/webhook-events", **{"from": today, "to": today})) == 3
    assert call.pages("/webhook-events", to="2020-01-01") == []
    summary = call.get("GET", f"/webhook-events/summary?from={today}&to={today}")
    assert [summary[f"{name}_events"] for name in ("total", "successful", "failed")] == [3, 1, 2]
    assert round(summary["success_rate"]) == 33
    assert round(summary["failure_rate"]) == 67
    assert set(call.get("GET", "/webhook-events/summary?to=2020-01-01").values()) == {0}


def test_a_webhook_is_switched_off_after_repeated_failures(
    instantly: InstantlyStandIn, acme: Workspace, call: Caller, receiver: StandIn
) -> None:
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


def play(
    instantly: InstantlyStandIn, call: Caller, campaign_id: str, receiver: StandIn, leads: int
) -> list[Json]:
    """What is delivered once the campaign is activated."""
    instantly.plays = True
    instantly.add_webhook("acme", f"{receiver.url}/hook")
    own_data = {"first_name": "Ada", "custom_variables": {"city": "Kassel", "step": "a name"}}
    body = [{"email": f"lead-{number}@x.example", **own_data} for number in range(leads)]
    call.get("POST", "/leads/add", {"campaign_id": campaign_id, "leads": body})
    call.get("POST", f"/campaigns/{campaign_id}/activate")
    wait_until(lambda: not instantly.player.playing)
    return [delivery.json for delivery in receiver.requests]


def test_an_activated_campaign_is_played_to_its_end(
    instantly: InstantlyStandIn, call: Caller, campaign_id: str, receiver: StandIn
) -> None:
    assert call.get("GET", f"/campaigns/analytics?id={campaign_id}") == []
    deliveries = play(instantly, call, campaign_id, receiver, leads=8)
    events = list(
        {json.dumps(delivery, sort_keys=True): delivery for delivery in deliveries}.values()
    )
    assert len(events) < len(deliveries)  # some are delivered twice, unchanged
    counts = Counter(event["event_type"] for event in events)
    assert counts == {
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
    assert analytics["campaign_status"] == 3
    assert analytics["leads_count"] == analytics["contacted_count"] == 8
    assert (analytics["emails_sent_count"], analytics["completed_count"]) == (14, 6)
    assert (analytics["open_count"], analytics["open_count_unique"]) == (8, 4)
    assert call.get("GET", f"/campaigns/analytics?id={UNKNOWN_ID}") == []
    listed = call.get("POST", "/leads/list", {"campaign": campaign_id})["items"]
    assert [lead["status"] for lead in listed] == [3, 3, 3, -1] * 2
    assert sum(lead["email_open_count"] for lead in listed) == 8


def test_the_samples_of_the_documentation_have_the_same_form(
    instantly: InstantlyStandIn, call: Caller, campaign_id: str, receiver: StandIn
) -> None:
    if not SAMPLES.exists():
        pytest.skip("the samples are not at hand")
    documented: dict[str, set[str]] = {}
    for sample in json.loads(SAMPLES.read_text()):
        if sample["basis"] == "documented":
            names = documented.setdefault(sample["payload"]["event_type"], set())
            names.update(sample["payload"])
    own_data = {"city", "step", "firstName", "email"}
    for event in play(instantly, call, campaign_id, receiver, leads=4):
        assert event.keys() - own_data <= documented[event["event_type"]]


def test_tracking_that_is_off_reports_nothing(
    instantly: InstantlyStandIn, call: Caller, campaign_id: str, receiver: StandIn
) -> None:
    options = {"open_tracking": False, "link_tracking": False}
    call.get("PATCH", f"/campaigns/{campaign_id}", options)
    deliveries = play(instantly, call, campaign_id, receiver, leads=2)
    assert not {"email_opened", "link_clicked"} & {event["event_type"] for event in deliveries}


def test_a_paused_campaign_goes_on_where_it_stopped(
    instantly: InstantlyStandIn, call: Caller, campaign_id: str, receiver: StandIn
) -> None:
    receiver.fail("POST", "/hook", how="hang")
    path = f"/campaigns/{campaign_id}"
    playing = threading.Thread(target=play, args=(instantly, call, campaign_id, receiver, 3))
    playing.start()
    receiver.wait_until_hanging()
    call.get("POST", f"{path}/pause")  # a delivery does not hold up the API
    receiver.heal()
    playing.join()
    assert len({delivery.json["lead_email"] for delivery in receiver.requests}) == 1
    call.get("POST", f"{path}/activate")
    wait_until(lambda: not instantly.player.playing)
    sent = Counter(
        (delivery.json["lead_email"], delivery.json["step"])
        for delivery in receiver.requests
        if delivery.json["event_type"] == "email_sent"
    )
    assert set(sent.values()) == {1}
    assert len(sent) == 6
    assert call.get("GET", path)["status"] == 3


def test_leads_added_to_an_active_campaign_are_played_too(
    instantly: InstantlyStandIn, call: Caller, campaign_id: str
) -> None:
    instantly.plays = True
    call.get("POST", f"/campaigns/{campaign_id}/activate")
    wait_until(lambda: not instantly.player.playing)
    assert call.get("GET", f"/campaigns/{campaign_id}")["status"] == 1  # it waits for leads
    add(call, campaign_id, "a@x.example")
    wait_until(lambda: call.get("GET", f"/campaigns/{campaign_id}")["status"] == 3)


# key-service and runs-service


@pytest.fixture
def http() -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.trust_env = False
        yield session


def test_key_service_hands_out_keys(http: requests.Session) -> None:
    service = KeyServiceStandIn("secret", {"org_1": "k1"}, "app")
    caller = ("X-Caller-Service", "X-Caller-Method", "X-Caller-Path")
    headers = {"x-api-key": "secret", **dict.fromkeys(caller, "some")}
    app_key = "app-keys/instantly/decrypt?appId=instantly-service"
    found = {"keys/instantly/decrypt?clerkOrgId=org_1": "k1", app_key: "app"}
    missing = ["keys/instantly/decrypt?clerkOrgId=org_2", "keys/instantly/decrypt"]
    with StandIn(service.app) as stand_in:

        def ask(path: str, headers: dict[str, str] = headers) -> tuple[int, Any]:
            answer = http.get(f"{stand_in.url}/internal/{path}", headers=headers)
            return answer.status_code, answer.json()

        for path, key in found.items():
            assert ask(path) == (200, {"provider": "instantly", "key": key})
            assert ask(path, {**headers, "x-api-key": "wrong"})[0] == 401
            assert ask(path, {"x-api-key": "secret"})[0] == 400
        for path in (*missing, "app-keys/instantly/decrypt?appId=other"):
            assert ask(path) == (404, {"error": "Key not found"})
        service.app_key = None
        assert ask(app_key)[0] == 404


RUN = dict.fromkeys(("clerkOrgId", "appId", "serviceName", "taskName", "brandId"), "some")


@pytest.fixture
def runs() -> RunsServiceStandIn:
    return RunsServiceStandIn("secret")


@pytest.fixture
def runs_call(runs: RunsServiceStandIn, http: requests.Session) -> Iterator[RunsCall]:
    http.headers["X-API-Key"] = "secret"
    with StandIn(runs.app) as stand_in:

        def call(method: str, path: str, body: object = None) -> tuple[int, Any]:
            answer = http.request(method, f"{stand_in.url}/v1/runs{path}", json=body)
            return answer.status_code, answer.json()

        yield call


def test_runs_are_created_billed_and_ended(runs: RunsServiceStandIn, runs_call: RunsCall) -> None:
    status, run = runs_call("POST", "", RUN)
    assert status == 201
    assert UUID(run["id"])
    assert run == {**RUN, "id": run["id"], "status": "running", "startedAt": run["startedAt"]}
    status, child = runs_call("POST", "", {**RUN, "parentRunId": run["id"]})
    assert status == 201
    assert [open_run["id"] for open_run in runs.open_runs()] == [run["id"], child["id"]]
    items = [{"costName": "instantly-lead-add", "quantity": 3}]
    assert runs_call("POST", f"/{run['id']}/costs", {"items": items}) == (201, {"costs": items})
    runs_call("POST", f"/{child['id']}/costs", {"items": items})
    assert runs.billed() == {"instantly-lead-add": 6}
    assert runs_call("PATCH", f"/{run['id']}", {"status": "completed"})[0] == 200
    assert runs_call("PATCH", f"/{child['id']}", {"status": "failed", "error": "x"})[0] == 200
    assert runs.open_runs() == []
    assert runs.runs[child["id"]]["error"] == "x"
    listed = [(run["status"], run["costs"]) for run in runs_call("GET", "")[1]["runs"]]
    assert listed == [("completed", items), ("failed", items)]


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "", {}, 400),
        ("POST", "", [], 400),
        ("POST", "", {**RUN, "clerkOrgId": ""}, 400),
        ("POST", "", {**RUN, "parentRunId": "no uuid"}, 400),
        ("POST", f"/{UNKNOWN_ID}/costs", {"items": []}, 404),
        ("PATCH", f"/{UNKNOWN_ID}", {"status": "failed"}, 404),
        ("PATCH", "/run", {"status": "done"}, 400),
        ("POST", "/run/costs", {}, 400),
        ("POST", "/run/costs", {"items": ["x"]}, 400),
        ("POST", "/run/costs", {"items": [{"costName": "other", "quantity": 1}]}, 422),
        ("POST", "/run/costs", {"items": [{"costName": "instantly-lead-add", "quantity": 0}]}, 400),
    ],
)
def test_runs_service_refuses(
    runs: RunsServiceStandIn, runs_call: RunsCall, method: str, path: str, body: object, status: int
) -> None:
    _, run = runs_call("POST", "", RUN)
    assert runs_call(method, path.replace("/run", f"/{run['id']}"), body)[0] == status
    assert runs.billed() == {}


def test_runs_service_needs_its_key(runs_call: RunsCall, http: requests.Session) -> None:
    http.headers["X-API-Key"] = "wrong"
    assert runs_call("POST", "", RUN)[0] == 401
