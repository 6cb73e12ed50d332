"""The connections to PostgreSQL: a bound on waiting, and a pool that serves or refuses at once."""

import select
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Lock
from typing import Any, NamedTuple

from psycopg import Connection, OperationalError, errors
from psycopg.abc import Buffer, PQGen
from psycopg.adapt import Loader
from psycopg.pq import TransactionStatus
from psycopg.rows import dict_row
from psycopg.types.json import JsonDumper
from psycopg.waiting import Wait

from instantly.config import SERVICE_NAME

CONNECT_TIMEOUT_SECONDS = 2
SLOT_WAIT_SECONDS = 2.0
STATEMENT_TIMEOUT_SECONDS = 5.0
POLL_EVENTS = {
    Wait.R: select.POLLIN,
    Wait.W: select.POLLOUT,
    Wait.RW: select.POLLIN | select.POLLOUT,
}

Row = dict[str, Any]


class DeadlineConnection(Connection[Row]):
    """A connection that gives up waiting for a server that has fallen silent.

    The bound is kept on our side, since a stalled server or a dead network cannot keep it.
    """

    deadline_seconds = STATEMENT_TIMEOUT_SECONDS

    def wait(self, gen: PQGen[Any], interval: float = 0, timeout: float | None = None) -> Any:
        deadline = time.monotonic() + self.deadline_seconds
        poll = select.poll()
        try:
            awaited = next(gen)
            while True:
                poll.register(self.pgconn.socket, POLL_EVENTS[awaited])
                ready = poll.poll(max(0, deadline - time.monotonic()) * 1000)
                if not ready:
                    self.pgconn.finish()
                    raise OperationalError("the server did not answer in time")
                awaited = gen.send(awaited)
        except StopIteration as done:
            return done.value
        except errors.ReadOnlySqlTransaction as error:
            # The server is a primary no more: the next connection finds the new one.
            self.pgconn.finish()
            raise OperationalError("the server only reads") from error


class JsonBytes(Loader):
    """JSON as its bytes: it goes to the caller as PostgreSQL made it."""

    def load(self, data: Buffer) -> bytes:
        return bytes(data)


class NotConnected(OperationalError):
    """No connection could be had: nothing was sent to the server."""


class Connections(NamedTuple):
    """How many somebody uses or opens, are open in all, may be open, and are waited for."""

    in_use: int
    open: int
    limit: int
    awaited: int


class Pool:
    """At most `size` connections; those that are free wait on a stack, the last used on top.

    psycopg_pool lets every caller wait out its timeout while the server is away, and after a
    restart weeds out one dead connection a second; here a caller is served or refused at once.
    """

    def __init__(self, url: str, size: int, deadline_seconds: float | None) -> None:
        self._url = url
        self._deadline_seconds = deadline_seconds
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
                    if is_alive(connection):
                        return connection
                    connection.close()
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

    def give_back(self, connection: DeadlineConnection) -> None:
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
        if not turn.acquire(timeout=SLOT_WAIT_SECONDS):
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
                self._url,
                autocommit=True,
                row_factory=dict_row,
                connect_timeout=CONNECT_TIMEOUT_SECONDS,
                application_name=SERVICE_NAME,
                client_encoding="UTF8",  # what JSON goes out in
            )
        except OperationalError as error:
            raise NotConnected(str(error)) from error
        connection.adapters.register_loader("json", JsonBytes)
        connection.adapters.register_dumper(dict, JsonDumper)
        if self._deadline_seconds is not None:
            connection.deadline_seconds = self._deadline_seconds
        return connection


def is_alive(connection: DeadlineConnection) -> bool:
    """Whether the server has not closed it, without a round trip.

    A free connection has nothing to read, but for the server's farewell.
    """
    try:
        connection.pgconn.consume_input()  # the farewell
        connection.pgconn.consume_input()  # and that nothing comes after it
    except OperationalError:
        return False
    return True
