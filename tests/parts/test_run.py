"""`python app.py` starts everything, and the walk that it prints works as printed."""

import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest
from harness import PROGRAMS, Service, fresh_database
from helpers import run_python

BASH = shutil.which("bash")


@pytest.fixture
def printed(postgres, sockets, tmp_path) -> Iterator[str]:
    """What it prints once it answers. The database is ours, so that nothing of a user's is used."""
    with fresh_database(postgres) as url:
        service = Service(url, sockets, tmp_path)
        kept = ("PORT", "INSTANTLY_SERVICE_DATABASE_URL")
        service.environment = {
            "PATH": PROGRAMS,
            **{name: service.environment[name] for name in kept},
        }
        try:
            service.start([sys.executable, "app.py"])
            yield service.output
            service.signal(signal.SIGTERM)
            service.ends()
            assert not service.is_listening()
        finally:
            service.kill()


@pytest.mark.skipif(not (BASH and shutil.which("curl")), reason="the walk is for bash and curl")
def test_it_says_what_runs_where_and_the_walk_works(printed, tmp_path):
    table, _, walk = printed.partition("# Try it")
    assert [line.split()[:2] for line in table.splitlines() if line] == [
        ["instantly-service", "this"],
        ["PostgreSQL", "yours"],
        ["Instantly", "stand-in"],
        ["key-service", "stand-in"],
        ["runs-service", "stand-in"],
    ]
    # What gunicorn and the service log comes behind it.
    script = "# Try it" + walk.partition("\n[")[0].partition("\n{")[0]
    script = script.replace("/tmp/campaign.json", str(tmp_path / "campaign.json"))  # noqa: S108
    walked = subprocess.run(
        [BASH, "-e", "-c", script], capture_output=True, text=True, timeout=60, check=True
    ).stdout
    for part in (
        '"status":"draft"',
        '"added":2,"total":3,"duplicates":1,"rejected":[]',
        '"status" : "active"',
        '"email":"grace@example.com"',
        '"emailsSent" : 4',
        '"emailsReplied" : 1',
        '"synced":12,"removed":0',
        '"warmupEnabled":true',
        '"costName":"instantly-lead-add","quantity":2',
    ):
        assert part in walked, part


def test_half_a_configuration_is_refused_with_one_message():
    url = "postgresql://nobody@127.0.0.1:1/none"
    ended = run_python("app.py", PORT="nonsense", INSTANTLY_SERVICE_DATABASE_URL=url)
    assert ended.returncode != 0
    assert "PORT must be a whole number" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_port_that_is_taken_is_named_in_one_message(postgres):
    with fresh_database(postgres) as url, socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ended = run_python("app.py", PORT=port, INSTANTLY_SERVICE_DATABASE_URL=url)
    assert ended.returncode != 0
    assert port in ended.stderr
    assert "Traceback" not in ended.stderr
