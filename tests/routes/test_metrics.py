"""GET /metrics: each figure moves when its thing happens, and no label grows without a bound."""

import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from figures import PREFIX, figure, read, rising
from flask import Flask
from flask.testing import FlaskClient
from harness import wait_until
from helpers import UNKNOWN_ID, client_without_postgres
from psycopg import OperationalError
from world import (
    API_KEY,
    Act,
    Campaign,
    Statements,
    Upstreams,
    World,
    addresses,
    client_of,
    leads_of,
)

import instantly.billing.run
from instantly import application
from instantly.config import VERSION, Settings
from instantly.limits import MAX_WAITING
from instantly.sandbox.operations import OPERATIONS
from instantly.storage.statements import Database
from instantly.web.context import EXTENSION

ANALYTICS = ("GET", "/api/v2/campaigns/analytics")


@contextmanager
def app_with(settings: Settings, **changes: Any) -> Iterator[Flask]:
    app = application.create_app(replace(settings, **changes))
    yield app
    app.extensions[EXTENSION].database.close()


# Who may look, and what it is


BEARER = f"Bearer {API_KEY}"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"X-API-Key": API_KEY}, 200),
        ({"Authorization": BEARER}, 200),
        ({"Authorization": f"bearer {API_KEY}"}, 200),
        ({"X-API-Key": API_KEY, "Authorization": "Bearer other"}, 200),
        ({"X-API-Key": "other", "Authorization": BEARER}, 200),
        ({"X-API-Key": "other", "Authorization": "Bearer other"}, 401),
        ({"X-API-Key": BEARER}, 401),
        ({"Authorization": API_KEY}, 401),
        ({"Authorization": f"Basic {API_KEY}"}, 401),
        ({"Authorization": f"Bearer{API_KEY}"}, 401),
        ({"Authorization": f"{BEARER}x"}, 401),
        ({"Authorization": f"Bearer {API_KEY[:-1]}"}, 401),
        ({"Authorization": f"{BEARER}, {BEARER}"}, 401),
        ({"Authorization": "Bearer"}, 401),
        ({"Authorization": "Bearer "}, 401),
        ({"Authorization": "Bearer schlüssel"}, 401),
        ({"Cookie": f"X-API-Key={API_KEY}"}, 401),
    ],
    ids=str,
)
def test_the_key_opens_it_in_either_header(
    app: Flask, headers: dict[str, str], status: int
) -> None:
    for method in ("GET", "HEAD"):
        assert app.test_client().open("/metrics", method=method, headers=headers).status_code == (
            status
        )


def test_a_key_with_any_characters_is_a_token(settings: Settings) -> None:
    with app_with(settings, api_keys=("a=b,c=d==",)) as app:
        headers = {"Authorization": "Bearer a=b,c=d=="}
        assert app.test_client().get("/metrics", headers=headers).status_code == 200


def test_a_token_opens_nothing_else(app: Flask) -> None:
    for rule in app.url_map.iter_rules():
        path = re.sub("<[^>]+>", "something", rule.rule)
        for method in {*(rule.methods or ()), "PUT"} - {"HEAD", "OPTIONS"}:
            if (method, path) == ("GET", "/metrics"):
                continue
            headers = {"Authorization": BEARER}
            answer = app.test_client().open(path, method=method, headers=headers)
            without = app.test_client().open(path, method=method)
            assert answer.status_code == without.status_code, f"{method} {path}"


def test_the_document_names_both_schemes_for_this_route_alone(client: FlaskClient) -> None:
    document = client.get("/openapi.json").get_json()
    assert document["components"]["securitySchemes"]["bearer"] == {
        "type": "http",
        "scheme": "bearer",
    }
    found = {
        path: operation["security"]
        for path, operations in document["paths"].items()
        for operation in operations.values()
        if operation.get("security")
    }
    assert found == {"/metrics": [{"apiKey": []}, {"bearer": []}]}


def test_it_is_prometheus_text(client: FlaskClient) -> None:
    answer = client.get("/metrics")
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert ("instantly_service_info", frozenset({("version", VERSION)})) in read(client)
    names = {name for name, _ in read(client)}
    assert {"process_resident_memory_bytes", "process_cpu_seconds_total"} <= names
    assert {name for name in names if not name.startswith((PREFIX, "process_"))} == set()


@pytest.mark.parametrize("silent", [False, True], ids=["refuses", "never answers"])
def test_it_answers_while_postgres_is_away(settings: Settings, silent: bool) -> None:
    with client_without_postgres(settings, silent=silent) as client:
        client.environ_base["HTTP_X_API_KEY"] = API_KEY
        if not silent:
            with rising(client) as rise:
                assert client.get("/campaigns/by-org/x").status_code == 503
            assert rise.of("requests_total", status="503") == 1
        assert figure(client, "database_connections_limit") == settings.database_pool_size
        assert figure(client, "database_connections_open") == 0


# Requests


@pytest.mark.parametrize(
    ("method", "path", "series"),
    [
        ("GET", "/", ("GET", "/", "200")),
        ("HEAD", "/health", ("HEAD", "/health", "200")),
        ("GET", f"/campaigns/{UNKNOWN_ID}", ("GET", "/campaigns/<campaign_id>", "404")),
        ("GET", "/campaigns/by-org/me", ("GET", "/campaigns/by-org/<org_id>", "200")),
        ("POST", "/stats", ("POST", "/stats", "415")),
        ("GET", "/nowhere", ("GET", "unknown", "404")),
        ("DELETE", "/stats", ("DELETE", "unknown", "405")),
        ("BREW", "/", ("other", "unknown", "405")),
        ("brew", '/x\n"{}', ("other", "unknown", "404")),
    ],
)
def test_a_request_counts_under_its_route_and_status(
    client: FlaskClient, method: str, path: str, series: tuple[str, str, str]
) -> None:
    with rising(client) as rise:
        client.open(path, method=method)
    scraped = {("GET", "/metrics", "200"): 1.0}
    assert rise.by("requests_total", "method", "route", "status") == {series: 1.0, **scraped}
    durations = rise.by("request_duration_seconds_count", "method", "route")
    assert durations == {series[:2]: 1.0, ("GET", "/metrics"): 1.0}
    assert 0 < rise.of("request_duration_seconds_sum", method=series[0], route=series[1]) < 10


def test_a_refused_caller_counts_too(app: Flask, client: FlaskClient) -> None:
    with rising(client) as rise:
        app.test_client().get("/campaigns/by-org/me")
    assert rise.of("requests_total", route="/campaigns/by-org/<org_id>", status="401") == 1


# Calls to other services


OK, REFUSED, LIMITED, FAILED = "ok", "refused", "rate_limited", "failed"


@pytest.mark.parametrize(
    ("fault", "outcome", "retries"),
    [
        (None, OK, 0),
        ({"status": 503}, OK, 1),
        ({"how": "drop"}, OK, 1),
        ({"status": 429, "headers": {"Retry-After": "1"}, "times": 2}, OK, 2),
        ({"status": 400}, REFUSED, 0),
        ({"status": 401}, REFUSED, 0),
        ({"status": 404}, REFUSED, 0),
        ({"status": 429, "times": None}, LIMITED, 5),
        ({"status": 429, "headers": {"Retry-After": "31"}}, LIMITED, 0),
        ({"status": 500, "times": None}, FAILED, 5),
        ({"how": "drop", "times": None}, FAILED, 2),
        ({"status": 302}, FAILED, 0),
        ({"status": 200, "body": "<html>"}, FAILED, 0),
    ],
    ids=str,
)
def test_a_call_counts_once_by_how_it_ended(
    world: World, campaign: Campaign, fault: dict[str, Any] | None, outcome: str, retries: int
) -> None:
    if fault:
        world.upstreams.instantly_http.fail(*ANALYTICS, **fault)
    with rising(world.client) as rise:
        world.send("GET", world.path("/analytics"))
    of_instantly = {"service": "instantly", "operation": "GET /campaigns/analytics"}
    assert rise.by("upstream_calls_total", "service", "operation", "outcome") == {
        (*of_instantly.values(), outcome): 1,
        ("key-service", "GET /internal/keys/instantly/decrypt", OK): 1,
    }
    assert rise.of("upstream_call_duration_seconds_count", **of_instantly) == 1
    assert rise.of("upstream_call_duration_seconds_sum", **of_instantly) > 0
    assert rise.of("upstream_retries_total", **of_instantly) == retries
    assert rise.of("upstream_retries_total") == retries


def test_every_call_of_an_act_counts(world: World, campaign: Campaign) -> None:
    with rising(world.client) as rise:
        world.add(addresses(3))
    assert rise.by("upstream_calls_total", "service", "operation", "outcome") == {
        ("key-service", "GET /internal/keys/instantly/decrypt", OK): 1,
        ("runs-service", "POST /v1/runs", OK): 1,
        ("instantly", "POST /leads/add", OK): 1,
        ("runs-service", "POST /v1/runs/{id}/costs", OK): 1,
        ("runs-service", "PATCH /v1/runs/{id}", OK): 1,
    }


# Deliveries


def test_a_delivery_counts_by_what_became_of_it(client: FlaskClient, ours: World) -> None:
    with rising(client) as rise:
        for number in (1, 2, 3, 1, 2):
            ours.deliver(ours.payload(number=number))
        ours.deliver({"event_type": "email_sent", "campaign_id": UNKNOWN_ID})
        ours.deliver("no JSON")
    assert rise.by("deliveries_total", "source", "outcome") == {
        ("webhook", "recorded"): 3,
        ("webhook", "duplicate"): 2,
        ("webhook", "unknown campaign"): 1,
    }


RECOVERY = {"clerkOrgId": "clerk-1", "from": "2026-08-18", "to": "2026-08-18"}


def miss(upstreams: Upstreams, payload: dict[str, Any], url: str) -> None:
    """Lets Instantly hold a delivery to this URL that failed."""
    workspace = upstreams.instantly.workspace("clerk-1")
    delivery = {
        "id": workspace.ids.uuid(),
        "timestamp_created": "2026-08-18T07:13:00.000Z",
        "timestamp_created_date": "2026-08-18",
        "organization_id": workspace.id,
        "payload": payload,
        "success": False,
        "retry_count": 3,
        "will_retry": False,
        "webhook_url": url,
    }
    workspace.events.append(delivery)


def test_what_is_recovered_counts_apart(
    client: FlaskClient, ours: World, upstreams: Upstreams
) -> None:
    url = "https://instantly-service.example/webhooks/instantly"
    for target, number in ((url, 1), (url, 2), (url, 1), ("https://other.example", 4)):
        miss(upstreams, ours.payload(number=number), target)
    with rising(client) as rise:
        assert client.post("/webhooks/instantly/recover", json=RECOVERY).status_code == 200
    assert rise.by("deliveries_total", "source", "outcome") == {
        ("recovery", "recorded"): 2,
        ("recovery", "duplicate"): 1,
        ("recovery", "unknown campaign"): 1,
    }


# Acts


def test_leads_count_once_they_are_stored_and_billed(world: World, campaign: Campaign) -> None:
    with rising(world.client) as rise:
        world.add(addresses(3))
        world.add(addresses(5))
        world.upload(leads_of(["a@nowhere.invalid"]))
    assert rise.of("leads_added_total") == world.billed() > 0
    assert rise.of("campaigns_created_total") == 0


def test_a_campaign_counts_once_it_is_stored_and_billed(world: World) -> None:
    with rising(world.client) as rise:
        world.created()
    assert (rise.of("campaigns_created_total"), rise.of("leads_added_total")) == (1, 0)


def billed(rise: Any) -> float:
    return float(rise.of("leads_added_total") + rise.of("campaigns_created_total"))


@pytest.mark.parametrize("step", ["runs", "instantly", "runs costs"])
def test_an_act_that_was_undone_counts_nowhere(act: Act, step: str) -> None:
    act.fail(step, status=400)
    with rising(act.world.client) as rise:
        assert act.send().status_code == 422
    assert billed(rise) == 0


def test_a_replayed_answer_counts_nothing_again(act: Act) -> None:
    assert act.send(key="once").status_code == 201
    with rising(act.world.client) as rise:
        assert act.send(key="once").headers["Idempotent-Replayed"] == "true"
    assert billed(rise) == 0


def test_acts_that_wait_are_counted_while_they_do(world: World) -> None:
    assert figure(world.client, "acts_waiting_limit") == MAX_WAITING
    http = world.upstreams.keys_http
    http.fail("GET", "/internal/keys/.*", times=None, how="hang")
    with ThreadPoolExecutor(3) as callers:
        acts = [callers.submit(world.beside().create) for _ in range(3)]
        http.wait_until_hanging(3)
        assert figure(world.client, "acts_waiting") == 3
        http.heal()
        assert [act.result().status_code for act in acts] == [201] * 3
    assert figure(world.client, "acts_waiting") == 0


def test_an_act_that_fails_waits_no_longer(world: World) -> None:
    world.upstreams.keys_http.fail("GET", "/internal/keys/.*", status=400)
    assert world.create().status_code == 502
    assert figure(world.client, "acts_waiting") == 0


# Connections


def test_connections_are_shown_as_they_are(client: FlaskClient, app: Flask) -> None:
    database: Database = app.extensions[EXTENSION].database

    def shown(name: str) -> float:
        return figure(client, f"database_connections_{name}")

    limit = int(shown("limit"))
    assert limit == app.extensions[EXTENSION].settings.database_pool_size
    client.get("/campaigns/by-org/x")
    assert shown("in_use") == 0
    assert 1 <= shown("open") <= limit
    held = [database.transaction() for _ in range(limit)]
    for number, transaction in enumerate(held, 1):
        transaction.__enter__()
        assert shown("in_use") == number
        assert number <= shown("open") <= limit
    late = threading.Thread(target=client_of(app).get, args=["/campaigns/by-org/x"])
    late.start()
    wait_until(lambda: shown("awaited") == 1)
    for transaction in held:
        transaction.__exit__(None, None, None)
    late.join()
    assert (shown("in_use"), shown("awaited"), shown("open")) == (0, 0, limit)


# What is left over


@pytest.mark.parametrize("step", ["runs", "runs costs", "instantly"])
def test_an_answer_that_was_lost_is_to_be_looked_after(create_act: Act, step: str) -> None:
    create_act.fail(step, how="drop_after")
    with rising(create_act.world.client) as rise:
        assert create_act.send().status_code == 502
    assert rise.of("left_over_total") == 1


@pytest.mark.parametrize("step", ["runs", "runs costs", "instantly"])
def test_what_was_refused_needs_no_looking_after(create_act: Act, step: str) -> None:
    create_act.fail(step, status=400)
    with rising(create_act.world.client) as rise:
        assert create_act.send().status_code == 422
    assert rise.of("left_over_total") == 0


def test_an_undo_that_fails_is_to_be_looked_after(act: Act) -> None:
    act.fail("runs costs", status=400)
    act.fail("take back", status=400, times=None)
    with rising(act.world.client) as rise:
        assert act.send().status_code == 422
    assert rise.of("left_over_total") == 1


def test_leads_that_stay_since_the_lock_was_lost_are_to_be_looked_after(
    upload_act: Act, statements: Statements
) -> None:
    def lose_lock(_: object) -> bool:
        upload_act.world.db.connection.execute(
            "UPDATE instantly_leases SET holder = gen_random_uuid() WHERE name LIKE 'leads:%'"
        )
        return False

    statements.fail("insert_leads", when=lose_lock)
    with rising(upload_act.world.client) as rise:
        assert upload_act.send().status_code == 503
    assert rise.of("left_over_total") == 1


def test_a_farewell_that_fails_is_to_be_looked_after(act: Act) -> None:
    act.fail("runs end", status=400)
    with rising(act.world.client) as rise:
        assert act.send().status_code == 201
    assert rise.of("left_over_total") == 1


def test_all_that_stays_while_postgres_is_away_is_to_be_looked_after(
    act: Act, statements: Statements, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(instantly.billing.run, "DATABASE_PAUSES_SECONDS", (0.0,))
    act.fail("runs costs", status=400)
    statements.fail(act.take_back, failure=OperationalError("away"))
    with rising(act.world.client) as rise:
        assert act.send().status_code == 422
    # The rows, and what they stand for in Instantly.
    assert rise.of("left_over_total") == 2


# Bounds


def test_no_label_holds_what_a_caller_or_a_lead_is_called(
    world: World, campaign: Campaign, ours: World
) -> None:
    """Names, ids and addresses in every place that a caller or Instantly can fill."""
    client = world.client

    def round_of(mark: str) -> None:
        own = world.created(name=mark, orgId=mark, brandId=mark, appId=mark)
        emails = [f"{mark}.{number}@{mark}.example" for number in range(3)]
        world.upload(leads_of(emails), own, orgId=mark)
        world.send("DELETE", world.path("/leads", own), {"emails": emails})
        for status in ("active", "paused", mark):
            world.send("PATCH", world.path("/status", own), {"status": status})
        for path in ("", "/leads", "/analytics", f"/{mark}"):
            client.get(world.path(path, own))
        client.get(f"/campaigns/by-org/{mark}?cursor={mark}&{mark}={mark}")
        for path in (
            f"/{mark}",
            f"/{mark}/{mark}",
            f"/campaigns/{mark}",
            f"/accounts/{mark}/warmup",
        ):
            for method in ("GET", "POST", "OPTIONS", mark, mark.upper()):
                client.open(path, method=method, json={}, headers={"X-Request-Id": mark})
        client.post("/accounts/sync")
        client.post(f"/accounts/{mark}@x.example/warmup", json={"enabled": True})
        client.get(f"/accounts/warmup-analytics?emails={mark}@x.example")
        client.post("/stats", json={"brandId": mark, "clerkOrgId": mark})
        for event_type in (mark, f"lead_{mark}", "email_opened"):
            payload = ours.payload(event_type, lead_email=f"{mark}@x.example", step=mark)
            ours.deliver({**payload, mark: mark})
            ours.deliver({**payload, "campaign_id": mark})
        miss(world.upstreams, ours.payload(mark, number=mark), f"https://{mark}.example")
        for org in ("clerk-1", mark):
            body = {**RECOVERY, "clerkOrgId": org}
            client.post("/webhooks/instantly/recover", json=body)
        world.upstreams.instantly_http.fail(*ANALYTICS, status=418, body={"message": mark})
        client.get(world.path("/analytics", own))

    at_first = read(client)
    round_of("firstmark")
    before = read(client).keys()
    round_of("secondmark")
    after = read(client)
    assert after.keys() == before
    # The other series are those of other tests in this process.
    moved = {labels for (name, labels), _ in after.items() - at_first.items()}
    told = " ".join(value.lower() for labels in moved for _, value in labels)
    for mark in ("mark", "@", "example", "clerk", "key-1", API_KEY):
        assert mark not in told.replace("key-service", "")
    assert not re.search(r"[0-9a-f]{8}-|\d{4}", told)


def test_a_call_is_named_as_the_operation_is_documented(world: World, campaign: Campaign) -> None:
    documented = {
        re.sub("{[^}]+}", "{id}", f"{each.method} {each.path.removeprefix('/api/v2')}")
        for each in OPERATIONS
    }
    verbs: list[Callable[[], Any]] = [
        lambda: world.add(addresses(2)),
        lambda: world.delete(addresses(3)),
        lambda: world.switch("active"),
        lambda: world.switch("paused"),
        lambda: world.send("GET", world.path("/analytics")),
        lambda: world.send("POST", "/accounts/sync"),
        lambda: world.send("POST", "/accounts/a@x.example/warmup", {"enabled": False}),
    ]
    with rising(world.client) as rise:
        for verb in verbs:
            verb()
    calls = rise.by("upstream_calls_total", "service", "operation")
    called = {operation for service, operation in calls if service == "instantly"}
    assert len(called) >= 5
    assert called <= documented
