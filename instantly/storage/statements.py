"""The loader of sql/*.sql, and the ways to run a statement."""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from psycopg import Connection, Cursor, OperationalError

from instantly.storage.pool import Connections, Pool, Row

SQL_DIRECTORY = Path(__file__).parents[2] / "sql"
FUNCTIONS = "*functions.sql"
PING_TIMEOUT_SECONDS = 2.5
# A statement over more values is planned for them each time: a plan from when its tables were small
# reads them whole for each value.
MAX_VALUES_OF_A_KEPT_PLAN = 10

BLOCK = re.compile(
    r"-- name: (?P<name>[a-z][a-z_]*)\n"
    r"(?:-- (?!name:).+\n)+"
    r"(?P<statement>(?:WITH|SELECT|INSERT|UPDATE|DELETE)\b(?:(?!-- name:)[^;])+);\s*"
)


def load_statements(directory: Path) -> dict[str, str]:
    """The named statements of all files: `-- name:`, one comment line or more, one statement.

    Raises ValueError for a malformed block and for a name that stands twice.
    """
    statements: dict[str, str] = {}
    for path in sorted(set(directory.glob("*.sql")) - set(directory.glob(FUNCTIONS))):
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


def run(connection: Connection[Row], statement: str, parameters: dict[str, Any]) -> Cursor[Row]:
    """On this connection, where a statement over few values keeps its plan."""
    lists = [value for value in parameters.values() if isinstance(value, list)]
    is_large = max(map(len, lists), default=0) > MAX_VALUES_OF_A_KEPT_PLAN
    return connection.execute(statement, parameters, prepare=False if is_large else None)


class Runner(ABC):
    """The ways to run a named statement."""

    def fetch_all(self, statement: str, /, **parameters: Any) -> list[Row]:
        return self._run(statement, parameters).fetchall()

    def fetch_one(self, statement: str, /, **parameters: Any) -> Row | None:
        return self._run(statement, parameters).fetchone()

    def execute(self, statement: str, /, **parameters: Any) -> None:
        self._run(statement, parameters)

    @abstractmethod
    def _run(self, statement: str, parameters: dict[str, Any]) -> Cursor[Row]: ...


class Session(Runner):
    """Runs the named statements on one connection."""

    def __init__(self, connection: Connection[Row], statements: dict[str, str]) -> None:
        self._connection = connection
        self._statements = statements

    def _run(self, statement: str, parameters: dict[str, Any]) -> Cursor[Row]:
        return run(self._connection, self._statements[statement], parameters)


class Database(Runner):
    """Runs the named statements on pooled connections, each statement its own transaction."""

    def __init__(
        self,
        url: str,
        pool_size: int,
        deadline_seconds: float | None = None,
        *,
        prepared_statements: bool = True,
    ) -> None:
        self._statements = load_statements(SQL_DIRECTORY)
        prepared = {"prepared_statements": prepared_statements}
        self._pool = Pool(url, pool_size, deadline_seconds, **prepared)
        # One of its own: all others may wait in Postgres, for a lock, while it answers.
        self._ping_pool = Pool(url, 1, PING_TIMEOUT_SECONDS, **prepared)
        self._pinger = ThreadPoolExecutor(1, thread_name_prefix="ping")

    def close(self) -> None:
        self._pinger.shutdown(wait=False)
        self._pool.close()
        self._ping_pool.close()

    def connections(self) -> Connections:
        return self._pool.connections()

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """Several statements, all or none. No network call may stand in the block."""
        with self._pool.connection() as connection, connection.transaction():
            yield Session(connection, self._statements)

    def _run(self, statement: str, parameters: dict[str, Any]) -> Cursor[Row]:
        connection = self._pool.take()
        try:
            # The rows are read already: the cursor outlives its use of the connection.
            return run(connection, self._statements[statement], parameters)
        finally:
            self._pool.give_back(connection)

    def ping(self) -> bool:
        """Whether Postgres answers, within PING_TIMEOUT_SECONDS, whatever keeps it."""
        # One thread: who comes while it is stuck times out, which is the answer.
        answer = self._pinger.submit(self._answer)
        try:
            answer.result(PING_TIMEOUT_SECONDS)
        except (TimeoutError, OperationalError):
            answer.cancel()
            return False
        return True

    def _answer(self) -> None:
        with self._ping_pool.connection() as connection:
            connection.execute("SELECT 1")
