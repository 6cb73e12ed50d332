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
    generate_latest,
)

from instantly.config import VERSION
from instantly.storage.database import Database
from instantly.translation.events import (
    DUPLICATE,
    NO_EVENT,
    RECORDED,
    UNKNOWN_CAMPAIGN,
    UNVERIFIED,
)

PREFIX = "instantly_service"
UNKNOWN_ROUTE = "unknown"
OTHER_METHOD = "other"
METHODS = frozenset(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
# How a delivery came to us, and what can become of it.
WEBHOOK, RECOVERY = SOURCES = ("webhook", "recovery")
OUTCOMES = (RECORDED, DUPLICATE, UNKNOWN_CAMPAIGN, NO_EVENT, UNVERIFIED)
REQUEST_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
# Of a call with all its tries and the pauses between them.
CALL_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)

# Each series would have a second one that says since when it is counted.
disable_created_metrics()  # type: ignore[no-untyped-call]


def known_method(method: str) -> str:
    """A client may call it anything."""
    return method if method in METHODS else OTHER_METHOD


class Metrics:
    """Those of one app. `call_ended` and `call_repeated` are what the clients call."""

    def __init__(self, database: Database, most_waiting: int) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        Info(PREFIX, "Which version runs.", registry=self._registry).info({"version": VERSION})

        requests = ("method", "route")
        self._requests = self._make(
            *(Counter, "requests_total", "Answered requests."), labels=(*requests, "status")
        )
        self._request_seconds = self._make(
            *(Histogram, "request_duration_seconds", "From a request's head to its answer."),
            labels=requests,
            buckets=REQUEST_SECONDS,
        )
        self._request_series: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

        calls = ("service", "operation")
        self._calls = self._make(
            *(Counter, "upstream_calls_total", "Calls to other services."),
            labels=(*calls, "outcome"),
        )
        self._call_seconds = self._make(
            *(Histogram, "upstream_call_duration_seconds", "Calls, with all their retries."),
            labels=calls,
            buckets=CALL_SECONDS,
        )
        self._retries = self._make(
            *(Counter, "upstream_retries_total", "Further tries of calls."), labels=calls
        )
        self._call_series: dict[tuple[str, str, str], tuple[Counter, Histogram]] = {}

        self._deliveries = self._make(
            *(Counter, "deliveries_total", "What became of webhook deliveries."),
            labels=("source", "outcome"),
        )
        for source in SOURCES:
            for outcome in OUTCOMES:
                # There from the start: a series that begins with 1 has not risen.
                self._deliveries.labels(source, outcome)
        self._billed = {
            "instantly-campaign-create": self._make(
                Counter, "campaigns_created_total", "Campaigns stored and billed."
            ),
            "instantly-lead-add": self._make(
                Counter, "leads_added_total", "Leads stored and billed."
            ),
        }
        self.left_over = self._make(
            Counter, "left_over_total", "What was left and needs cleaning up by hand."
        )

        self.acts_waiting = self._make(
            Gauge, "acts_waiting", "Requests that wait for other services."
        )
        limit = self._make(Gauge, "acts_waiting_limit", "How many may; others are refused.")
        limit.set(most_waiting)
        for name, documentation in (
            ("in_use", "Connections to PostgreSQL that requests use."),
            ("open", "Connections to PostgreSQL, idle ones included."),
            ("limit", "DATABASE_POOL_SIZE."),
            ("awaited", "Requests that wait for a connection."),
        ):
            gauge = self._make(Gauge, f"database_connections_{name}", documentation)
            gauge.set_function(lambda name=name: getattr(database.connections(), name))

    def _make(
        self,
        kind: type[Any],
        name: str,
        documentation: str,
        labels: tuple[str, ...] = (),
        **more: Any,
    ) -> Any:
        return kind(f"{PREFIX}_{name}", documentation, labels, registry=self._registry, **more)

    def text(self) -> bytes:
        """In Prometheus' text format."""
        return generate_latest(self._registry)

    def request_ended(self, method: str, route: str | None, status: int, seconds: float) -> None:
        key = (known_method(method), route or UNKNOWN_ROUTE, status)
        series = self._request_series.get(key)
        if series is None:
            method, route, _ = key
            series = self._requests.labels(*key), self._request_seconds.labels(method, route)
            self._request_series[key] = series
        count, durations = series
        count.inc()
        durations.observe(seconds)

    def call_ended(self, service: str, operation: str, outcome: str, seconds: float) -> None:
        key = (service, operation, outcome)
        series = self._call_series.get(key)
        if series is None:
            series = self._calls.labels(*key), self._call_seconds.labels(service, operation)
            self._call_series[key] = series
        count, durations = series
        count.inc()
        durations.observe(seconds)

    def call_repeated(self, service: str, operation: str) -> None:
        self._retries.labels(service, operation).inc()

    def billed(self, cost_name: str, quantity: int) -> None:
        if cost_name in self._billed:
            self._billed[cost_name].inc(quantity)

    def delivered(self, source: str, outcome: str) -> str:
        """Counts what became of a delivery, and returns it."""
        self._deliveries.labels(source, outcome).inc()
        return outcome
