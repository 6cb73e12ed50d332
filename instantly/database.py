"""The connection pool, the loader of sql/*.sql, and the ways to run a statement."""

import re
import select
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import Any

from psycopg import Connection, Cursor, OperationalError, errors
from psycopg.abc import Buffer, PQGen
from psycopg.adapt import Loader
from psycopg.pq import TransactionStatus
from psycopg.rows import dict_row
from psycopg.types.json import JsonDumper
from psycopg.waiting import Wait

from instantly.config import SERVICE_NAME

SQL_DIRECTORY = Path(__file__).parent.parent / "sql"
FUNCTIONS = "functions.sql"
CONNECT_TIMEOUT_SECONDS = 2
SLOT_WAIT_SECONDS = 2.0
STATEMENT_TIMEOUT_SECONDS = 5.0
PING_TIMEOUT_SECONDS = 2.5

BLOCK = re.compile(
    r"-- name: (?P<name>[a-z][a-z_]*)\n"
    r"(?:-- (?!name:).+\n)+"
    r"(?P<statement>(?:WITH|SELECT|INSERT|UPDATE|DELETE)\b(?:(?!-- name:)[^;])+);\s*"
)

POLL_EVENTS = {
    Wait.R: select.POLLIN,
    Wait.W: select.POLLOUT,
    Wait.RW: select.POLLIN | select.POLLOUT,
}

Row = dict[str, Any]


def load_statements(directory: Path) -> dict[str, str]:
    """The named statements of all files: `-- name:`, one comment line or more, one statement.

    Raises ValueError for a malformed block and for a name that stands twice.
    """
    statements: dict[str, str] = {}
    for path in sorted(set(directory.glob("*.sql")) - {directory / FUNCTIONS}):
        text, position = path.read_text(), 0
        while position < len(text):
            block = BLOCK.match(text, position)
            if block is None:
                line = text.count("\n", 0, position) + 1
                raise ValueError(f"{path.name}:{line}: expected a named statement")
            if block["name"] in statements:
                raise ValueError(f"{path.name}: {block['name']} stands twice")
            statements[block["name"]] = block["statement"]
            position = block.end()
    if not statements:
        raise ValueError(f"{directory}: no statements: the service runs from its own folder")
    return statements


def text_array(words: Iterable[str]) -> str:
    """PostgreSQL's text of an array of plain words, which need no quotes."""
    return f"{{{','.join(words)}}}"


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


class Pool:
    """At most `size` connections; those that are free wait on a stack, the last used on top.

    psycopg_pool lets every caller wait out its timeout while the server is away, and after a
    restart weeds out one dead connection a second; here a caller is served or refused at once.
    """

    def __init__(self, url: str, size: int, deadline_seconds: float | None) -> None:
        self._url = url
        self._deadline_seconds = deadline_seconds
        self._free: list[DeadlineConnection] = []
        self._slots = size
        self._waiting: deque[Lock] = deque()
        self._lock = Lock()

    def close(self) -> None:
        while self._free:
            self._free.pop().close()

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


class Session:
    """Runs the named statements on one connection."""

    def __init__(self, connection: Connection[Row], statements: dict[str, str]) -> None:
        self._connection = connection
        self._statements = statements

    def fetch_all(self, statement: str, /, **parameters: Any) -> list[Row]:
        return self._run(statement, parameters).fetchall()

    def fetch_one(self, statement: str, /, **parameters: Any) -> Row | None:
        return self._run(statement, parameters).fetchone()

    def execute(self, statement: str, /, **parameters: Any) -> None:
        self._run(statement, parameters)

    def _run(self, statement: str, parameters: dict[str, Any]) -> Cursor[Row]:
        return self._connection.execute(self._statements[statement], parameters)


class Database(Session):
    """Runs the named statements on pooled connections, each statement its own transaction."""

    def __init__(self, url: str, pool_size: int, deadline_seconds: float | None = None) -> None:
        self._statements = load_statements(SQL_DIRECTORY)
        self._pool = Pool(url, pool_size, deadline_seconds)
        self._pinger = ThreadPoolExecutor(1, thread_name_prefix="ping")

    def close(self) -> None:
        self._pinger.shutdown(wait=False)
        self._pool.close()

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """Several statements, all or none. No network call may stand in the block."""
        with self._pool.connection() as connection, connection.transaction():
            yield Session(connection, self._statements)

    def _run(self, statement: str, parameters: dict[str, Any]) -> Cursor[Row]:
        connection = self._pool.take()
        try:
            # The rows are read already: the cursor outlives its use of the connection.
            return connection.execute(self._statements[statement], parameters)
        finally:
            self._pool.give_back(connection)

    def ping(self) -> bool:
        """Whether Postgres answers, within PING_TIMEOUT_SECONDS in all, whatever keeps it."""
        try:
            self._pinger.submit(self._answer).result(PING_TIMEOUT_SECONDS)
        except (OperationalError, TimeoutError):
            return False
        return True

    def _answer(self) -> None:
        with self._pool.connection() as connection:
            connection.execute("SELECT 1")
