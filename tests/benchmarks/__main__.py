"""`python tests/benchmarks`: what the service does a second, and what it costs.

Starts the real server, PostgreSQL and the stand-ins, seeds them, drives each row with a fixed
number of connections for a bounded time, and prints a table. `--json FILE` keeps the figures, to
compare two revisions with.
"""

import argparse
import itertools
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from crowds import HALF_BODY, HALF_HEADERS, acts, allow_many_files, crowd, idle, trickling
from load import Result, drive, request_bytes
from seed import seed_campaigns, seed_events
from stage import API_KEY, Stage, stage

KEY = {"X-API-Key": API_KEY}
CAMPAIGN = {
    "orgId": "org_1",
    "clerkOrgId": "clerk_1",
    "brandId": "brand_new",
    "appId": "app_1",
    "name": "Autumn",
    "sequence": [{"subject": "Hello", "bodyHtml": "Hi {{firstName}},\n\nten minutes?"}],
}


GROUPED = b'{"clerkOrgId": "clerk_1", "groupBy": "campaignId"}'
# What stands before page 99 of the leads, and of the campaigns, a hundred a page.
CURSORS = """
SELECT
  (SELECT position FROM instantly_leads WHERE campaign_id = %(campaign_id)s
   ORDER BY position OFFSET 9799 LIMIT 1),
  (SELECT position FROM instantly_campaigns WHERE org_id = 'org_big'
   ORDER BY position DESC OFFSET 9799 LIMIT 1)
"""


class Report:
    def __init__(self, target: Stage) -> None:
        self.stage = target
        self.rows: list[dict[str, Any]] = []

    def row(
        self,
        name: str,
        next_request: Callable[[], bytes],
        *,
        connections: int,
        seconds: float,
        most: int = 10**9,
    ) -> None:
        service_before, postgres_before = self.stage.cpu_seconds()
        result: Result = drive(
            self.stage.port, next_request, connections=connections, seconds=seconds, most=most
        )
        service_after, postgres_after = self.stage.cpu_seconds()
        now, peak = self.stage.memory_mib()
        row = {
            "row": name,
            "requests": result.requests,
            "errors": result.errors,
            "per second": round(result.rate, 1),
            "p50 ms": round(result.percentile(0.50), 2),
            "p95 ms": round(result.percentile(0.95), 2),
            "p99 ms": round(result.percentile(0.99), 2),
            "service CPU ms": round((service_after - service_before) * 1000 / result.requests, 3),
            "Postgres CPU ms": round(
                (postgres_after - postgres_before) * 1000 / result.requests, 3
            ),
            "MiB": round(now, 1),
            "peak MiB": round(peak, 1),
        }
        self.rows.append(row)
        write_line(row.values() if len(self.rows) > 1 else row.keys())
        if len(self.rows) == 1:
            write_line(row.values())


def write_line(cells: Any) -> None:
    first, *others = [str(cell) for cell in cells]
    sys.stdout.write(f"{first:<38}" + "".join(f"{cell:>16}" for cell in others) + "\n")
    sys.stdout.flush()


def leads_request(campaign_id: str, count: int, number: int) -> bytes:
    leads = [
        {
            "email": f"lead{index}.{number}@example.com",
            "firstName": "Ada",
            "lastName": "Lovelace",
            "companyName": "Engines Ltd",
            "jobTitle": "Analyst",
            "website": "engines.example",
            "customVariables": {"city": "London", "size": 12},
        }
        for index in range(count)
    ]
    body = json.dumps({"orgId": "org_1", "leads": leads}).encode()
    return request_bytes("POST", f"/campaigns/{campaign_id}/leads", KEY, body)


def webhook_requests(instantly_ids: list[str]) -> Callable[[], bytes]:
    """Payloads of about 2 kB, no two alike, over all campaigns and their leads."""
    numbers = itertools.count(time.time_ns())
    kinds = ("email_sent", "email_opened", "email_opened", "link_clicked", "reply_received")
    text = "worth ten minutes next week? " * 60

    def next_request() -> bytes:
        number = next(numbers)
        body = json.dumps(
            {
                "timestamp": "2026-08-18T07:12:44.318Z",
                "event_type": kinds[number % len(kinds)],
                "workspace": "922f3d9b-20be-461f-9b69-90928701ce93",
                "campaign_id": instantly_ids[number % len(instantly_ids)],
                "campaign_name": "Autumn",
                "lead_email": f"lead{number % 100}@c{number % len(instantly_ids)}.example",
                "email_account": "lena@try-northbeam.example",
                "step": 1 + number % 2,
                "variant": 1,
                "email_id": f"{number:x}",
                "email_text": text,
            }
        ).encode()
        return request_bytes("POST", "/webhooks/instantly", {}, body)

    return next_request


def run(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    environment = dict(pair.split("=", 1) for pair in arguments.environment)
    with stage(environment) as target:
        report = Report(target)
        idle, _ = target.memory_mib()
        sys.stdout.write(f"idle: {idle:.1f} MiB\n")
        campaigns = seed_campaigns(target.connection, arguments.campaigns, leads=100)
        usual, big = (
            seed_campaigns(target.connection, 1, leads=leads, brand="brand_big", org="org_leads")[0]
            for leads in (1000, 10_000)
        )
        seed_campaigns(target.connection, 10_000, leads=0, brand="brand_big", org="org_big")
        cursors = target.connection.execute(CURSORS, {"campaign_id": big[0]}).fetchone()
        ids, instantly_ids = zip(*campaigns, strict=True)
        seconds, connections = arguments.seconds, arguments.connections

        def wanted(name: str) -> bool:
            return not arguments.only or any(part in name for part in arguments.only)

        def measure(name: str, next_request: Callable[[], bytes], **more: Any) -> None:
            if wanted(name):
                report.row(
                    name, next_request, **{"connections": connections, "seconds": seconds, **more}
                )

        events = 0
        for total in arguments.events:
            if any(wanted(name) for name in ("stats", "webhook", "events")):
                begin = time.perf_counter()
                seed_events(target.connection, total - events, first=events)
                sys.stdout.write(f"{total:,} events: {time.perf_counter() - begin:.1f} s\n")
            stats = request_bytes("POST", "/stats", KEY, b'{"brandId": "brand_1"}')
            name = f"stats of a brand, {total:,} events"
            measure(name, lambda stats=stats: stats, connections=1)
            grouped = request_bytes("POST", "/stats", KEY, GROUPED)
            name = f"stats by campaign, {total:,} events"
            measure(name, lambda grouped=grouped: grouped, connections=1)
            for what, query in (("", ""), (" of a type", "&eventType=email_opened")):
                path = f"/campaigns/{ids[1]}/events?limit=100{query}"
                page = request_bytes("GET", path, KEY)
                measure(f"list 100{what}, {total:,} events", lambda page=page: page)
            measure(f"webhook, 2 kB, {total:,} events", webhook_requests(list(instantly_ids)))
            (events,) = target.connection.execute(
                "SELECT count(*) FROM instantly_events"
            ).fetchone() or (0,)
        emails = [f"lead{n % 100}@c{n // 100}.example" for n in range(1000)]
        asked = json.dumps({"clerkOrgId": "clerk_1", "emails": emails}).encode()
        statuses = request_bytes("POST", "/leads/status", KEY, asked)
        measure("status of 1,000 addresses", lambda: statuses)
        some = itertools.cycle(ids)
        measure(
            "GET /campaigns/{id}", lambda: request_bytes("GET", f"/campaigns/{next(some)}", KEY)
        )
        leads, many_leads = (f"/campaigns/{campaign[0]}/leads" for campaign in (usual, big))
        of_org, of_big_org = (f"/campaigns/by-org/{org}" for org in ("org_1", "org_big"))
        for name, path in (
            ("list 100 leads", f"{leads}?limit=100"),
            ("list 1,000 leads", f"{leads}?limit=1000"),
            ("list 100 of 10,000 leads", f"{many_leads}?limit=100"),
            ("list 100 of 10,000 leads, page 99", f"{many_leads}?limit=100&cursor={cursors[0]}"),
            ("list 100 campaigns", f"{of_org}?limit=100"),
            ("list 100 of 10,000 campaigns", f"{of_big_org}?limit=100"),
            (
                "list 100 of 10,000 campaigns, page 99",
                f"{of_big_org}?limit=100&cursor={cursors[1]}",
            ),
        ):
            page = request_bytes("GET", path, KEY)
            measure(name, lambda page=page: page)
        create = request_bytes("POST", "/campaigns", KEY, json.dumps(CAMPAIGN).encode())
        measure("create a campaign, 0 ms", lambda: create)
        for count, latency in ((1000, 0.02), (10_000, 0.1)):
            name = f"add {count:,} leads, {latency * 1000:.0f} ms"
            if wanted(name):
                target.set_latency(0.0)
                own = created_campaign(target.port)
                target.set_latency(latency)
                numbers = itertools.count()
                measure(
                    name,
                    lambda own=own, count=count, numbers=numbers: leads_request(
                        own, count, next(numbers)
                    ),
                    connections=1,
                    most=5,
                )
        return report.rows + crowds(target, arguments, list(instantly_ids), create)


def crowds(
    target: Stage, arguments: argparse.Namespace, instantly_ids: list[str], create: bytes
) -> list[dict[str, Any]]:
    """How many of a crowd were served, and what webhooks waited meanwhile."""
    allow_many_files()
    port, rows = target.port, []
    scale = arguments.crowd
    tasks: dict[str, Callable[[], list[int]]] = {
        f"{count} acts at once, 500 ms": lambda count=count: acts(port, count, create)
        for count in (scale // 10, scale // 5, scale // 2)
    }
    for what, begun in (("headers", HALF_HEADERS), ("a body", HALF_BODY)):
        tasks[f"{scale} clients trickle {what}"] = lambda begun=begun: trickling(port, scale, begun)
    tasks[f"{scale * 3 // 2} idle connections"] = lambda: idle(port, scale * 3 // 2)
    target.set_latency(0.5)
    for name, task in tasks.items():
        if not arguments.only or any(part in name for part in arguments.only):
            rows.append(crowd(name, port, webhook_requests(instantly_ids), task))
            if len(rows) == 1:
                write_line(rows[0].keys())
            write_line(rows[-1].values())
    target.set_latency(0.0)
    return rows


def created_campaign(port: int) -> str:
    import requests

    answer = requests.post(
        f"http://127.0.0.1:{port}/campaigns", json=CAMPAIGN, headers=KEY, timeout=30
    )
    campaign_id: str = answer.json()["campaign"]["id"]
    return campaign_id


def main() -> None:
    parser = argparse.ArgumentParser(prog="python tests/benchmarks", description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="for each row")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--campaigns", type=int, default=1000, help="of 100 leads each")
    parser.add_argument(
        "--events", type=int, nargs="+", default=[10_000, 100_000, 1_000_000], metavar="N"
    )
    parser.add_argument("--crowd", type=int, default=1000, help="clients at once")
    parser.add_argument("--only", nargs="+", default=[], help="rows whose names hold one of these")
    parser.add_argument("--json", type=Path, help="keep the figures in this file")
    parser.add_argument(
        "--environment", nargs="+", default=[], metavar="NAME=VALUE", help="for the server"
    )
    arguments = parser.parse_args()
    rows = run(arguments)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n")
    if any(row.get("errors") or row.get("refused") for row in rows):
        sys.exit("some requests failed")


if __name__ == "__main__":
    main()
