"""What all clients have in common: what they send, when they try again, and what they refuse."""

import json
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from calls import BY_NAME, OPERATIONS, Upstream, each, refused
from calls import socket_of_the_module as socket_of_the_module
from calls import upstream as upstream

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
FAULTS = [
    *({"status": status, "body": "<html>down</html>"} for status in (500, 503, 599)),
    *({"how": how} for how in ("drop", "drop_after", "cut", "hang")),
]
each_fault = pytest.mark.parametrize("fault", FAULTS, ids=str)


def start_again(upstream):
    """Its port may be taken for a moment after it has stopped."""
    deadline = time.monotonic() + 10
    while True:
        try:
            return upstream.start()
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def http_date(seconds):
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)


# What is sent


@every_operation
def test_a_call_is_sent_once_and_with_the_clients_own_credential_only(
    operation, upstream, tmp_path, monkeypatch
):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    upstream.answers = [operation.answer]
    operation.call(upstream)
    headers = upstream.only.headers
    assert headers["User-Agent"] == f"instantly-service/{VERSION}"
    assert (headers.get("Authorization"), headers.get("X-Api-Key")) == {
        KeyServiceError: (None, "keys-key"),
        RunsServiceError: (None, "runs-key"),
        InstantlyError: ("Bearer bearer-key", None),
    }[operation.error]


@each(PAUSE, BY_NAME["delete_campaign"])
def test_a_call_without_a_body_names_no_content_type(operation, upstream):
    upstream.answers = [operation.answer]
    operation.call(upstream)
    assert upstream.only.body == b""
    assert "Content-Type" not in upstream.only.headers


def test_nobody_is_waited_for_longer_than_was_agreed(upstream):
    clients = (upstream.keys, upstream.runs, upstream.workspace)
    assert [client._timeout for client in clients] == [(3, 10), (3, 10), (3, 30)]


# What is tried again


@one_of_each_client
def test_a_service_that_nobody_reaches_is_an_error_without_a_status(operation, waits):
    nowhere = Upstream()
    nowhere.port = 1
    nowhere.connect()
    assert refused(operation, nowhere).status is None
    assert 1 <= len(waits) <= 5
    assert sum(waits) <= 30


@one_of_each_client
def test_a_refused_connection_is_tried_again_since_nothing_was_sent(
    operation, upstream, monkeypatch
):
    upstream.stop()
    monkeypatch.setattr(instantly.clients.http, "sleep", lambda _: start_again(upstream))
    upstream.answers = [operation.answer]
    try:
        operation.call(upstream)
    finally:
        if not upstream.requests:
            start_again(upstream)
    assert len(upstream.requests) == 1


@one_of_each_client
def test_a_keep_alive_connection_that_was_closed_meanwhile_is_replaced_unnoticed(
    operation, upstream
):
    upstream.answers = [operation.answer]
    operation.call(upstream)
    upstream.stop()
    start_again(upstream)
    operation.call(upstream)
    assert len(upstream.requests) == 2


@every_operation
def test_too_many_requests_is_tried_again_by_every_call_after_the_time_that_was_asked_for(
    operation, upstream
):
    upstream.answers = [operation.answer]
    upstream.fail_all(status=429, headers={"Retry-After": "7"}, times=3)
    operation.call(upstream)
    assert upstream.waits == [7, 7, 7]
    assert len(upstream.requests) == 4


@pytest.mark.parametrize("status", [429, 503])
def test_the_wait_may_be_asked_for_as_a_date(status, upstream):
    upstream.answers = [PAUSE.answer]
    upstream.fail_all(status=status, headers={"Retry-After": http_date(seconds=20)})
    PAUSE.call(upstream)
    (wait,) = upstream.waits
    assert 10 < wait <= 20


@pytest.mark.parametrize(("asked", "wait"), [("1.5", 2), (" 2.0 ", 2), ("0.1", 1), (".5", 1)])
def test_a_fraction_of_a_second_is_rounded_up(asked, wait, upstream):
    upstream.answers = [PAUSE.answer]
    upstream.fail_all(status=429, headers={"Retry-After": asked})
    PAUSE.call(upstream)
    assert upstream.waits == [wait]


@pytest.mark.parametrize(
    "asked", ["31", f"{'9' * 400}.5", "99999999999999999999", "an hour from now"]
)
def test_a_wait_of_more_than_30_seconds_is_not_waited_for(asked, upstream):
    header = http_date(seconds=3600) if asked == "an hour from now" else asked
    upstream.fail_all(status=429, headers={"Retry-After": header}, times=None)
    error = refused(PAUSE, upstream)
    assert (error.status, upstream.waits, len(upstream.requests)) == (429, [], 1)
    assert error.retry_after > 30


@pytest.mark.parametrize("asked", [None, "12", "0"])
def test_the_waits_never_add_up_to_more_than_30_seconds(asked, upstream):
    headers = {"Retry-After": asked} if asked else {}
    upstream.fail_all(status=429, headers=headers, times=None)
    error = refused(PAUSE, upstream)
    assert error.status == 429
    assert error.retry_after == (float(asked) if asked else None)
    assert sum(upstream.waits) <= 30
    assert 2 <= len(upstream.waits) <= 6
    assert len(upstream.requests) == len(upstream.waits) + 1


NO_TIMES = [
    *("", "soon", "-1", "-1.5", "1.5.1", ".", "Mon, 99 Foo 2026 99:99:99 GMT", "9" * 5000),
    *("Mon, 01 Jan 99999 00:00:00 GMT", "Thu, 01 Jan 1970 00:00:00 GMT"),
]


@pytest.mark.parametrize("nonsense", NO_TIMES, ids=lambda text: text[:20])
def test_an_unreadable_retry_after_breaks_nothing(nonsense, upstream):
    upstream.fail_all(status=429, headers={"Retry-After": nonsense}, times=None)
    assert refused(PAUSE, upstream).status == 429
    assert sum(upstream.waits) <= 30


@every_repeatable_operation
@pytest.mark.parametrize("fault", [{"status": 503}, {"how": "drop_after"}], ids=str)
def test_what_fails_is_asked_for_again_where_that_is_safe(operation, fault, upstream):
    upstream.answers = [operation.answer]
    upstream.fail_all(**fault, times=2)
    operation.call(upstream)
    assert len(upstream.requests) == 3


@each_fault
def test_a_service_that_goes_on_failing_is_given_up(fault, upstream):
    upstream.answers = [PAUSE.answer]
    upstream.fail_all(**fault, times=None)
    assert refused(PAUSE, upstream).status == fault.get("status")
    assert 2 <= len(upstream.requests) <= 6
    assert sum(upstream.waits) <= 30


@every_operation_sent_once
@pytest.mark.parametrize(
    "fault", [*FAULTS, {"status": 503, "headers": {"Retry-After": "1"}}], ids=str
)
def test_what_may_have_been_acted_upon_is_not_sent_again(operation, fault, upstream):
    upstream.answers = [operation.answer]
    upstream.fail_all(**fault, times=None)
    assert refused(operation, upstream).status == fault.get("status")
    assert (upstream.waits, len(upstream.requests)) == ([], 1)


# What is refused


@one_of_each_client
def test_a_redirect_is_not_followed(operation, upstream):
    upstream.fail_all(status=307, headers={"Location": f"{upstream.url}/elsewhere"}, times=None)
    assert refused(operation, upstream).status == 307
    assert len(upstream.requests) == 1


@every_operation
def test_a_refusal_is_told_in_the_services_own_words_and_not_repeated(operation, upstream):
    body = {"error": "Bad Request", "message": "body must be …"}
    upstream.fail_all(status=400, body=body, times=None)
    error = refused(operation, upstream)
    assert (error.status, error.message) == (400, "body must be …")
    assert len(upstream.requests) == 1


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
    upstream.fail_all(status=400, body=body)
    assert refused(PAUSE, upstream).message == message


def test_no_reason_of_a_refusal_tells_a_key(upstream):
    upstream.fail_all(status=400, body={"errors": [{"path": "name", "message": "is bearer-key"}]})
    assert refused(PAUSE, upstream).message == "name: is ***"


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (400, {"error": "no such run"}, "no such run"),
        (400, {"message": 5, "error": None}, "Bad Request"),
        (400, ["what"], "Bad Request"),
        (400, "<html><body>refused</body></html>", "Bad Request"),
        (400, None, "Bad Request"),
        (499, "<html>", "HTTP 499"),
        (400, {"message": "x" * 100_000}, "x" * 1000),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_refusal_without_words_of_its_own_is_told_all_the_same(status, body, message, upstream):
    upstream.fail_all(status=status, body=body)
    assert refused(PAUSE, upstream).message == message


NO_JSON = [b"", b"<html>busy</html>", b'{"id": ', b"\xff\xfe\xfd\xfc", b"[" * 100_000]


@pytest.mark.parametrize("body", NO_JSON, ids=lambda body: repr(body[:10]))
def test_an_answer_that_is_no_json_is_an_error(body, upstream):
    upstream.answers = [body]
    assert refused(PAUSE, upstream).status is None
    assert len(upstream.requests) == 1
