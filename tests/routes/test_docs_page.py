"""GET /docs in a real browser: each route can be tried, and the key stays where it was typed."""

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from browser import PROGRAM, Page, opened_browser
from flask.testing import FlaskClient
from harness import wait_until
from world import API_KEY, World

HTML = "<img src=x onerror='document.title = \"taken over\"'>"
STORED = """(async () => [
  document.cookie, Object.entries(localStorage), Object.entries(sessionStorage),
  await indexedDB.databases(), await caches.keys(), location.href,
  performance.getEntries().map(entry => entry.name)
])()"""
in_a_browser = pytest.mark.skipif(PROGRAM is None, reason="there is no Chromium")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with opened_browser(tmp_path_factory.mktemp("browser")) as page:
        yield page


@pytest.fixture
def page(browser: Page, served: World) -> Iterator[Page]:
    """The page with the key typed in. In the end no test has let the key or a request out."""
    browser.open("about:blank")
    browser.events.clear()
    browser.open(f"{served.client.url}/docs")
    browser.type("#key", API_KEY)
    yield browser
    requests = [event["request"] for event in browser.happened("Network.requestWillBeSent")]
    assert {request["url"].startswith(f"{served.client.url}/") for request in requests} == {True}
    assert not [request for request in requests if API_KEY in request["url"]]
    assert API_KEY not in json.dumps(browser.run(STORED))
    assert API_KEY not in served.client.output + served.client.errors
    # The policy forbade nothing that the page did.
    assert not browser.happened("Runtime.exceptionThrown")
    noted = [event["entry"] for event in browser.happened("Log.entryAdded")]
    assert not [entry for entry in noted if entry["source"] == "security"]


def fill(page: Page, operation: str, **values: str) -> None:
    page.run(f"document.getElementById('{operation}').open = true")
    for name, value in values.items():
        where = "textarea" if name == "body" else f"[name='{name}']"
        page.type(f"#{operation} {where}", value)


def send(page: Page, operation: str, *, sure: bool = False, **values: str) -> tuple[str, str]:
    """Fills the form in and sends it, by keyboard; the status and the body that are shown."""
    fill(page, operation, **values)
    if sure:
        page.focus(f"#{operation} [type=checkbox]")
        page.press(" ")
    page.focus(f"#{operation} button")
    page.press("Enter")
    wait_until(lambda: not page.run(f"document.querySelector('#{operation} button').disabled"))
    return shown(page, operation, "status"), shown(page, operation, "body")


def shown(page: Page, operation: str, what: str) -> str:
    return str(page.run(f"document.querySelector('#{operation} .{what}').textContent"))


def example(**changes: Any) -> str:
    """The sandbox's organization has another name than that of the tests."""
    ids = {"orgId": "org-1", "clerkOrgId": "clerk-1", "brandId": "brand-1", "appId": "app-1"}
    return json.dumps({**ids, "name": "Autumn", **changes})


@in_a_browser
def test_a_campaign_is_created_from_the_page(page: Page, served: World) -> None:
    status, body = send(page, "create_campaign", sure=True, body=example())
    assert status.startswith("201 ")
    assert json.loads(body)["campaign"]["instantlyCampaignId"] in served.campaign_rows()
    assert "\n  " in body
    assert "x-request-id: " in shown(page, "create_campaign", "headers")


@in_a_browser
def test_what_changes_something_is_confirmed_each_time(page: Page, served: World) -> None:
    assert send(page, "create_campaign", body=example()) == ("", "")
    send(page, "create_campaign", sure=True, body=example())
    send(page, "create_campaign", body=example())
    assert len(served.campaign_rows()) == 1
    asks = page.run("[...document.forms].filter(f => f.querySelector('[type=checkbox]')).length")
    changing = page.run(
        "[...document.forms].filter(f => f.dataset.method !== 'GET'"
        " && f.dataset.path !== '/stats' && f.dataset.path !== '/leads/status').length"
    )
    assert asks == changing > 0


@in_a_browser
def test_path_query_and_header_parameters_arrive(page: Page, served: World) -> None:
    campaign = served.created()
    served.created()
    status, body = send(page, "list_campaigns", orgId="org-1", limit="1")
    assert (status[:4], len(json.loads(body)["campaigns"])) == ("200 ", 1)
    assert send(page, "get_campaign", campaignId=campaign["id"])[0].startswith("200 ")
    # What would be another path is still one part of this one.
    assert send(page, "list_campaigns", orgId="a?b#c&d%2F")[0].startswith("200 ")
    send(page, "list_campaigns", orgId="a/../b")
    sent = page.happened("Network.requestWillBeSent")[-1]["request"]
    assert sent["url"] == f"{served.client.url}/campaigns/by-org/a%2F..%2Fb?limit=1"
    key = {"Idempotency-Key": "try-1"}
    send(page, "create_campaign", sure=True, body=example(), **key)
    send(page, "create_campaign", sure=True, body=example(), **key)
    assert "idempotent-replayed: true" in shown(page, "create_campaign", "headers")


@in_a_browser
def test_a_wrong_key_and_a_missing_one_are_told(page: Page) -> None:
    page.type("#key", "wrong-key")
    status, body = send(page, "list_accounts")
    assert (status[:4], json.loads(body)) == ("401 ", {"error": "Unauthorized"})
    page.run("key.value = ''")
    status, body = send(page, "list_accounts")
    assert (status[:21], body) == ("This route needs your", "")
    assert page.run("document.activeElement.id") == "key"


@in_a_browser
def test_a_public_route_does_not_get_the_key(page: Page) -> None:
    assert send(page, "index")[0].startswith("200 ")
    sent = page.happened("Network.requestWillBeSent")[-1]["request"]
    assert (sent["method"], API_KEY in json.dumps(sent)) == ("GET", False)


@in_a_browser
def test_what_looks_like_html_is_shown_as_text(page: Page, served: World) -> None:
    served.created(name=HTML, metadata={"large": 12345678901234567890})
    body = send(page, "list_campaigns", orgId="org-1")[1]
    assert json.loads(body)["campaigns"][0]["name"] == HTML
    assert "12345678901234567890" in body
    assert page.run("document.images.length") == 0
    assert page.run("document.title") == "instantly-service"
    # So is what was typed, in the curl line.
    send(page, "list_campaigns", orgId=HTML)
    # Not JSON: as it is.
    assert send(page, "get_docs")[1].startswith("<!doctype html>")
    assert page.run("document.images.length") == 0


@in_a_browser
def test_the_curl_line_does_the_same_in_a_shell(page: Page, served: World) -> None:
    name = """It's a "name" with $HOME, `backticks` and \\ in it"""
    fill(page, "create_campaign", body=example(name=name), **{"Idempotency-Key": "it's"})
    line = shown(page, "create_campaign", "curl")
    assert (API_KEY in line, "$API_KEY" in line) == (False, True)
    done = subprocess.run(
        ["sh", "-c", line],  # noqa: S607
        env={"API_KEY": API_KEY, "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )
    assert json.loads(done.stdout)["campaign"]["name"] == name, done.stderr


@in_a_browser
def test_who_leaves_the_page_takes_the_key_away(page: Page, served: World) -> None:
    page.open(f"{served.client.url}/openapi.json")
    page.run("history.back()")
    wait_until(lambda: page.run("location.pathname") == "/docs")
    wait_until(lambda: page.run("document.readyState") == "complete")
    assert page.run("document.getElementById('key').value") == ""


@in_a_browser
def test_every_field_has_a_name_for_who_does_not_see_it(page: Page) -> None:
    nameless = "[...document.querySelectorAll('input, select, textarea')].filter(f => !f.labels[0])"
    assert page.run(f"{nameless}.length") == 0


def test_the_page_may_call_nobody_else_and_run_nothing_else(client: FlaskClient) -> None:
    answer = client.get("/docs")
    rules = dict(
        rule.strip().partition(" ")[::2]
        for rule in answer.headers["Content-Security-Policy"].split(";")
    )
    assert rules.pop("script-src").startswith("'sha256-")
    assert rules.pop("style-src").startswith("'sha256-")
    assert rules == {
        "default-src": "'none'",
        "connect-src": "'self'",
        "require-trusted-types-for": "'script'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["Cache-Control"] == "no-cache"


def test_every_operation_has_a_form(client: FlaskClient) -> None:
    page = client.get("/docs").text
    for path, operations in client.get("/openapi.json").get_json()["paths"].items():
        for method in operations:
            assert f'data-method="{method.upper()}" data-path="{path}"' in page
