"""GET /metrics: figures for Prometheus. They need no database, and wait for nobody."""

from flask import Blueprint, Response
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

from instantly.metrics import DATABASE_CONNECTIONS, REGISTRY
from instantly.web.openapi import documented
from instantly.web.services import database

bp = Blueprint("metrics", __name__)


@bp.get("/metrics")
@documented(answers={200: "text/plain"})
def get_metrics() -> Response:
    """What this process counts and measures, for Prometheus.

    Takes the key as a Bearer token, too.
    """
    for name, number in database().connections()._asdict().items():
        DATABASE_CONNECTIONS[name].set(number)
    return Response(generate_latest(REGISTRY), content_type=CONTENT_TYPE_PLAIN_0_0_4)
