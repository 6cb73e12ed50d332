"""Whether an organisation's events reach us."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from helpers import configure
from werkzeug.test import TestResponse
from world import Upstreams, World

URL = "https://instantly-service.example/webhooks/instantly"
NEW, OLD = "the-new-secret-1234", "the-old-secret-1234"
SUMMARY = "/api/v2/webhook-events/summary"


@pytest.fixture(autouse=True)
def secrets(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(app, monkeypatch, webhook_secrets=(NEW, OLD))


def ask_health(client: FlaskClient, clerk_org_id: str = "clerk-1") -> TestResponse:
    return client.get("/webhooks/instantly/health", query_string={"clerkOrgId": clerk_org_id})


def health(client: FlaskClient) -> dict[str, Any]:
    answer = ask_health(client)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.get_json()
    return body


def test_where_nothing_is_set_up_nothing_is_told(client: FlaskClient) -> None:
    assert health(client) == {"webhooks": [], "lastDeliveryAt": None, "failedDeliveries": 0}


def test_the_webhooks_that_point_at_us_are_told_and_no_others(
    client: FlaskClient, upstreams: Upstreams
) -> None:
    def put(url: str = URL, status: int | None = 1, **fields: Any) -> str:
        webhook = upstreams.instantly.add_webhook("clerk-1", url, **fields)
        webhook["status"] = status
        return str(webhook["id"])

    for _ in range(101):
        put("https://somebody-else.example/webhooks/instantly", headers={"X-Webhook-Secret": NEW})
    expected = [
        (put(headers={"X-Webhook-Secret": NEW}), "active", True),
        (put(headers={"x-webhook-secret": OLD}, status=-1), "disabled", True),
        (put(headers={"X-Webhook-Secret": "***"}), "active", False),
        (put(f"{URL}?secret=1", status=None), "active", False),
        (put(event_type="email_sent", headers={"Authorization": NEW}), "active", False),
    ]
    shown = [(each["id"], each["status"], each["verified"]) for each in health(client)["webhooks"]]
    assert shown == expected


def test_without_a_secret_nothing_is_verified(
    app: Flask, client: FlaskClient, upstreams: Upstreams, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(app, monkeypatch, webhook_secrets=())
    upstreams.instantly.add_webhook("clerk-1", URL, headers={"X-Webhook-Secret": NEW})
    assert [webhook["verified"] for webhook in health(client)["webhooks"]] == [False]


def test_no_secret_is_ever_shown(client: FlaskClient, upstreams: Upstreams) -> None:
    upstreams.instantly.add_webhook("clerk-1", URL, headers={"X-Webhook-Secret": NEW})
    assert NEW not in ask_health(client).text


def test_the_last_delivery_is_the_latest_arrival_over_all_campaigns_of_the_organisation(
    ours: World,
) -> None:
    def arrived(world: World, moment: str, number: int) -> None:
        payload = world.payload(number=number, timestamp="2031-01-01T00:00:00Z")
        world.deliver(payload, headers={"X-Webhook-Secret": NEW})
        world.db.connection.execute(
            "UPDATE instantly_events SET received_at = %s"
            " WHERE id = (SELECT max(id) FROM instantly_events)",
            [moment],
        )

    second, third = ours.another(), ours.another(clerkOrgId="clerk-2")
    assert health(ours.client)["lastDeliveryAt"] is None
    arrived(ours, "2026-08-18T07:13:00Z", 1)
    arrived(second, "2026-08-18T08:13:00.5Z", 2)
    arrived(second, "2026-08-18T09:13:00.123456Z", 3)
    arrived(ours, "2026-08-18T08:59:00Z", 4)
    arrived(third, "2026-08-18T10:00:00Z", 5)
    assert health(ours.client)["lastDeliveryAt"] == "2026-08-18T09:13:00.123Z"


def test_a_delivery_that_was_not_recorded_is_none(ours: World) -> None:
    ours.deliver(ours.payload())
    assert health(ours.client)["lastDeliveryAt"] is None


def test_failed_deliveries_are_those_of_the_last_seven_days(
    client: FlaskClient, upstreams: Upstreams
) -> None:
    today = datetime.now(UTC).date()
    workspace = upstreams.instantly.workspace("clerk-1")
    for age in (0, 0, 3, 6, 7, 30):
        for success in (False, True):
            event = {"timestamp_created_date": str(today - timedelta(days=age))}
            workspace.events.append({**event, "id": workspace.ids.uuid(), "success": success})
    assert health(client)["failedDeliveries"] == 4
    (call,) = upstreams.instantly_http.calls("GET", SUMMARY)
    assert call.query == {"from": [str(today - timedelta(days=6))], "to": [str(today)]}


@pytest.mark.parametrize(
    ("failed", "status"),
    [
        (0, 200),
        (7.0, 200),
        (10**30, 200),
        (-1, 502),
        (1.5, 502),
        ("7", 200),
        ("few", 502),
        (True, 502),
    ],
    ids=str,
)
@pytest.mark.parametrize("wrap", [dict, list])
def test_a_number_of_failures_that_is_none_is_no_error_of_ours(
    client: FlaskClient, upstreams: Upstreams, failed: object, status: int, wrap: type
) -> None:
    body = wrap({"failed_events": failed})
    upstreams.instantly_http.fail("GET", SUMMARY, status=200, body=body)
    assert ask_health(client).status_code == (status if wrap is dict else 502)


@pytest.mark.parametrize(
    "query", ["", "?clerkOrgId=", "?clerkOrgId=a%00", f"?clerkOrgId={'x' * 256}"]
)
def test_an_organisation_must_be_named(
    client: FlaskClient, upstreams: Upstreams, query: str
) -> None:
    answer = client.get(f"/webhooks/instantly/health{query}")
    assert (answer.status_code, list(answer.get_json()["details"])) == (400, ["clerkOrgId"])
    assert upstreams.calls() == 0


def test_an_organisation_without_a_key_is_told_so(client: FlaskClient) -> None:
    answer = ask_health(client, "stranger")
    assert answer.status_code == 422
    assert answer.get_json() == {"error": "BYOK key not configured for this organization"}


def test_without_a_base_url_nobody_is_asked_anything(
    app: Flask, client: FlaskClient, upstreams: Upstreams, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(app, monkeypatch, webhook_base_url=None)
    answer = ask_health(client)
    assert answer.status_code == 500
    assert answer.get_json() == {"error": "WEBHOOK_BASE_URL not configured"}
    assert upstreams.calls() == 0


@pytest.mark.parametrize("path", ["/api/v2/webhooks", SUMMARY])
def test_a_refusal_of_instantly_is_passed_on(
    client: FlaskClient, upstreams: Upstreams, path: str
) -> None:
    upstreams.instantly_http.fail("GET", path, status=403, body={"message": "no plan"})
    answer = ask_health(client)
    assert answer.status_code == 422
    assert answer.get_json()["details"] == {"status": 403, "message": "no plan"}
