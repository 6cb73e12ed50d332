"""python -m instantly.forget --days N: empties the payloads of events older than N days."""

import argparse
import sys
from datetime import UTC, datetime, timedelta

from instantly.config import integer_between
from instantly.storage.commands import command_database
from instantly.storage.statements import Database

MAX_DAYS = 36_500


def forget(database: Database, before: datetime) -> int:
    """Empties the payloads of events that came before this time; returns of how many.

    What names, counts and tells repeated deliveries stays. A thousand events at a time, each time
    in a transaction of its own: deliveries wait for none of them.
    """
    emptied, last_id = 0, 0
    while last_id is not None:
        (row,) = database.fetch_all("update_old_payloads", before=before, after=last_id)
        emptied += row["events"]
        last_id = row["last_id"]
    return emptied


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m instantly.forget", description=__doc__)
    parser.add_argument("--days", type=integer_between(0, MAX_DAYS), required=True)
    before = datetime.now(UTC) - timedelta(days=parser.parse_args().days)
    with command_database() as (_, database):
        emptied = forget(database, before)
    sys.stdout.write(f"emptied the payloads of {emptied} events\n")


if __name__ == "__main__":
    main()
