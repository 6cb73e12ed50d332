"""The real server as the Procfile starts it, PostgreSQL, and the stand-ins, each in its process."""

import gc
import multiprocessing
import os
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psycopg
import requests

from instantly.migrate import migrate
from instantly.sandbox.instantly_api import InstantlyStandIn
from instantly.sandbox.internal_services import KeyServiceStandIn, RunsServiceStandIn
from instantly.sandbox.postgres import LocalPostgres

sys.path.append(str(Path(__file__).parents[1]))
from stand_in import StandIn

ROOT = Path(__file__).parents[2]
API_KEY = "service-key"
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


def serve_upstreams(pipe: Connection) -> None:
    """Runs in a process of its own; a number through the pipe sets Instantly's latency."""
    services: list[Any] = [
        InstantlyStandIn({"key": "workspace"}, plays=False),
        KeyServiceStandIn("keys-key", {"clerk_1": "key"}, "key"),
        RunsServiceStandIn("runs-key"),
    ]
    stand_ins = [StandIn(service.app, record=False).start() for service in services]
    gc.freeze()
    pipe.send([stand_in.url for stand_in in stand_ins])
    while True:
        stand_ins[0].latency_seconds = pipe.recv()
        pipe.send(True)


@dataclass
class Stage:
    port: int
    server: subprocess.Popen[bytes]
    postgres: LocalPostgres
    upstreams: Connection
    connection: psycopg.Connection[Any]

    def set_latency(self, seconds: float) -> None:
        self.upstreams.send(seconds)
        self.upstreams.recv()

    def service_pids(self) -> list[int]:
        return [self.server.pid, *children_of(self.server.pid)]

    def postgres_pids(self) -> list[int]:
        return [self.postgres.server_pid, *children_of(self.postgres.server_pid)]

    def cpu_seconds(self) -> tuple[float, float]:
        """What the service and PostgreSQL have used so far, children that ended included."""
        return sum(map(cpu_of, self.service_pids())), sum(map(cpu_of, self.postgres_pids()))

    def memory_mib(self) -> tuple[float, float]:
        """Resident memory of the service's worker: now, and at its peak so far."""
        return max(memory_of(pid, "VmRSS") for pid in self.service_pids()), max(
            memory_of(pid, "VmHWM") for pid in self.service_pids()
        )


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def cpu_of(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return 0.0
    return sum(int(ticks) for ticks in fields[11:15]) / CLOCK_TICKS


def memory_of(pid: int, name: str) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) / 1024
    return 0.0


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def procfile_command() -> list[str]:
    for line in (ROOT / "Procfile").read_text().splitlines():
        if line.startswith("web: "):
            program, *arguments = shlex.split(line.removeprefix("web: "))
            return [sys.executable, "-m", program, *arguments]
    raise LookupError("the Procfile has no web line")


@contextmanager
def stage(environment: dict[str, str]) -> Iterator[Stage]:
    """Everything, started and ready; gone again at the end."""
    with ExitStack() as stack:
        ours, theirs = multiprocessing.Pipe()
        upstreams = multiprocessing.get_context("spawn").Process(
            target=serve_upstreams, args=(theirs,), daemon=True
        )
        upstreams.start()
        stack.callback(upstreams.kill)
        instantly_url, keys_url, runs_url = ours.recv()
        postgres = LocalPostgres()
        stack.callback(postgres.stop)
        migrate(postgres.url())
        port = free_port()
        server = subprocess.Popen(
            procfile_command(),
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={
                **os.environ,
                "INSTANTLY_SERVICE_DATABASE_URL": postgres.url(),
                "INSTANTLY_SERVICE_API_KEY": API_KEY,
                "KEY_SERVICE_URL": keys_url,
                "KEY_SERVICE_API_KEY": "keys-key",
                "RUNS_SERVICE_URL": runs_url,
                "RUNS_SERVICE_API_KEY": "runs-key",
                "INSTANTLY_API_URL": instantly_url,
                "PORT": str(port),
                **environment,
            },
        )
        stack.callback(server.wait)
        stack.callback(server.terminate)
        wait_for(port)
        connection = stack.enter_context(psycopg.connect(postgres.url(), autocommit=True))
        yield Stage(port, server, postgres, ours, connection)


def wait_for(port: int) -> None:
    for _ in range(100):
        try:
            if requests.get(f"http://127.0.0.1:{port}/health", timeout=5).ok:
                return
        except requests.ConnectionError:
            pass
        time.sleep(0.1)
    raise TimeoutError("the server does not answer")
