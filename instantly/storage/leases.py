"""Leases: something is one holder's alone, over all processes, until that holder falls silent.

A lease is a row that its holder renews every few seconds. No connection and no transaction is held
meanwhile; when the process dies, its leases run out and others may go on.
"""

import logging
import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from uuid import uuid4

from psycopg import OperationalError

from instantly.storage.pool import NotConnected
from instantly.storage.statements import Database

HEARTBEAT_SECONDS = 5.0
LOCK_SECONDS = 20
WAIT_SECONDS = 30.0
FIRST_PAUSE_SECONDS = 0.02
LONGEST_PAUSE_SECONDS = 0.5

logger = logging.getLogger(__name__)


class Busy(Exception):
    """Somebody else holds the lease."""


@dataclass(eq=False)
class Lease:
    """`seconds`: how long its holder may be silent before others can take it."""

    name: str
    seconds: int
    holder: str = field(default_factory=lambda: str(uuid4()))
    sure_until: float = field(init=False)
    """nobody else can have it before (time.monotonic)"""

    def __post_init__(self) -> None:
        # From before it is taken: the database counts from a moment later on.
        self.sure_until = time.monotonic() + self.seconds

    @property
    def values(self) -> dict[str, str]:
        return {"name": self.name, "holder": self.holder}


class Leases:
    """Those of this process. The thread that renews them starts with the first one."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._renewed: set[Lease] = set()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = threading.Event()

    def take(self, name: str, seconds: int) -> Lease | None:
        """The lease, or None while somebody else holds it."""
        lease = Lease(name, seconds)
        try:
            is_taken = self._database.fetch_one("upsert_lease", **lease.values, seconds=seconds)
        except NotConnected:
            raise
        except OperationalError:
            self.give_back(lease)  # it may have been taken all the same
            raise
        return lease if is_taken else None

    @contextmanager
    def waiting_for(self, name: str) -> Iterator[Lease]:
        """Holds the lease; raises Busy when others hold it for more than WAIT_SECONDS."""
        deadline = time.monotonic() + WAIT_SECONDS
        pause = FIRST_PAUSE_SECONDS
        while (lease := self.take(name, LOCK_SECONDS)) is None:
            if time.monotonic() > deadline:
                raise Busy
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
        with self.holding(lease):
            yield lease

    @contextmanager
    def holding(self, lease: Lease) -> Iterator[None]:
        """Renews the lease as long as the block lasts, then gives it back."""
        try:
            with self.renewing(lease):
                yield
        finally:
            self.give_back(lease)

    @contextmanager
    def renewing(self, lease: Lease) -> Iterator[None]:
        """Renews the lease as long as the block lasts."""
        with self._lock:
            self._renewed.add(lease)
            if self._thread is None:
                self._thread = threading.Thread(target=self._beat, name="leases", daemon=True)
                self._thread.start()
        try:
            yield
        finally:
            with self._lock:
                self._renewed.remove(lease)

    def give_back(self, lease: Lease) -> None:
        try:
            self._database.execute("delete_lease", **lease.values)
        except Exception:
            logger.warning("lease %s: it was not given back", lease.name, exc_info=True)

    def is_held(self, lease: Lease) -> bool:
        """Whether it is still ours."""
        return self._database.fetch_one("select_lease", **lease.values) is not None

    def held_until(self, lease: Lease) -> float:
        """Monotonic time until which the lease is surely ours.

        +inf if the database says so now, -inf if it is lost, the last renewal + `seconds` if the
        database is away.
        """
        try:
            return math.inf if self.is_held(lease) else -math.inf
        except OperationalError:
            return lease.sure_until

    def close(self) -> None:
        self._closed.set()

    def _beat(self) -> None:
        while not self._closed.wait(HEARTBEAT_SECONDS):
            with self._lock:
                leases = list(self._renewed)
            if leases:
                self._renew(leases)

    def _renew(self, leases: list[Lease]) -> None:
        """All with one statement: it must not take longer with more of them."""
        asked = time.monotonic()
        holders = [lease.holder for lease in leases]
        try:
            rows = self._database.fetch_all("update_leases", holders=holders)
        except Exception:
            # The next beat tries again; a lease outlives several of them.
            logger.warning("leases: they were not renewed", exc_info=True)
            return
        renewed = {row["holder"] for row in rows}
        for lease in leases:
            # One that was lost was not renewed before that either: its time is over by itself.
            if lease.holder in renewed:
                lease.sure_until = asked + lease.seconds
