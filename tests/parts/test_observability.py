"""The log: whole lines of JSON, without the words of others."""

import json
import logging

from instantly.web.request_log import LineHandler


def test_half_a_surrogate_pair_makes_a_line_too(capsys):
    record = logging.LogRecord("instantly", logging.ERROR, "", 0, "what %s", ("bad \ud800",), None)
    LineHandler().emit(record)
    assert json.loads(capsys.readouterr().out)["message"] == "what bad \ud800"


def test_a_line_that_cannot_be_made_is_no_error_of_whoever_logs_it(capsys):
    LineHandler().emit(logging.LogRecord("instantly", logging.ERROR, "", 0, "%d", ("x",), None))
    assert capsys.readouterr().out == ""


def test_what_instantly_says_goes_to_the_caller_and_never_into_the_log(world, campaign, capsys):
    words = "lead ada@secret.example exists \ud800"
    for status, answered in ((500, 502), (400, 422)):
        world.upstreams.instantly_http.fail(
            "GET", ".*/sending-status", status=status, body={"message": words}, times=None
        )
        answer = world.send("GET", world.path("/sending-status"))
        assert answer.status_code == answered
        world.upstreams.instantly_http.heal()
    assert answer.get_json()["details"]["message"] == words
    shown = capsys.readouterr()
    assert "InstantlyError: status 500" in shown.out
    assert "ada@secret.example" not in shown.out + shown.err
