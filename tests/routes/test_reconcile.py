"""Our rows against what Instantly holds: adopted, raised, named; never lowered, never deleted."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import product
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from harness import wait_until
from helpers import UNKNOWN_ID
from werkzeug.test import TestResponse
from world import LONG_AGO, Statements, World, addresses

import instantly.storage.leases
from instantly.translation.events import LABELS

pytestmark = pytest.mark.usefixtures("campaign")

Json = dict[str, Any]

GET_CAMPAIGN = ("GET", "/api/v2/campaigns/[^/]+")
LIST = ("POST", "/api/v2/leads/list")
NUMBERS = {
    0: "draft",
    1: "active",
    2: "paused",
    3: "completed",
    4: "running_subsequences",
    -1: "accounts_unhealthy",
    -2: "bounce_protect",
    -99: "account_suspended",
}


def reconcile(world: World, body: Any = None) -> TestResponse:
    return world.send("POST", world.path("/reconcile"), {} if body is None else body)


def reconciled(world: World) -> Json:
    """What is said of the leads."""
    answer = reconcile(world)
    assert (answer.status_code, answer.get_json()["success"]) == (200, True), answer.text
    leads: Json = answer.get_json()["leads"]
    return leads


def counted(world: World) -> tuple[int, int, int, int]:
    leads = reconciled(world)
    assert len(leads["onlyHere"]) == leads["onlyHereTotal"]
    return leads["both"], leads["adopted"], leads["raised"], leads["onlyHereTotal"]


def at_instantly(world: World, email: str) -> Json:
    """Instantly's own lead, to be changed."""
    campaign_id = world.campaign["instantlyCampaignId"]
    lead: Json = world.upstreams.instantly.workspace("clerk-1").addresses[campaign_id][email]
    return lead


def forget(world: World, *emails: str) -> None:
    """As if our rows had never been written."""
    world.db.connection.execute(
        "DELETE FROM instantly_leads WHERE email = ANY (%s)", [list(emails)]
    )


def rows(world: World) -> list[Json]:
    return world.db.all("SELECT * FROM instantly_leads ORDER BY position")


def lead(world: World, email: str, **fields: Any) -> Json:
    """A lead as Instantly lists it."""
    campaign_id = world.campaign["instantlyCampaignId"]
    counts = dict.fromkeys(("email_open_count", "email_reply_count", "email_click_count"), 0)
    return {"id": str(uuid4()), "email": email, "campaign": campaign_id, "status": 1} | {
        **counts,
        **fields,
    }


def answered_with(world: World, *pages: Json) -> None:
    """Instantly answers these pages one after the other."""
    for page in pages:
        world.upstreams.instantly_http.fail(*LIST, status=200, body=page)


# Which leads are where


def test_leads_are_found_in_both_adopted_or_named_over_several_pages(world: World) -> None:
    world.add(addresses(250))
    forget(world, *addresses(30, start=100))
    lost_there = addresses(20, start=200)
    workspace = world.upstreams.instantly.workspace("clerk-1")
    workspace.remove_leads([at_instantly(world, email) for email in lost_there])
    world.upstreams.forget_requests()
    assert reconciled(world) == {
        "both": 200,
        "adopted": 30,
        "raised": 0,
        "onlyHere": lost_there,
        "onlyHereTotal": 20,
    }
    assert world.lead_rows() == world.in_instantly() | {
        email: lead_id for email, lead_id in world.lead_rows().items() if email in lost_there
    }
    calls = world.upstreams.instantly_http.calls(*LIST)
    assert [len(call.json) for call in calls] == [2, 3, 3, 3]
    for call in calls:
        assert (call.json["campaign"], call.json["limit"]) == (
            world.campaign["instantlyCampaignId"],
            100,
        )


def test_a_second_time_finds_nothing_to_repair(world: World) -> None:
    world.add(addresses(130))
    forget(world, *addresses(10))
    at_instantly(world, "lead50@x.example")["email_reply_count"] = 1
    assert counted(world) == (120, 10, 1, 0)
    before = rows(world)
    assert counted(world) == (130, 0, 0, 0)
    for row, was in zip(rows(world), before, strict=True):
        assert row.pop("reconciled_at") > was.pop("reconciled_at")
        assert row == was


def test_an_adopted_lead_carries_its_data_and_is_billed_to_nobody(world: World) -> None:
    variables = {"city": "Kassel", "size": 42, "rate": 0.5, "customer": False, "score": None}
    names = {"firstName": "Ada", "lastName": "Byron", "companyName": "Engines"}
    other = {"jobTitle": "Countess", "phone": "1", "website": "x.example", "personalization": "Hi"}
    world.upload([{"email": "Ada@x.example", **names, **other, "customVariables": variables}])
    before = world.listed_leads()
    forget(world, "Ada@x.example")
    world.upstreams.runs.runs.clear()
    assert counted(world) == (0, 1, 0, 0)
    (adopted,) = world.listed_leads()
    changed = {"id", "runId", "createdAt", "updatedAt"}
    assert {k: v for k, v in adopted.items() if k not in changed} == {
        k: v for k, v in before[0].items() if k not in changed
    }
    assert adopted["customVariables"] == variables
    assert adopted["runId"] is None
    assert world.runs() == []
    assert world.add(["ada@x.example"])["duplicates"] == 1
    assert world.billed() == 0


def test_the_leads_of_other_campaigns_are_left_alone(world: World) -> None:
    other = world.created(name="Winter")
    world.add(["ada@x.example"], other)
    world.put_into_instantly("bea@x.example", campaign=other)
    before = rows(world)
    assert counted(world) == (0, 0, 0, 0)
    assert rows(world) == before


def test_a_lead_gets_the_id_that_instantly_knows_it_by(world: World) -> None:
    world.add(["Ada@x.example"])
    before = rows(world)[0]
    world.db.connection.execute("UPDATE instantly_leads SET instantly_lead_id = 'old'")
    assert counted(world) == (1, 0, 0, 0)
    (row,) = rows(world)
    assert (row["instantly_lead_id"], row["email"]) == (
        before["instantly_lead_id"],
        before["email"],
    )
    assert row["updated_at"] > before["updated_at"]
    assert world.delete(["ada@x.example"]).get_json()["deleted"] == 1
    assert world.in_instantly() == {}


def test_at_most_a_thousand_are_named_in_the_order_of_their_arrival(world: World) -> None:
    emails = addresses(1005)
    world.db.connection.execute(
        "INSERT INTO instantly_leads (campaign_id, instantly_lead_id, email, org_id)"
        " SELECT %s, number::text, email, 'org-1'"
        " FROM unnest(%s::text[]) WITH ORDINALITY AS lead (email, number) ORDER BY lead.number",
        [world.campaign["id"], emails],
    )
    leads = reconciled(world)
    assert leads["onlyHere"] == emails[:1000]
    assert leads["onlyHereTotal"] == 1005
    assert len(rows(world)) == 1005


# What Instantly's fields prove

TIME = "2026-08-01T12:00:00.000Z"
PROOFS: list[tuple[Json, str]] = [
    ({}, "active"),
    ({"status": 2}, "active"),
    ({"status": -3}, "active"),
    ({"status": 99}, "active"),
    ({"email_open_count": 0, "email_reply_count": 0, "email_click_count": 0}, "active"),
    ({"timestamp_last_contact": TIME}, "contacted"),
    ({"last_step_timestamp_executed": TIME}, "contacted"),
    ({"timestamp_last_contact": None, "timestamp_last_reply": ""}, "active"),
    ({"timestamp_last_contact": "never", "email_reply_count": "three"}, "active"),
    ({"email_reply_count": None, "email_open_count": [1], "timestamp_last_open": 5.5}, "opened"),
    ({"email_open_count": 1}, "opened"),
    ({"timestamp_last_open": TIME, "timestamp_last_contact": TIME}, "opened"),
    ({"email_click_count": 2, "email_open_count": 1}, "clicked"),
    ({"timestamp_last_click": TIME}, "clicked"),
    ({"status": 3}, "completed"),
    ({"status": 3, "email_click_count": 2}, "completed"),
    ({"status": 3, "email_reply_count": 1}, "replied"),
    ({"timestamp_last_reply": TIME}, "replied"),
    ({"status": -1, "timestamp_last_reply": TIME}, "bounced"),
    ({"status": -2, "timestamp_last_reply": TIME}, "unsubscribed"),
    ({"status": -3, "email_open_count": 1}, "opened"),
]


@pytest.mark.parametrize(("fields", "status"), PROOFS, ids=str)
def test_a_lead_is_raised_or_adopted_as_its_fields_prove(
    world: World, fields: Json, status: str
) -> None:
    world.add(["ada@x.example"])
    items = [lead(world, email, **fields) for email in ("ada@x.example", "new@x.example")]
    answered_with(world, {"items": items})
    assert counted(world) == (1, 1, int(status != "active"), 0)
    assert world.statuses() == {"ada@x.example": status, "new@x.example": status}


# Weakest first, as the contract has it; the labels are equals.
ORDER = "active contacted opened clicked completed replied label bounced unsubscribed".split()
PROVED_BY: dict[str, Json] = {
    "contacted": {"timestamp_last_contact": TIME},
    "opened": {"email_open_count": 1},
    "clicked": {"email_click_count": 1},
    "completed": {"status": 3},
    "replied": {"email_reply_count": 1},
    "bounced": {"status": -1},
    "unsubscribed": {"status": -2},
}


def test_no_lead_is_lowered_whatever_it_was(world: World) -> None:
    was = [status for status in ORDER if status != "label"] + sorted(LABELS)
    expected, items = {}, []
    for held, proved in product(was, PROVED_BY):
        email = f"{held}.{proved}@x.example"
        items.append(lead(world, email, **PROVED_BY[proved]))
        held_as = "label" if held in LABELS else held
        expected[email] = proved if ORDER.index(proved) > ORDER.index(held_as) else held
    world.db.connection.execute(
        "INSERT INTO instantly_leads (campaign_id, instantly_lead_id, email, status, org_id)"
        " SELECT %s, email, email, split_part(email, '.', 1), 'org-1'"
        " FROM unnest(%s::text[]) AS email",
        [world.campaign["id"], list(expected)],
    )
    before = world.statuses()
    answered_with(
        world, *({"items": items[n : n + 50], "next_starting_after": str(n)} for n in (0, 50))
    )
    answered_with(world, {"items": items[100:]})
    leads = reconciled(world)
    assert world.statuses() == expected
    assert leads["raised"] == sum(before[email] != expected[email] for email in expected) > 40


def test_what_a_delivery_says_meanwhile_is_not_undone(world: World) -> None:
    world.add(addresses(3))
    for number, fields in enumerate([{"status": -1}, {"email_reply_count": 1}, {"status": 3}]):
        at_instantly(world, f"lead{number}@x.example").update(fields)
    with hanging(world, *LIST) as answer:
        assert world.records("lead_unsubscribed", lead_email="lead0@x.example")
        assert world.records("lead_interested", lead_email="lead1@x.example")
        assert world.records("email_opened", lead_email="lead2@x.example")
    assert answer().get_json()["leads"]["raised"] == 1
    assert list(world.statuses().values()) == ["unsubscribed", "interested", "completed"]


def test_what_is_being_written_while_a_page_is_stored_is_not_undone(
    world: World, database_url: str
) -> None:
    world.add(addresses(3))
    for email in addresses(3):
        at_instantly(world, email)["email_reply_count"] = 1
    beside = world.beside()
    with ThreadPoolExecutor() as executor, psycopg.connect(database_url) as delivery:
        delivery.execute(
            "UPDATE instantly_leads SET status = 'unsubscribed' WHERE email = 'lead1@x.example'"
        )
        answer = executor.submit(lambda: reconcile(beside))
        wait_until(lambda: world.db.all("SELECT FROM pg_locks WHERE NOT granted"))
        delivery.commit()
    assert answer.result().get_json()["leads"]["raised"] == 2
    assert sorted(world.statuses().values()) == ["replied", "replied", "unsubscribed"]


def test_what_is_proved_stays_a_fact_whatever_becomes_of_the_lead(world: World) -> None:
    world.add(["gone@x.example", "kept@x.example"])
    at_instantly(world, "gone@x.example").update(status=-2, email_open_count=1)
    at_instantly(world, "kept@x.example").update(email_open_count=3, email_reply_count=1)
    counted(world)
    counted(world)
    assert world.records("lead_interested", lead_email="kept@x.example")
    world.delete(["gone@x.example"])
    asked = {"clerkOrgId": "clerk-1", "emails": ["Gone@x.example", "kept@x.example"]}
    gone, kept = world.send("POST", "/leads/status", asked).get_json()["leads"]
    assert (gone["known"], gone["unsubscribed"], gone["bounced"]) == (False, True, False)
    assert kept["status"] == "interested"
    assert (kept["replied"], kept["opened"], kept["clicked"]) == (True, True, False)
    assert gone["contacted"]
    # A fact of one campaign is none of another's, and none that counts in statistics.
    narrowed = world.send("POST", "/leads/status", {**asked, "brandId": "another"})
    gone, kept = narrowed.get_json()["leads"]
    assert (gone["unsubscribed"], gone["opened"], kept["replied"]) == (True, False, False)
    stats = world.send("POST", "/stats", {"clerkOrgId": "clerk-1"}).get_json()
    assert stats["recipients"] == stats["stats"]["emailsOpened"] == 0


def test_later_events_go_on_from_there(world: World) -> None:
    world.add(["ada@x.example"])
    at_instantly(world, "ada@x.example")["email_reply_count"] = 1
    assert counted(world) == (1, 0, 1, 0)
    assert world.records("email_opened", lead_email="ada@x.example")
    assert world.statuses() == {"ada@x.example": "replied"}
    assert world.records("lead_meeting_booked", lead_email="ada@x.example")
    assert world.statuses() == {"ada@x.example": "meeting_booked"}


@contextmanager
def hanging(world: World, method: str, path: str) -> Iterator[Callable[[], TestResponse]]:
    """A reconcile that Instantly has answered, but not to its ears while the block lasts."""
    stand_in = world.upstreams.instantly_http
    stand_in.fail(method, path, how="hang_after")
    with ThreadPoolExecutor() as executor:
        beside = world.beside()
        future = executor.submit(lambda: reconcile(beside))
        try:
            stand_in.wait_until_hanging()
            yield lambda: future.result(60)
        finally:
            stand_in.heal()


# The campaign's status


@pytest.mark.parametrize(("number", "word"), NUMBERS.items(), ids=str)
@pytest.mark.parametrize("was", ["draft", "active"])
def test_our_campaign_follows_instantly(world: World, was: str, number: int, word: str) -> None:
    world.db.connection.execute("UPDATE instantly_campaigns SET status = %s", [was])
    before = world.shown()
    world.campaigns()[world.campaign["instantlyCampaignId"]]["status"] = number
    assert reconcile(world).get_json()["campaignStatus"] == word
    assert world.shown()["status"] == word
    assert (world.shown()["updatedAt"] > before["updatedAt"]) is (was != word)


@pytest.mark.parametrize(("number", "word"), [(2, "completed"), (1, "active"), (3, "completed")])
def test_what_we_completed_by_pausing_stays_completed(world: World, number: int, word: str) -> None:
    world.switch("completed")
    world.campaigns()[world.campaign["instantlyCampaignId"]]["status"] = number
    assert reconcile(world).get_json()["campaignStatus"] == word == world.shown()["status"]


@pytest.mark.parametrize("number", [5, -3, 1.5])
def test_a_number_that_nobody_knows_changes_nothing(world: World, number: float) -> None:
    world.campaigns()[world.campaign["instantlyCampaignId"]]["status"] = number
    assert reconcile(world).get_json()["campaignStatus"] == "draft"


def test_a_campaign_that_completes_meanwhile_stays_completed(world: World) -> None:
    world.switch("active")
    with hanging(world, *GET_CAMPAIGN) as answer:
        assert world.records("campaign_completed")
    assert answer().get_json()["campaignStatus"] == "completed"
    assert world.shown()["status"] == "completed"


def test_a_switch_waits_for_the_status_that_is_being_read(world: World) -> None:
    beside = world.beside()
    with hanging(world, *GET_CAMPAIGN) as answer:
        switching = threading.Thread(target=lambda: beside.switch("active"))
        switching.start()
        switching.join(0.2)
        assert world.shown()["status"] == "draft"
    assert answer().status_code == 200
    switching.join(60)
    assert world.shown()["status"] == "active"


# What goes wrong

DOWN = (502, "Instantly unavailable")
REJECTED = (422, "Instantly rejected the request")


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"status": 500, "times": None}, DOWN),
        ({"status": 429, "times": None}, (503, "Instantly rate limit reached")),
        ({"status": 401}, (422, "Instantly API key was rejected")),
        ({"status": 403}, REJECTED),
        ({"status": 200, "body": {"items": 5}}, DOWN),
        ({"status": 200, "body": {"items": [{"id": "no/id"}]}}, DOWN),
    ],
    ids=str,
)
def test_what_was_repaired_before_instantly_failed_stays(
    world: World, fault: Json, error: tuple[int, str]
) -> None:
    world.add(addresses(250))
    forget(world, *addresses(250))
    world.upstreams.instantly_http.fail(*LIST, after=2, **fault)
    answer = reconcile(world)
    assert (answer.status_code, answer.get_json()["error"]) == error
    assert world.rows() == addresses(200)
    world.upstreams.instantly_http.heal()
    assert counted(world) == (200, 50, 0, 0)
    assert world.agrees()


def test_a_campaign_that_is_gone_in_instantly_is_said_to_be(world: World) -> None:
    world.add(["ada@x.example"])
    before = rows(world), world.shown()
    world.campaigns().clear()
    answer = reconcile(world)
    assert (answer.status_code, answer.get_json()["error"]) == REJECTED
    assert answer.get_json()["details"] == {"status": 404, "message": "Resource not found"}
    assert (rows(world), world.shown()) == before


@pytest.mark.parametrize("odd", [{"status": "on"}, {"id": UNKNOWN_ID}, {"status": None}], ids=str)
def test_an_odd_campaign_is_nonsense(world: World, odd: Json) -> None:
    body = {"id": world.campaign["instantlyCampaignId"], "status": 1, **odd}
    world.upstreams.instantly_http.fail(*GET_CAMPAIGN, status=200, body=body)
    answer = reconcile(world)
    assert (answer.status_code, answer.get_json()["error"]) == DOWN


def test_odd_leads_are_passed_over(world: World) -> None:
    items = [
        lead(world, "other@x.example", campaign=UNKNOWN_ID),
        lead(world, "none@x.example", campaign=None),
        {**lead(world, ""), "email": None},
        {k: v for k, v in lead(world, "x").items() if k != "email"},
        lead(world, ""),
        lead(world, "  "),
        lead(world, "x" * 321),
        lead(world, " Ada@x.example "),
        lead(world, "ada@X.example", email_open_count=1),
    ]
    answered_with(world, {"items": items})
    assert counted(world) == (0, 1, 0, 0)
    assert world.statuses() == {"Ada@x.example": "active"}


def test_what_postgres_cannot_keep_is_escaped_or_left_out(world: World) -> None:
    payload = {"a\x00b": "c\x00", "half": "\ud800", "list": [1], "object": {"a": 1}, "big": 10**40}
    odd = {"first_name": "A\x00", "last_name": 5, "company_name": ["x"], "payload": payload}
    answered_with(world, {"items": [lead(world, "nul\x00@x.example", **odd)]})
    answered_with(world, {"items": [lead(world, "none@x.example", payload=["x"])]})
    assert reconciled(world)["adopted"] == 1
    (row,) = world.listed_leads()
    assert (row["firstName"], row["lastName"], row["companyName"]) == ("A\\u0000", None, None)
    assert row["customVariables"] == {"a\\u0000b": "c\\u0000", "half": "\\ud800", "big": 10**40}
    assert reconciled(world)["adopted"] == 1


@pytest.mark.parametrize("email", [5, [], {}, True])
def test_an_address_that_is_no_text_is_nonsense(world: World, email: Any) -> None:
    answered_with(world, {"items": [{**lead(world, "x"), "email": email}]})
    answer = reconcile(world)
    assert (answer.status_code, answer.get_json()["error"]) == DOWN


def test_a_list_ends_with_an_empty_page_and_with_a_cursor_that_repeats(world: World) -> None:
    first, second = lead(world, "ada@x.example"), lead(world, "bea@x.example")
    answered_with(world, {"items": [first], "next_starting_after": "1"})
    answered_with(world, {"items": [], "next_starting_after": "2"})
    assert counted(world) == (0, 1, 0, 0)
    answered_with(world, {"items": [first], "next_starting_after": "1"})
    answered_with(world, {"items": [second, first], "next_starting_after": "1"})
    assert counted(world) == (1, 1, 0, 0)  # what stands on two pages counts once
    answered_with(world, {"items": []})
    assert counted(world) == (0, 0, 0, 2)


# The lock


def test_it_waits_for_an_upload_and_not_for_ever(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(instantly.storage.leases, "WAIT_SECONDS", 0.1)
    world.db.connection.execute(
        "INSERT INTO instantly_leases VALUES (%s, %s, 20, now() + '20 s')",
        [f"leads:{world.campaign['id']}", uuid4()],
    )
    answer = reconcile(world)
    assert answer.status_code == 503
    assert answer.get_json()["error"] == "Another change of this campaign is in progress"
    assert "Retry-After" in answer.headers


@pytest.mark.parametrize("statement", ["upsert_found_leads", "select_leads_not_found"])
def test_without_its_lock_it_stores_nothing_and_says_nothing(
    world: World, statements: Statements, statement: str
) -> None:
    world.put_into_instantly("ada@x.example")
    statements.before(statement, world.db.take_over)
    answer = reconcile(world)
    assert answer.get_json()["error"] == "Another change of this campaign is in progress"
    assert len(rows(world)) == (statement == "select_leads_not_found")


def test_without_its_lock_the_status_stays(world: World, statements: Statements) -> None:
    world.campaigns()[world.campaign["instantlyCampaignId"]]["status"] = 1
    statements.before("update_found_campaign", world.db.take_over)
    assert reconcile(world).status_code == 503
    assert world.shown()["status"] == "draft"


def test_no_lock_stays(world: World) -> None:
    world.upstreams.instantly_http.fail(*LIST, status=403)
    assert reconcile(world).status_code == 422
    assert reconcile(world).status_code == 200
    assert world.db.count("instantly_leases") == 0


# The request


def test_unknown_fields_are_ignored(world: World) -> None:
    assert reconcile(world, {"dryRun": True, "leads": 5}).status_code == 200


@pytest.mark.parametrize(
    ("data", "content_type", "status"),
    [
        (b"[]", "application/json", 400),
        (b"{", "application/json", 400),
        (b"", "application/json", 400),
        (b"{}", "text/plain", 415),
        (b"", None, 415),
    ],
)
def test_the_body_is_a_json_object(
    world: World, data: bytes, content_type: str | None, status: int
) -> None:
    answer = world.client.post(world.path("/reconcile"), data=data, content_type=content_type)
    assert answer.status_code == status
    assert world.upstreams.calls() == 0


def test_adopted_leads_stand_in_the_order_of_instantly(world: World) -> None:
    emails = ["zoe@x.example", "ada@x.example", "mia@x.example"]
    for email in emails:
        world.put_into_instantly(email, LONG_AGO)
    assert counted(world) == (0, 3, 0, 0)
    assert world.rows() == emails
