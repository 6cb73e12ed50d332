"""Every route needs the service's key, but for the public ones that the contract names."""

import re
from collections.abc import Iterator

import pytest
from conftest import API_KEY
from flask import Flask
from flask.testing import FlaskClient

from instantly import application
from instantly.auth import PUBLIC_ENDPOINTS
from instantly.config import Settings
from instantly.context import EXTENSION

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
PUBLIC = {
    ("GET", "/"),
    ("GET", "/health"),
    ("GET", "/webhooks/instantly/config"),
    ("POST", "/webhooks/instantly"),
    ("GET", "/openapi.json"),
    ("GET", "/docs"),
}
WRONG_KEYS = [
    "",
    "wrong",
    API_KEY[:-1],
    API_KEY + "x",
    API_KEY.upper(),
    f"Bearer {API_KEY}",
    f"{API_KEY}, {API_KEY}",
    "schlüssel",
    "ключ",
    "\x00",
    "x" * 10_000,
]


@pytest.fixture
def anybody(app: Flask) -> FlaskClient:
    """Calls the service without its key."""
    return app.test_client()


@pytest.fixture(scope="module")
def fresh_app(settings: Settings) -> Iterator[Flask]:
    """An app of our own, which has not answered yet and so can still be added to."""
    app = application.create_app(settings)
    # Its answers are not checked: it gets a route that is not documented.
    app.test_client_class = None
    yield app
    app.extensions[EXTENSION].database.close()


def routes(app: Flask) -> list[tuple[str, str]]:
    """Every method of every rule, but HEAD and OPTIONS, with a path that fits the rule."""
    return sorted(
        (method, re.sub("<[^>]+>", "something", rule.rule))
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    )


def refused(client: FlaskClient, method: str, path: str, key: str | None) -> bool:
    headers = {} if key is None else {"X-API-Key": key}
    answer = client.open(path, method=method, headers=headers)
    if answer.status_code != 401:
        return False
    assert method == "HEAD" or answer.get_json() == {"error": "Unauthorized"}
    return True


def test_the_public_routes_are_those_of_the_contract(anybody: FlaskClient, app: Flask) -> None:
    existing = routes(app)
    public = {route for route in existing if not refused(anybody, *route, key=None)}
    assert public == PUBLIC & set(existing)


def test_the_list_of_public_endpoints_names_nothing_else(app: Flask) -> None:
    listed = {
        (method, rule.rule)
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if rule.endpoint in PUBLIC_ENDPOINTS
    }
    assert listed <= PUBLIC
    assert {rule.endpoint for rule in app.url_map.iter_rules()} >= PUBLIC_ENDPOINTS


@pytest.mark.parametrize("key", [None, *WRONG_KEYS])
def test_every_other_route_and_method_is_closed(
    anybody: FlaskClient, app: Flask, key: str | None
) -> None:
    paths = {path for _, path in routes(app)}
    public_paths = {path for _, path in PUBLIC}
    assert len(paths) > len(public_paths)
    for path in paths - public_paths:
        for method in METHODS:
            assert refused(anybody, method, path, key), f"{method} {path}"


@pytest.mark.parametrize("key", [None, "wrong", "schlüssel"])
@pytest.mark.parametrize(
    "path",
    [
        "/nowhere",
        "/campaigns/",
        "/campaigns//x",
        "/health/",
        "/HEALTH",
        "/static/x",
        "/%00",
        "/%ff",
        "/x" * 99,
    ],
)
def test_what_does_not_exist_is_closed_too(
    anybody: FlaskClient, path: str, key: str | None
) -> None:
    for method in METHODS:
        assert refused(anybody, method, path, key), method


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/"),
        ("DELETE", "/health"),
        ("PUT", "/webhooks/instantly"),
        ("GET", "/webhooks/instantly"),
        ("POST", "/webhooks/instantly/config"),
    ],
)
def test_a_public_route_is_public_for_its_own_method_only(
    anybody: FlaskClient, method: str, path: str
) -> None:
    assert refused(anybody, method, path, key=None)


@pytest.mark.parametrize("path", sorted(path for method, path in PUBLIC if method == "GET"))
def test_head_is_as_public_as_get(anybody: FlaskClient, app: Flask, path: str) -> None:
    if ("GET", path) not in routes(app):
        pytest.skip("does not exist yet")
    assert anybody.head(path).status_code == 200


@pytest.mark.parametrize("key", WRONG_KEYS)
def test_a_wrong_key_does_not_close_a_public_route(anybody: FlaskClient, key: str) -> None:
    assert anybody.get("/", headers={"X-API-Key": key}).status_code == 200


@pytest.mark.parametrize("header", ["X-API-Key", "x-api-key"])
def test_the_right_key_opens(anybody: FlaskClient, header: str) -> None:
    assert anybody.get("/campaigns/by-org/nobody", headers={header: API_KEY}).status_code == 200


@pytest.mark.parametrize("where", ["query", "authorization", "cookie"])
def test_the_key_counts_in_its_header_only(anybody: FlaskClient, where: str) -> None:
    path = "/campaigns/by-org/nobody"
    headers = {}
    if where == "query":
        path += f"?X-API-Key={API_KEY}"
    elif where == "authorization":
        headers = {"Authorization": f"Bearer {API_KEY}"}
    else:
        headers = {"Cookie": f"X-API-Key={API_KEY}"}
    assert anybody.get(path, headers=headers).status_code == 401


def test_without_a_key_nobody_learns_which_campaigns_exist(
    anybody: FlaskClient, campaign: dict[str, str]
) -> None:
    known = anybody.get(f"/campaigns/{campaign['id']}")
    unknown = anybody.get("/campaigns/00000000-0000-4000-8000-000000000000")
    assert (known.status_code, known.data) == (unknown.status_code, unknown.data)


def test_every_blueprint_is_guarded(app: Flask, anybody: FlaskClient) -> None:
    for name in app.blueprints:
        rules = [rule for rule in app.url_map.iter_rules() if rule.endpoint.startswith(f"{name}.")]
        assert rules, f"{name} has no route"
        for rule in rules:
            if rule.endpoint not in PUBLIC_ENDPOINTS:
                path = re.sub("<[^>]+>", "something", rule.rule)
                for method in rule.methods or ():
                    assert refused(anybody, method, path, key=None), f"{method} {path}"


def test_a_route_that_says_nothing_of_authentication_is_closed(fresh_app: Flask) -> None:
    fresh_app.add_url_rule("/fresh", "fresh", lambda: {"secret": True})
    client = fresh_app.test_client()
    assert refused(client, "GET", "/fresh", key=None)
    assert refused(client, "GET", "/fresh", key="wrong")
    assert client.get("/fresh", headers={"X-API-Key": API_KEY}).get_json() == {"secret": True}
