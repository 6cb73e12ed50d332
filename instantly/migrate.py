"""python -m instantly.migrate: applies the files of sql/migrations that the database lacks, and the
functions of sql/*functions.sql as they are now.

A file is applied in one transaction, whole or not at all. One whose first line is OUTSIDE is run
statement by statement, each for itself, as CREATE INDEX CONCURRENTLY demands, which lets deliveries
go on. Each of its statements ends a line, and it may be run again after it was broken off.
"""

import hashlib
import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from instantly.config import SERVICE_NAME, ConfigurationError, Settings
from instantly.storage.pool import connection_string
from instantly.storage.statements import FUNCTIONS, SQL_DIRECTORY

LOCK_KEY = 3011
PAUSE_SECONDS = 0.1
OUTSIDE = "-- outside a transaction"
MIGRATIONS = SQL_DIRECTORY / "migrations"


class MigrationError(Exception):
    """The files and the database do not fit together."""


def read_migrations(directory: Path) -> list[tuple[str, str, str]]:
    """(file name, text, checksum) of each file, in order; numbered 0001, 0002, … without gaps."""
    migrations = []
    for number, path in enumerate(sorted(directory.glob("*.sql")), start=1):
        if not re.fullmatch(rf"{number:04d}_[a-z0-9_]+\.sql", path.name):
            raise MigrationError(f"{path.name}: expected number {number:04d}")
        text = path.read_text()
        migrations.append((path.name, text, hashlib.sha256(text.encode()).hexdigest()))
    return migrations


def connect(url: str, name: str = SERVICE_NAME) -> psycopg.Connection[Any]:
    # Nothing is prepared: poolers that know no prepared statements may stand between.
    return psycopg.connect(
        connection_string(url, application_name=name), autocommit=True, prepare_threshold=None
    )


@contextmanager
def locked(connection: psycopg.Connection[Any]) -> Iterator[None]:
    """A transaction that one process has at a time, of several that start at once.

    The others ask again and again. A statement that waits would hold a snapshot, and the building
    of an index would wait for that; between two statements a transaction has none.
    """
    while True:
        with connection.transaction():
            connection.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
            lock = "SELECT 1 WHERE pg_try_advisory_xact_lock(%s)"
            if connection.execute(lock, [LOCK_KEY]).fetchone():
                yield
                return
        time.sleep(PAUSE_SECONDS)


def migrate(url: str, directory: Path = MIGRATIONS) -> list[str]:
    """Applies what is missing, file by file, and returns the names of those files.

    Then it puts the functions in place that stand beside the folder.
    """
    migrations = read_migrations(directory)
    if not migrations:
        raise MigrationError(f"{directory}: no migrations: this runs from the service's folder")
    known = [(name, checksum) for name, _, checksum in migrations]
    applied_now: list[str] = []
    with connect(url) as connection:
        while True:
            with locked(connection):
                connection.execute(
                    "CREATE TABLE IF NOT EXISTS schema_migrations (name text PRIMARY KEY,"
                    " checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
                )
                applied = connection.execute(
                    "SELECT name, checksum FROM schema_migrations ORDER BY name"
                ).fetchall()
                if applied != known[: len(applied)]:
                    raise MigrationError(
                        "the database holds migrations that are not those of sql/migrations: "
                        "a file was edited or removed after it was applied, or this code is old"
                    )
                if len(applied) == len(known):
                    for functions in sorted(directory.parent.glob(FUNCTIONS)):
                        connection.execute(functions.read_bytes())
                    return applied_now
                name, text, checksum = migrations[len(applied)]
                if text.startswith(f"{OUTSIDE}\n"):
                    run_outside(url, text)
                else:
                    connection.execute(text.encode())
                connection.execute(
                    "INSERT INTO schema_migrations (name, checksum) VALUES (%s, %s)",
                    [name, checksum],
                )
            applied_now.append(name)


def run_outside(url: str, text: str) -> None:
    """Runs the statements on another connection than the lock's, which keeps its transaction."""
    name = f"{SERVICE_NAME} index"
    with connect(url, name) as connection:
        # What a killed process began goes on in the server, and would be waited for.
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s"
            " AND datname = current_database() AND pid <> pg_backend_pid()",
            [name],
        )
        for statement in filter(str.strip, text.split(";\n")):
            connection.execute(statement.encode())


def main() -> None:
    try:
        settings = Settings.from_environment(os.environ)
        applied = migrate(settings.database_url)
    except (ConfigurationError, MigrationError, psycopg.Error) as error:
        sys.exit(str(error))
    sys.stdout.write(f"applied: {', '.join(applied) or 'nothing, the schema is up to date'}\n")


if __name__ == "__main__":
    main()
