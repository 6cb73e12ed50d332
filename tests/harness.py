"""Databases of one's own, and the real server as a subprocess, to be stalled and killed.

Not a test.
"""

import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import requests
from flask import Response
from psycopg import sql
from world import API_KEY, Rows, Upstreams

from instantly.migrate import migrate
from instantly.sandbox.postgres import LocalPostgres

ROOT = Path(__file__).parents[1]
PROGRAMS = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
# No step may take longer, on whatever machine: a bound against hanging, not a promise of speed.
HANGING_SECONDS = 60.0


def procfile_command(process: str = "web") -> list[str]:
    """The words of the Procfile's line for a process."""
    for line in (ROOT / "Procfile").read_text().splitlines():
        name, _, command = line.partition(":")
        if name == process:
            return shlex.split(command)
    raise AssertionError(f"the Procfile has no process {process}")


def patched_command(lines: str) -> list[str]:
    """The web process, in which these lines are run before it serves."""
    program, *arguments = procfile_command()
    assert program == "gunicorn"
    run = "import sys, instantly.server\n{}\nfrom gunicorn.app.wsgiapp import run\nrun()"
    return [sys.executable, "-c", run.format(lines), *arguments]


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def wait_until(is_so: Callable[[], object], seconds: float = HANGING_SECONDS) -> None:
    """Looks often; AssertionError when it takes too long."""
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


@contextmanager
def fresh_database(postgres: LocalPostgres, *, is_migrated: bool = True) -> Iterator[str]:
    """The URL of a database of one's own; what is connected at the end is thrown out."""
    name = f"own_{uuid4().hex}"
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        url = str(postgres.url(database=name))
        if is_migrated:
            migrate(url)
        yield url
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@contextmanager
def looking_at(database_url: str) -> Iterator[Rows]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield Rows(connection)


def plan_nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every node of a plan that PostgreSQL explains."""
    yield plan
    for child in plan.get("Plans", ()):
        yield from plan_nodes(child)


@contextmanager
def explained(connection: psycopg.Connection[Any], mode: str) -> Iterator[list[str]]:
    """Statements are planned in this way; the plan of each that runs, those of functions too."""
    noted: list[str] = []

    def note(notice: psycopg.errors.Diagnostic) -> None:
        noted.append((notice.message_primary or "").partition("plan:\n")[2])

    settings = (
        "LOAD 'auto_explain'; SET auto_explain.log_min_duration = 0;"
        " SET auto_explain.log_analyze = on; SET auto_explain.log_nested_statements = on;"
        " SET auto_explain.log_format = json; SET client_min_messages = log;"
        f" SET plan_cache_mode = {mode}"
    )
    connection.execute(settings.encode())
    connection.add_notice_handler(note)
    try:
        yield noted
    finally:
        connection.remove_notice_handler(note)
        connection.execute("RESET ALL")


def rows_read(node: dict[str, Any]) -> float:
    removed = ("Rows Removed by Filter", "Rows Removed by Index Recheck")
    rows: float = node["Actual Rows"] + sum(node.get(name, 0) for name in removed)
    return rows * int(node["Actual Loops"])


class Service:
    """The server as the Procfile starts it, on one port and with one log all its lives long.

    Its output goes to files, so that no pipe fills up.
    """

    def __init__(
        self, database_url: str, sockets: Upstreams, folder: Path, **environment: str
    ) -> None:
        self.port, self.root = free_port(), ROOT
        self.url = f"http://127.0.0.1:{self.port}"
        self._output, self._errors = folder / "stdout", folder / "stderr"
        self.environment = {
            "PATH": PROGRAMS,
            "HOME": str(folder),
            "PORT": str(self.port),
            "INSTANTLY_SERVICE_DATABASE_URL": database_url,
            "INSTANTLY_SERVICE_API_KEY": API_KEY,
            "KEY_SERVICE_URL": sockets.keys_http.url,
            "KEY_SERVICE_API_KEY": "keys-key",
            "RUNS_SERVICE_URL": sockets.runs_http.url,
            "RUNS_SERVICE_API_KEY": "runs-key",
            "INSTANTLY_API_URL": sockets.instantly_http.url,
            "WEBHOOK_BASE_URL": "https://instantly-service.example",
            **environment,
        }
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def output(self) -> str:
        """What all processes have said so far on stdout."""
        return self._output.read_text()

    @property
    def errors(self) -> str:
        return self._errors.read_text()

    def start(self, command: list[str] | None = None) -> "Service":
        """Returns itself once it answers."""
        self.launch(command)
        wait_until(self._answers)
        return self

    def launch(self, command: list[str] | None = None) -> None:
        program, *arguments = command or procfile_command()
        path = shutil.which(program, path=self.environment["PATH"])
        assert path
        with self._output.open("ab") as output, self._errors.open("ab") as errors:
            self._process = subprocess.Popen(
                [path, *arguments],
                cwd=self.root,
                env=self.environment,
                stdout=output,
                stderr=errors,
                start_new_session=True,
            )

    def signal(self, number: signal.Signals) -> None:
        """To its first process."""
        assert self._process
        self._process.send_signal(number)

    def signal_all(self, number: int) -> None:
        """To all of its processes at once."""
        assert self._process
        os.killpg(self._process.pid, number)

    def workers(self) -> list[str]:
        """The ids of the processes that its first process has started."""
        assert self._process
        pid = self._process.pid
        return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()

    def ends(self) -> int:
        """Its exit status, once it has ended by itself."""
        assert self._process
        status = self._process.wait(HANGING_SECONDS)
        self._process = None
        return status

    def _answers(self) -> bool:
        assert self._process and self._process.poll() is None, self.errors
        try:
            return self.call("GET", "/").status_code == 200
        except requests.ConnectionError:
            return False

    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """SIGKILL for all of its processes: nobody can finish anything."""
        process, self._process = self._process, None
        if process:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(HANGING_SECONDS)
            wait_until(lambda: not self.is_listening())

    def is_listening(self) -> bool:
        """gunicorn's worker may outlive its master for a moment."""
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def call(self, method: str, path: str, **more: Any) -> requests.Response:
        """A request with our key on a connection of its own."""
        headers = {"X-API-Key": API_KEY, **(more.pop("headers", None) or {})}
        more.setdefault("timeout", HANGING_SECONDS)
        with requests.Session() as session:
            session.trust_env = False
            return session.request(method, self.url + path, headers=headers, **more)

    def open(
        self, path: str, *, method: str, content_type: str | None = None, **more: Any
    ) -> Response:
        """The same as Flask's test client has it, for a `World`."""
        if content_type:
            more["headers"] = {"Content-Type": content_type, **(more.get("headers") or {})}
        answer = self.call(method, path, **more)
        return Response(answer.content, answer.status_code, list(answer.headers.items()))

    def clean_up(self) -> str:
        """What `python -m instantly.cleanup` prints."""
        done = self.command("cleanup")
        assert done.returncode == 0, done.stderr
        return done.stdout

    def command(self, name: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Runs `python -m instantly.<name>` with the server's own environment."""
        return subprocess.run(
            [sys.executable, "-m", f"instantly.{name}"],
            cwd=ROOT,
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            timeout=HANGING_SECONDS,
        )


@contextmanager
def running(service: Service, command: list[str] | None = None) -> Iterator[Service]:
    try:
        yield service.start(command)
    finally:
        service.kill()
