"""Says every few seconds that the work of this process goes on.

Locks, idempotency keys and open runs are rows with an `alive_until`. While a request works on
them they are renewed from one thread; when the process dies they fall silent, and others may go on.
"""

import logging
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

from instantly.database import Database

HEARTBEAT_SECONDS = 5.0

logger = logging.getLogger(__name__)


class Heartbeat:
    """Renews whatever is being kept alive. Its thread starts with the first of these."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._kept: defaultdict[tuple[str, int], set[str]] = defaultdict(set)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = threading.Event()

    @contextmanager
    def keeping(self, statement: str, holder: str, seconds: int) -> Iterator[None]:
        """Runs the statement for this holder again and again as long as the block lasts.

        One statement renews all holders of a kind: a beat must not take longer with more of them.
        """
        with self._lock:
            holders = self._kept[statement, seconds]
            holders.add(holder)
            if self._thread is None:
                self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
                self._thread.start()
        try:
            yield
        finally:
            with self._lock:
                holders.remove(holder)

    def close(self) -> None:
        self._closed.set()

    def _beat(self) -> None:
        while not self._closed.wait(HEARTBEAT_SECONDS):
            with self._lock:
                kept = [(kind, list(holders)) for kind, holders in self._kept.items() if holders]
            for (statement, seconds), holders in kept:
                try:
                    self._database.execute(statement, holders=holders, seconds=seconds)
                except Exception:
                    # The next beat tries again; the rows outlive several of them.
                    logger.warning("heartbeat: %s failed", statement, exc_info=True)
