"""A stand-in for Instantly's API V2 that behaves as production does, kept in memory.

Every method of `InstantlyStandIn` whose name is that of an operation in `instantly_schemas`
plays that operation.
"""

import json
import queue
import random
import threading
import time
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from heapq import merge
from html.parser import HTMLParser
from itertools import islice
from typing import Any, NoReturn

import requests
from flask import Flask, Response, request

from instantly.sandbox.instantly_schemas import (
    ANALYTICS_COUNTS,
    EVENT_TYPES,
    OPTIONAL_ANALYTICS_COUNTS,
    Operation,
    find_operation,
    is_empty_json,
    is_refused_agent,
    parse_body,
    parse_query,
    refusals,
)
from instantly.sandbox.player import Player, moment

Json = dict[str, Any]

DEFAULT_PAGE_SIZE = 10
DEFAULT_ACCOUNTS = 12
DELIVERY_TIMEOUT_SECONDS = 10
MAX_RETRIES = 3
CONTACTS_IN_PLAN = 1_000_000
WEBHOOK_ACTIVE = 1
WEBHOOK_DISABLED = -1
REFUSAL_COUNTS = (
    "in_blocklist",
    "duplicated_leads",
    "duplicate_email_count",
    "skipped_count",
    "invalid_email_count",
)
REASONS = {400: "Bad Request", 401: "Unauthorized", 404: "Not Found"}
EDGE_REFUSAL = "<html><head><title>403 Forbidden</title></head><body>403 Forbidden</body></html>"
# What a webhook subscribes to and what its deliveries say [docs]; all others are named alike.
PAYLOAD_NAMES = {"email_link_clicked": "link_clicked"}
# Lead field → name in the lead's payload and in deliveries [docs].
PAYLOAD_FIELDS = {
    "first_name": "firstName",
    "last_name": "lastName",
    "company_name": "companyName",
    "job_title": "jobTitle",
    "phone": "phone",
    "website": "website",
    "personalization": "personalization",
}
COUNTS = f"{ANALYTICS_COUNTS} {OPTIONAL_ANALYTICS_COUNTS}".split()
SENDER_NAMES = ("lena", "marc", "sofia", "jonas", "amelia", "david")
SENDER_DOMAINS = ("try-northbeam.example", "get-northbeam.example", "northbeam-mail.example")


class Refusal(Exception):
    """Instantly refuses a request with this status and message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


def not_found() -> NoReturn:
    raise Refusal(404, "Resource not found")


def now() -> str:
    return moment(datetime.now(UTC))


class Ids:
    """UUIDs (version 7) that rise, so that the order of ids is the order of creation.

    They begin at the present millisecond: a sandbox that starts again must not repeat the ids
    which a database may still hold.
    """

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - made-up ids, no secrets
        self._milliseconds = time.time_ns() // 1_000_000

    def uuid(self) -> str:
        self._milliseconds += 1
        head, tail = f"{self._milliseconds:012x}", f"{self._random.getrandbits(72):018x}"
        return f"{head[:8]}-{head[8:]}-7{tail[:3]}-a{tail[3:6]}-{tail[6:]}"

    def object_id(self) -> str:
        return f"{self._random.getrandbits(96):024x}"


class Sanitizer(HTMLParser):
    """Drops text outside any element, as Instantly does with bodies [seen in production]."""

    VOID = frozenset({"br", "hr", "img", "input", "link", "meta", "wbr"})

    def __init__(self) -> None:
        super().__init__(convert_charrefs=False)
        self._depth = 0
        self._kept: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self._kept.append(self.get_starttag_text() or "")
        if tag not in self.VOID:
            self._depth += 1

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        self._kept.append(self.get_starttag_text() or "")

    def handle_endtag(self, tag: str) -> None:
        self._kept.append(f"</{tag}>")
        self._depth = max(0, self._depth - 1)

    def handle_data(self, data: str) -> None:
        if self._depth:
            self._kept.append(data)

    def handle_entityref(self, name: str) -> None:
        self.handle_data(f"&{name};")

    def handle_charref(self, name: str) -> None:
        self.handle_data(f"&#{name};")

    @classmethod
    def sanitize(cls, body: str) -> str:
        sanitizer = cls()
        sanitizer.feed(body)
        sanitizer.close()
        return "".join(sanitizer._kept)


def sanitized(fields: Json) -> Json:
    """Campaign fields with the bodies of their sequences sanitized."""
    fields = json.loads(json.dumps(fields))
    for sequence in fields.get("sequences", ()):
        for step in sequence["steps"]:
            for variant in step["variants"]:
                variant["body"] = Sanitizer.sanitize(variant["body"])
    return fields


@dataclass
class LeadIndex:
    """The leads of a campaign or a list, found without looking at all of them."""

    order: list[str] = field(default_factory=list)
    """ids in their order, those of deleted leads included"""
    by_address: dict[str, Json] = field(default_factory=dict)
    """address in lower case → lead: it is in a campaign at most once"""

    def add(self, lead: Json, address: str) -> None:
        self.order.append(lead["id"])
        self.by_address[address] = lead

    def after(self, cursor: str) -> Iterator[str]:
        start = bisect_right(self.order, cursor)
        return (self.order[position] for position in range(start, len(self.order)))


def container_of(lead: Json) -> str:
    """The id of the campaign or the list that holds a lead."""
    container: str = lead.get("campaign") or lead["list_id"]
    return container


@dataclass
class Job:
    """A warmup change under way: done at the last of its polls."""

    view: Json
    emails: list[str]
    warmup_status: int
    polls: int = 0


class Workspace:
    """One organisation's Instantly: its campaigns, leads, accounts, webhooks, events and jobs."""

    def __init__(self, name: str, ids: Ids) -> None:
        self.name = name
        self.ids = ids
        self.id = ids.uuid()
        self.lock = threading.RLock()
        self.blocklist: set[str] = set()
        self.campaigns: dict[str, Json] = {}
        self.analytics: dict[str, Counter[str]] = defaultdict(Counter)
        self.leads: dict[str, Json] = {}
        self.lead_indexes: dict[str, LeadIndex] = defaultdict(LeadIndex)
        self.accounts: dict[str, Json] = {}
        self.jobs: dict[str, Job] = {}
        self.webhooks: dict[str, Json] = {}
        self.webhook_failures: Counter[str] = Counter()
        self.events: list[Json] = []
        self.deliveries: queue.Queue[Json | None] = queue.Queue()
        self.seed_accounts(DEFAULT_ACCOUNTS)

    def seed_accounts(self, count: int) -> None:
        """Hold exactly `count` active sending accounts, every other one with warmup."""
        self.accounts.clear()
        start = datetime.now(UTC) - timedelta(days=30)
        for number in range(count):
            name = SENDER_NAMES[number % len(SENDER_NAMES)]
            domain = SENDER_DOMAINS[number // len(SENDER_NAMES) % len(SENDER_DOMAINS)]
            lap = number // (len(SENDER_NAMES) * len(SENDER_DOMAINS))
            email = f"{name}{lap or ''}@{domain}"
            created = moment(start + timedelta(minutes=number))
            self.accounts[email] = {
                "email": email,
                "first_name": name.capitalize(),
                "last_name": "Northbeam",
                "organization": self.id,
                "status": 1,
                "warmup_status": number % 2,
                "warmup": {"limit": 10, "reply_rate": 30},
                "provider_code": 2,
                "setup_pending": False,
                "is_managed_account": False,
                "daily_limit": 30,
                "stat_warmup_score": 0,
                "sending_gap": 10,
                "timestamp_created": created,
                "timestamp_updated": created,
                "timestamp_warmup_start": None,
            }

    def leads_of(self, campaign_id: str) -> list[Json]:
        """The campaign's leads in the order of their creation."""
        with self.lock:
            return list(self.alive(self.lead_indexes[campaign_id].after("")))

    def count_leads(self, campaign_id: str) -> int:
        return len(self.lead_indexes[campaign_id].by_address)

    def alive(self, lead_ids: Iterable[str]) -> Iterator[Json]:
        """The leads that still exist."""
        return (self.leads[lead_id] for lead_id in lead_ids if lead_id in self.leads)

    def indexes(self, container: str | None) -> list[LeadIndex]:
        """The index of a campaign or a list, or those of all."""
        return [self.lead_indexes[container]] if container else list(self.lead_indexes.values())

    def leads_with(self, address: str) -> list[Json]:
        """The leads of any campaign or list with this address (in lower case)."""
        indexes = self.lead_indexes.values()
        return [index.by_address[address] for index in indexes if address in index.by_address]

    def add_lead(self, fields: Json, address: str, at: str, **container: str) -> Json:
        """Make a lead of these fields, a dict of our own, in `campaign=` or `list_id=`."""
        payload = fields.pop("custom_variables", {})
        for name, payload_name in PAYLOAD_FIELDS.items():
            if fields.get(name) is not None:
                payload[payload_name] = fields[name]
        lead = fields
        lead.update(
            container,
            id=self.ids.uuid(),
            organization=self.id,
            status=1,
            company_domain=address.rpartition("@")[2],
            payload=payload,
            status_summary={},
            email_open_count=0,
            email_click_count=0,
            email_reply_count=0,
            upload_method="api",
            timestamp_created=at,
            timestamp_updated=at,
        )
        self.leads[lead["id"]] = lead
        self.lead_indexes[container_of(lead)].add(lead, address)
        return lead

    def remove_leads(self, leads: Iterable[Json]) -> int:
        """Delete leads; how many there were."""
        count = 0
        for lead in leads:
            del self.leads[lead["id"]]
            del self.lead_indexes[container_of(lead)].by_address[lead["email"].lower()]
            count += 1
        return count

    def campaign(self, campaign_id: str) -> Json:
        return self.campaigns.get(campaign_id) or not_found()

    def webhook(self, webhook_id: str) -> Json:
        return self.webhooks.get(webhook_id) or not_found()


@dataclass(frozen=True)
class Call:
    """One valid request: the path's parameter, the declared query values, the body."""

    parameter: str
    query: Json
    body: Any


class InstantlyStandIn:
    """Instantly as the service sees it; `app` is the Flask app to serve.

    `organizations` holds the accepted API keys and the workspace that each of them opens.
    """

    def __init__(self, organizations: dict[str, str], seed: int = 1, *, plays: bool = True) -> None:
        ids = Ids(seed)
        names = sorted(set(organizations.values()))
        self.workspaces = {name: Workspace(name, ids) for name in names}
        self._keys = organizations
        self.plays = plays
        self.player = Player(seed, self.deliver)
        self.loses_email_list = False
        self.activate_status = 1
        self.job_polls = 3
        self.job_outcome = "success"
        self.delivery_retry_seconds = 0.5
        self.disable_after = 20
        self._couriers: dict[str, threading.Thread] = {}
        self._closed = threading.Event()
        self.app = Flask(__name__)
        self.app.add_url_rule(
            "/<path:path>", view_func=self._answer, methods=["GET", "POST", "PATCH", "DELETE"]
        )

    def workspace(self, name: str) -> Workspace:
        return self.workspaces[name]

    def seed_accounts(self, workspace_name: str, count: int) -> None:
        """Give a workspace exactly `count` sending accounts."""
        self.workspaces[workspace_name].seed_accounts(count)

    def add_webhook(
        self, workspace_name: str, target_hook_url: str, event_type: str = "all_events"
    ) -> Json:
        """Subscribe a URL in a workspace, as POST /webhooks does."""
        workspace = self.workspaces[workspace_name]
        fields = {"target_hook_url": target_hook_url, "event_type": event_type}
        return self.create_webhook(workspace, Call("", {}, fields))

    def summary(self) -> dict[str, Json]:
        """Workspace → campaign id → name, status and number of leads."""
        return {
            name: {
                campaign["id"]: {
                    "name": campaign["name"],
                    "status": campaign["status"],
                    "leads": workspace.count_leads(campaign["id"]),
                }
                for campaign in list(workspace.campaigns.values())
            }
            for name, workspace in self.workspaces.items()
        }

    # HTTP

    def _answer(self, path: str) -> Response:
        if is_refused_agent(request.headers.get("User-Agent")):
            return Response(EDGE_REFUSAL, 403, content_type="text/html")
        try:
            answer = self._play(find_operation(request.method, request.path))
        except Refusal as refusal:
            error = {
                "statusCode": refusal.status,
                "error": REASONS[refusal.status],
                "message": refusal.message,
            }
            return Response(json.dumps(error), refusal.status, content_type="application/json")
        return Response(answer, content_type="application/json; charset=utf-8")

    def _play(self, operation: Operation | None) -> str:
        workspace = self._admit()
        if operation is None:
            raise Refusal(404, f"Route {request.method}:{request.path} not found")
        call = self._read(operation)
        act: Callable[[Workspace, Call], object] = getattr(self, operation.name)
        if operation.name == "test_webhook":
            # It waits for the receiver, which must not keep everybody else waiting.
            return json.dumps(act(workspace, call))
        with workspace.lock:
            return json.dumps(act(workspace, call))

    def _admit(self) -> Workspace:
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        if not key:
            raise Refusal(401, "Missing Authorization header")
        if scheme != "Bearer" or key not in self._keys:
            raise Refusal(401, "Invalid API key")
        return self.workspaces[self._keys[key]]

    def _read(self, operation: Operation) -> Call:
        raw = request.get_data()
        if is_empty_json(request.content_type, raw):
            raise Refusal(
                400, "Body cannot be empty when content-type is set to 'application/json'"
            )
        try:
            body = parse_body(raw)
        except ValueError:
            raise Refusal(400, "Body is not valid JSON") from None
        parameter = operation.parameter(request.path) or ""
        query = parse_query(operation, request.args.to_dict(flat=False))
        refused = refusals(operation, parameter, query, body)
        if refused:
            raise Refusal(400, ", ".join(refused))
        return Call(parameter, query, body)

    # Campaigns

    def create_campaign(self, workspace: Workspace, call: Call) -> Json:
        campaign = {
            "id": workspace.ids.uuid(),
            "organization": workspace.id,
            "status": 0,
            **sanitized(call.body),
            "timestamp_created": now(),
            "timestamp_updated": now(),
        }
        if self.loses_email_list:
            campaign["email_list"] = []
        workspace.campaigns[campaign["id"]] = campaign
        return campaign

    def get_campaign(self, workspace: Workspace, call: Call) -> Json:
        return workspace.campaign(call.parameter)

    def patch_campaign(self, workspace: Workspace, call: Call) -> Json:
        campaign = workspace.campaign(call.parameter)
        campaign.update(sanitized(call.body), timestamp_updated=now())
        return campaign

    def delete_campaign(self, workspace: Workspace, call: Call) -> Json:
        campaign = workspace.campaign(call.parameter)
        workspace.remove_leads(workspace.leads_of(campaign["id"]))
        del workspace.campaigns[campaign["id"]]
        return campaign

    def activate_campaign(self, workspace: Workspace, call: Call) -> Json:
        campaign = workspace.campaign(call.parameter)
        campaign.update(status=self.activate_status, timestamp_updated=now())
        if self.plays:
            self.player.start(workspace, campaign)
        return campaign

    def pause_campaign(self, workspace: Workspace, call: Call) -> Json:
        campaign = workspace.campaign(call.parameter)
        campaign.update(status=2, timestamp_updated=now())
        return campaign

    def get_campaign_analytics(self, workspace: Workspace, call: Call) -> list[Json]:
        wanted = call.query.get("ids") or [call.query["id"]] if call.query else None
        return [
            self._analytics(workspace, campaign)
            for campaign in workspace.campaigns.values()
            if (wanted is None or campaign["id"] in wanted)
            and workspace.analytics[campaign["id"]]["emails_sent_count"]
        ]

    def _analytics(self, workspace: Workspace, campaign: Json) -> Json:
        counts = workspace.analytics[campaign["id"]]
        return {
            "campaign_id": campaign["id"],
            "campaign_name": campaign["name"],
            "campaign_status": campaign["status"],
            "campaign_is_evergreen": bool(campaign.get("is_evergreen")),
            **{name: counts[name] for name in COUNTS},
            "leads_count": workspace.count_leads(campaign["id"]),
            "total_opportunity_value": 0,
        }

    # Leads

    def add_leads(self, workspace: Workspace, call: Call) -> Json:
        in_list = "list_id" in call.body
        container = call.body["list_id"] if in_list else call.body["campaign_id"]
        campaign = None if in_list else workspace.campaign(container)
        place = {"list_id" if in_list else "campaign": container}
        at = now()
        refused: Counter[str] = Counter()
        created: list[Json] = []
        addresses: set[str] = set()
        for index, fields in enumerate(call.body["leads"]):
            address = (fields.get("email") or "").lower()
            reason = refusal_of_lead(workspace, call.body, container, address, addresses)
            addresses.add(address)
            if reason:
                refused[reason] += 1
            else:
                lead = workspace.add_lead(fields, address, at, **place)
                created.append({"index": index, "id": lead["id"], "email": lead["email"]})
        if campaign and self.plays:
            self.player.start(workspace, campaign)
        return {
            "status": "success",
            "total_sent": len(call.body["leads"]),
            "leads_uploaded": len(created),
            **{reason: refused[reason] for reason in REFUSAL_COUNTS},
            "incomplete_count": 0,
            "blocklist_used": "workspace" if refused["in_blocklist"] else None,
            "remaining_in_plan": None if in_list else CONTACTS_IN_PLAN - len(workspace.leads),
            "created_leads": created,
        }

    def list_leads(self, workspace: Workspace, call: Call) -> Json:
        wanted = call.body
        cursor = wanted.get("starting_after", "")
        indexes = workspace.indexes(wanted.get("campaign") or wanted.get("list_id"))
        contacts = {address.lower() for address in wanted.get("contacts", ())}
        lead_ids: Iterable[str]
        if contacts:
            lead_ids = sorted(
                index.by_address[address]["id"]
                for index in indexes
                for address in contacts & index.by_address.keys()
            )
        elif wanted.get("ids"):
            lead_ids = sorted(set(wanted["ids"]))
        else:
            lead_ids = merge(*(index.after(cursor) for index in indexes))
        leads = (lead for lead in workspace.alive(lead_ids) if is_wanted(lead, wanted))
        return page(leads, wanted)

    def delete_leads(self, workspace: Workspace, call: Call) -> Json:
        """Without ids this empties the campaign, as the official OpenAPI document says."""
        wanted = call.body
        if "campaign_id" in wanted:
            workspace.campaign(wanted["campaign_id"])
        container = wanted.get("campaign_id") or wanted.get("list_id")
        lead_ids = wanted.get("ids") or workspace.lead_indexes[container].after("")
        leads = (
            lead
            for lead in workspace.alive(dict.fromkeys(lead_ids))
            if container in (lead.get("campaign"), lead.get("list_id"))
            and wanted.get("status", lead["status"]) == lead["status"]
        )
        return {"count": workspace.remove_leads(list(islice(leads, wanted.get("limit"))))}

    # Accounts

    def list_accounts(self, workspace: Workspace, call: Call) -> Json:
        query = call.query
        sort_by = query.get("sort_by", "timestamp_created")
        descending = query.get("sort_order", "desc") == "desc"

        def place(account: Json) -> tuple[Any, str]:
            return account[sort_by], account["email"]

        accounts = sorted(
            (account for account in workspace.accounts.values() if is_listed(account, query)),
            key=place,
            reverse=descending,
        )
        cursor = query.get("starting_after")
        if cursor:
            created, _, email = cursor.partition("&")
            last = place(
                workspace.accounts.get(email, {"timestamp_created": created, "email": email})
            )
            accounts = [
                account
                for account in accounts
                if (place(account) < last if descending else place(account) > last)
            ]
        items = [
            {**account, "warmup": {"limit": account["warmup"]["limit"]}}
            for account in accounts[: query.get("limit", DEFAULT_PAGE_SIZE)]
        ]
        if not items:
            return {"items": []}
        last_item = items[-1]
        return {
            "items": items,
            "next_starting_after": f"{last_item['timestamp_created']}&{last_item['email']}",
        }

    def get_account(self, workspace: Workspace, call: Call) -> Json:
        return workspace.accounts.get(call.parameter) or not_found()

    def enable_warmup(self, workspace: Workspace, call: Call) -> Json:
        return self._start_job(workspace, call.body.get("emails", []), warmup_status=1)

    def disable_warmup(self, workspace: Workspace, call: Call) -> Json:
        return self._start_job(workspace, call.body.get("emails", []), warmup_status=0)

    def _start_job(self, workspace: Workspace, emails: list[str], warmup_status: int) -> Json:
        view: Json = {
            "id": workspace.ids.object_id(),
            "workspace_id": workspace.id,
            "type": "update-warmup-accounts",
            "status": "pending",
            "progress": 0,
            "created_at": now(),
            "updated_at": now(),
        }
        workspace.jobs[view["id"]] = Job(view, emails, warmup_status)
        return view

    def get_background_job(self, workspace: Workspace, call: Call) -> Json:
        """Each poll moves the job on: in-progress, and at the last one what it comes to."""
        job = workspace.jobs.get(call.parameter) or not_found()
        if job.polls < self.job_polls:
            job.polls += 1
            job.view["updated_at"] = now()
            if job.polls < self.job_polls:
                job.view.update(status="in-progress", progress=100 * job.polls // self.job_polls)
            else:
                job.view.update(status=self.job_outcome, progress=100)
                if self.job_outcome == "success":
                    self._switch_warmup(workspace, job)
        return job.view

    def _switch_warmup(self, workspace: Workspace, job: Job) -> None:
        for email in job.emails:
            if email in workspace.accounts:
                workspace.accounts[email].update(
                    warmup_status=job.warmup_status,
                    timestamp_updated=now(),
                    timestamp_warmup_start=now() if job.warmup_status else None,
                )

    def get_warmup_analytics(self, workspace: Workspace, call: Call) -> Json:
        """Figures of the last three days; accounts without warmup are left out."""
        by_date: Json = {}
        in_all: Json = {}
        for email in call.body["emails"]:
            account = workspace.accounts.get(email)
            if account is None or account["warmup_status"] != 1:
                continue
            by_date[email] = {
                str(date.today() - timedelta(days=age)): {
                    "sent": 10,
                    "landed_inbox": 9,
                    "landed_spam": 1,
                    "received": 8,
                }
                for age in range(3)
            }
            in_all[email] = {
                "sent": 30,
                "landed_inbox": 27,
                "landed_spam": 3,
                "received": 24,
                "health_score": 90,
                "health_score_label": "90%",
            }
        return {"email_date_data": by_date, "aggregate_data": in_all}

    # Webhooks

    def list_webhooks(self, workspace: Workspace, call: Call) -> Json:
        webhooks = (
            webhook
            for webhook in workspace.webhooks.values()
            if all(
                webhook.get(name) == call.query[name]
                for name in ("campaign", "event_type")
                if name in call.query
            )
        )
        return page(webhooks, call.query)

    def create_webhook(self, workspace: Workspace, call: Call) -> Json:
        webhook = {
            **call.body,
            "id": workspace.ids.uuid(),
            "organization": workspace.id,
            "status": WEBHOOK_ACTIVE,
            "timestamp_created": now(),
        }
        workspace.webhooks[webhook["id"]] = webhook
        return webhook

    def list_event_types(self, workspace: Workspace, call: Call) -> Json:
        return {
            "event_types": [
                {"id": name, "label": name.replace("_", " ").title(), "type": "standard"}
                for name in EVENT_TYPES
            ]
        }

    def get_webhook(self, workspace: Workspace, call: Call) -> Json:
        return workspace.webhook(call.parameter)

    def patch_webhook(self, workspace: Workspace, call: Call) -> Json:
        webhook = workspace.webhook(call.parameter)
        webhook.update(call.body)
        return webhook

    def delete_webhook(self, workspace: Workspace, call: Call) -> Json:
        webhook = workspace.webhook(call.parameter)
        del workspace.webhooks[webhook["id"]]
        return webhook

    def resume_webhook(self, workspace: Workspace, call: Call) -> Json:
        webhook = workspace.webhook(call.parameter)
        webhook.update(status=WEBHOOK_ACTIVE, timestamp_error=None)
        workspace.webhook_failures[webhook["id"]] = 0
        return webhook

    def test_webhook(self, workspace: Workspace, call: Call) -> Json:
        """Post a payload that names no campaign; what Instantly sends is documented nowhere."""
        webhook = workspace.webhook(call.parameter)
        payload = {"timestamp": now(), "event_type": "webhook_test", "workspace": workspace.id}
        attempt = post(webhook, payload)
        answer: Json = {
            "success": attempt.success,
            "message": "Webhook test successful" if attempt.success else "Webhook test failed",
            "response_time_ms": attempt.milliseconds,
        }
        if attempt.status is not None:
            answer["status_code"] = attempt.status
        if attempt.error is not None:
            answer["error"] = attempt.error
        return answer

    def list_webhook_events(self, workspace: Workspace, call: Call) -> Json:
        events = (event for event in workspace.events if is_found(event, call.query))
        return page(events, call.query)

    # Deliveries

    def deliver(self, workspace: Workspace, payload: Json) -> None:
        """Queue a payload for every webhook that wants it; returns at once."""
        with workspace.lock:
            if workspace.name not in self._couriers:
                courier = threading.Thread(target=self._carry, args=(workspace,), daemon=True)
                self._couriers[workspace.name] = courier
                courier.start()
        workspace.deliveries.put(payload)

    def drain(self, timeout: float) -> bool:
        """Wait until everything queued was delivered or given up; False when it took longer."""
        deadline = time.monotonic() + timeout
        for workspace in self.workspaces.values():
            deliveries = workspace.deliveries
            with deliveries.all_tasks_done:
                while deliveries.unfinished_tasks:
                    remaining = deadline - time.monotonic()
                    if remaining <= 0:
                        return False
                    deliveries.all_tasks_done.wait(remaining)
        return True

    def close(self) -> None:
        """Stop playing and delivering."""
        self.player.close()
        self._closed.set()
        for name, courier in self._couriers.items():
            self.workspaces[name].deliveries.put(None)
            courier.join()

    def _carry(self, workspace: Workspace) -> None:
        while True:
            payload = workspace.deliveries.get()
            try:
                if payload is None or self._closed.is_set():
                    return
                for webhook in list(workspace.webhooks.values()):
                    if wants(webhook, payload):
                        self._deliver_to(workspace, webhook, payload)
            finally:
                workspace.deliveries.task_done()

    def _deliver_to(self, workspace: Workspace, webhook: Json, payload: Json) -> None:
        """Try up to four times and keep an event of each attempt."""
        group = workspace.ids.uuid()
        failed: list[Json] = []
        for retry in range(MAX_RETRIES + 1):
            attempt = post(webhook, payload)
            with workspace.lock:
                is_disabled = self._count_failure(workspace, webhook, attempt)
                will_retry = not attempt.success and retry < MAX_RETRIES and not is_disabled
                event = event_of(workspace, webhook, payload, attempt, group, retry, will_retry)
                if will_retry:
                    pause = timedelta(seconds=self.delivery_retry_seconds)
                    event["timestamp_next_retry"] = moment(datetime.now(UTC) + pause)
                else:
                    for earlier in failed:
                        earlier["retry_successful"] = attempt.success
                workspace.events.append(event)
                failed.append(event)
            if not will_retry or self._closed.wait(self.delivery_retry_seconds):
                return

    def _count_failure(self, workspace: Workspace, webhook: Json, attempt: "Attempt") -> bool:
        """Switch the webhook off after too many failures in a row; whether it is off."""
        failures = workspace.webhook_failures
        failures[webhook["id"]] = 0 if attempt.success else failures[webhook["id"]] + 1
        if failures[webhook["id"]] >= self.disable_after:
            webhook.update(status=WEBHOOK_DISABLED, timestamp_error=now())
        return bool(webhook["status"] == WEBHOOK_DISABLED)


def refusal_of_lead(
    workspace: Workspace, options: Json, container: str, address: str, addresses: set[str]
) -> str | None:
    """The count under which leads/add refuses an address, None when it takes it.

    `.invalid` and `skip+` are this stand-in's way to be told to refuse.
    """
    if "@" not in address or address.endswith(".invalid"):
        return "invalid_email_count"
    if address in addresses:
        return "duplicate_email_count"
    if {address, address.rpartition("@")[2]} & workspace.blocklist:
        return "in_blocklist"
    if address in workspace.lead_indexes[container].by_address:
        return "duplicated_leads"
    if address.startswith("skip+"):
        return "skipped_count"
    if options.get("skip_if_in_workspace") and workspace.leads_with(address):
        return "skipped_count"
    if options.get("skip_if_in_campaign"):
        if any(lead.get("campaign") for lead in workspace.leads_with(address)):
            return "skipped_count"
    return None


def is_wanted(lead: Json, wanted: Json) -> bool:
    """Whether a lead passes the filters of leads/list that are not answered by an index."""
    search = wanted.get("search", "").lower()
    names = (lead["email"], lead.get("first_name"), lead.get("last_name"))
    return (
        wanted.get("campaign", lead.get("campaign")) == lead.get("campaign")
        and wanted.get("list_id", lead.get("list_id")) == lead.get("list_id")
        and (not wanted.get("ids") or lead["id"] in wanted["ids"])
        and lead["id"] not in wanted.get("excluded_ids", ())
        and any(search in (name or "").lower() for name in names)
    )


def is_listed(account: Json, query: Json) -> bool:
    """Whether an account passes the filters of the account list."""
    return query.get("search", "").lower() in account["email"] and all(
        account[name] == query[name] for name in ("status", "provider_code") if name in query
    )


def is_found(event: Json, query: Json) -> bool:
    """Whether a webhook event passes the filters; both dates are inclusive [OpenAPI document]."""
    day = event["timestamp_created_date"]
    search = query.get("search")
    return (
        query.get("success", event["success"]) == event["success"]
        and query.get("from", day) <= day <= query.get("to", day)
        and (search is None or search in (event["webhook_url"], event["lead_email"]))
    )


def page(items: Iterable[Json], query: Json) -> Json:
    """A page of items that come in the order of their ids.

    The last page that holds something carries a cursor too [Instantly's starter kit].
    """
    cursor = query.get("starting_after", "")
    rest = (item for item in items if item["id"] > cursor)
    picked = list(islice(rest, query.get("limit", DEFAULT_PAGE_SIZE)))
    return {"items": picked, "next_starting_after": picked[-1]["id"]} if picked else {"items": []}


def wants(webhook: Json, payload: Json) -> bool:
    """Whether a webhook is on and subscribes to this payload."""
    subscribed = webhook.get("event_type")
    return (
        webhook["status"] == WEBHOOK_ACTIVE
        and webhook.get("campaign") in (None, payload.get("campaign_id"))
        and (
            subscribed == "all_events"
            or PAYLOAD_NAMES.get(subscribed or "", subscribed) == payload["event_type"]
        )
    )


@dataclass(frozen=True)
class Attempt:
    """How one delivery went; `status` is None when there was no answer."""

    status: int | None
    error: str | None
    milliseconds: int

    @property
    def success(self) -> bool:
        return self.error is None


def post(webhook: Json, payload: Json) -> Attempt:
    """Post a payload to a webhook."""
    started = time.monotonic()
    status = None
    error = None
    headers = {**(webhook.get("headers") or {}), "User-Agent": "Instantly-Sandbox"}
    try:
        with requests.Session() as session:
            session.trust_env = False  # no proxy between us and this machine
            answer = session.post(
                webhook["target_hook_url"],
                json=payload,
                headers=headers,
                timeout=DELIVERY_TIMEOUT_SECONDS,
                allow_redirects=False,
            )
        status = answer.status_code
        if not 200 <= status < 300:
            error = f"Request failed with status code {status}"
    except requests.RequestException as failure:
        error = type(failure).__name__
    return Attempt(status, error, round(1000 * (time.monotonic() - started)))


def event_of(
    workspace: Workspace,
    webhook: Json,
    payload: Json,
    attempt: Attempt,
    group: str,
    retry: int,
    will_retry: bool,
) -> Json:
    """The record that Instantly keeps of a delivery attempt."""
    created = now()
    return {
        "id": workspace.ids.uuid(),
        "timestamp_created": created,
        "timestamp_created_date": created[:10],
        "organization_id": workspace.id,
        "payload": payload,
        "success": attempt.success,
        "retry_count": retry,
        "will_retry": will_retry,
        "webhook_url": webhook["target_hook_url"],
        "status_code": attempt.status,
        "error_message": attempt.error,
        "timestamp_next_retry": None,
        "retry_group_id": group,
        "retry_successful": None,
        "lead_email": payload.get("lead_email"),
        "response_time_ms": attempt.milliseconds,
    }
