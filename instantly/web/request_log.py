"""Request ids, and the log: JSON lines on stdout, one a request, without secrets."""

import json
import logging
import re
import sys
import time
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from flask import Flask, Response, g, has_request_context, request

from instantly.metrics import REQUEST_SECONDS, REQUESTS

UNKNOWN_ROUTE = "unknown"
OTHER_METHOD = "other"
METHODS = frozenset(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
SANE_REQUEST_ID = re.compile(r"[ -~]{1,128}")
# Made once: json.dumps makes one for every line.
# ASCII: what others say may hold half a surrogate pair, which nothing can write.
ENCODER = json.JSONEncoder()

logger = logging.getLogger(__name__)


def write_line(seconds: float, level: str, message: str, **more: Any) -> None:
    """One JSON object a line, in one piece.

    A request's comes here directly: through `logging` it would cost a tenth of a short request.
    """
    moment = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    line = {"time": moment, "level": level, "message": message, **more}
    sys.stdout.write(ENCODER.encode(line) + "\n")
    sys.stdout.flush()


class LineHandler(logging.Handler):
    """Whatever else there is to say."""

    def emit(self, record: logging.LogRecord) -> None:
        more = {}
        if has_request_context() and "request_id" in g:
            more["requestId"] = g.request_id
        try:
            if record.exc_info:
                more["exception"] = logging.Formatter().formatException(record.exc_info)
            write_line(record.created, record.levelname.lower(), record.getMessage(), **more)
        except Exception:  # what is undone at this moment is undone without its line, too
            self.handleError(record)


def configure_logging(level: str) -> None:
    root = logging.getLogger("instantly")
    root.handlers = [LineHandler()]
    root.propagate = False
    root.setLevel(level)
    # It warns of each retry, with the URL.
    logging.getLogger("urllib3").setLevel(logging.ERROR)


def known_method(method: str) -> str:
    """A client may call it anything."""
    return method if method in METHODS else OTHER_METHOD


def observe_requests(app: Flask) -> None:
    @app.before_request
    def begin() -> None:
        g.started = time.perf_counter()
        asked = request.headers.get("X-Request-Id", "")
        g.request_id = asked if SANE_REQUEST_ID.fullmatch(asked) else str(uuid4())

    @app.after_request
    def finish(response: Response) -> Response:
        response.headers["X-Request-Id"] = g.request_id
        seconds = time.perf_counter() - g.started
        # The pattern and never the path, which may hold addresses.
        route = request.url_rule.rule if request.url_rule else None
        counted = known_method(request.method), route or UNKNOWN_ROUTE
        REQUESTS.labels(*counted, response.status_code).inc()
        REQUEST_SECONDS.labels(*counted).observe(seconds)
        if logger.isEnabledFor(logging.INFO):
            write_line(
                time.time(),
                "info",
                "request",
                requestId=g.request_id,
                method=known_method(request.method),
                route=route,
                status=response.status_code,
                milliseconds=round(seconds * 1000, 1),
            )
        return response
