"""The connections to PostgreSQL: a bound on waiting, and a pool that serves or refuses at once."""

import re
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Lock
from typing import Any, NamedTuple

from psycopg import Connection, OperationalError, errors, generators
from psycopg.abc import Buffer, PQGen
from psycopg.adapt import Loader
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import ExecStatus, TransactionStatus
from psycopg.rows import dict_row
from psycopg.types.json import JsonDumper

from instantly.config import SERVICE_NAME

CONNECT_TIMEOUT_SECONDS = 2
MAX_CONNECT_TIMEOUT_SECONDS = 10
SLOT_WAIT_SECONDS = 2.0
STATEMENT_TIMEOUT_SECONDS = 5.0
# How often a statement is run on a connection before it is prepared there.
PREPARE_THRESHOLD = 5
# A connection that has rested for longer is asked before it is used: a NAT, a database that went to
# sleep or one that failed over may have forgotten it without a word.
TRUSTED_SECONDS = 1.0
ASK_SECONDS = 1.0
# Routers between us and the server remember a connection that rests, and a dead one is noticed.
KEEP_ALIVE = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}

Row = dict[str, Any]


class DeadlineConnection(Connection[Row]):
    """A connection that gives up waiting for a server that has fallen silent.

    The bound is kept on our side, since a stalled server or a dead network cannot keep it.
    """

    deadline_seconds = STATEMENT_TIMEOUT_SECONDS
    rested_since = 0.0
    """when it was given back (time.monotonic)"""

    def wait(self, gen: PQGen[Any], interval: float = 0, timeout: float | None = None) -> Any:
        seconds = timeout or self.deadline_seconds
        try:
            # An interval that is shorter wakes us for nothing; one of 0 never lets the CPU rest.
            return super().wait(gen, max(interval, seconds), seconds)
        except errors._WaitTimeout as error:
            self.pgconn.finish()
            raise OperationalError("the server did not answer in time") from error
        except errors.ReadOnlySqlTransaction as error:
            # The server is a primary no more: the next connection finds the new one.
            self.pgconn.finish()
            raise OperationalError("the server only reads") from error

    def is_alive(self) -> bool:
        """Whether the server has not closed it; after a rest the server is asked."""
        try:
            # A free connection has nothing to read, but for the server's farewell.
            self.pgconn.consume_input()
            self.pgconn.consume_input()  # and that nothing comes after it
            if time.monotonic() - self.rested_since > TRUSTED_SECONDS:
                self.pgconn.send_query(b"SELECT 1")
                answers = self.wait(generators.execute(self.pgconn), timeout=ASK_SECONDS)
                return bool(answers[-1].status == ExecStatus.TUPLES_OK)
        except OperationalError:
            return False
        return True


class JsonBytes(Loader):
    """JSON as its bytes: it goes to the caller as PostgreSQL made it."""

    def load(self, data: Buffer) -> bytes:
        return bytes(data)


class NotConnected(OperationalError):
    """No connection could be had: nothing was sent to the server."""


def without_names(words: str) -> str:
    """What libpq says of a failure, without host, user and database, which stand in quotes."""
    lines = words.strip().splitlines() or [""]
    line = next((line for line in reversed(lines) if " failed: " in line), lines[0])
    return re.sub(r"(['\"]).*?\1", "…", line.rpartition(" failed: ")[2])


class Connections(NamedTuple):
    """How many somebody uses or opens, are open in all, may be open, and are waited for."""

    in_use: int
    open: int
    limit: int
    awaited: int


def connection_string(url: str, **ours: Any) -> str:
    """With TCP keep-alive, unless the URL itself says how, and with what is ours to say."""
    return make_conninfo(**{**KEEP_ALIVE, **conninfo_to_dict(url), **ours})


def connect_seconds(url: str) -> int:
    """How long a connection may take to be made: what the URL says, within bounds."""
    asked = int(conninfo_to_dict(url).get("connect_timeout") or CONNECT_TIMEOUT_SECONDS)
    return asked if 0 < asked < MAX_CONNECT_TIMEOUT_SECONDS else MAX_CONNECT_TIMEOUT_SECONDS


class Pool:
    """At most `size` connections; those that are free wait on a stack, the last used on top.

    psycopg_pool lets every caller wait out its timeout while the server is away; here a caller is
    served or refused at once. Under gevent it also takes a tenth more CPU for a short statement
    (16 callers on 8 connections: 67 µs against 58 to 61).
    """

    def __init__(
        self, url: str, size: int, deadline_seconds: float | None, *, prepared_statements: bool
    ) -> None:
        self._connect_seconds = connect_seconds(url)
        self._conninfo = connection_string(
            url,
            connect_timeout=self._connect_seconds,
            application_name=SERVICE_NAME,
            client_encoding="UTF8",  # what JSON goes out in
        )
        self._deadline_seconds = deadline_seconds
        self._prepare_threshold = PREPARE_THRESHOLD if prepared_statements else None
        self._free: list[DeadlineConnection] = []
        self._size = self._slots = size
        self._waiting: deque[Lock] = deque()
        self._lock = Lock()

    def close(self) -> None:
        while self._free:
            self._free.pop().close()

    def connections(self) -> Connections:
        """At this moment, without waiting for anybody."""
        in_use = self._size - self._slots
        return Connections(in_use, in_use + len(self._free), self._size, len(self._waiting))

    def take(self) -> DeadlineConnection:
        """Raises NotConnected when the server is away, or none is free in time."""
        self._take_slot()
        try:
            with suppress(IndexError):
                while True:
                    connection = self._free.pop()
                    if connection.is_alive():
                        return connection
                    self._drop(connection)
            return self._connect()
        except BaseException:
            self._give_slot()
            raise

    @contextmanager
    def connection(self) -> Iterator[DeadlineConnection]:
        connection = self.take()
        try:
            yield connection
        finally:
            self.give_back(connection)

    def _drop(self, dead: DeadlineConnection) -> None:
        """With it those that have rested for longer: each would be waited for in vain."""
        dead.close()
        for connection in list(self._free):
            if connection.rested_since <= dead.rested_since:
                with suppress(ValueError):  # somebody else has taken it meanwhile
                    self._free.remove(connection)
                    connection.close()

    def give_back(self, connection: DeadlineConnection) -> None:
        connection.rested_since = time.monotonic()
        if connection.info.transaction_status == TransactionStatus.IDLE:
            self._free.append(connection)
        else:
            connection.close()
        self._give_slot()

    def _take_slot(self) -> None:
        """First come, first served: with a semaphore who comes late may be faster."""
        with self._lock:
            if self._slots:
                self._slots -= 1
                return
            turn = Lock()
            turn.acquire()
            self._waiting.append(turn)
        if not turn.acquire(timeout=max(SLOT_WAIT_SECONDS, self._connect_seconds)):
            with self._lock:
                if turn in self._waiting:  # and not given the slot in the last moment
                    self._waiting.remove(turn)
                    raise NotConnected("no connection is free")

    def _give_slot(self) -> None:
        with self._lock:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._slots += 1

    def _connect(self) -> DeadlineConnection:
        try:
            connection = DeadlineConnection.connect(
                self._conninfo,
                autocommit=True,
                row_factory=dict_row,
                prepare_threshold=self._prepare_threshold,
            )
        except OperationalError as error:
            raise NotConnected(without_names(str(error))) from error
        connection.adapters.register_loader("json", JsonBytes)
        connection.adapters.register_dumper(dict, JsonDumper)
        if self._deadline_seconds is not None:
            connection.deadline_seconds = self._deadline_seconds
        return connection
