"""The connection pool, the loader of sql/*.sql, and the ways to run a statement."""

import re
import select
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from psycopg import Connection, Cursor, OperationalError, errors
from psycopg.abc import PQGen
from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool

SQL_DIRECTORY = Path(__file__).parent.parent / "sql"
CONNECT_TIMEOUT_SECONDS = 3
POOL_TIMEOUT_SECONDS = 2.0
RECONNECT_TIMEOUT_SECONDS = 2.0
STATEMENT_TIMEOUT_SECONDS = 10.0
PING_TIMEOUT_SECONDS = 1.0

BLOCK = re.compile(r"-- name: (?P<name>[a-z][a-z_]*)\n-- (?P<purpose>.+)\n(?P<statement>[^;]+;)\s*")

Row = dict[str, Any]


def load_statements(directory: Path) -> dict[str, str]:
    """The named statements of all files: `-- name:`, one comment line or more, one statement.

    Raises ValueError for a malformed block and for a name that stands twice.
    """
    statements: dict[str, str] = {}
    for path in sorted(directory.glob("*.sql")):
        text, position = path.read_text(), 0
        while position < len(text):
            block = BLOCK.match(text, position)
            if block is None:
                line = text.count("\n", 0, position) + 1
                raise ValueError(f"{path.name}:{line}: expected a named statement")
            if block["name"] in statements:
                raise ValueError(f"{path.name}: {block['name']} stands twice")
            statements[block["name"]] = block["statement"].strip().rstrip(";")
            position = block.end()
    return statements


class DeadlineConnection(Connection[Row]):
    """A connection that gives up waiting for a server that has fallen silent.

    The bound is kept on our side, since a stalled server or a dead network cannot keep it.
    """

    deadline_seconds = STATEMENT_TIMEOUT_SECONDS

    def wait(self, gen: PQGen[Any], interval: float = 0.1, timeout: float | None = None) -> Any:
        try:
            return super().wait(gen, interval, timeout or self.deadline_seconds)
        except errors._WaitTimeout as error:
            self.pgconn.finish()
            raise OperationalError("the server did not answer in time") from error


def check(connection: DeadlineConnection) -> None:
    """Refuses a connection that the server has closed, without a round trip.

    An idle connection has nothing to read, but for the server's farewell.
    """
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    if poll.poll(0):
        ConnectionPool.check_connection(connection)


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

    def __init__(self, url: str, pool_size: int) -> None:
        self._statements = load_statements(SQL_DIRECTORY)
        self._pool = ConnectionPool(
            url,
            connection_class=DeadlineConnection,
            kwargs={
                "autocommit": True,
                "row_factory": dict_row,
                "connect_timeout": CONNECT_TIMEOUT_SECONDS,
                "application_name": "instantly-service",
            },
            min_size=1,
            max_size=pool_size,
            timeout=POOL_TIMEOUT_SECONDS,
            reconnect_timeout=RECONNECT_TIMEOUT_SECONDS,
            check=check,
            open=True,
        )

    def close(self) -> None:
        self._pool.close()

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """Several statements, all or none. No network call may stand in the block."""
        with self._pool.connection() as connection, connection.transaction():
            yield Session(connection, self._statements)

    def _run(self, statement: str, parameters: dict[str, Any]) -> Cursor[Row]:
        with self._pool.connection() as connection:
            # The rows are read already: the cursor outlives its use of the connection.
            return connection.execute(self._statements[statement], parameters)

    def ping(self) -> bool:
        """Whether Postgres answers, within two seconds."""
        try:
            with self._pool.connection(timeout=PING_TIMEOUT_SECONDS) as connection:
                connection.deadline_seconds = PING_TIMEOUT_SECONDS
                try:
                    connection.execute("SELECT 1")
                finally:
                    connection.deadline_seconds = STATEMENT_TIMEOUT_SECONDS
        except OperationalError:
            return False
        return True
