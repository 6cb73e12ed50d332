"""The document describes the API, all of it."""

from contextlib import nullcontext
from functools import wraps

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from instantly.schemas.answers import object_of
from instantly.web.openapi import openapi_path


@pytest.fixture
def document(client):
    answer = client.get("/openapi.json")
    assert answer.status_code == 200
    return answer.get_json()


def test_the_document_is_valid(document):
    assert list(OpenAPIV31SpecValidator(document).iter_errors()) == []


def test_no_two_shapes_have_one_name():
    with pytest.raises(ValueError, match="two shapes are called Campaign"):
        object_of("Campaign")


def test_every_route_is_documented_and_every_documented_one_exists(app, document):
    routes = {
        (openapi_path(rule), method.lower())
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if not rule.rule.startswith("/docs/")
    }
    documented = {
        (path, method) for path, operations in document["paths"].items() for method in operations
    }
    assert documented == routes


def test_every_operation_has_a_summary_and_a_success(document):
    for operations in document["paths"].values():
        for operation in operations.values():
            assert operation["summary"].endswith(".")
            assert [status for status in operation["responses"] if status.startswith("2")]


def test_the_two_routes_that_bill_take_an_idempotency_key(document):
    takers = {
        (path, method)
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
        for parameter in operation["parameters"]
        if parameter["name"] == "Idempotency-Key" and parameter["in"] == "header"
    }
    assert takers == {("/campaigns", "post"), ("/campaigns/{campaignId}/leads", "post")}


def test_only_the_public_operations_need_no_key(document):
    public = {
        path
        for path, operations in document["paths"].items()
        for operation in operations.values()
        if operation.get("security") == []
    }
    webhooks = {"/webhooks/instantly/config", "/webhooks/instantly"}
    assert public == {"/", "/health", "/openapi.json", "/docs", *webhooks}
    assert document["security"] == [{"apiKey": []}]


def test_what_callers_come_for_stands_first(document):
    tags = [tag["name"] for tag in document["tags"]]
    assert (tags[:3], tags[-2:]) == (
        ["campaigns", "leads", "webhooks"],
        ["service", "documentation"],
    )
    operations = [each for path in document["paths"].values() for each in path.values()]
    assert {tag for operation in operations for tag in operation["tags"]} == set(tags)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ({"service": "ours"}, "'version' is a required property"),
        ({"service": "ours", "version": 1}, "version: 1 is not of type 'string'"),
        (({"service": "ours", "version": "1"}, 202), "is not documented"),
        ("<html>", "is text/html"),
        (({"message": "Sorry"}, 500), "'error' is a required property"),
        # It may hold more than is documented.
        ({"service": "ours", "version": "1", "motto": "Onwards"}, None),
    ],
)
def test_an_answer_that_is_not_as_documented_is_caught(app, client, monkeypatch, answer, told):
    """Every test client of this suite looks at every answer."""
    view = wraps(app.view_functions["service.index"])(lambda: answer)
    monkeypatch.setitem(app.view_functions, "service.index", view)
    with pytest.raises(AssertionError, match=told) if told else nullcontext():
        client.get("/")
