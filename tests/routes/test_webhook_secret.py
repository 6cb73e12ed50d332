"""With INSTANTLY_WEBHOOK_SECRET set, only deliveries that carry it count."""

import hmac
from dataclasses import replace
from io import BytesIO
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from helpers import UNKNOWN_ID, client_without_postgres, configure
from world import World

import instantly.deliveries
from instantly.config import Settings

NEW, OLD = "the-new-secret-1234", "the-old-secret-1234"
UNVERIFIED = {"success": True, "recorded": False, "reason": "unverified"}
FOUR_MIB = 4 * 1024 * 1024
LEAD = "a@x.example"
WRONG = [
    "",
    "wrong",
    NEW[:-1],
    NEW + "x",
    NEW.upper(),
    f"Bearer {NEW}",
    f'"{NEW}"',
    f"{NEW},{OLD}",
    f"{NEW}, {NEW}",
    f"{OLD},{NEW}",
    "schlüssel",
    "\x00",
    "x" * 10_000,
]


@pytest.fixture
def ours(ours: World, app: Flask, monkeypatch: pytest.MonkeyPatch) -> World:
    """It holds a lead, and the service has two secrets."""
    configure(app, monkeypatch, webhook_secrets=(NEW, OLD))
    ours.hold(LEAD)
    return ours


def changed(ours: World) -> bool:
    return bool(ours.events()) or (ours.statuses(), ours.status()) != ({LEAD: "active"}, "draft")


@pytest.mark.parametrize("secret", [NEW, OLD])
@pytest.mark.parametrize("header", ["X-Webhook-Secret", "x-webhook-secret"])
def test_a_delivery_with_one_of_the_secrets_is_recorded(
    ours: World, header: str, secret: str
) -> None:
    payload = ours.payload(lead_email=LEAD)
    answer = ours.deliver(payload, headers={header: secret})
    recorded = {"success": True, "recorded": True, "eventType": "email_opened"}
    assert (answer.status_code, answer.get_json()) == (200, recorded)
    assert ours.statuses() == {LEAD: "opened"}
    answer = ours.deliver(payload, headers={header: secret})
    assert answer.get_json()["reason"] == "duplicate"


@pytest.mark.parametrize("secret", [None, *WRONG], ids=ascii)
def test_a_delivery_without_it_is_answered_with_success_and_changes_nothing(
    ours: World, secret: str | None
) -> None:
    headers = {} if secret is None else {"X-Webhook-Secret": secret}
    for event_type in ("email_opened", "email_bounced", "campaign_completed"):
        answer = ours.deliver(ours.payload(event_type, lead_email=LEAD), headers=headers)
        assert (answer.status_code, answer.get_json()) == (200, UNVERIFIED)
    assert not changed(ours)


def test_the_secret_counts_in_its_header_only(ours: World) -> None:
    payload = ours.payload(**{"X-Webhook-Secret": NEW, "secret": NEW})
    for more in (
        {"query_string": {"X-Webhook-Secret": NEW, "secret": NEW}},
        {"headers": {"Authorization": f"Bearer {NEW}", "X-API-Key": NEW}},
        {"headers": {"Cookie": f"X-Webhook-Secret={NEW}"}},
        # The key of the service is no secret of its webhooks.
        {"headers": {"X-API-Key": "service-key"}},
        {"headers": {"X-Webhook-Secret": "service-key"}},
    ):
        assert ours.deliver(payload, **more).get_json() == UNVERIFIED
    assert not changed(ours)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b"[" * 100_000])
def test_a_stranger_learns_nothing_of_what_is_wrong_with_a_body(
    ours: World, body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ours.deliver(body, headers={"X-Webhook-Secret": NEW}).status_code == 400

    def parse(_: bytes) -> dict[str, Any]:
        raise AssertionError("a stranger's body was parsed")

    monkeypatch.setattr(instantly.deliveries, "delivery_payload", parse)
    answer = ours.deliver(body)
    assert (answer.status_code, answer.get_json()) == (200, UNVERIFIED)


@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_strangers_body_is_read_within_its_limit(ours: World, is_chunked: bool) -> None:
    def send(size: int) -> int:
        if not is_chunked:
            return ours.deliver(b"x" * size).status_code
        return ours.client.post(
            "/webhooks/instantly",
            input_stream=BytesIO(b"x" * size),
            headers={"Transfer-Encoding": "chunked"},
            environ_overrides={"wsgi.input_terminated": True},
        ).status_code

    assert (send(FOUR_MIB), send(FOUR_MIB + 1)) == (200, 413)


def test_a_stranger_does_not_learn_which_campaigns_are_ours(ours: World) -> None:
    known = ours.deliver(ours.payload())
    unknown = ours.deliver(ours.payload() | {"campaign_id": UNKNOWN_ID})
    assert (known.status_code, known.data) == (unknown.status_code, unknown.data)


@pytest.mark.parametrize("given", [NEW, OLD, "wrong", ""])
def test_every_secret_is_compared_whichever_is_given(
    ours: World, given: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: set[bytes] = set()
    compare = hmac.compare_digest

    def noted(*texts: bytes) -> bool:
        compared.update(texts)
        return compare(*texts)

    monkeypatch.setattr(hmac, "compare_digest", noted)
    ours.deliver(ours.payload(), headers={"X-Webhook-Secret": given})
    assert compared == {NEW.encode(), OLD.encode(), given.encode()}


def test_without_the_setting_every_delivery_counts(
    app: Flask, ours: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(app, monkeypatch, webhook_secrets=())
    for number, headers in enumerate(({}, {"X-Webhook-Secret": "whatever"})):
        answer = ours.deliver(ours.payload(number=number), headers=headers)
        assert answer.get_json()["recorded"] is True


def test_a_stranger_costs_the_database_nothing(settings: Settings) -> None:
    with client_without_postgres(replace(settings, webhook_secrets=(NEW,))) as client:
        delivery = {"event_type": "email_sent", "campaign_id": UNKNOWN_ID}
        answer = client.post("/webhooks/instantly", json=delivery)
        assert (answer.status_code, answer.get_json()) == (200, UNVERIFIED)
        secret = {"X-Webhook-Secret": NEW}
        answer = client.post("/webhooks/instantly", json=delivery, headers=secret)
        assert answer.status_code == 503


def test_the_document_tells_of_the_header_and_of_the_reason(client: FlaskClient) -> None:
    document = client.get("/openapi.json").get_json()
    operation = document["paths"]["/webhooks/instantly"]["post"]
    (header,) = operation["parameters"]
    assert (header["in"], header["name"]) == ("header", "X-Webhook-Secret")
    reasons = document["components"]["schemas"]["Received"]["properties"]["reason"]["enum"]
    assert "unverified" in reasons
