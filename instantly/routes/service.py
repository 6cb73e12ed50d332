"""The service itself: what it is, whether it can work, and its figures for Prometheus."""

from flask import Blueprint, Response
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

from instantly.config import SERVICE_NAME, VERSION
from instantly.metrics import DATABASE_CONNECTIONS, REGISTRY
from instantly.schemas.answers import DEGRADED, HEALTHY, INDEX
from instantly.web.context import database
from instantly.web.openapi import documented

bp = Blueprint("service", __name__)


@bp.get("/")
@documented(answers={200: INDEX})
def index() -> dict[str, str]:
    """Names the service and its version."""
    return {"service": SERVICE_NAME, "version": VERSION}


@bp.get("/health")
@documented(answers={200: HEALTHY, 503: DEGRADED})
def health() -> tuple[dict[str, str], int]:
    """Says within 3 s whether Postgres answers."""
    if database().ping():
        return {"status": "ok", "service": SERVICE_NAME, "database": "ok"}, 200
    return {"status": "degraded", "service": SERVICE_NAME, "database": "unreachable"}, 503


@bp.get("/metrics")
@documented(answers={200: "text/plain"})
def get_metrics() -> Response:
    """What this process counts and measures, for Prometheus.

    Takes the key as a Bearer token, too.
    """
    for name, number in database().connections()._asdict().items():
        DATABASE_CONNECTIONS[name].set(number)
    return Response(generate_latest(REGISTRY), content_type=CONTENT_TYPE_PLAIN_0_0_4)
