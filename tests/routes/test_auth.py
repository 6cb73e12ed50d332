"""Every route needs the service's key, but for the public ones that the contract names."""

import itertools
import re

import pytest
from flask import Flask
from flask.testing import FlaskClient
from world import API_KEY, opened_app

from instantly.web.auth import PUBLIC_ENDPOINTS

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
PUBLIC = {
    ("GET", "/"),
    ("GET", "/health"),
    ("GET", "/webhooks/instantly/config"),
    ("POST", "/webhooks/instantly"),
    ("POST", "/webhooks/instantly/"),
    ("GET", "/openapi.json"),
    ("GET", "/docs"),
    ("GET", "/docs/start.js"),
    ("GET", "/docs/swagger-ui.css"),
    ("GET", "/docs/swagger-ui-bundle.js"),
}
PUBLIC_PATHS = {path for _, path in PUBLIC}
WRONG_KEYS = [
    "",
    API_KEY[:-1],
    API_KEY + "x",
    API_KEY.upper(),
    f"Bearer {API_KEY}",
    f"{API_KEY}, {API_KEY}",
    "ключ",
    "\x00",
    "x" * 10_000,
]


@pytest.fixture
def anybody(app):
    """Calls the service without its key."""
    return app.test_client()


@pytest.fixture(scope="module")
def fresh_app(settings):
    """An app of our own, which has not answered yet and so can still be added to."""
    with opened_app(settings) as app:
        # Its answers are not checked: it gets a route that is not documented.
        app.test_client_class = None
        yield app


def routes(app: Flask) -> list[tuple[str, str]]:
    """Every method of every rule, but HEAD and OPTIONS, with a path that fits the rule."""
    return sorted(
        (method, re.sub("<[^>]+>", "something", rule.rule))
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    )


def is_refused(client: FlaskClient, method: str, path: str, key: str | None) -> bool:
    headers = {} if key is None else {"X-API-Key": key}
    answer = client.open(path, method=method, headers=headers)
    if answer.status_code != 401:
        return False
    assert method == "HEAD" or answer.get_json() == {"error": "Unauthorized"}
    return True


def test_the_public_routes_are_those_of_the_contract(anybody, app):
    public = {route for route in routes(app) if not is_refused(anybody, *route, key=None)}
    assert public == PUBLIC


def test_the_list_of_public_endpoints_names_nothing_else(app):
    listed = {
        (method, rule.rule)
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if rule.endpoint in PUBLIC_ENDPOINTS
    }
    assert listed <= PUBLIC
    assert {rule.endpoint for rule in app.url_map.iter_rules()} >= PUBLIC_ENDPOINTS


@pytest.mark.parametrize("key", [None, *WRONG_KEYS])
def test_every_other_route_and_method_is_closed(anybody, app, key):
    paths = {path for _, path in routes(app)}
    assert len(paths) > len(PUBLIC_PATHS)
    for method, path in itertools.product(METHODS, paths - PUBLIC_PATHS):
        assert is_refused(anybody, method, path, key), f"{method} {path}"


@pytest.mark.parametrize("key", [None, "wrong", "schlüssel"])
def test_what_does_not_exist_is_closed_too(anybody, key):
    paths = ["/nowhere", "/campaigns/", "/health/", "/HEALTH", "/%00", "/%ff", "/campaigns//x"]
    for method, path in itertools.product(METHODS, paths):
        assert is_refused(anybody, method, path, key), f"{method} {path}"


def test_a_public_route_is_public_for_its_own_method_only(anybody):
    for method, path in itertools.product(("GET", "POST", "PUT", "DELETE"), PUBLIC_PATHS):
        is_public = (method, path) in PUBLIC
        assert is_refused(anybody, method, path, key=None) is not is_public, f"{method} {path}"


def test_head_is_as_public_as_get(anybody):
    for path in (path for method, path in PUBLIC if method == "GET"):
        assert anybody.head(path).status_code == 200


def test_a_wrong_key_does_not_close_a_public_route(anybody):
    for key in WRONG_KEYS:
        assert anybody.get("/", headers={"X-API-Key": key}).status_code == 200


def test_the_right_key_opens_in_its_header_only(anybody):
    path = "/campaigns/by-org/nobody"
    for header in ("X-API-Key", "x-api-key"):
        assert anybody.get(path, headers={header: API_KEY}).status_code == 200
    assert anybody.get(f"{path}?X-API-Key={API_KEY}").status_code == 401
    for headers in ({"Authorization": f"Bearer {API_KEY}"}, {"Cookie": f"X-API-Key={API_KEY}"}):
        assert anybody.get(path, headers=headers).status_code == 401


def test_without_a_key_nobody_learns_which_campaigns_exist(anybody, campaign):
    known = anybody.get(f"/campaigns/{campaign['id']}")
    unknown = anybody.get("/campaigns/00000000-0000-4000-8000-000000000000")
    assert (known.status_code, known.data) == (unknown.status_code, unknown.data)


def test_a_route_that_says_nothing_of_authentication_is_closed(fresh_app):
    fresh_app.add_url_rule("/fresh", "fresh", lambda: {"secret": True})
    client = fresh_app.test_client()
    assert is_refused(client, "GET", "/fresh", key=None)
    assert is_refused(client, "GET", "/fresh", key="wrong")
    assert client.get("/fresh", headers={"X-API-Key": API_KEY}).get_json() == {"secret": True}
