"""The process dies in the middle of an act: what is left, and that a repeat does not double it."""

from concurrent.futures import ThreadPoolExecutor
from itertools import product
from typing import Any

import pytest
import requests
from harness import HANGING_SECONDS, wait_until
from werkzeug.test import TestResponse
from world import Act, addresses, creating, leads_of, uploading

pytestmark = pytest.mark.crash

KEYS, RUN, INSTANTLY = ("keys", 0), ("runs", 0), ("instantly", 0)
SECOND_CHUNK = ("instantly", 1)
COSTS, END_RUN = ("runs costs", 0), ("runs end", 0)
# When the cost is not logged.
TAKE_BACK = ("take back", 0)

Call = tuple[str, int]
"""which call of the act, and how many of its kind come before it"""

BEFORE, AFTER = "hang", "hang_after"
"""the death: before the call is acted upon, or before its answer comes"""


# With every key where the act may be stored already, and the repeat is told apart by it.
WHILE_NOTHING_IS_STORED = [
    (KEYS, BEFORE, None),
    (RUN, BEFORE, "one act"),
    (RUN, AFTER, "one act"),
    (INSTANTLY, AFTER, None),
    (INSTANTLY, AFTER, "one act"),
]
ONCE_IT_MAY_BE_STORED = product([COSTS, END_RUN, TAKE_BACK], [BEFORE, AFTER], [None, "one act"])
EVERY_MOMENT = [*WHILE_NOTHING_IS_STORED, *ONCE_IT_MAY_BE_STORED]


def at(*moments):
    return pytest.mark.parametrize(("call", "when", "key"), moments, ids=str)


def die_at(act: Act, call: Call, when: str, key: str | None) -> None:
    """The server is killed while the call is under way."""
    service, after = call
    stand_in = act.fail(service, after=after, how=when)
    if call is TAKE_BACK:
        act.fail("runs costs")
    with ThreadPoolExecutor(1) as caller:
        answer = caller.submit(act.send, key)
        stand_in.wait_until_hanging(timeout=HANGING_SECONDS)
        act.world.client.kill()
        with pytest.raises(requests.ConnectionError):
            answer.result(HANGING_SECONDS)
    stand_in.heal()
    wait_until(lambda: stand_in.hanging == 0)


def go_on(act: Act, key: str | None) -> tuple[str, TestResponse]:
    """What an operator does, and the client: start again, clean up, repeat.

    Returns what the cleanup says, and the answer of the repeat.
    """
    service = act.world.client
    act.world.db.fall_silent("run:")
    with ThreadPoolExecutor(1) as operator:
        cleanup = operator.submit(service.clean_up)
        service.start()
        cleaned = cleanup.result(HANGING_SECONDS)
    if key:
        # Nobody knows yet that the first try is dead.
        early = act.send(key)
        in_progress = {"error": "A request with this Idempotency-Key is in progress"}
        assert (early.status_code, early.get_json()) == (409, in_progress)
    act.world.db.fall_silent()
    answer = act.send(key)
    assert answer.status_code == 201, answer.text
    return cleaned, answer


def end_of_first_run(call: Call, when: str) -> list[str]:
    """Failed, but for an act that was done and billed.

    A run whose id was never told to us stays open: nobody can end it, but it has no cost.
    """
    if call is KEYS or (call, when) == (RUN, BEFORE):
        return []
    if call is RUN:
        return ["running"]
    return ["completed" if call is END_RUN else "failed"]


@at(*EVERY_MOMENT, (INSTANTLY, BEFORE, "one act"))
def test_a_campaign_survives_the_death_of_its_process(served, call, when, key):
    act = creating(served)
    die_at(act, call, when, key)
    stored = served.campaign_rows()
    cleaned, answer = go_on(act, key)

    # With the key there is one campaign, without it the repeat is another one.
    rows = served.campaign_rows()
    created = answer.get_json()["campaign"]["instantlyCampaignId"]
    is_replayed = bool(key and stored)
    assert set(rows) == {*stored, created}
    assert len(rows) == (2 if stored and not key else 1)
    assert ("Idempotent-Replayed" in answer.headers) is is_replayed
    # None is billed twice.
    is_unbilled = call is COSTS and when == BEFORE
    assert served.billed() == len(rows) - is_unbilled
    # One draft may be left over, when the act was not stored, and it is named.
    orphans = served.campaigns().keys() - set(rows)
    assert len(orphans) == ((call, when) in [(INSTANTLY, AFTER), (TAKE_BACK, BEFORE)])
    assert set(rows) <= served.campaigns().keys()
    for orphan in orphans:
        assert served.campaigns()[orphan]["status"] == 0
        assert "'Autumn'" in cleaned
        assert "a draft" in cleaned
    assert served.runs() == end_of_first_run(call, when) + ["completed"] * (not is_replayed)
    assert served.db.count("instantly_open_runs") == 0


@at(*EVERY_MOMENT, (SECOND_CHUNK, BEFORE, "one act"), (SECOND_CHUNK, AFTER, None))
def test_leads_survive_the_death_of_their_process(served, call, when, key):
    act = uploading(served)
    emails = addresses(1001)
    act.body["leads"] = leads_of(emails)
    die_at(act, call, when, key)
    was_stored = len(served.lead_rows()) > 1
    cleaned, answer = go_on(act, key)

    # All of them are there in the end, each once, and the same as in Instantly.
    assert set(served.lead_rows()) == {"old@example.com", *emails}
    assert served.agrees()
    is_replayed = bool(key and was_stored)
    added = len(emails) if is_replayed or not was_stored else 0
    body: dict[str, Any] = answer.get_json()
    assert (body["added"], body["duplicates"]) == (added, len(emails) - added)
    assert (body["total"], body["rejected"]) == (len(emails), [])
    assert ("Idempotent-Replayed" in answer.headers) is is_replayed
    # None is billed twice.
    is_unbilled = call is COSTS and when == BEFORE
    assert served.billed() == (0 if is_unbilled else len(emails))
    assert served.runs() == end_of_first_run(call, when) + ["completed"] * (not is_replayed)
    assert served.db.count("instantly_open_runs") == 0
    if call in (INSTANTLY, SECOND_CHUNK, TAKE_BACK):
        assert served.campaign["id"] in cleaned
        assert served.campaign["instantlyCampaignId"] in cleaned


def test_the_cleanup_leaves_a_living_run_alone(served):
    act, service = creating(served), served.client
    stand_in = act.fail("instantly", how="hang")
    with ThreadPoolExecutor(1) as caller:
        answer = caller.submit(act.send)
        stand_in.wait_until_hanging(timeout=HANGING_SECONDS)
        assert service.clean_up() == "nothing to clean up\n"
        stand_in.release()
        assert answer.result(HANGING_SECONDS).status_code == 201
    assert served.runs() == ["completed"]
    assert service.clean_up() == "nothing to clean up\n"
