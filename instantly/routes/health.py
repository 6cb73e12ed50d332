"""GET / and GET /health: what this is, and whether it can work."""

from flask import Blueprint

from instantly.config import SERVICE_NAME, VERSION
from instantly.schemas.answers import DEGRADED, HEALTHY, INDEX
from instantly.web.openapi import documented
from instantly.web.services import database

bp = Blueprint("health", __name__)


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
