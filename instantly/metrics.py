"""What `GET /metrics` tells of this process.

No label has values without a bound: no ids, no addresses, no event types (labels of an
organisation's own are free text), nothing of a path or a method that nobody answers to.
"""

from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
    disable_created_metrics,
)

from instantly.config import VERSION
from instantly.limits import MAX_WAITING

REGISTRY = CollectorRegistry()
NAMED: dict[str, Any] = {"namespace": "instantly_service", "registry": REGISTRY}

# No `_created` series.
disable_created_metrics()  # type: ignore[no-untyped-call]
ProcessCollector(registry=REGISTRY)
Info("instantly_service", "Which version runs.", registry=REGISTRY).info({"version": VERSION})

REQUESTS = Counter("requests_total", "Answered requests.", ["method", "route", "status"], **NAMED)
REQUEST_SECONDS = Histogram(
    "request_duration_seconds",
    "From a request's head to its answer.",
    ["method", "route"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
    **NAMED,
)

CALL = ["service", "operation"]
CALLS = Counter("upstream_calls_total", "Calls to other services.", [*CALL, "outcome"], **NAMED)
CALL_SECONDS = Histogram(
    "upstream_call_duration_seconds",
    "Calls, with all their tries and the pauses between them.",
    CALL,
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120),
    **NAMED,
)
RETRIES = Counter("upstream_retries_total", "Further tries of calls.", CALL, **NAMED)

DELIVERIES = Counter(
    "deliveries_total", "What became of webhook deliveries.", ["source", "outcome"], **NAMED
)
BILLED = {
    "instantly-campaign-create": Counter(
        "campaigns_created_total", "Campaigns stored and billed.", **NAMED
    ),
    "instantly-lead-add": Counter("leads_added_total", "Leads stored and billed.", **NAMED),
}
LEFT_OVER = Counter("left_over_total", "What was left and needs cleaning up by hand.", **NAMED)

ACTS_WAITING = Gauge("acts_waiting", "Requests that wait for other services.", **NAMED)
Gauge("acts_waiting_limit", "How many may; others are refused.", **NAMED).set(MAX_WAITING)
DATABASE_CONNECTIONS = {
    name: Gauge(f"database_connections_{name}", documentation, **NAMED)
    for name, documentation in (
        ("in_use", "Connections to PostgreSQL that requests use."),
        ("open", "Connections to PostgreSQL, idle ones included."),
        ("limit", "DATABASE_POOL_SIZE."),
        ("awaited", "Requests that wait for a connection."),
    )
}
