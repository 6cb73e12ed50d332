"""python -m instantly.migrate: applies the files of sql/migrations that the database lacks, and the
functions of sql/functions.sql as they are now.
"""

import hashlib
import os
import re
import sys
from pathlib import Path

import psycopg

from instantly.config import ConfigurationError, Settings
from instantly.storage.pool import connection_string
from instantly.storage.statements import FUNCTIONS, SQL_DIRECTORY

LOCK_KEY = 3011
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


def migrate(url: str, directory: Path = MIGRATIONS) -> list[str]:
    """Applies what is missing, one transaction a file, and returns the names of those files.

    Then it puts the functions in place that stand beside the folder.
    """
    functions = directory.parent / FUNCTIONS
    migrations = read_migrations(directory)
    if not migrations:
        raise MigrationError(f"{directory}: no migrations: this runs from the service's folder")
    known = [(name, checksum) for name, _, checksum in migrations]
    applied_now: list[str] = []
    # Nothing is prepared: poolers that know no prepared statements may stand between.
    with psycopg.connect(
        connection_string(url), autocommit=True, prepare_threshold=None
    ) as connection:
        while True:
            with connection.transaction():
                # Held until the commit: of several processes that start at once, one applies.
                connection.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK_KEY])
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
                    if functions.exists():
                        connection.execute(functions.read_bytes())
                    return applied_now
                name, text, checksum = migrations[len(applied)]
                connection.execute(text.encode())
                connection.execute(
                    "INSERT INTO schema_migrations (name, checksum) VALUES (%s, %s)",
                    [name, checksum],
                )
            applied_now.append(name)


def main() -> None:
    try:
        settings = Settings.from_environment(os.environ)
        applied = migrate(settings.database_url)
    except (ConfigurationError, MigrationError, psycopg.Error) as error:
        sys.exit(str(error))
    sys.stdout.write(f"applied: {', '.join(applied) or 'nothing, the schema is up to date'}\n")


if __name__ == "__main__":
    main()
