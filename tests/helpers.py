"""What several test files need: other settings, a service without its database, processes.

Not a test.
"""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from harness import ROOT
from world import opened_app

from instantly.config import Settings
from instantly.web.context import EXTENSION

LOCALHOST = "http://127.0.0.1:1"
UNKNOWN_ID = "7ec7b7c3-126b-412a-babf-fd79d002e921"
PASSWORD = "hush-hush"
# All that must be set, but for the database.
ENVIRONMENT = {
    "INSTANTLY_SERVICE_API_KEY": "own-key",
    "KEY_SERVICE_URL": LOCALHOST,
    "KEY_SERVICE_API_KEY": "keys-key",
    "RUNS_SERVICE_URL": LOCALHOST,
    "RUNS_SERVICE_API_KEY": "runs-key",
}
STATS = tuple(
    "emailsSent emailsDelivered emailsOpened emailsClicked emailsReplied"
    " emailsBounced repliesAutoReply repliesNotInterested repliesOutOfOffice"
    " repliesUnsubscribe".split()
)


def stats(*counts: int) -> dict[str, int]:
    """The statistics' counts by name, in the order of STATS."""
    return dict(zip(STATS, counts, strict=True))


def configure(app: Flask, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
    """Gives the running service other settings."""
    parts = app.extensions[EXTENSION]
    settings = replace(parts.settings, **changes)
    monkeypatch.setitem(app.extensions, EXTENSION, replace(parts, settings=settings))


@contextmanager
def client_without_postgres(settings: Settings, *, silent: bool = False) -> Iterator[FlaskClient]:
    """Calls a service whose database refuses connections, or (silent) never answers."""
    with socket.socket() as port:
        port.bind(("127.0.0.1", 0))
        if silent:
            port.listen()
        url = f"postgresql://postgres:{PASSWORD}@127.0.0.1:{port.getsockname()[1]}/instantly"
        with opened_app(settings, database_url=url) as app:
            yield app.test_client()
            port.close()


def run_python(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs Python in the project's folder, with these variables and no others."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )


def campaign_at_instantly(**changes: Any) -> dict[str, Any]:
    """The smallest body with which Instantly creates a campaign."""
    schedule = {
        "name": "Weekdays",
        "timing": {"from": "08:00", "to": "17:00"},
        "days": {"1": True},
        "timezone": "America/Chicago",
    }
    return {"name": "Autumn", "campaign_schedule": {"schedules": [schedule]}, **changes}
