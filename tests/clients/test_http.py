"""What all clients have in common: what they send, when they try again, and what they refuse."""

import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
import requests
import responses
from calls import BY_NAME, METHODS, OPERATIONS, Clients, each, refused
from flask import Flask, jsonify
from stand_in import StandIn
from world import shorten_timeouts

import instantly.clients.http
from instantly.clients.instantly import InstantlyError
from instantly.clients.keys import KeyServiceError
from instantly.clients.runs import RunsServiceError
from instantly.config import VERSION

PAUSE, CREATE_RUN = BY_NAME["pause_campaign"], BY_NAME["create_run"]
every_operation = each(*OPERATIONS)
every_repeatable_operation = each(*[one for one in OPERATIONS if one.repeatable])
every_operation_sent_once = each(*[one for one in OPERATIONS if not one.repeatable])
one_of_each_client = each(BY_NAME["decrypt_app_key"], CREATE_RUN, PAUSE)
DROPPED = requests.ConnectionError("Connection aborted.")
each_failure = pytest.mark.parametrize("status", [500, 503, 599, None])


@pytest.fixture
def stand_in(operation) -> Iterator[StandIn]:
    """A service on a socket that is content with every call."""
    app = Flask(__name__)
    app.add_url_rule("/<path:_>", view_func=lambda _: jsonify(operation.answer), methods=METHODS)
    with StandIn(app) as stand_in:
        yield stand_in


def failing(upstream, status, times=1, **more):
    """None is a connection that breaks down."""
    body = "<html>down</html>" if status else DROPPED
    upstream.answers(*[body] * times, status=status or 200, **more)


def http_date(seconds):
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)


# What is sent


@every_operation
def test_a_call_is_sent_once_and_with_the_clients_own_credential_only(operation, upstream):
    upstream.answers(operation.answer)
    operation.call(upstream)
    headers = upstream.only.headers
    assert headers["User-Agent"] == f"instantly-service/{VERSION}"
    assert (headers.get("Authorization"), headers.get("x-api-key"), headers.get("X-API-Key")) == {
        KeyServiceError: (None, "keys-key", None),
        RunsServiceError: (None, None, "runs-key"),
        InstantlyError: ("Bearer bearer-key", None, None),
    }[operation.error]


@one_of_each_client
def test_no_proxy_and_no_credential_of_the_environment_is_used(
    operation, stand_in, tmp_path, monkeypatch
):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    operation.call(Clients(stand_in.url))
    (call,) = stand_in.requests
    credential = "Bearer bearer-key" if operation is PAUSE else None
    assert call.headers.get("Authorization") == credential


@each(PAUSE, BY_NAME["delete_campaign"])
def test_a_call_without_a_body_names_no_content_type(operation, upstream):
    upstream.answers(operation.answer)
    operation.call(upstream)
    assert upstream.only.body == b""
    assert "Content-Type" not in upstream.only.headers


@one_of_each_client
def test_nobody_is_waited_for_longer_than_was_agreed(operation, upstream):
    upstream.answers(operation.answer)
    operation.call(upstream)
    timeout = responses.calls[0].request.req_kwargs["timeout"]
    assert (timeout.connect_timeout, timeout.total) == (3, 60)
    assert timeout.read_timeout == (30 if operation is PAUSE else 10)


# What is tried again


@one_of_each_client
def test_a_service_that_nobody_reaches_is_an_error_without_a_status(operation, waits):
    assert refused(operation, Clients("http://127.0.0.1:1")).status is None
    assert 1 <= len(waits) <= 5
    assert sum(waits) <= 30


@one_of_each_client
def test_a_refused_connection_is_tried_again_since_nothing_was_sent(
    operation, stand_in, monkeypatch
):
    # Its port is kept until then, so that no other program answers there.
    with socket.socket() as kept, ExitStack() as stack:
        kept.bind(("127.0.0.1", 0))
        late = StandIn(stand_in.app, kept.getsockname()[1])
        stack.callback(late.stop)
        rise = [kept.close, late.start]
        monkeypatch.setattr(instantly.clients.http, "sleep", lambda _: [act() for act in rise])
        operation.call(Clients(late.url))
    assert len(late.requests) == 1


@one_of_each_client
def test_a_keep_alive_connection_that_was_closed_meanwhile_is_replaced_unnoticed(
    operation, stand_in
):
    clients = Clients(stand_in.url)
    operation.call(clients)
    stand_in.stop()
    stand_in.start()
    operation.call(clients)
    assert len(stand_in.requests) == 2


@every_operation
def test_too_many_requests_is_tried_again_by_every_call_after_the_time_that_was_asked_for(
    operation, upstream
):
    failing(upstream, 429, times=3, headers={"Retry-After": "7"})
    upstream.answers(operation.answer)
    operation.call(upstream)
    assert upstream.waits == [7, 7, 7]
    assert len(upstream.requests) == 4


@pytest.mark.parametrize("status", [429, 503])
def test_the_wait_may_be_asked_for_as_a_date(status, upstream):
    failing(upstream, status, headers={"Retry-After": http_date(seconds=20)})
    upstream.answers(PAUSE.answer)
    PAUSE.call(upstream)
    (wait,) = upstream.waits
    assert 10 < wait <= 20


@pytest.mark.parametrize(("asked", "wait"), [("1.5", 2), (" 2.0 ", 2), ("0.1", 1), (".5", 1)])
def test_a_fraction_of_a_second_is_rounded_up(asked, wait, upstream):
    failing(upstream, 429, headers={"Retry-After": asked})
    upstream.answers(PAUSE.answer)
    PAUSE.call(upstream)
    assert upstream.waits == [wait]


@pytest.mark.parametrize(
    "asked", ["31", f"{'9' * 400}.5", "99999999999999999999", "an hour from now"]
)
def test_a_wait_of_more_than_30_seconds_is_not_waited_for(asked, upstream):
    header = http_date(seconds=3600) if asked == "an hour from now" else asked
    failing(upstream, 429, headers={"Retry-After": header})
    error = refused(PAUSE, upstream)
    assert (error.status, upstream.waits, len(upstream.requests)) == (429, [], 1)
    assert error.retry_after > 30


@pytest.mark.parametrize("wish", [None, "12", "0"])
def test_the_waits_never_add_up_to_more_than_30_seconds(wish, upstream):
    failing(upstream, 429, headers={"Retry-After": wish} if wish else {})
    error = refused(PAUSE, upstream)
    assert error.status == 429
    assert error.retry_after == (float(wish) if wish else None)
    assert sum(upstream.waits) <= 30
    assert 2 <= len(upstream.waits) <= 6
    assert len(upstream.requests) == len(upstream.waits) + 1


NO_TIMES = [
    "",
    "soon",
    "-1",
    "-1.5",
    "1.5.1",
    ".",
    "Mon, 99 Foo 2026 99:99:99 GMT",
    "9" * 5000,
    "Mon, 01 Jan 99999 00:00:00 GMT",
    "Thu, 01 Jan 1970 00:00:00 GMT",
]


@pytest.mark.parametrize("nonsense", NO_TIMES, ids=lambda text: text[:20])
def test_an_unreadable_retry_after_breaks_nothing(nonsense, upstream):
    failing(upstream, 429, headers={"Retry-After": nonsense})
    assert refused(PAUSE, upstream).status == 429
    assert sum(upstream.waits) <= 30


@every_repeatable_operation
@pytest.mark.parametrize("status", [503, None])
def test_what_fails_is_asked_for_again_where_that_is_safe(operation, status, upstream):
    failing(upstream, status, times=2)
    upstream.answers(operation.answer)
    operation.call(upstream)
    assert len(upstream.requests) == 3


@each_failure
def test_a_service_that_goes_on_failing_is_given_up(status, upstream):
    failing(upstream, status)
    assert refused(PAUSE, upstream).status == status
    assert 2 <= len(upstream.requests) <= 6
    assert sum(upstream.waits) <= 30


@every_operation_sent_once
@each_failure
@pytest.mark.parametrize("headers", [{}, {"Retry-After": "1"}], ids=str)
def test_what_may_have_been_acted_upon_is_not_sent_again(operation, status, headers, upstream):
    failing(upstream, status, headers=headers)
    assert refused(operation, upstream).status == status
    assert (upstream.waits, len(upstream.requests)) == ([], 1)


@each(PAUSE, CREATE_RUN)
@pytest.mark.parametrize("how", ["drop", "drop_after", "cut", "hang"])
def test_an_answer_that_never_comes_whole_is_as_good_as_a_failure(
    operation, how, stand_in, waits, monkeypatch
):
    shorten_timeouts(monkeypatch, 0.15)
    for method in METHODS:
        stand_in.fail(method, "/.*", how=how, times=None)
    assert refused(operation, Clients(stand_in.url)).status is None
    tries = len(stand_in.requests)
    assert 2 <= tries <= 6 if operation.repeatable else tries == 1
    assert len(waits) == tries - 1
    assert sum(waits) <= 30


# What is refused


@one_of_each_client
def test_a_redirect_is_not_followed(operation, upstream):
    failing(upstream, 307, headers={"Location": "https://service.example/elsewhere"})
    assert refused(operation, upstream).status == 307
    assert upstream.only


@every_operation
def test_a_refusal_is_told_in_the_services_own_words_and_not_repeated(operation, upstream):
    upstream.answers({"error": "Bad Request", "message": "body must be …"}, status=400)
    error = refused(operation, upstream)
    assert (error.status, error.message) == (400, "body must be …")
    assert upstream.only


NO_SENDERS, NO_STEPS = "campaign has no senders", "campaign has no steps"
# What is told of each error body.
REASONS: list[tuple[dict[str, Any], str]] = [
    ({"message": [NO_SENDERS, NO_STEPS], "error": "Bad Request"}, f"{NO_SENDERS}; {NO_STEPS}"),
    ({"message": NO_STEPS, "error": "invalid_campaign", "statusCode": 400}, NO_STEPS),
    ({"message": "", "error": NO_STEPS}, NO_STEPS),
    ({"error": {"message": NO_STEPS, "code": 7}}, NO_STEPS),
    (
        {"error": {"errors": [{"reason": NO_SENDERS}, {"reason": NO_STEPS}]}},
        f"{NO_SENDERS}; {NO_STEPS}",
    ),
    ({"errors": [NO_SENDERS, NO_STEPS, NO_STEPS]}, f"{NO_SENDERS}; {NO_STEPS}"),
    ({"errors": [{"path": "name", "message": "too long"}]}, "name: too long"),
    ({"errors": [{"instancePath": "/name", "message": "too long"}]}, "/name: too long"),
    ({"errors": {"name": ["too long"], "steps": [NO_STEPS]}}, f"name: too long; {NO_STEPS}"),
    ({"message": "Invalid", "errors": {"name": "too long"}}, "Invalid; name: too long"),
    ({"detail": NO_STEPS}, NO_STEPS),
    ({"detail": [{"loc": ["body", 0, "name"], "msg": "too long"}]}, "body.0.name: too long"),
    ({"title": "Bad Request", "detail": NO_STEPS, "type": "about:blank"}, NO_STEPS),
    ({"title": "Refused", "details": [NO_SENDERS, NO_STEPS]}, f"Refused; {NO_SENDERS}; {NO_STEPS}"),
    ({"error": "Invalid", "details": {"name": ["too long"]}}, "Invalid; name: too long"),
    ({"error": "invalid", "error_description": NO_STEPS}, f"invalid; {NO_STEPS}"),
    (
        {"message": [{"field": "name", "constraints": {"max": "too long"}}]},
        "name.constraints.max: too long",
    ),
    ({"name": ["too long"]}, "name: too long"),
    ({"error": "Not Found"}, "Not Found"),
    ({"message": [], "errors": [None, 5, " ", {}]}, "Bad Request"),
    ({"message": ["x" * 600, "y" * 600]}, f"{'x' * 600}; {'y' * 398}"),
    ({"errors": json.loads("[" * 500 + '"deep"' + "]" * 500)}, "Bad Request"),
]


@pytest.mark.parametrize(("body", "message"), REASONS, ids=lambda value: str(value)[:40])
def test_every_reason_of_a_refusal_is_told_whatever_its_shape(body, message, upstream):
    upstream.answers(body, status=400)
    assert refused(PAUSE, upstream).message == message


def test_no_reason_of_a_refusal_tells_a_key(upstream):
    body = {"errors": [{"path": "name", "message": "is bearer-key"}]}
    upstream.answers(body, status=400)
    assert refused(PAUSE, upstream).message == "name: is ***"


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (400, {"error": "no such run"}, "no such run"),
        (400, {"message": 5, "error": None}, "Bad Request"),
        (400, ["what"], "Bad Request"),
        (400, "<html><body>refused</body></html>", "Bad Request"),
        (400, "", "Bad Request"),
        (499, "<html>", "HTTP 499"),
        (400, {"message": "x" * 100_000}, "x" * 1000),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_refusal_without_words_of_its_own_is_told_all_the_same(status, body, message, upstream):
    upstream.answers(body, status=status)
    assert refused(PAUSE, upstream).message == message


NO_JSON = [b"", b"<html>busy</html>", b'{"id": ', b"\xff\xfe\xfd\xfc", b"[" * 100_000]


@pytest.mark.parametrize("body", NO_JSON, ids=lambda body: repr(body[:10]))
def test_an_answer_that_is_no_json_is_an_error(body, upstream):
    upstream.answers(body)
    assert refused(BY_NAME["get_account"], upstream).status is None
    assert upstream.only
