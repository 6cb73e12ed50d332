"""A workspace is made to deliver all its events to us by one webhook, with our secret."""

import json
from dataclasses import dataclass
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from helpers import UNKNOWN_ID, configure
from werkzeug.test import TestResponse
from world import Rows, Upstreams

import instantly.storage.leases
from instantly.clients.instantly import InstantlyClient

URL = "https://instantly-service.example/webhooks/instantly"
# Instantly quotes it as JSON, with a backslash more.
NEW, OLD = 'the-new-"secret"-1234\\5', "the-old-secret-1234"
WEBHOOKS = "/api/v2/webhooks"
WEBHOOK = "/api/v2/webhooks/[^/]+"
BUSY = "Another change of these webhooks is in progress"

Webhook = dict[str, Any]


@dataclass
class Registration:
    """What is in Instantly, and the route that makes it right."""

    client: FlaskClient
    upstreams: Upstreams

    @property
    def webhooks(self) -> list[Webhook]:
        """Instantly's own, to be looked at and changed."""
        return list(self.upstreams.instantly.workspace("clerk-1").webhooks.values())

    def put(self, url: str = URL, status: int = 1, **fields: Any) -> Webhook:
        """A webhook that somebody has made."""
        webhook = self.upstreams.instantly.add_webhook("clerk-1", url, **fields)
        webhook["status"] = status
        return webhook

    def register(self, **changes: Any) -> TestResponse:
        body = {"clerkOrgId": "clerk-1", **changes}
        return self.client.post("/webhooks/instantly/register", json=body)

    def registered(self) -> Webhook:
        answer = self.register()
        assert answer.status_code == 200, answer.text
        body: dict[str, Any] = answer.get_json()
        assert body.pop("success") is True
        return body

    def changes(self) -> list[tuple[str, Any]]:
        """What was asked of Instantly, but for reads."""
        requests = self.upstreams.instantly_http.requests
        return [(each.method, each.json) for each in requests if each.method != "GET"]


@pytest.fixture
def registration(
    app: Flask, client: FlaskClient, upstreams: Upstreams, monkeypatch: pytest.MonkeyPatch
) -> Registration:
    configure(app, monkeypatch, webhook_secrets=(NEW, OLD))
    return Registration(client, upstreams)


def answer_about(webhook: Webhook, *done: str) -> dict[str, Any]:
    """The answer about a webhook to which this was done."""
    shown = {"id": webhook["id"], "status": "active"}
    return {"webhook": shown} | {name: name in done for name in ("created", "updated", "resumed")}


RIGHT = {
    "target_hook_url": URL,
    "event_type": "all_events",
    "headers": {"X-Webhook-Secret": NEW},
}


def test_a_workspace_without_one_gets_a_webhook_for_all_its_events(
    registration: Registration,
) -> None:
    answer = registration.registered()
    (webhook,) = registration.webhooks
    assert answer == answer_about(webhook, "created")
    assert webhook.items() >= RIGHT.items()
    assert webhook.get("campaign") is None
    assert len(registration.changes()) == 1


def test_registering_again_changes_nothing(registration: Registration) -> None:
    registration.registered()
    registration.upstreams.forget_requests()
    assert registration.registered() == answer_about(registration.webhooks[0])
    assert registration.changes() == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"event_type": "email_sent"},
        {"event_type": None},
        {"campaign": UNKNOWN_ID},
        {"headers": {"X-Webhook-Secret": OLD}},
        {"headers": None},
        {"url": f"{URL}?secret=1"},
        {"event_type": None, "campaign": UNKNOWN_ID, "headers": {}, "url": f"{URL}/"},
    ],
    ids=str,
)
def test_a_webhook_that_points_at_us_is_made_right_by_one_change(
    registration: Registration, wrong: dict[str, Any]
) -> None:
    webhook = registration.put(**{"headers": RIGHT["headers"], "name": "theirs", **wrong})
    webhook["custom_interest_value"] = 7
    assert registration.registered() == answer_about(webhook, "updated")
    assert webhook.items() >= RIGHT.items()
    assert webhook.get("campaign") is None
    assert (webhook["name"], webhook["custom_interest_value"]) == ("theirs", None)
    ((method, _),) = registration.changes()
    assert method == "PATCH"
    assert registration.registered() == answer_about(webhook)


def test_headers_that_others_need_stay(registration: Registration) -> None:
    webhook = registration.put(headers={"Authorization": "Basic x", "x-webhook-secret": OLD})
    assert registration.registered() == answer_about(webhook, "updated")
    assert webhook["headers"] == {"Authorization": "Basic x", "X-Webhook-Secret": NEW}


def test_headers_that_instantly_does_not_show_are_set_each_time(
    registration: Registration,
) -> None:
    webhook = registration.put(headers=RIGHT["headers"])
    hidden = {name: value for name, value in webhook.items() if name != "headers"}
    for _ in range(2):
        page = {"items": [hidden]}
        registration.upstreams.instantly_http.fail("GET", WEBHOOKS, status=200, body=page)
        assert registration.registered() == answer_about(webhook, "updated")
    assert registration.changes() == [("PATCH", {"headers": RIGHT["headers"]})] * 2


@pytest.mark.parametrize(("wrong", "done"), [({}, []), ({"event_type": None}, ["updated"])])
def test_one_that_was_switched_off_is_switched_on_again(
    registration: Registration, wrong: dict[str, Any], done: list[str]
) -> None:
    webhook = registration.put(status=-1, **{"headers": RIGHT["headers"], **wrong})
    assert registration.registered() == answer_about(webhook, "resumed", *done)
    assert webhook["status"] == 1
    assert registration.registered() == answer_about(webhook)


def test_the_status_is_that_after_the_calls(registration: Registration) -> None:
    webhook = registration.put(status=-1, headers=RIGHT["headers"])
    http = registration.upstreams.instantly_http
    http.fail("POST", f"{WEBHOOK}/resume", status=200, body=dict(webhook))
    answer = registration.registered()
    assert (answer["webhook"]["status"], answer["resumed"]) == ("disabled", False)


def test_of_several_the_first_for_the_whole_workspace_is_made_right_and_the_others_left(
    registration: Registration,
) -> None:
    registration.put("https://somebody-else.example/webhooks/instantly")
    registration.put(campaign=UNKNOWN_ID)
    registration.put(event_type="email_sent")
    chosen = registration.put()
    registration.put(status=-1)
    others = [dict(each) for each in registration.webhooks if each is not chosen]
    assert registration.registered() == answer_about(chosen, "updated")
    assert chosen["headers"] == RIGHT["headers"]
    assert [each for each in registration.webhooks if each is not chosen] == others
    assert registration.registered() == answer_about(chosen)


def test_webhooks_on_later_pages_are_found(registration: Registration) -> None:
    for number in range(104):
        registration.put(f"https://somebody-else.example/{number}")
    webhook = registration.put(headers=RIGHT["headers"])
    assert registration.registered() == answer_about(webhook)


def test_another_organisations_workspace_is_not_touched(registration: Registration) -> None:
    registration.registered()
    assert registration.upstreams.instantly.workspace("app").webhooks == {}
    (call,) = registration.upstreams.instantly_http.calls("POST", WEBHOOKS)
    assert call.headers["Authorization"] == "Bearer key-1"


def test_without_a_secret_a_webhook_is_made_without_headers_and_headers_stay(
    app: Flask, registration: Registration, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(app, monkeypatch, webhook_secrets=())
    assert registration.registered() == answer_about(registration.webhooks[0], "created")
    assert "headers" not in registration.webhooks[0]
    registration.webhooks[0]["headers"] = {"X-Webhook-Secret": OLD}
    assert registration.registered() == answer_about(registration.webhooks[0])
    assert registration.webhooks[0]["headers"] == {"X-Webhook-Secret": OLD}


def test_without_a_base_url_nobody_is_asked_anything(
    app: Flask, registration: Registration, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(app, monkeypatch, webhook_base_url=None)
    answer = registration.register()
    assert answer.status_code == 500
    assert answer.get_json() == {"error": "WEBHOOK_BASE_URL not configured"}
    assert registration.upstreams.calls() == 0


@pytest.mark.parametrize("value", [None, "", 5, "a\x00", "x" * 256], ids=ascii)
def test_an_organisation_must_be_named(registration: Registration, value: object) -> None:
    answer = registration.register(clerkOrgId=value)
    assert (answer.status_code, list(answer.get_json()["details"])) == (400, ["clerkOrgId"])
    assert registration.upstreams.calls() == 0


def test_an_organisation_without_a_key_is_told_so(registration: Registration) -> None:
    answer = registration.register(clerkOrgId="stranger")
    assert answer.status_code == 422
    assert answer.get_json() == {"error": "BYOK key not configured for this organization"}


# What goes wrong


@pytest.mark.parametrize("how", ["drop_after", "after", "cut"])
def test_a_creation_whose_answer_is_lost_is_not_repeated_and_found_the_next_time(
    registration: Registration, how: Any
) -> None:
    registration.upstreams.instantly_http.fail("POST", WEBHOOKS, how=how)
    answer = registration.register()
    assert (answer.status_code, answer.get_json()["error"]) == (502, "Instantly unavailable")
    (webhook,) = registration.webhooks
    assert len(registration.changes()) == 1
    assert registration.registered() == answer_about(webhook)


@pytest.mark.parametrize(
    ("method", "path"), [("GET", WEBHOOKS), ("PATCH", WEBHOOK), ("POST", f"{WEBHOOK}/resume")]
)
def test_what_may_be_repeated_is_repeated(
    registration: Registration, method: str, path: str
) -> None:
    webhook = registration.put(status=-1)
    registration.upstreams.instantly_http.fail(method, path, how="drop_after")
    answer = registration.registered()
    assert answer == answer_about(webhook, "updated", "resumed")


@pytest.mark.parametrize("body", [5, [], {}, {"id": 5}, {"id": "../campaigns"}], ids=str)
@pytest.mark.parametrize("method", ["GET", "POST", "PATCH", "POST resume"])
def test_nonsense_of_instantly_is_no_error_of_ours(
    registration: Registration, method: str, body: object
) -> None:
    paths = {
        "GET": WEBHOOKS,
        "POST": WEBHOOKS,
        "PATCH": WEBHOOK,
        "POST resume": f"{WEBHOOK}/resume",
    }
    if method in ("PATCH", "POST resume"):
        registration.put(status=-1)
    body = {"items": [body]} if method == "GET" else body
    http = registration.upstreams.instantly_http
    http.fail(method.split()[0], paths[method], status=200, body=body)
    answer = registration.register()
    assert (answer.status_code, answer.get_json()["error"]) == (502, "Instantly unavailable")


QUOTES = [
    f"body/headers/X-Webhook-Secret must not be {NEW}",
    f"refused: {json.dumps({'headers': {'X-Webhook-Secret': NEW}})}",
    f"no {NEW}{NEW}, with key-1, {'x' * 970} {NEW}",
]


@pytest.mark.parametrize("message", QUOTES, ids=range(len(QUOTES)))
@pytest.mark.parametrize("is_there", [False, True])
def test_a_refusal_is_passed_on_without_the_secret(
    registration: Registration, message: str, is_there: bool
) -> None:
    if is_there:
        registration.put(headers={"Authorization": "Basic YTpi"})
        message += " Basic YTpi"
    for status in (400, 402, 403):
        method, path = ("PATCH", WEBHOOK) if is_there else ("POST", WEBHOOKS)
        http = registration.upstreams.instantly_http
        http.fail(method, path, status=status, body={"message": message})
        answer = registration.register()
        body = answer.get_json()
        assert (answer.status_code, body["error"]) == (422, "Instantly rejected the request")
        assert body["details"]["status"] == status
        for secret in (NEW, "secret", "1234", "key-1", "Basic YTpi"):
            assert secret not in body["details"]["message"].replace("-Secret", "")


@pytest.mark.parametrize("secret", [OLD, NEW])
def test_a_secret_of_ours_is_masked_in_calls_that_do_not_carry_it_too(
    registration: Registration, secret: str
) -> None:
    registration.put(headers=RIGHT["headers"], status=-1)
    quote = {"message": f"cannot resume {{'X-Webhook-Secret': '{secret}'}}"}
    registration.upstreams.instantly_http.fail("POST", f"{WEBHOOK}/resume", status=400, body=quote)
    registration.upstreams.instantly_http.fail(
        "GET", "/api/v2/accounts", status=400, body={"message": f"no {secret}"}
    )
    for answer in (registration.register(), registration.client.post("/accounts/sync")):
        assert answer.status_code == 422
        assert secret not in answer.text


def test_neither_the_log_nor_a_row_holds_the_secret(
    registration: Registration, db: Rows, capsys: pytest.CaptureFixture[str]
) -> None:
    http = registration.upstreams.instantly_http
    for status in (400, 500):
        http.fail("POST", WEBHOOKS, status=status, body={"message": f"no {NEW}"})
        assert NEW not in registration.register().text
    registration.registered()
    shown = capsys.readouterr()
    assert shown.out
    # A line of the log is JSON, and what is in it may be JSON.
    for text in (NEW, json.dumps(NEW)[1:-1], json.dumps(json.dumps(NEW)[1:-1])[1:-1]):
        assert text not in shown.out + shown.err
    assert db.count("instantly_leases") == 0


# Several at once


def test_another_registration_under_way_is_waited_for_and_then_busy(
    registration: Registration, db: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(instantly.storage.leases, "WAIT_SECONDS", 0.1)
    db.connection.execute(
        "INSERT INTO instantly_leases VALUES"
        " (%s, gen_random_uuid(), 20, clock_timestamp() + interval '20 s')",
        [f"webhooks:{InstantlyClient('').with_key('key-1').key_hash()}"],
    )
    answer = registration.register()
    assert (answer.status_code, answer.get_json()) == (503, {"error": BUSY})
    assert int(answer.headers["Retry-After"]) > 0
    assert registration.changes() == []
    db.fall_silent("webhooks:")
    assert registration.registered()["created"]
    assert "key-1" not in str(db.all("SELECT * FROM instantly_leases"))


def test_whoever_has_lost_the_lock_creates_nothing(
    registration: Registration, db: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = registration.upstreams.instantly
    listed = workspace.list_webhooks

    def list_slowly(*arguments: Any) -> Any:
        db.connection.execute("UPDATE instantly_leases SET holder = gen_random_uuid()")
        return listed(*arguments)

    monkeypatch.setattr(workspace, "list_webhooks", list_slowly)
    answer = registration.register()
    assert (answer.status_code, answer.get_json()) == (503, {"error": BUSY})
    assert registration.webhooks == []
