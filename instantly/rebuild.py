"""python -m instantly.rebuild: counts the statistics again from the recorded events.

They are kept by the statement that records an event; this is for the day on which what counts
changes. Campaign by campaign: deliveries of the others go on.
"""

import os
import sys

import psycopg
from psycopg.errors import DeadlockDetected
from psycopg.types.json import Jsonb

from instantly.config import ConfigurationError, Settings
from instantly.storage.database import Database
from instantly.translation.events import COUNTED_AS

# For one campaign.
MAX_SECONDS = 600.0


def rebuild(database: Database) -> int:
    """Returns how many campaigns there are."""
    campaigns = database.fetch_all("select_campaign_ids")
    for campaign in campaigns:
        try:
            rebuild_campaign(database, campaign["id"])
        except DeadlockDetected:
            # Possible where its status changes at that moment: who waited for us has gone on now.
            rebuild_campaign(database, campaign["id"])
    return len(campaigns)


def rebuild_campaign(database: Database, campaign_id: str) -> None:
    with database.transaction() as transaction:
        transaction.fetch_one("select_campaign_for_rebuild", campaign_id=campaign_id)
        transaction.execute("delete_activity", campaign_id=campaign_id)
        transaction.execute(
            "insert_activity", campaign_id=campaign_id, counted_as=Jsonb(COUNTED_AS)
        )


def main() -> None:
    try:
        settings = Settings.from_environment(os.environ)
    except ConfigurationError as error:
        sys.exit(str(error))
    database = Database(settings.database_url, pool_size=1, deadline_seconds=MAX_SECONDS)
    try:
        campaigns = rebuild(database)
    except psycopg.Error as error:
        sys.exit(f"Database: {type(error).__name__}: {error}")
    finally:
        database.close()
    sys.stdout.write(f"rebuilt the statistics of {campaigns} campaigns\n")


if __name__ == "__main__":
    main()
