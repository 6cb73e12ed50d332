"""Says every few seconds that the work of this process goes on.

Locks, idempotency keys and open runs are rows with an `alive_until`. While a request works on
them they are renewed from one thread; when the process dies they fall silent, and others may go on.
"""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from instantly.database import Database

HEARTBEAT_SECONDS = 5.0

logger = logging.getLogger(__name__)


class Heartbeat:
    """Renews whatever is being kept alive. Its thread starts with the first of these."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._renewals: dict[object, tuple[str, dict[str, Any]]] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = threading.Event()

    @contextmanager
    def keeping(self, statement: str, **parameters: Any) -> Iterator[None]:
        """Runs the statement every HEARTBEAT_SECONDS as long as the block lasts."""
        token = object()
        with self._lock:
            self._renewals[token] = (statement, parameters)
            if self._thread is None:
                self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
                self._thread.start()
        try:
            yield
        finally:
            with self._lock:
                del self._renewals[token]

    def close(self) -> None:
        self._closed.set()

    def _beat(self) -> None:
        while not self._closed.wait(HEARTBEAT_SECONDS):
            with self._lock:
                renewals = list(self._renewals.values())
            for statement, parameters in renewals:
                try:
                    self._database.execute(statement, **parameters)
                except Exception:
                    # The next beat tries again; the rows outlive several of them.
                    logger.warning("heartbeat: %s failed", statement, exc_info=True)
