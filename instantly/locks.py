"""One change at a time to a campaign's leads, and one to its status, over all processes.

No connection and no transaction is held meanwhile: a lock is a row that its holder keeps alive.
"""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal
from uuid import uuid4

from instantly.context import parts
from instantly.errors import ApiError

LOCK_SECONDS = 20
WAIT_SECONDS = 30.0
FIRST_PAUSE_SECONDS = 0.02
LONGEST_PAUSE_SECONDS = 0.5

Scope = Literal["leads", "status"]

logger = logging.getLogger(__name__)


class Busy(ApiError):
    """Somebody else is at it."""

    def __init__(self) -> None:
        super().__init__(
            503, "Another change of this campaign is in progress", retry_after_seconds=5
        )


def is_locked_by(campaign_id: str, scope: Scope, holder: str) -> bool:
    lock = {"campaign_id": campaign_id, "scope": scope, "holder": holder}
    return parts().database.fetch_one("select_campaign_lock", **lock) is not None


@contextmanager
def campaign_lock(campaign_id: str, scope: Scope) -> Iterator[str]:
    """Waits for its turn, at most WAIT_SECONDS; yields the holder's id (uuid)."""
    database = parts().database
    holder = str(uuid4())
    lock = {"campaign_id": campaign_id, "scope": scope, "holder": holder}
    deadline = time.monotonic() + WAIT_SECONDS
    pause = FIRST_PAUSE_SECONDS
    while not database.fetch_one("upsert_campaign_lock", **lock, seconds=LOCK_SECONDS):
        if time.monotonic() > deadline:
            raise Busy
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
    try:
        with parts().heartbeat.keeping("update_campaign_lock", holder, LOCK_SECONDS):
            yield holder
    finally:
        try:
            database.execute("delete_campaign_lock", **lock)
        except Exception:
            # It is free again when LOCK_SECONDS have passed.
            logger.warning("campaign %s: the lock was not given back", campaign_id, exc_info=True)
