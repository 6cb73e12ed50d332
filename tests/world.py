"""The service and the places where it leaves something: our tables, Instantly and runs-service.

Not a test. What tests share by name is imported from here, `harness` and `helpers`; `conftest` has
the fixtures only.
"""

import json
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from flask import Flask
from flask.testing import FlaskClient
from psycopg import OperationalError
from psycopg.rows import dict_row
from stand_in import StandIn
from werkzeug.test import TestResponse

import instantly.clients.instantly.base
import instantly.clients.keys
import instantly.clients.runs
from instantly import application
from instantly.config import Settings
from instantly.sandbox.instantly_api import InstantlyStandIn
from instantly.sandbox.internal_services import KeyServiceStandIn, RunsServiceStandIn
from instantly.sandbox.state import Workspace
from instantly.storage.statements import Database, Session
from instantly.web.context import EXTENSION

API_KEY = "service-key"
ORG = {"orgId": "org-1", "clerkOrgId": "clerk-1", "brandId": "brand-1", "appId": "app-1"}
LONG_AGO = "2020-01-01T00:00:00.000Z"

Campaign = dict[str, Any]
Leads = dict[str, str]
"""address → Instantly's id"""


def campaign_request(**changes: Any) -> dict[str, Any]:
    """The smallest useful body of POST /campaigns."""
    return {**ORG, "name": "Autumn", **changes}


def addresses(count: int, start: int = 0) -> list[str]:
    return [f"lead{number}@x.example" for number in range(start, start + count)]


def leads_of(emails: Iterable[str]) -> list[dict[str, Any]]:
    return [{"email": email} for email in emails]


@contextmanager
def opened_app(settings: Settings, **changes: Any) -> Iterator[Flask]:
    """The service once more: it shares nothing with others but the database."""
    app = application.create_app(replace(settings, **changes))
    try:
        yield app
    finally:
        app.extensions[EXTENSION].leases.close()
        app.extensions[EXTENSION].database.close()


def shorten_timeouts(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Of clients that are made from now on: silence is not waited for as long as usual."""
    for module in (
        instantly.clients.keys,
        instantly.clients.runs,
        instantly.clients.instantly.base,
    ):
        monkeypatch.setattr(module, "READ_TIMEOUT_SECONDS", seconds)


def client_of(app: Flask) -> FlaskClient:
    """Calls the service with its key."""
    client = app.test_client()
    client.environ_base["HTTP_X_API_KEY"] = API_KEY
    return client


@dataclass
class Upstreams:
    """Each service, and its socket (`…_http`), which records requests and fails on demand."""

    instantly: InstantlyStandIn
    instantly_http: StandIn
    keys: KeyServiceStandIn
    keys_http: StandIn
    runs: RunsServiceStandIn
    runs_http: StandIn

    @property
    def https(self) -> tuple[StandIn, StandIn, StandIn]:
        return self.keys_http, self.runs_http, self.instantly_http

    def reset(self) -> None:
        """As on the first day: no state, no faults, no recorded requests.

        The apps stay, since to make them anew takes longer than most tests.
        """
        for http in self.https:
            http.heal()
            http.clear()
            http.latency_seconds = 0.0
        self.keys.organizations, self.keys.app_key = {"clerk-1": "key-1"}, "app-key"
        self.runs.runs, self.runs.known_parents = {}, set()
        self.instantly.workspaces = {name: Workspace() for name in ("clerk-1", "app")}
        self.instantly.job_outcome = InstantlyStandIn.job_outcome
        self.instantly.loses_email_list = InstantlyStandIn.loses_email_list
        self.instantly.activate_status = InstantlyStandIn.activate_status
        self.instantly.plays, self.instantly.player.lost_share = False, 0.0

    def calls(self) -> int:
        """How often any of them was asked anything."""
        return sum(len(http.requests) for http in self.https)

    def forget_requests(self) -> None:
        for http in self.https:
            http.clear()

    def run_statuses(self) -> list[str]:
        return [run["status"] for run in self.runs.runs.values()]


class Rows:
    """Looks at the tables past the service."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self.connection = connection

    def all(self, sql: str, *parameters: object) -> list[dict[str, Any]]:
        with self.connection.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(sql, parameters).fetchall()

    def count(self, table: str) -> int:
        return int(self.all(f"SELECT count(*) AS n FROM {table}")[0]["n"])  # noqa: S608

    def empty(self) -> None:
        """Of all that hangs on campaigns, leases and keys, on a database of one's own."""
        self.connection.execute(
            "TRUNCATE instantly_campaigns, instantly_leads, instantly_events, instantly_leases,"
            " instantly_open_runs, instantly_idempotency_keys, instantly_erased CASCADE"
        )

    def take_over(self) -> None:
        """As if somebody else held all leases."""
        self.connection.execute("UPDATE instantly_leases SET holder = gen_random_uuid()")

    def fall_silent(self, name: str = "") -> None:
        """As if the holders of these leases had said nothing for a long time."""
        self.live_for(-1, name)

    def live_for(self, seconds: float, name: str) -> None:
        """As if the holders of these leases would be dead after so long a silence from now on."""
        self.connection.execute(
            "UPDATE instantly_leases SET alive_until ="
            " clock_timestamp() + make_interval(secs => %s) WHERE name ~ %s",
            [seconds, name],
        )


@dataclass
class StatementFault:
    name: str
    times: float
    acts: bool
    failure: Exception
    when: Callable[[dict[str, Any]], bool]


class Statements:
    """Fails the service's statements on demand, and notes those of this thread."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.names: list[str] = []
        self._faults: list[StatementFault] = []
        self._thread = threading.get_ident()
        ways = list(product((Session, Database), ("fetch_all", "fetch_one", "execute")))
        for (runner, way), run in [(each, getattr(*each)) for each in ways]:
            monkeypatch.setattr(runner, way, self._watched(run))

    def fail(
        self,
        name: str,
        *,
        times: float = float("inf"),
        acts: bool = False,
        failure: Exception | None = None,
        when: Callable[[dict[str, Any]], bool] = lambda parameters: True,
    ) -> None:
        """The database goes away at a statement: with `acts` it is done, only its answer lost."""
        failure = failure or OperationalError("the connection is lost")
        self._faults.append(StatementFault(name, times, acts, failure, when))

    def before(self, name: str, act: Callable[[], object]) -> None:
        """Something happens each time before a statement is run."""
        self.fail(name, when=lambda parameters: bool(act() and False))

    def heal(self) -> None:
        self._faults.clear()

    def _watched(self, run: Callable[..., Any]) -> Callable[..., Any]:
        def run_watched(runner: Session, name: str, /, **parameters: Any) -> Any:
            if threading.get_ident() == self._thread:
                self.names.append(name)
            for fault in self._faults:
                if fault.name == name and fault.times > 0 and fault.when(parameters):
                    fault.times -= 1
                    if fault.acts:
                        run(runner, name, **parameters)
                    raise fault.failure
            return run(runner, name, **parameters)

        return run_watched


@dataclass(eq=False)
class World:
    """`client` may be a `harness.Service` too. `campaign` is what the verbs act upon."""

    db: Rows
    upstreams: Upstreams
    client: Any
    campaign: Campaign = field(default_factory=dict)

    def beside(self, other: Any = None) -> "World":
        """The same world for another thread; by another app or `Service`, if one is named."""
        other = other or getattr(self.client, "application", self.client)
        return replace(self, client=client_of(other) if isinstance(other, Flask) else other)

    def another(self, **changes: str | None) -> "World":
        """The same world of another campaign, which stands in our tables alone."""
        ids = {name: str(uuid4()) for name in ("id", "instantlyCampaignId", "runId")}
        campaign = {**ORG, "name": "Autumn", **ids, "parentRunId": None, **changes}
        self.db.connection.execute(
            "INSERT INTO instantly_campaigns (id, instantly_campaign_id, org_id, clerk_org_id,"
            " brand_id, app_id, name, run_id, parent_run_id) VALUES (%(id)s,"
            " %(instantlyCampaignId)s, %(orgId)s, %(clerkOrgId)s, %(brandId)s, %(appId)s,"
            " %(name)s, %(runId)s, %(parentRunId)s)",
            campaign,
        )
        return replace(self, campaign=campaign)

    # Verbs

    def send(self, method: str, path: str, body: Any = None, **more: Any) -> TestResponse:
        return self.client.open(path, method=method, json=body, **more)

    def create(self, **changes: Any) -> TestResponse:
        return self.send("POST", "/campaigns", campaign_request(**changes))

    def created(self, **changes: Any) -> Campaign:
        answer = self.create(**changes)
        assert answer.status_code == 201, answer.text
        return answer.get_json()["campaign"]

    def path(self, below: str = "", campaign: Campaign | None = None) -> str:
        return f"/campaigns/{(campaign or self.campaign)['id']}{below}"

    def shown(self, campaign: Campaign | None = None) -> Campaign:
        """The campaign as it can be read."""
        return self.send("GET", self.path("", campaign)).get_json()["campaign"]

    def switch(self, status: Any) -> TestResponse:
        return self.send("PATCH", self.path("/status"), {"status": status})

    def upload(self, leads: Any, campaign: Campaign | None = None, **changes: Any) -> TestResponse:
        body = {"orgId": "org-1", "leads": leads, **changes}
        return self.send("POST", self.path("/leads", campaign), body)

    def add(self, emails: Iterable[str], campaign: Campaign | None = None) -> dict[str, Any]:
        answer = self.upload(leads_of(emails), campaign)
        assert answer.status_code == 201, answer.text
        return answer.get_json()

    def hold(self, *emails: str) -> None:
        """Leads that stand in our tables alone."""
        with self.db.connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO instantly_leads"
                " (campaign_id, instantly_lead_id, email, org_id, run_id)"
                " VALUES (%s, %s, %s, 'org-1', %s)",
                [(self.campaign["id"], str(uuid4()), email, uuid4()) for email in emails],
            )

    def delete(self, emails: Any) -> TestResponse:
        return self.send("DELETE", self.path("/leads"), {"emails": emails})

    def payload(self, event_type: str = "email_opened", /, **fields: Any) -> dict[str, Any]:
        """An event of the campaign as Instantly delivers it."""
        campaign_id = self.campaign["instantlyCampaignId"]
        return {"event_type": event_type, "campaign_id": campaign_id, **fields}

    def deliver(self, body: bytes | str | dict[str, Any], **more: Any) -> TestResponse:
        """One delivery, without a key. Its JSON is ASCII: it can hold half surrogate pairs."""
        data = json.dumps(body) if isinstance(body, dict) else body
        headers = {"X-API-Key": "", **more.pop("headers", {})}
        more = {"content_type": "application/json", **more, "data": data, "headers": headers}
        return self.send("POST", "/webhooks/instantly", **more)

    def records(self, event_type: str = "email_opened", /, **fields: Any) -> bool:
        """Whether a delivery of this event is new."""
        answer = self.deliver(self.payload(event_type, **fields))
        assert answer.status_code == 200, answer.text
        return bool(answer.get_json()["recorded"])

    def receive(self, *event_types: str, lead: object = "a@x.example", **fields: Any) -> None:
        """Events unlike any others are recorded."""
        for event_type in event_types:
            assert self.records(event_type, email_id=str(uuid4()), lead_email=lead, **fields)

    def statistics(self, **conditions: Any) -> dict[str, Any]:
        answer = self.send("POST", "/stats", conditions)
        assert answer.status_code == 200, answer.text
        return answer.get_json()

    def listed(self, path: str, query: str = "") -> dict[str, Any]:
        """A page of campaigns or leads."""
        answer = self.send("GET", f"{path}?{query}")
        assert answer.status_code == 200, answer.text
        return answer.get_json()

    def listed_leads(self) -> list[dict[str, Any]]:
        return self.listed(self.path("/leads"))["leads"]

    def put_into_instantly(self, email: str, at: str = LONG_AGO, campaign: Any = None) -> str:
        """A lead that only Instantly holds; its id."""
        holder = (campaign or self.campaign)["instantlyCampaignId"]
        lead = self.upstreams.instantly.workspace("clerk-1").add_lead(
            {"email": email}, email.lower(), at, campaign=holder
        )
        return str(lead["id"])

    # Places

    def rows(self) -> list[str]:
        """The addresses that we hold, in lower case and in the order of their arrival."""
        rows = self.db.all("SELECT lower(email) AS email FROM instantly_leads ORDER BY position")
        return [row["email"] for row in rows]

    def lead_rows(self) -> Leads:
        rows = self.db.all("SELECT lower(email) AS email, instantly_lead_id FROM instantly_leads")
        leads = {row["email"]: row["instantly_lead_id"] for row in rows}
        assert len(leads) == len(rows), "a lead is stored twice"
        return leads

    def in_instantly(self, campaign: Campaign | None = None) -> Leads:
        """The leads that Instantly holds, of all campaigns or of this one."""
        workspace = self.upstreams.instantly.workspace("clerk-1")
        if campaign:
            held = list(workspace.leads_of(campaign["instantlyCampaignId"]))
        else:
            held = list(workspace.leads.values())
        leads = {lead["email"].lower(): lead["id"] for lead in held}
        assert len(leads) == len(held), "a lead is in Instantly twice"
        return leads

    def statuses(self) -> dict[str, str]:
        """Address → status of the lead, of the leads that we hold of the campaign."""
        sql = "SELECT email, status FROM instantly_leads WHERE campaign_id = %s ORDER BY position"
        return {row["email"]: row["status"] for row in self.db.all(sql, self.campaign["id"])}

    def status(self) -> str:
        """The campaign's."""
        sql = "SELECT status FROM instantly_campaigns WHERE id = %s"
        return str(self.db.all(sql, self.campaign["id"])[0]["status"])

    def events(self) -> list[dict[str, Any]]:
        sql = "SELECT * FROM instantly_events WHERE campaign_id = %s ORDER BY id"
        return self.db.all(sql, self.campaign["id"])

    def campaign_rows(self) -> list[str]:
        """The ids that our campaigns have in Instantly."""
        rows = self.db.all("SELECT instantly_campaign_id::text AS id FROM instantly_campaigns")
        return [row["id"] for row in rows]

    def campaigns(self) -> dict[str, dict[str, Any]]:
        """Instantly's."""
        return self.upstreams.instantly.workspace("clerk-1").campaigns

    def agrees(self) -> bool:
        """Whether Instantly holds the campaigns and leads that we hold, and no others."""
        return (
            set(self.campaign_rows()) == set(self.campaigns())
            and self.lead_rows() == self.in_instantly()
        )

    def runs(self) -> list[str]:
        """The status of each run, in the order of their creation."""
        return self.upstreams.run_statuses()

    def billed(self) -> int:
        """The sum of all cost lines."""
        return int(sum(self.upstreams.runs.billed().values()))

    def billed_to_completed_runs(self) -> int:
        """Without what stands on runs that have failed."""
        runs = self.upstreams.runs.runs.values()
        completed = [run for run in runs if run["status"] == "completed"]
        return int(sum(cost["quantity"] for run in completed for cost in run["costs"]))

    def state(self) -> dict[str, Any]:
        """What stands in our tables and in Instantly."""
        return {
            "our campaigns": set(self.campaign_rows()),
            "our leads": self.lead_rows(),
            "Instantly's campaigns": set(self.campaigns()),
            "Instantly's leads": self.in_instantly(),
            "open runs": self.db.count("instantly_open_runs"),
            "leases": self.db.count("instantly_leases"),
            "keys": self.db.count("instantly_idempotency_keys"),
        }


@dataclass
class Act:
    """A billing POST, and what was there before it."""

    name: str
    world: World
    path: str
    body: dict[str, Any]
    quantity: int
    calls: dict[str, tuple[str, str]]
    """what it asks of each service, and with "take back" how it is undone in Instantly"""
    table: str
    insert: str
    take_back: str
    before: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.before = self.world.state()

    def send(self, key: str | None = None, body: Any = None) -> TestResponse:
        headers = None if key is None else {"Idempotency-Key": key}
        body = self.body if body is None else body
        return self.world.send("POST", self.path, body, headers=headers)

    def beside(self) -> "Act":
        """The same for another thread."""
        return replace(self, world=self.world.beside())

    def fail(self, service: str, **fault: Any) -> StandIn:
        """The call of `calls` fails."""
        name = "instantly" if service == "take back" else service
        stand_in: StandIn = getattr(self.world.upstreams, f"{name.split()[0]}_http")
        stand_in.fail(*self.calls[service], **fault)
        return stand_in

    def fails(
        self, status: int, error: str, *, runs: Sequence[str] = ("failed",), key: str | None = None
    ) -> TestResponse:
        """It is answered so, and leaves nothing behind but the failed run."""
        answer = self.send(key)
        assert (answer.status_code, answer.get_json()["error"]) == (status, error), answer.text
        assert ("Retry-After" in answer.headers) is (status == 503)
        assert self.world.state() == self.before
        assert (self.world.runs(), self.world.billed()) == (list(runs), 0)
        return answer

    def succeeds(self) -> None:
        assert self.send().status_code == 201
        assert self.is_done_once()

    def is_done_once(self) -> bool:
        """Everything is there, and billed."""
        return (
            self.world.agrees()
            and len(self.world.campaign_rows()) == 1
            and self.world.lead_rows().keys()
            == self.before["our leads"].keys()
            | {lead["email"] for lead in self.body.get("leads", ())}
            and self.world.billed_to_completed_runs() == self.quantity
        )


CALLS = {
    "keys": ("GET", "/internal/keys/.*"),
    "runs": ("POST", "/v1/runs"),
    "runs costs": ("POST", "/v1/runs/[^/]+/costs"),
    "runs end": ("PATCH", "/v1/runs/[^/]+"),
}


def creating(world: World) -> Act:
    calls = {
        **CALLS,
        "instantly": ("POST", "/api/v2/campaigns"),
        "take back": ("DELETE", "/api/v2/campaigns/[^/]+"),
    }
    body = campaign_request(metadata={"a": 1, "b": [True, None]})
    statements = ("insert_campaign", "delete_campaign")
    return Act("campaigns", world, "/campaigns", body, 1, calls, "instantly_campaigns", *statements)


def uploading(world: World) -> Act:
    """Three leads, for a campaign that holds another one."""
    world.campaign = world.created()
    world.add(["old@example.com"])
    world.upstreams.runs.runs.clear()
    world.upstreams.forget_requests()
    calls = {
        **CALLS,
        "instantly": ("POST", "/api/v2/leads/add"),
        "take back": ("DELETE", "/api/v2/leads"),
    }
    leads = [
        {"email": f"{name}@example.com", "customVariables": {"a": 1}}
        for name in ("ada", "bea", "cyd")
    ]
    body = {"orgId": "org-1", "leads": leads}
    statements = ("insert_leads", "delete_leads_of_run")
    path = world.path("/leads")
    return Act("leads", world, path, body, 3, calls, "instantly_leads", *statements)
