"""The socket behind every stand-in records, keeps connections open, and fails as it is told."""

import socket
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from flask import Flask, request
from harness import wait_until
from stand_in import StandIn


def echo_app() -> Flask:
    app = Flask("echo")
    app.config["calls"] = []

    @app.route("/<path:path>", methods=["GET", "POST"])
    def echo(path: str) -> dict[str, Any]:
        app.config["calls"].append(path)
        return {"path": path, "port": request.environ["REMOTE_PORT"]}

    return app


@pytest.fixture
def echo() -> Iterator[StandIn]:
    with StandIn(echo_app()) as stand_in:
        yield stand_in


@pytest.fixture
def http() -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.trust_env = False
        yield session


def test_requests_are_recorded_as_they_arrived(echo, http):
    url = f"{echo.url}/a%2Fb@x?limit=1&ids=2&ids=3"
    http.post(url, json={"a": 1}, headers={"User-Agent": "me"})
    http.post(f"{echo.url}/other", data=b"onetwo")
    first, second = echo.requests
    assert (first.method, first.path) == ("POST", "/a/b@x")
    assert first.query == {"limit": ["1"], "ids": ["2", "3"]}
    assert first.headers["User-Agent"] == "me"
    assert first.json == {"a": 1}
    assert second.body == b"onetwo"
    assert second.json is None
    assert echo.calls("POST", "/a.*") == [first]
    assert echo.calls("GET", "/a.*") == []
    echo.clear()
    assert echo.requests == []


def test_connections_are_kept_open(echo, http):
    ports = {http.post(f"{echo.url}/a", data=b"x" * 100_000).json()["port"] for _ in range(3)}
    assert len(ports) == 1


def test_faults_take_their_requests_in_turn(echo, http):
    echo.fail("GET", "/a", times=2, after=1, status=503, headers={"Retry-After": "7"})
    echo.fail("GET", "/b", times=None, status=502, body="<html>bad</html>")
    echo.fail("GET", "/c", status=400, body={"message": "no"}, how="after")
    answers = [http.get(f"{echo.url}/a") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 503, 503, 200]
    assert answers[1].headers["Retry-After"] == "7"
    assert http.get(f"{echo.url}/b").text == "<html>bad</html>"
    assert http.get(f"{echo.url}/b").headers["Content-Type"].startswith("text/html")
    assert http.get(f"{echo.url}/c").json() == {"message": "no"}
    assert http.post(f"{echo.url}/a").ok
    assert echo.app.config["calls"] == ["a", "a", "c", "a"]
    echo.heal()
    assert http.get(f"{echo.url}/b").ok


@pytest.mark.parametrize(("how", "acts"), [("drop", []), ("drop_after", ["a"]), ("cut", ["a"])])
def test_a_broken_connection_is_an_error_to_the_caller(echo, http, how, acts):
    echo.fail("GET", "/a", how=how)
    with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        http.get(f"{echo.url}/a")
    assert echo.app.config["calls"] == acts
    assert http.get(f"{echo.url}/a").ok


def test_a_hanging_request_is_not_acted_upon_once_its_caller_is_gone(echo):
    echo.fail("GET", "/a", how="hang")
    with socket.create_connection(("127.0.0.1", echo.port)) as connection:
        connection.sendall(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n")
        echo.wait_until_hanging()
    echo.heal()
    wait_until(lambda: echo.hanging == 0)
    assert echo.app.config["calls"] == []
