"""Whoever follows GET /events sees every event once, in whatever order transactions end."""

import subprocess
import sys
import time
from itertools import pairwise
from urllib.parse import urlencode

from harness import HANGING_SECONDS, ROOT
from world import World

PROCESSES = 2
EVENTS_EACH = 5000
# Records its share by four threads, with pauses, so that readers keep up with it. A fifth keeps
# each of its transactions open for a while.
WRITER = """
import json, random, sys, time
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from instantly.storage.statements import Database
from instantly.translation.events import Event

url, campaign_id, first, last, is_slow = *sys.argv[1:3], *map(int, sys.argv[3:])
database, dice = Database(url, 5), random.Random(first)

def record(session, number):
    names = ("email_opened", "email_sent", "reply_received")
    payload = {"event_type": names[number % 3], "campaign_id": campaign_id, "n": number}
    payload["lead_email"] = f"lead{number % 500}@x.example"
    text = json.dumps(payload)
    parameters = Event.from_payload(payload).parameters()
    row = session.fetch_one(
        "insert_event", **parameters, fingerprint=sha256(text.encode()).digest(), payload=text
    )
    assert row["recorded"]

def record_all(numbers):
    for number in numbers:
        record(database, number)
        time.sleep(dice.uniform(0, 0.006))

def record_slowly(numbers):
    for number in numbers:
        with database.transaction() as session:
            record(session, number)
            time.sleep(dice.uniform(0, 0.2))

numbers = list(range(first, last))
dice.shuffle(numbers)
slow = [numbers.pop() for _ in range(30 * is_slow)]
with ThreadPoolExecutor(5) as threads:
    tasks = [threads.submit(record_slowly, slow)]
    tasks += [threads.submit(record_all, numbers[share::4]) for share in range(4)]
for task in tasks:
    task.result()
"""


class Reader:
    """Follows the feed, or the events of a type in it."""

    def __init__(self, ours: World, **query: str) -> None:
        self._world, self._query = ours, {"clerkOrgId": ours.campaign["clerkOrgId"], **query}
        self._cursor, self.numbers, self.ids = "0", list[int](), list[int]()
        self.pages = 0

    def reads_a_page(self) -> bool:
        """Whether there was anything new."""
        query = {**self._query, "after": self._cursor, "payload": "true", "limit": 1000}
        page = self._world.listed("/events", urlencode(query))
        self._cursor = page["nextCursor"]
        self.numbers += [event["payload"]["n"] for event in page["events"]]
        self.ids += [int(event["id"]) for event in page["events"]]
        self.pages += bool(page["events"])
        return bool(page["events"])


def test_a_reader_sees_what_two_processes_record_each_event_once(
    ours: World, database_url: str
) -> None:
    readers = (Reader(ours), Reader(ours, eventType="email_opened"))
    processes = []
    for number in range(PROCESSES):
        share = [number * EVENTS_EACH, (number + 1) * EVENTS_EACH, number % 2]
        arguments = [database_url, ours.campaign["instantlyCampaignId"], *map(str, share)]
        command = [sys.executable, "-c", WRITER, *arguments]
        processes.append(subprocess.Popen(command, cwd=ROOT))
    while any(process.poll() is None for process in processes):
        for reader in readers:
            reader.reads_a_page()
        time.sleep(0.01)
    assert min(reader.pages for reader in readers) > 5, "nothing was read meanwhile"
    assert [process.wait(HANGING_SECONDS) for process in processes] == [0] * PROCESSES
    for reader in readers:
        while reader.reads_a_page():
            pass
        assert all(before < after for before, after in pairwise(reader.ids))
    recorded = range(PROCESSES * EVENTS_EACH)
    assert sorted(readers[0].numbers) == list(recorded)
    assert sorted(readers[1].numbers) == list(recorded[::3])
