"""What the service ignores in a body or a query is told to the caller."""

import json
from typing import Any

import pytest
from world import Campaign, World, campaign_request, leads_of

HEADER = "X-Ignored-Fields"
STEP = {"subject": "Hello", "bodyHtml": "<p>Hi</p>"}


def told(world: World, method: str, path: str, body: Any = None, **more: Any) -> str | None:
    header: str | None = world.send(method, path, body, **more).headers.get(HEADER)
    return header


CREATING = [
    ({}, None),
    ({"metadata": {"mine": {"yours": 1}}, "runId": None}, None),
    ({"skip": 1, "brand_id": "x", "brandIds": ["x"]}, "brandIds, brand_id, skip"),
    ({"schedule": {"tz": "UTC", "timezone": "UTC"}}, "schedule.tz"),
    ({"schedule": None, "sequence": ""}, None),
    (
        {"sequence": [{**STEP, "body": "x"}, {"variants": [{**STEP, "b": 1}, {**STEP, "b": 2}]}]},
        "sequence.body, sequence.variants.b",
    ),
    # What is refused is not ignored.
    ({"settings": {"dailyLimits": 5}, "x": 1}, "x"),
    # Also of what is no good at all.
    ({"name": 5, "schedule": "x", "sequence": [5, [], {"a": 1}], "x": 1}, "sequence.a, x"),
]


@pytest.mark.parametrize(("changes", "header"), CREATING, ids=str)
def test_fields_of_every_level_are_told(world: World, changes: Any, header: str | None) -> None:
    assert told(world, "POST", "/campaigns", campaign_request(**changes)) == header


def test_fields_of_leads_are_told_and_their_own_variables_are_not(
    world: World, campaign: Campaign
) -> None:
    leads: list[Any] = [
        {"email": "ada@x.example", "fistName": "Ada", "customVariables": {"mine": 1}},
        {"email": "bea@x.example", "fistName": "Bea", "first_name": "Bea"},
    ]
    body = {"orgId": "org-1", "leads": leads}
    assert told(world, "POST", world.path("/leads"), body) == "leads.first_name, leads.fistName"
    body = {"orgId": "org-1", "leads": leads_of(["cyd@x.example"])}
    assert told(world, "POST", world.path("/leads"), body) is None


@pytest.mark.parametrize(
    ("method", "path", "body", "header"),
    [
        ("GET", "/campaigns/by-org/org-1?limit=5&offset=3&Limit=1&offset=4", None, "Limit, offset"),
        ("GET", "/campaigns/by-org/org-1?limit=5&skip=1", None, None),
        ("GET", "/campaigns/by-org/org-1?limit=x&offset=3", None, "offset"),
        ("HEAD", "/accounts?status=active", None, "status"),
        ("POST", "/stats?brandId=b", {"brandId": "b", "brandIds": ["c"]}, "brandId, brandIds"),
        ("POST", "/stats", {"groupBy": "brandId"}, None),
        ("POST", "/stats", {"brandIds": ["c"]}, "brandIds"),
        ("GET", "/campaigns/nobody?x=1", None, "x"),
        ("GET", "/nowhere?x=1", None, None),
        ("PUT", "/accounts?x=1", None, None),
        ("GET", "/health?x=1", None, "x"),
    ],
)
def test_parameters_are_told_and_errors_tell_too(
    world: World, method: str, path: str, body: Any, header: str | None
) -> None:
    assert told(world, method, path, body) == header


def test_a_body_that_was_not_read_tells_nothing(world: World) -> None:
    data = {"data": b'{"brandIds": 1}'}
    for more in ({**data, "content_type": "text/plain"}, {"data": b"{"}):
        assert told(world, "POST", "/stats?x=1", **more) is None
    headers = {"X-API-Key": "wrong"}
    assert told(world, "POST", "/stats", {"brandIds": 1}, headers=headers) is None
    assert told(world, "GET", "/accounts?x=1", headers=headers) is None


def test_a_delivery_is_told_nothing(world: World, campaign: Campaign) -> None:
    payload = world.payload(timestamps="now", lead={"name": "Ada"})
    assert HEADER not in world.deliver(payload).headers
    answer = world.send("POST", "/webhooks/instantly?secret=x", payload)
    assert (answer.status_code, HEADER in answer.headers) == (200, False)


def test_a_repeat_is_told_the_same(world: World) -> None:
    body = campaign_request(brandIds=["b"])
    for _ in range(2):
        headers = {"Idempotency-Key": "key"}
        assert told(world, "POST", "/campaigns", body, headers=headers) == "brandIds"
    assert len(world.campaigns()) == 1


@pytest.mark.parametrize(
    ("names", "header"),
    [
        (["größe", "a\r\nSet-Cookie: b", "\x7f", "", "\u2028", "ok"], "ok"),
        (["\ud800"], None),
        (["b", "a" * 1001, "c"], "b, c"),
        (["a" * 1000], "a" * 1000),
        ([f"{number:03}" for number in range(1000)], ", ".join(f"{n:03}" for n in range(200))),
        ([str(number) for number in range(100_000)], ...),
        (["a, b", 'c"; d'], 'a, b, c"; d'),
    ],
    ids=["odd characters", "nothing else", "long", "longest", "many", "very many", "separators"],
)
def test_a_header_holds_so_many_printable_names(world: World, names: Any, header: Any) -> None:
    data = json.dumps({"brandId": "b", **dict.fromkeys(names)})
    answer = told(world, "POST", "/stats", data=data, content_type="application/json")
    assert len(answer or "") <= 1000
    assert header in (answer, ...)
