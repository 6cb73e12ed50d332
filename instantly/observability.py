"""Request ids, and the log: JSON lines on stdout, one a request, without secrets."""

import json
import logging
import re
import sys
from datetime import UTC, datetime
from time import perf_counter
from uuid import uuid4

from flask import Flask, Response, g, has_request_context, request

SANE_REQUEST_ID = re.compile(r"[ -~]{1,128}")
# Made once: json.dumps makes one for every line.
ENCODER = json.JSONEncoder(ensure_ascii=False)

logger = logging.getLogger(__name__)


class JsonFormatter(logging.Formatter):
    """One JSON object a line; what a call passes as `extra={"fields": {...}}` comes along."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
        }
        if has_request_context() and "request_id" in g:
            line["requestId"] = g.request_id
        line.update(getattr(record, "fields", {}))
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return ENCODER.encode(line)


def configure_logging(level: str) -> None:
    # In no line of ours nor of gunicorn's, which does write the process.
    logging.logThreads = logging.logMultiprocessing = False
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger("instantly")
    root.handlers = [handler]
    root.propagate = False
    root.setLevel(level)
    # It warns of each retry, with the URL.
    logging.getLogger("urllib3").setLevel(logging.ERROR)


def observe_requests(app: Flask) -> None:
    @app.before_request
    def begin() -> None:
        g.started = perf_counter()
        asked = request.headers.get("X-Request-Id", "")
        g.request_id = asked if SANE_REQUEST_ID.fullmatch(asked) else str(uuid4())

    @app.after_request
    def finish(response: Response) -> Response:
        response.headers["X-Request-Id"] = g.request_id
        logger.info(
            "request",
            extra={
                "fields": {
                    "method": request.method,
                    # The pattern and never the path, which may hold addresses.
                    "route": request.url_rule.rule if request.url_rule else None,
                    "status": response.status_code,
                    "milliseconds": round((perf_counter() - g.started) * 1000, 1),
                }
            },
        )
        return response
