"""What several test files need: campaigns put into the tables, deliveries, tables of faults.

Not a test. `from helpers import …` works as `from conftest import …` does.
"""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import uuid4

import pytest
from conftest import Rows
from flask import Flask
from flask.testing import FlaskClient
from harness import ROOT
from werkzeug.test import TestResponse

from instantly import application
from instantly.config import Settings
from instantly.web.services import EXTENSION

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
STATS = (
    *("emailsSent", "emailsDelivered", "emailsOpened", "emailsClicked", "emailsReplied"),
    *("emailsBounced", "repliesAutoReply", "repliesNotInterested", "repliesOutOfOffice"),
    "repliesUnsubscribe",
)


def stats(*counts: int) -> dict[str, int]:
    """The statistics' counts by name, in the order of STATS."""
    return dict(zip(STATS, counts, strict=True))


@dataclass(eq=False)
class OurCampaign:
    """A campaign of ours that nobody had to create at Instantly: its row, leads and deliveries."""

    db: Rows
    client: FlaskClient
    clerk_org_id: str = "clerk-1"
    brand_id: str = "brand-1"
    app_id: str = "app-1"
    parent_run_id: str | None = None
    id: str = field(default_factory=lambda: str(uuid4()))
    instantly_id: str = field(default_factory=lambda: str(uuid4()))
    run_id: str = field(default_factory=lambda: str(uuid4()))

    def __post_init__(self) -> None:
        self.db.connection.execute(
            "INSERT INTO instantly_campaigns (org_id, name, id, instantly_campaign_id,"
            " clerk_org_id, brand_id, app_id, run_id, parent_run_id) VALUES ('org-1', 'Autumn',"
            " %(id)s, %(instantly_id)s, %(clerk_org_id)s, %(brand_id)s, %(app_id)s, %(run_id)s,"
            " %(parent_run_id)s)",
            vars(self) | {"db": None, "client": None},
        )

    def another(self, **columns: Any) -> "OurCampaign":
        return OurCampaign(self.db, self.client, **columns)

    def hold(self, *emails: str) -> None:
        with self.db.connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO instantly_leads"
                " (campaign_id, instantly_lead_id, email, org_id, run_id)"
                " VALUES (%s, %s, %s, 'org-1', %s)",
                [(self.id, str(uuid4()), email, uuid4()) for email in emails],
            )

    def payload(self, event_type: str = "email_opened", /, **fields: Any) -> dict[str, Any]:
        return {"event_type": event_type, "campaign_id": self.instantly_id, **fields}

    def deliver(self, payload: bytes | str | dict[str, Any], **more: Any) -> TestResponse:
        return deliver(self.client, payload, **more)

    def records(self, event_type: str = "email_opened", /, **fields: Any) -> bool:
        """Whether a delivery of this event is new."""
        return recorded(self.client, self.payload(event_type, **fields))

    def statuses(self) -> dict[str, str]:
        """Address → status of its lead."""
        rows = self.db.all(
            "SELECT email, status FROM instantly_leads WHERE campaign_id = %s", self.id
        )
        return {row["email"]: row["status"] for row in rows}

    def status(self) -> str:
        rows = self.db.all("SELECT status FROM instantly_campaigns WHERE id = %s", self.id)
        return str(rows[0]["status"])

    def events(self) -> list[dict[str, Any]]:
        return self.db.all(
            "SELECT * FROM instantly_events WHERE campaign_id = %s ORDER BY id", self.id
        )


def deliver(client: FlaskClient, body: bytes | str | dict[str, Any], **more: Any) -> TestResponse:
    """One delivery. The JSON is plain ASCII, so that it can hold half surrogate pairs."""
    data = json.dumps(body) if isinstance(body, dict) else body
    return client.post(
        "/webhooks/instantly", data=data, **{"content_type": "application/json", **more}
    )


def recorded(client: FlaskClient, payload: dict[str, Any]) -> bool:
    answer = deliver(client, payload)
    assert answer.status_code == 200
    return bool(answer.get_json()["recorded"])


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
        app = application.create_app(replace(settings, database_url=url))
        try:
            yield app.test_client()
        finally:
            port.close()
            app.extensions[EXTENSION].database.close()


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
