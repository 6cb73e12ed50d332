"""What the commands that need the database alone begin and end with."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from instantly.config import ConfigurationError, Settings
from instantly.storage.statements import Database


@contextmanager
def command_database() -> Iterator[tuple[Settings, Database]]:
    """The settings and the database; where one of them fails, the command ends with a line."""
    try:
        settings = Settings.from_environment(os.environ)
        database = Database(
            settings.database_url,
            pool_size=1,
            prepared_statements=settings.database_prepared_statements,
        )
    except ConfigurationError as error:
        sys.exit(str(error))
    try:
        yield settings, database
    except psycopg.OperationalError as error:
        sys.exit(f"Database unavailable: {type(error).__name__}")
    finally:
        database.close()
