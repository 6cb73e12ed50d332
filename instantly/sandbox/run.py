"""`python app.py`: the service, and a stand-in for whatever the environment does not name."""

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import psycopg
from flask import Flask
from psycopg.conninfo import conninfo_to_dict
from werkzeug.serving import make_server

from instantly.config import ConfigurationError, Settings
from instantly.migrate import MigrationError, migrate
from instantly.sandbox.instantly_api import InstantlyStandIn
from instantly.sandbox.internal_services import KeyServiceStandIn, RunsServiceStandIn
from instantly.sandbox.postgres import LocalPostgres
from instantly.sandbox.walk import curl_walk

ROOT = Path(__file__).parents[2]
HOST = "127.0.0.1"
SERVICE_PORT = 3011
INSTANTLY_PORT = 3012
KEY_SERVICE_PORT = 3013
RUNS_SERVICE_PORT = 3014

SERVICE_KEY = "sandbox-service-key"
KEY_SERVICE_KEY = "sandbox-key-service-key"
RUNS_SERVICE_KEY = "sandbox-runs-service-key"
APP_KEY = "sandbox-app-key"
WEBHOOK_SECRET = "sandbox-webhook-secret"  # noqa: S105  (of nothing)
# org_initech exists too, but has brought no key.
ORGANIZATION_KEYS = {"org_acme": "acme-instantly-key", "org_globex": "globex-instantly-key"}


@dataclass(frozen=True)
class Part:
    """Something that the service needs: its variables, and how a stand-in provides them."""

    name: str
    variables: tuple[str, ...]
    start: Callable[[ExitStack, dict[str, str]], dict[str, str]]


def start_postgres(stack: ExitStack, _: dict[str, str]) -> dict[str, str]:
    try:
        postgres = LocalPostgres(base_dir=str(ROOT / ".local" / "postgres"))
    except RuntimeError as error:
        raise OSError("PostgreSQL does not start: does a sandbox run in this folder?") from error
    stack.callback(postgres.stop)
    return {"INSTANTLY_SERVICE_DATABASE_URL": postgres.url()}


def start_instantly(stack: ExitStack, environment: dict[str, str]) -> dict[str, str]:
    workspaces = {key: name for name, key in ORGANIZATION_KEYS.items()} | {APP_KEY: "the app"}
    stand_in = InstantlyStandIn(workspaces)
    # Named here: a real Instantly knows nothing of a secret that nobody has registered.
    secrets = environment.get("INSTANTLY_WEBHOOK_SECRET") or WEBHOOK_SECRET
    headers = {"X-Webhook-Secret": secrets.partition(",")[0].strip()}
    url = environment["WEBHOOK_BASE_URL"].rstrip("/") + "/webhooks/instantly"
    for name in ORGANIZATION_KEYS:
        stand_in.add_webhook(name, url, headers=headers)
    return {
        "INSTANTLY_API_URL": serve(stack, stand_in.app, INSTANTLY_PORT),
        "INSTANTLY_WEBHOOK_SECRET": secrets,
    }


def start_key_service(stack: ExitStack, _: dict[str, str]) -> dict[str, str]:
    app = KeyServiceStandIn(KEY_SERVICE_KEY, ORGANIZATION_KEYS, APP_KEY).app
    url = serve(stack, app, KEY_SERVICE_PORT)
    return {"KEY_SERVICE_URL": url, "KEY_SERVICE_API_KEY": KEY_SERVICE_KEY}


def start_runs_service(stack: ExitStack, _: dict[str, str]) -> dict[str, str]:
    url = serve(stack, RunsServiceStandIn(RUNS_SERVICE_KEY).app, RUNS_SERVICE_PORT)
    return {"RUNS_SERVICE_URL": url, "RUNS_SERVICE_API_KEY": RUNS_SERVICE_KEY}


PARTS = (
    Part("PostgreSQL", ("INSTANTLY_SERVICE_DATABASE_URL",), start_postgres),
    Part("Instantly", ("INSTANTLY_API_URL",), start_instantly),
    Part("key-service", ("KEY_SERVICE_URL", "KEY_SERVICE_API_KEY"), start_key_service),
    Part("runs-service", ("RUNS_SERVICE_URL", "RUNS_SERVICE_API_KEY"), start_runs_service),
)


def serve(stack: ExitStack, app: Flask, port: int) -> str:
    """Serve on the usual port, or on any other when that is taken; the URL."""
    try:
        listener = socket.create_server((HOST, port))
    except OSError:
        listener = socket.create_server((HOST, 0))
    with listener:  # bound here, since werkzeug ends the process when the port is taken
        server = make_server(HOST, 0, app, threaded=True, fd=listener.fileno())
    threading.Thread(target=server.serve_forever, daemon=True).start()
    stack.callback(server.shutdown)
    return f"http://{HOST}:{server.port}"


def complete(stack: ExitStack, environment: dict[str, str]) -> list[tuple[str, str, str]]:
    """Starts what is missing and adds its variables; (part, how it is there, where) for each."""
    port = environment.setdefault("PORT", str(SERVICE_PORT))
    environment.setdefault("INSTANTLY_SERVICE_API_KEY", SERVICE_KEY)
    environment.setdefault("WEBHOOK_BASE_URL", f"http://{HOST}:{port}")
    table = []
    for part in PARTS:
        given = all(environment.get(name) for name in part.variables)
        if not given:
            environment.update(part.start(stack, environment))
        where = place(environment[part.variables[0]])
        table.append((part.name, "yours" if given else "stand-in", where))
    return table


def place(url: str) -> str:
    """Where a part runs, without the password that a connection string may hold."""
    if url.startswith("http"):
        return url
    named = conninfo_to_dict(url)
    return f"{named.get('host', 'localhost')}:{named.get('port', 5432)}/{named.get('dbname', '')}"


def main() -> None:
    """Runs until it is interrupted; then everything that it started is gone again."""
    environment = dict(os.environ)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # no line for each request
    with ExitStack() as stack:
        try:
            table = complete(stack, environment)
            settings = Settings.from_environment(environment)
            socket.create_server((HOST, settings.port)).close()  # it says so if the port is taken
            migrate(settings.database_url)
        except (ConfigurationError, MigrationError, OSError, psycopg.Error) as error:
            sys.exit(str(error))
        server = start_server(settings.port, environment)
        stack.callback(stop, server)
        table.insert(0, ("instantly-service", "this", f"http://{HOST}:{settings.port}"))
        lines = [f"{name:<18} {how:<9} {where}" for name, how, where in table]
        sys.stdout.write("\n".join(lines) + "\n\n" + curl_walk(walk_values(environment)) + "\n")
        sys.stdout.flush()
        try:
            server.wait()
        except KeyboardInterrupt:
            return


def start_server(port: int, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-m", "gunicorn", "--config", "python:instantly.server"]
    words += ["--bind", f"{HOST}:{port}", "app:create_app()"]
    return subprocess.Popen(words, cwd=ROOT, env=environment)  # noqa: S603  (our own words)


def stop(server: subprocess.Popen[bytes]) -> None:
    server.terminate()
    server.wait()


def walk_values(environment: dict[str, str]) -> dict[str, str]:
    """What the README's walk names → what runs here."""
    return {
        f"http://{HOST}:{SERVICE_PORT}": f"http://{HOST}:{environment['PORT']}",
        SERVICE_KEY: environment["INSTANTLY_SERVICE_API_KEY"],
        f"http://{HOST}:{RUNS_SERVICE_PORT}": environment["RUNS_SERVICE_URL"],
        RUNS_SERVICE_KEY: environment["RUNS_SERVICE_API_KEY"],
    }
