"""What one organisation holds in Instantly, kept in memory, and what its operations share."""

import secrets
import threading
import time
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count, islice
from operator import itemgetter
from typing import Any, NoReturn

Json = dict[str, Any]

DEFAULT_PAGE_SIZE = 10
DEFAULT_ACCOUNTS = 12
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


@dataclass(frozen=True)
class Call:
    """One valid request: the path's parameter, the declared query values, the body."""

    parameter: str
    query: Json
    body: Any


def moment(at: datetime) -> str:
    """Instantly's form of a time: ISO 8601, UTC, milliseconds, Z."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def now() -> str:
    return moment(datetime.now(UTC))


def page(items: list[Json], query: Json, is_wanted: Callable[[Json], bool] | None = None) -> Json:
    """A page of the wanted items; they stand in the order of their ids.

    The last page that holds something carries a cursor too [Instantly's starter kit].
    """
    start = bisect_right(items, query.get("starting_after", ""), key=itemgetter("id"))
    wanted = filter(is_wanted, islice(items, start, None))
    picked = list(islice(wanted, query.get("limit", DEFAULT_PAGE_SIZE)))
    return {"items": picked, "next_starting_after": picked[-1]["id"]} if picked else {"items": []}


class Ids:
    """UUIDs (version 7) that rise, so that the order of ids is the order of creation.

    They begin at the present millisecond: a sandbox that starts again must not repeat the ids
    which a database may still hold.
    """

    def __init__(self) -> None:
        self._milliseconds = count(time.time_ns() // 1_000_000)

    def uuid(self) -> str:
        head, tail = f"{next(self._milliseconds):012x}", secrets.token_hex(9)
        return f"{head[:8]}-{head[8:]}-7{tail[:3]}-a{tail[3:6]}-{tail[6:]}"


@dataclass
class Job:
    """A warmup change under way: done at the last of its polls."""

    view: Json
    emails: list[str]
    warmup_status: int
    polls: int = 0


class Workspace:
    """One organisation's Instantly; `lock` guards whatever it holds."""

    def __init__(self) -> None:
        self.ids = Ids()
        self.id = self.ids.uuid()
        self.lock = threading.RLock()
        self.blocklist: set[str] = set()
        self.campaigns: dict[str, Json] = {}
        self.analytics: dict[str, Counter[str]] = defaultdict(Counter)
        self.leads: dict[str, Json] = {}
        self.addresses: dict[str, dict[str, Json]] = defaultdict(dict)
        """campaign id → address in lower case → lead: a campaign holds an address once"""
        self.accounts: dict[str, Json] = {}
        self.jobs: dict[str, Job] = {}
        self.webhooks: dict[str, Json] = {}
        self.webhook_failures: Counter[str] = Counter()
        self.events: list[Json] = []
        self.seed_accounts(DEFAULT_ACCOUNTS)

    def seed_accounts(self, count: int) -> None:
        """Hold exactly `count` active sending accounts, every other one with warmup."""
        accounts = (self._account(number) for number in range(count))
        self.accounts = {account["email"]: account for account in accounts}

    def _account(self, number: int) -> Json:
        name = SENDER_NAMES[number % len(SENDER_NAMES)]
        domain = SENDER_DOMAINS[number // len(SENDER_NAMES) % len(SENDER_DOMAINS)]
        lap = number // (len(SENDER_NAMES) * len(SENDER_DOMAINS))
        created = moment(datetime.now(UTC) + timedelta(days=-30, minutes=number))
        return {
            "email": f"{name}{lap or ''}@{domain}",
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

    def campaign(self, campaign_id: str) -> Json:
        return self.campaigns.get(campaign_id) or not_found()

    def webhook(self, webhook_id: str) -> Json:
        return self.webhooks.get(webhook_id) or not_found()

    def leads_of(self, campaign_id: str) -> list[Json]:
        """The campaign's leads in the order of their creation."""
        with self.lock:
            return list(self.addresses[campaign_id].values())

    def add_lead(self, fields: Json, address: str, at: str, *, campaign: str) -> Json:
        """Make a lead of these fields, a dict of our own."""
        payload = fields.pop("custom_variables", {})
        for name, payload_name in PAYLOAD_FIELDS.items():
            if fields.get(name) is not None:
                payload[payload_name] = fields[name]
        lead = fields
        lead.update(
            id=self.ids.uuid(),
            campaign=campaign,
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
        self.addresses[campaign][address] = lead
        return lead

    def remove_leads(self, leads: Iterable[Json]) -> None:
        for lead in leads:
            del self.leads[lead["id"]]
            del self.addresses[lead["campaign"]][lead["email"].lower()]
