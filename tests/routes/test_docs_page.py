"""GET /docs in a real browser: a route is tried, and the key stays where it was typed."""

import json
import mimetypes
import re
from collections.abc import Iterator

import pytest
from browser import PROGRAM, Page, opened_browser
from flask import Flask
from flask.testing import FlaskClient
from harness import wait_until
from world import API_KEY, World

STORED = """(async () => [
  document.cookie, Object.entries(localStorage), Object.entries(sessionStorage),
  await indexedDB.databases(), await caches.keys(), location.href,
  performance.getEntries().map(entry => entry.name)
])()"""
KEY = "#api_key_value"
CREATE = "#operations-campaigns-create_campaign"
in_a_browser = pytest.mark.skipif(PROGRAM is None, reason="there is no Chromium")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with opened_browser(tmp_path_factory.mktemp("browser")) as page:
        yield page


@pytest.fixture
def page(browser: Page, served: World) -> Iterator[Page]:
    """The page with the key typed in. In the end no test has let the key or a request out."""
    # The examples name an organization of the sandbox.
    served.upstreams.keys.organizations["org_acme"] = "key-1"
    browser.open("about:blank")
    browser.events.clear()
    browser.open(f"{served.client.url}/docs")
    browser.click(".btn.authorize")
    assert browser.find(KEY, "autocomplete") == "off"
    browser.type(KEY, API_KEY)
    browser.click(".auth-container .authorize", ".auth-container .btn-done")
    yield browser
    requests = [event["request"]["url"] for event in browser.happened("Network.requestWillBeSent")]
    assert [url for url in requests if not url.startswith((f"{served.client.url}/", "data:"))] == []
    assert API_KEY not in json.dumps([requests, browser.run(STORED)])
    assert API_KEY not in served.client.output + served.client.errors
    # The policy forbade nothing that the page did.
    assert not browser.happened("Runtime.exceptionThrown")
    noted = [event["entry"] for event in browser.happened("Log.entryAdded")]
    assert not [entry for entry in noted if entry["source"] == "security"]


@in_a_browser
def test_a_campaign_is_created_from_the_page_as_the_examples_are(page: Page, served: World) -> None:
    page.click(f"{CREATE} .opblock-summary-control", f"{CREATE} .try-out__btn")
    assert json.loads(page.find(f"{CREATE} textarea", "value"))["clerkOrgId"] == "org_acme"
    page.click(f"{CREATE} .execute")
    answer = f"{CREATE} .live-responses-table"
    assert page.find(f"{answer} .response .response-col_status", "textContent").startswith("201")
    shown = json.loads(page.find(f"{answer} .microlight", "textContent"))
    assert shown["campaign"]["instantlyCampaignId"] in served.campaign_rows()


@in_a_browser
def test_the_key_is_gone_after_a_reload(page: Page) -> None:
    page.run("document.isOld = true; location.reload()")
    wait_until(lambda: page.run("document.isOld") is None)
    page.click(".btn.authorize")
    assert page.find(KEY, "value") == ""


@in_a_browser
def test_the_key_is_gone_when_one_comes_back_to_the_page(page: Page, served: World) -> None:
    page.open(f"{served.client.url}/openapi.json")
    page.run("history.back()")
    wait_until(lambda: page.run("location.pathname") == "/docs")
    page.click(".btn.authorize")
    assert page.find(KEY, "value") == ""


def test_the_page_may_call_nobody_else_and_run_nothing_else(client: FlaskClient) -> None:
    answer = client.get("/docs")
    rules = answer.headers["Content-Security-Policy"].split("; ")
    assert dict(rule.split(" ", 1) for rule in rules) == {
        "default-src": "'none'",
        "connect-src": "'self'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cache-Control"] == "no-cache"


def test_anybody_gets_the_files_of_the_page_and_no_others(app: Flask, client: FlaskClient) -> None:
    anybody = app.test_client()
    loaded = re.findall(r'(?:src|href)="(docs/.+?)"', client.get("/docs").text)
    assert len(loaded) == 3
    for path in loaded:
        answer = anybody.get(f"/{path}")
        assert (answer.status_code, answer.mimetype) == (200, mimetypes.guess_type(path)[0])
        tag = {"If-None-Match": answer.headers["ETag"]}
        assert anybody.get(f"/{path}", headers=tag).status_code == 304
    for other in ("index.html", "LICENSE", "oauth2-redirect.html", "../answers.py", "%2e%2e/x"):
        assert anybody.get(f"/docs/{other}").status_code == 401
