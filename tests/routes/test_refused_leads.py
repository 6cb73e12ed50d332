"""POST /campaigns/{campaignId}/leads: whom it does not write to, and what else it is told to do."""

import random
from itertools import product
from typing import Any

import pytest
from world import World, addresses, leads_of

from instantly.schemas.leads import REFUSABLE, RESERVED_NAMES

ADD = ("POST", "/api/v2/leads/add")
LEAD = "ada@x.example"
STATUSES = ("active", "contacted", "replied", "interested", "skipped", "bounced", "unsubscribed")
EVENTS = ("email_sent", "email_opened", "reply_received", "email_bounced", "lead_unsubscribed")
NOT_SENT = "nothing is sent until it is activated."

pytestmark = pytest.mark.usefixtures("campaign")


@pytest.fixture
def elsewhere(world: World) -> World:
    """Another campaign of the organisation, of another brand."""
    return world.another(brandId="brand-2")


def uploaded(world: World, emails: list[str], **changes: Any) -> dict[str, Any]:
    answer = world.upload(leads_of(emails), **changes)
    assert answer.status_code == 201, answer.text
    told: dict[str, Any] = answer.get_json()
    assert told["added"] + told["duplicates"] + len(told["rejected"]) == told["total"]
    return told


def reasons(answer: dict[str, Any]) -> dict[str, str]:
    return {lead["email"]: lead["reason"] for lead in answer["rejected"]}


def sent(world: World) -> list[str]:
    calls = world.upstreams.instantly_http.calls(*ADD)
    return [lead["email"] for call in calls for lead in call.json["leads"]]


def set_status(world: World, email: str, status: str) -> None:
    world.hold(email)
    world.db.connection.execute(
        "UPDATE instantly_leads SET status = %s WHERE campaign_id = %s AND email = %s",
        [status, world.campaign["id"], email],
    )


def prove(world: World, email: str, *facts: str) -> None:
    """As a reconcile does."""
    world.db.connection.execute(
        "INSERT INTO instantly_lead_activity (campaign_id, lead_email, step, proved)"
        " VALUES (%s, %s, 0, %s)",
        [world.campaign["id"], email, list(facts)],
    )


# Nobody is written to after a no


@pytest.mark.parametrize(
    ("event_type", "fact"), [("lead_unsubscribed", "unsubscribed"), ("email_bounced", "bounced")]
)
def test_who_said_no_to_one_campaign_is_not_written_to_from_another(
    world, elsewhere, event_type, fact
):
    elsewhere.receive(event_type, lead=LEAD)
    answer = uploaded(world, ["Ada@X.example", "new@x.example", LEAD])
    assert reasons(answer) == {"Ada@X.example": fact}
    assert (answer["added"], answer["duplicates"]) == (1, 1)
    assert sent(world) == world.rows() == ["new@x.example"]
    assert world.in_instantly() == world.lead_rows()
    assert (world.runs(), world.billed()) == (["completed"], 1)


@pytest.mark.parametrize("refuse", [None, [], *([word] for word in REFUSABLE), REFUSABLE])
def test_those_are_refused_who_are_what_is_named(world, elsewhere, refuse):
    """Where several words are true, the first of REFUSABLE is told."""
    facts: dict[str, set[str]] = {
        "u@x.example": {"unsubscribed", "bounced", "replied", "contacted", "held"},
        "b@x.example": {"bounced", "contacted", "held"},
        "r@x.example": {"replied", "contacted"},
        "c@x.example": {"contacted"},
        "h@x.example": {"held"},
        "n@x.example": set(),
    }
    for status in ("unsubscribed", "bounced"):
        set_status(elsewhere, f"{status[0]}@x.example", status)
    elsewhere.hold("h@x.example")
    elsewhere.receive("email_sent", "email_bounced", "reply_received", lead="u@x.example")
    prove(elsewhere, "r@x.example", "replied")
    for email in ("r@x.example", "c@x.example"):
        elsewhere.receive("email_sent", lead=email)
    words = ["unsubscribed", "bounced"] if refuse is None else refuse
    told = {
        email: next(word for word in REFUSABLE if word in facts[email] and word in words)
        for email in facts
        if facts[email] & set(words)
    }
    assert reasons(uploaded(world, list(facts), refuse=refuse)) == told
    assert set(sent(world)) == facts.keys() - told.keys()


@pytest.mark.parametrize("seed", range(4))
def test_an_upload_refuses_exactly_those_of_whom_their_status_says_it(world, elsewhere, seed):
    choose = random.Random(seed)
    emails = addresses(60)
    stranger = world.another(clerkOrgId="clerk-2")
    for place in (elsewhere, world.another(), stranger):
        for email in choose.sample(emails, 25):
            set_status(place, email, choose.choice(STATUSES))
        for email in choose.sample(emails, 12):
            prove(place, email, *choose.sample(["contacted", "opened", *REFUSABLE[:3]], 2))
        for email in choose.sample(emails, 12):
            place.receive(choose.choice(EVENTS), lead=email, step=choose.randrange(3))
    body = {"clerkOrgId": "clerk-1", "emails": emails}
    statuses = world.send("POST", "/leads/status", body).get_json()["leads"]
    for lead in statuses:
        lead["held"] = lead["known"]
    words = choose.sample(REFUSABLE, 3)
    told = {
        lead["email"]: next(word for word in REFUSABLE if word in words and lead[word])
        for lead in statuses
        if any(lead[word] for word in words)
    }
    assert 10 < len(told) < 60
    assert reasons(uploaded(world, emails, refuse=words)) == told
    assert set(sent(world)) == set(emails) - told.keys()


def test_what_this_campaign_holds_is_a_duplicate_whatever_is_true_of_it(world, elsewhere):
    world.add([LEAD])
    elsewhere.hold(LEAD)
    for place in (world, elsewhere):
        place.receive("email_sent", "reply_received", "lead_unsubscribed", lead=LEAD)
    world.upstreams.forget_requests()
    answer = uploaded(world, [LEAD], refuse=list(REFUSABLE))
    assert (answer["added"], answer["duplicates"], answer["rejected"]) == (0, 1, [])
    assert sent(world) == []


def test_who_was_deleted_from_this_campaign_after_a_no_does_not_come_back(world):
    world.add([LEAD])
    world.receive("lead_unsubscribed", lead=LEAD)
    world.delete([LEAD])
    assert reasons(uploaded(world, [LEAD])) == {LEAD: "unsubscribed"}
    assert world.rows() == []


def test_a_lead_that_only_instantly_holds_is_not_adopted_after_a_no(world, elsewhere):
    world.put_into_instantly(LEAD)
    elsewhere.receive("lead_unsubscribed", lead=LEAD)
    assert reasons(uploaded(world, [LEAD])) == {LEAD: "unsubscribed"}
    assert world.rows() == []


def test_a_no_counts_that_comes_as_late_as_the_run(world, elsewhere, statements):
    """It is looked up under the lock, right before the leads are sent."""
    statements.before("insert_open_run", lambda: elsewhere.receive("lead_unsubscribed", lead=LEAD))
    assert reasons(uploaded(world, [LEAD])) == {LEAD: "unsubscribed"}


def test_a_repeat_gets_the_refusals_of_the_first_answer(world, elsewhere):
    elsewhere.receive("email_bounced", lead=LEAD)
    key = {"Idempotency-Key": "order-1"}
    body = {"orgId": "org-1", "leads": leads_of([LEAD, "nobody"]), "invalid": "reject"}
    first, repeat = (world.send("POST", world.path("/leads"), body, headers=key) for _ in "12")
    assert (first.status_code, first.get_json()) == (201, repeat.get_json())
    assert reasons(first.get_json()) == {"nobody": "malformed", LEAD: "bounced"}
    assert repeat.headers["Idempotent-Replayed"] == "true"


# What else an upload is told to do


@pytest.mark.parametrize("values", list(product([True, False, None], repeat=2)))
def test_instantly_is_told_to_skip_what_it_holds_elsewhere(world, values):
    names = ("skipIfInWorkspace", "skipIfInCampaign")
    world.put_into_instantly("known@x.example", campaign=world.created())
    answer = uploaded(
        world, ["known@x.example", "new@x.example"], **dict(zip(names, values, strict=True))
    )
    is_skipped = {"known@x.example": "skipped"} if True in values else {}
    assert reasons(answer) == is_skipped
    (request,) = world.upstreams.instantly_http.calls(*ADD)
    flags = dict(zip(("skip_if_in_workspace", "skip_if_in_campaign"), values, strict=True))
    told = {name: value for name, value in request.json.items() if name.startswith("skip")}
    assert told == {name: True for name, value in flags.items() if value}


def test_malformed_leads_are_named_and_the_others_uploaded(world):
    long_address = f"{'a' * 400}@x.example"
    leads = [
        {"email": "nobody"},
        {"email": LEAD},
        "ada@x.example",
        {"email": 5, "firstName": True},
        {"email": "b@x.example", "customVariables": {"deep": {}, "step": 1, "ok": 1}},
        {"email": long_address},
        {"firstName": "Ada"},
        {"email": "ADA@x.example"},
    ]
    answer = world.upload(leads, invalid="reject").get_json()
    assert (answer["total"], answer["added"], answer["duplicates"]) == (8, 1, 1)
    assert {lead.pop("reason") for lead in answer["rejected"]} == {"malformed"}
    told = [(lead["index"], lead["email"], set(lead["details"])) for lead in answer["rejected"]]
    assert told == [
        (0, "nobody", {"email"}),
        (2, None, {"lead"}),
        (3, None, {"email", "firstName"}),
        (4, "b@x.example", {"customVariables.deep", "customVariables.step"}),
        (5, long_address, {"email"}),
        (6, None, {"email"}),
    ]
    assert world.rows() == [LEAD]
    assert world.billed() == 1


def test_when_all_leads_are_malformed_nothing_is_sent_or_billed(world):
    answer = world.upload([{"email": "nobody"}, None], invalid="reject").get_json()
    assert (answer["total"], answer["added"], len(answer["rejected"])) == (2, 0, 2)
    assert answer["remainingInPlan"] is None
    assert world.upstreams.instantly_http.requests == []
    assert (world.runs(), world.billed()) == (["completed"], 0)


@pytest.mark.parametrize("name", sorted(RESERVED_NAMES))
def test_a_custom_variable_does_not_hide_a_field_of_a_delivery(world, name):
    leads = [{"email": LEAD, "customVariables": {name: "x", f"{name}s": "x"}}]
    answer = world.upload(leads)
    assert answer.status_code == 400
    assert list(answer.get_json()["details"]) == [f"leads.0.customVariables.{name}"]
    (lead,) = world.upload(leads, invalid="reject").get_json()["rejected"]
    assert list(lead["details"]) == [f"customVariables.{name}"]


@pytest.mark.parametrize(
    ("said", "told"),
    [((7, 5, 9), 5), ((7, None, 9), 7), ((None, None, None), None), ((0, 1, 2), 0)],
)
def test_the_least_that_instantly_says_is_left_in_the_plan_is_told(world, said, told):
    for remaining in said:
        answer = {"created_leads": [], "remaining_in_plan": remaining}
        world.upstreams.instantly_http.fail(*ADD, times=1, status=200, body=answer)
    assert uploaded(world, addresses(3000))["remainingInPlan"] == told


@pytest.mark.parametrize(
    ("status", "warnings"),
    [
        ("draft", [f"The campaign is a draft: {NOT_SENT}"]),
        ("paused", [f"The campaign is paused: {NOT_SENT}"]),
        ("completed", [f"The campaign is completed: {NOT_SENT}"]),
        ("active", []),
        ("accounts_unhealthy", []),
    ],
)
def test_leads_that_will_wait_are_warned_of(world, status, warnings):
    world.db.connection.execute("UPDATE instantly_campaigns SET status = %s", [status])
    assert uploaded(world, [LEAD])["warnings"] == warnings


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        *(({"refuse": bad}, "refuse") for bad in ("unsubscribed", 5, {})),
        *(({"refuse": ["held", bad]}, "refuse.1") for bad in ("erased", "opened", "", None, 5)),
        *(({"skipIfInWorkspace": bad}, "skipIfInWorkspace") for bad in ("yes", 1)),
        *(({"skipIfInCampaign": bad}, "skipIfInCampaign") for bad in ("yes", 0)),
        *(({"invalid": bad}, "invalid") for bad in ("", "skip", 5)),
    ],
)
def test_what_cannot_be_asked_for_is_a_bad_request(world, changes, name):
    answer = world.upload(leads_of([LEAD]), **changes)
    assert (answer.status_code, list(answer.get_json()["details"])) == (400, [name])
    assert world.upstreams.calls() == 0
