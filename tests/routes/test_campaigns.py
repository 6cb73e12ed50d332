"""Campaigns: create one and bill it, read and list them, switch on and off.

What a failed creation leaves behind is told in test_undo, paging in test_pages.
"""

import json
import re
from typing import Any
from uuid import UUID, uuid4

import pytest
from stand_in import RecordedRequest
from world import ORG, Campaign, World, campaign_request

CREATE = ("POST", "/api/v2/campaigns")
CAMPAIGN_FIELDS = set(
    "id instantlyCampaignId name status orgId clerkOrgId brandId appId runId"
    " parentRunId metadata createdAt updatedAt".split()
)
STEP = {"subject": "Hello", "bodyHtml": "<p>Hi</p>"}
NEXT = {**STEP, "daysSinceLastStep": 1}


def only(requests: list[RecordedRequest]) -> RecordedRequest:
    (request,) = requests
    return request


def sent(world: World) -> dict[str, Any]:
    """The one body that went to Instantly's POST /campaigns."""
    return only(world.upstreams.instantly_http.calls(*CREATE)).json


def sent_steps(world: World) -> list[dict[str, Any]]:
    (sequence,) = sent(world)["sequences"]
    return sequence["steps"]


def sent_schedule(world: World) -> dict[str, Any]:
    (schedule,) = sent(world)["campaign_schedule"]["schedules"]
    return schedule


def in_instantly(world: World, campaign: Campaign) -> dict[str, Any]:
    return world.campaigns()[campaign["instantlyCampaignId"]]


# Creating: what happens when all goes well


def test_a_campaign_is_created_as_a_draft(world):
    answer = world.create()
    assert answer.status_code == 201
    campaign = answer.get_json()["campaign"]
    ((instantly_id, held),) = world.campaigns().items()
    assert str(UUID(campaign["id"])) == campaign["id"]
    shown = {"instantlyCampaignId": instantly_id, "name": "Autumn", "status": "draft"}
    assert answer.get_json() == {
        "success": True,
        "campaign": {"id": campaign["id"], **shown},
        "warnings": [],
    }
    assert held["status"] == 0
    assert world.runs() == ["completed"]
    assert world.upstreams.runs.billed() == {"instantly-campaign-create": 1}


def test_the_row_holds_what_was_asked_for(world):
    parent = str(uuid4())
    world.upstreams.runs.known_parents.add(parent)
    campaign = world.created(runId=parent, metadata={"a": 1})
    shown = world.shown(campaign)
    assert shown.keys() >= CAMPAIGN_FIELDS
    assert {name: shown[name] for name in campaign} == campaign
    assert {name: shown[name] for name in ORG} == ORG
    assert shown["metadata"] == {"a": 1}
    assert [shown["runId"]] == list(world.upstreams.runs.runs)
    assert shown["parentRunId"] == parent


@pytest.mark.parametrize("left_out", [{}, {"runId": None, "metadata": None}])
def test_without_a_run_of_the_caller_the_run_has_no_parent(world, left_out):
    shown = world.shown(world.created(**left_out))
    assert "parentRunId" not in only(world.upstreams.runs_http.calls("POST", "/v1/runs")).json
    assert (shown["parentRunId"], shown["metadata"]) == (None, None)


def test_the_smallest_request_to_instantly(world):
    world.created()
    request = only(world.upstreams.instantly_http.requests)
    assert (request.method, request.path, request.query) == (*CREATE, {})
    schedule = {
        "name": sent_schedule(world)["name"],
        "timing": {"from": "08:00", "to": "17:00"},
        "days": {str(day): 1 <= day <= 5 for day in range(7)},
        "timezone": "America/Chicago",
    }
    assert request.json == {
        "name": "Autumn",
        "campaign_schedule": {"schedules": [schedule]},
        "stop_on_reply": True,
        "insert_unsubscribe_header": True,
    }


@pytest.mark.parametrize("org", ["ö/ü a&b=c", "100%", "x" * 255, "'; DROP TABLE x; --😀"])
def test_ids_are_taken_as_they_are(world, org):
    world.upstreams.keys.organizations[org] = "key-1"
    shown = world.shown(world.created(**dict.fromkeys(ORG, org)))
    assert {shown[name] for name in ORG} == {org}
    assert only(world.upstreams.keys_http.requests).query == {"clerkOrgId": [org]}


def test_the_same_request_twice_makes_two_campaigns(world):
    assert world.created()["id"] != world.created()["id"]
    assert (len(world.campaigns()), world.billed()) == (2, 2)


# Creating: what each field becomes


@pytest.mark.parametrize(
    ("waits", "delays"),
    [
        ([0, 3, 0, 5, 2**31 - 1], [3, 0, 5, 2**31 - 1, 0]),
        # The first one's may be absent.
        ([None, 4], [4, 0]),
        ([None], [0]),
        ([None] + [1] * 49, [1] * 49 + [0]),
    ],
    ids=["five", "two", "one", "fifty"],
)
def test_waits_before_steps_become_waits_after_steps(world, waits, delays):
    sequence = [STEP if wait is None else {**STEP, "daysSinceLastStep": wait} for wait in waits]
    world.created(sequence=sequence)
    steps = sent_steps(world)
    assert [step["delay"] for step in steps] == delays
    assert all(step.get("delay_unit", "days") == "days" for step in steps)
    variant = {"subject": "Hello", "body": "<p>Hi</p>"}
    assert all((s["type"], s["variants"]) == ("email", [variant]) for s in steps)


def test_variants_of_a_step_are_sent_in_their_order(world):
    # An empty subject continues the thread.
    subjects = ["S0", "", "S2"]
    variants = [{"subject": subject, "bodyHtml": f"Text {subject}"} for subject in subjects]
    world.created(sequence=[STEP, {"variants": variants, "daysSinceLastStep": 2}])
    first, second = sent_steps(world)
    assert len(first["variants"]) == 1
    expected = [{"subject": subject, "body": f"<p>Text {subject}</p>"} for subject in subjects]
    assert second["variants"] == expected


@pytest.mark.parametrize(
    ("body", "sent_body"),
    [
        ("<p>Hi {{firstName}}</p>", "<p>Hi {{firstName}}</p>"),
        ("1 < 2 & 3\n4", "<p>1 &lt; 2 &amp; 3<br/>4</p>"),
        ("Before<div>inside</div>after", "<p>Before</p><div>inside</div><p>after</p>"),
    ],
)
def test_no_word_of_a_body_is_lost_in_instantly(world, body, sent_body):
    campaign = world.created(sequence=[{"subject": "S", "bodyHtml": body}])
    assert sent_steps(world)[0]["variants"][0]["body"] == sent_body
    kept = in_instantly(world, campaign)["sequences"][0]["steps"][0]
    assert kept["variants"][0]["body"] == sent_body


def test_days_become_their_numbers(world):
    for number, day in enumerate(("sun", "mon", "tue", "wed", "thu", "fri", "sat")):
        world.upstreams.forget_requests()
        world.created(schedule={"days": [day]})
        days = sent_schedule(world)["days"]
        assert [n for n, sends in days.items() if sends] == [str(number)]


def test_a_whole_schedule(world):
    schedule = {
        "timezone": "Europe/Isle_of_Man",
        "from": "00:00",
        "to": "23:59",
        "days": ["sun", "sat", "sat"],
        "startDate": "2027-02-28",
        "endDate": "2027-02-28",
    }
    world.created(schedule=schedule)
    body = sent(world)["campaign_schedule"]
    assert (body["start_date"], body["end_date"]) == ("2027-02-28", "2027-02-28")
    (only_schedule,) = body["schedules"]
    assert only_schedule["timing"] == {"from": "00:00", "to": "23:59"}
    assert only_schedule["timezone"] == "Europe/Isle_of_Man"
    assert only_schedule["days"] == {str(day): day in (0, 6) for day in range(7)}


@pytest.mark.parametrize("schedule", [{}, {"from": "07:30"}, {"to": "18:00"}, {"days": ["mon"]}])
def test_what_a_schedule_leaves_out_has_a_default(world, schedule):
    world.created(schedule=schedule)
    body = sent_schedule(world)
    assert body["timing"] == {"from": "08:00", "to": "17:00"} | {
        name: schedule[name] for name in ("from", "to") if name in schedule
    }
    assert body["days"]["1"] is True
    assert body["days"]["5"] is ("days" not in schedule)
    assert body["timezone"] == "America/Chicago"


@pytest.mark.parametrize(
    ("name", "listed"),
    [
        ("Europe/Berlin", "Europe/Belgrade"),
        (" europe/berlin\n", "Europe/Belgrade"),
        ("America/Los_Angeles", "America/Dawson"),
    ],
)
def test_a_timezone_is_sent_by_a_name_that_instantly_knows(world, name, listed):
    world.created(schedule={"timezone": name})
    assert sent_schedule(world)["timezone"] == listed


def test_what_its_author_can_hardly_mean_is_told_and_to_a_repeat_again(world):
    schedule = {"timezone": "America/Los_Angeles", "endDate": "2020-01-01"}
    body = campaign_request(name=" ", schedule=schedule)
    body["sequence"] = [{"subject": "", "bodyHtml": "Hi {{first_name}}"}]
    answers = [
        world.send("POST", "/campaigns", body, headers={"Idempotency-Key": "key"}) for _ in range(2)
    ]
    assert [answer.status_code for answer in answers] == [201, 201]
    first, again = (answer.get_json() for answer in answers)
    assert first == again
    assert [warning.partition(":")[0] for warning in first["warnings"]] == [
        "name",
        "schedule.timezone",
        "schedule.endDate",
        "Step 1",
        "Step 1, body",
    ]
    assert len(world.campaigns()) == 1


NUMBERS = ("dailyLimit", "dailyMaxLeads", "emailGap", "randomWaitMax")
AT_LEAST_ONE = ("dailyLimit", "dailyMaxLeads")
SWITCHES = tuple(
    "stopOnReply stopOnAutoReply stopForCompany openTracking linkTracking textOnly"
    " insertUnsubscribeHeader prioritizeNewLeads matchLeadEsp allowRiskyContacts"
    " disableBounceProtect".split()
)
LISTS = ("ccList", "bccList")
SETTINGS = {
    **{name: [int(name in AT_LEAST_ONE), 2**31 - 1] for name in NUMBERS},
    **{name: [True, False] for name in SWITCHES},
    **{name: [["a@x.example", "b@x.example"], []] for name in LISTS},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_becomes_the_option_of_instantly_of_the_same_name(world, name):
    option = re.sub("[A-Z]", lambda letter: f"_{letter[0].lower()}", name)
    for value in SETTINGS[name]:
        world.upstreams.forget_requests()
        world.created(settings={name: value})
        body = sent(world)
        assert (body[option], type(body[option])) == (value, type(value))
        protections = {"stop_on_reply": True, "insert_unsubscribe_header": True}
        options = {key: body[key] for key in body.keys() - {"name", "campaign_schedule"}}
        assert options == {**protections, option: value}


SCHEDULE = ("timezone", "from", "to", "days", "startDate", "endDate")
NOTHING = [
    dict.fromkeys(("runId", "metadata", "accountIds", "sequence", "schedule", "settings")),
    dict.fromkeys(("runId", "accountIds", "sequence", "schedule", "settings"), ""),
    {"schedule": dict.fromkeys(SCHEDULE), "settings": dict.fromkeys(SETTINGS)},
    {"schedule": dict.fromkeys(("days", "startDate", "endDate"), "")},
    {"settings": dict.fromkeys(SETTINGS, "")},
]


@pytest.mark.parametrize("nothing", NOTHING, ids=str)
def test_null_and_for_what_is_no_text_an_empty_text_are_like_a_field_left_out(world, nothing):
    world.created()
    least = sent(world)
    world.upstreams.forget_requests()
    world.created(**nothing)
    assert sent(world) == least


@pytest.mark.parametrize(
    "step",
    [
        {**STEP, "variants": None, "daysSinceLastStep": None},
        {**STEP, "variants": "", "daysSinceLastStep": ""},
        {"variants": [STEP], "subject": None, "bodyHtml": None},
    ],
)
def test_a_step_may_hold_null_for_what_it_leaves_out(world, step):
    world.created(sequence=[step])
    variant = {"subject": "Hello", "body": "<p>Hi</p>"}
    assert sent_steps(world) == [{"type": "email", "delay": 0, "variants": [variant]}]


SENDERS = ["lena@try-northbeam.example", "Marc@Try-Northbeam.example"]


@pytest.mark.parametrize("are_lost", [False, True])
def test_senders_become_the_email_list_and_if_instantly_lost_it_are_set_again(world, are_lost):
    world.upstreams.instantly.loses_email_list = are_lost
    campaign = world.created(accountIds=[SENDERS[0], f"  {SENDERS[1]} "])
    assert sent(world)["email_list"] == SENDERS
    repairs = world.upstreams.instantly_http.calls("PATCH", ".*")
    path = f"/api/v2/campaigns/{campaign['instantlyCampaignId']}"
    repair = (path, {"email_list": SENDERS})
    assert [(call.path, call.json) for call in repairs] == ([repair] if are_lost else [])
    assert in_instantly(world, campaign)["email_list"] == SENDERS


@pytest.mark.parametrize(
    ("given", "option"),
    [
        (lambda emails: {"accountIds": emails}, "email_list"),
        (lambda emails: {"settings": {"ccList": emails}}, "cc_list"),
        (lambda emails: {"settings": {"bccList": emails}}, "bcc_list"),
    ],
    ids=["senders", "copies", "blind copies"],
)
def test_an_address_that_is_named_twice_is_sent_once_as_it_stands_first(world, given, option):
    emails = ["Ann@senders.test", "bo@senders.test", "ann@SENDERS.test ", "bo@senders.test"]
    world.created(**given(emails))
    assert sent(world)[option] == emails[:2]


def test_without_senders_there_is_nothing_to_lose(world):
    world.upstreams.instantly.loses_email_list = True
    world.created(accountIds=[])
    assert world.upstreams.instantly_http.calls("PATCH", ".*") == []


def test_senders_that_cannot_be_set_again_undo_the_campaign(world):
    world.upstreams.instantly.loses_email_list = True
    instantly_http, before = world.upstreams.instantly_http, world.state()
    instantly_http.fail("PATCH", ".*", status=400, body={"message": "no such sender"})
    answer = world.create(accountIds=SENDERS)
    assert answer.status_code == 422
    assert answer.get_json()["details"] == {"status": 400, "message": "no such sender"}
    assert world.state() == before
    assert (world.runs(), world.billed()) == (["failed"], 0)


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"integers": [0, -1, 2**53 + 1, -(10**30)], "floats": [-0.1, 1e-7, 123456789.123456789]},
        {"integer": 1, "float": 1.5, "truth": [True, False, None], "text": "1"},
        {"text": "Grüße \u2028 😀 \" \\ / \t\n\r \x01 \x7f ' ; --", "": "", " ": " "},
        {"ключ": {"鍵": "clé"}, "%s": "%(name)s", "{}": "{0}", "snake_case": 2, "camelCase": 3},
        {"many": {str(n): n for n in range(2000)}, "long": "x" * 100_000, "empty": [[], {}, ""]},
        {"deep": json.loads("[" * 50 + "1" + "]" * 50)},
    ],
    ids=["nothing", "numbers", "types", "text", "keys", "much", "depth"],
)
def test_metadata_is_kept_exactly(world, metadata):
    shown = world.shown(world.created(metadata=metadata))
    # As text, since to Python 1 is 1.0 and true.
    kept, given = (json.dumps(value, sort_keys=True) for value in (shown["metadata"], metadata))
    assert kept == given
    assert world.listed("/campaigns/by-org/org-1")["campaigns"] == [shown]


# Creating: what is refused before anything is called


def step(index: int, **fields: Any) -> dict[str, Any]:
    """A sequence whose step of this index, 0 or 1, is no good."""
    return {"sequence": [STEP, fields][1 - index :]}


TWO_LINES = [
    f"Hello{line_break}Bcc: eve@widgets.example"
    for line_break in ("\n", "\r\n", "\r", "\v", "\f", "\x85", "\u2028", "\u2029")
]
# What is refused, and under which name; see test_errors for what no route takes.
INVALID = [
    *(({name: "x" * 256}, name) for name in ORG),
    *(({"metadata": bad}, "metadata") for bad in ([], "x")),
    # Senders
    ({"accountIds": "a@x.example"}, "accountIds"),
    *(({"accountIds": ["a@x.example", bad]}, "accountIds.1") for bad in ("nobody", "", None)),
    # Sequences
    *(({"sequence": bad}, "sequence") for bad in ([], {}, [STEP, *[NEXT] * 50])),
    ({"sequence": ["x"]}, "sequence.0"),
    (step(0, bodyHtml="x"), "sequence.0.subject"),
    (step(0, subject="x"), "sequence.0.bodyHtml"),
    (step(0, **STEP | {"subject": None}), "sequence.0.subject"),
    *((step(1, **NEXT | {"subject": bad}), "sequence.1.subject") for bad in TWO_LINES),
    *(
        (step(0, variants=[STEP, STEP | {"subject": bad}]), "sequence.0.variants.1.subject")
        for bad in TWO_LINES
    ),
    *((step(0, **STEP | {"bodyHtml": bad}), "sequence.0.bodyHtml") for bad in (5, " ")),
    (step(0, variants=[STEP], subject="x"), "sequence.0.variants"),
    (step(0, variants=[STEP], bodyHtml="x"), "sequence.0.variants"),
    (step(0, variants=[]), "sequence.0.variants"),
    (step(0, variants=[STEP, {"subject": "x"}]), "sequence.0.variants.1.bodyHtml"),
    (step(0, variants=[STEP, {"bodyHtml": "x"}]), "sequence.0.variants.1.subject"),
    (step(0, **NEXT), "sequence.0.daysSinceLastStep"),
    (step(1, **STEP), "sequence.1.daysSinceLastStep"),
    *(
        (step(1, **STEP | {"daysSinceLastStep": bad}), "sequence.1.daysSinceLastStep")
        for bad in (-1, "1", 1.0, True, None, 2**31)
    ),
    # Schedules
    ({"schedule": []}, "schedule"),
    *(
        ({"schedule": {name: bad}}, f"schedule.{name}")
        for name, bads in {
            "timezone": ["", "Mars/Base", "../etc/passwd", "Factory"],
            "from": ["8:00", "24:00", "08:60", "08:00\n", "\u0660\u0668:\u0660\u0660", 8],
            "to": ["17.00", "25:00", "17:00\n", "", "07:59", "08:00"],
            "days": [[], "mon"],
            "startDate": [" ", "28.02.2027", "2027-02-29", 20270228],
            "endDate": ["2027-02-29", 20270228],
        }.items()
        for bad in bads
    ),
    ({"schedule": {"from": "17:00"}}, "schedule.to"),
    *(({"schedule": {"days": ["mon", bad]}}, "schedule.days.1") for bad in ("Mon", 1)),
    ({"schedule": {"startDate": "2027-03-01", "endDate": "2027-02-28"}}, "schedule.endDate"),
    # Settings
    ({"settings": []}, "settings"),
    *(
        ({"settings": {name: bad}}, f"settings.{name}")
        for names, bads in (
            (NUMBERS, [-1, "1", 1.5, True, 2**31, 10**300]),
            (AT_LEAST_ONE, [0]),
            (SWITCHES, [1, "true"]),
            (LISTS, ["a@x.example"]),
            (("stop_on_reply", "stopOnClick", "name"), [True, None, ""]),
        )
        for name in names
        for bad in bads
    ),
    *(({"settings": {name: ["a@x.example", "nobody"]}}, f"settings.{name}.1") for name in LISTS),
]


@pytest.mark.parametrize("path", dict.fromkeys(path for _, path in INVALID))
def test_an_invalid_campaign_is_refused_by_field_and_nothing_is_called(world, path):
    for changes in (changes for changes, refused in INVALID if refused == path):
        answer = world.create(**changes)
        assert (answer.status_code, answer.get_json()["error"]) == (400, "Invalid request"), changes
        assert list(answer.get_json()["details"]) == [path], changes
    assert world.upstreams.calls() == 0
    assert world.campaign_rows() == []


CHANGEABLE = {"name", "accountIds", "sequence", "schedule", "settings"}


@pytest.mark.parametrize(
    "path", dict.fromkeys(path for changes, path in INVALID if changes.keys() <= CHANGEABLE)
)
def test_a_change_is_refused_like_a_creation(world, campaign, path):
    for changes in (changes for changes, refused in INVALID if refused == path):
        answer = world.send("PATCH", world.path(), changes)
        assert (answer.status_code, list(answer.get_json()["details"])) == (400, [path]), changes
    assert world.upstreams.calls() == 0


# Reading


def test_times_are_utc_with_milliseconds(world, campaign):
    world.db.connection.execute(
        "UPDATE instantly_campaigns SET created_at = '2026-02-25 14:00:00+02',"
        " updated_at = '2026-12-31 23:59:59.9994+00'"
    )
    assert world.shown()["createdAt"] == "2026-02-25T12:00:00.000Z"
    assert world.shown()["updatedAt"] == "2026-12-31T23:59:59.999Z"


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "", None),
        ("GET", "/configuration", None),
        ("PATCH", "", {"name": "Winter"}),
        ("PATCH", "/status", {"status": "active"}),
        ("GET", "/leads", None),
        ("POST", "/leads", {"orgId": "org-1", "leads": [{"email": "a@x.example"}]}),
        ("DELETE", "/leads", {"emails": ["a@x.example"]}),
        ("GET", "/analytics", None),
        ("GET", "/sending-status", None),
        ("POST", "/reconcile", {}),
    ],
)
def test_what_is_no_id_of_a_campaign_is_not_found(world, campaign, method, path, body):
    known = campaign["id"]
    alike = [known.replace("-", ""), f"{{{known}}}", f"urn:uuid:{known}", f"{known}0"]
    alike += [f"%20{known}", f"{known}%0A", campaign["instantlyCampaignId"]]
    for odd_id in (*alike, str(uuid4()), "0", "%00", "%ff", "\u0660" * 32, "x" * 5000):
        answer = world.send(method, f"/campaigns/{odd_id}{path}", body)
        not_found = {"error": "Campaign not found"}
        assert (answer.status_code, answer.get_json()) == (404, not_found), odd_id
    assert world.upstreams.calls() == 0


def test_an_organisations_campaigns_are_listed_newest_first_as_they_are_shown(world):
    world.created(orgId="org-2")
    campaigns = [world.created() for _ in range(3)]
    assert world.listed("/campaigns/by-org/org-1") == {
        "campaigns": [world.shown(campaign) for campaign in reversed(campaigns)],
        "count": 3,
        "total": 3,
        "nextCursor": None,
    }


def test_an_unknown_organisation_has_no_campaigns(world, campaign):
    empty = {"campaigns": [], "count": 0, "total": 0, "nextCursor": None}
    for org_id in ("org-", "ORG-1", "org-1%20", "clerk-1", "%25", "org%5F1"):
        assert world.listed(f"/campaigns/by-org/{org_id}") == empty


def test_an_organisation_with_nul_in_its_name_is_a_bad_request(world):
    answer = world.send("GET", "/campaigns/by-org/org-1%00")
    assert (answer.status_code, answer.get_json()["error"]) == (400, "Invalid request")
    assert list(answer.get_json()["details"]) == ["orgId"]


# Switching on and off


def test_a_campaign_is_switched_to_and_fro_in_instantly_and_in_our_row(world, campaign):
    active, paused = ("active", "activate", 1), ("paused", "pause", 2)
    completed = ("completed", "pause", 2)
    for status, verb, number in (active, active, paused, active, completed, active):
        world.upstreams.forget_requests()
        answer = world.switch(status)
        assert (answer.status_code, answer.get_json()["campaign"]) == (200, world.shown())
        assert world.shown()["status"] == status
        request = only(world.upstreams.instantly_http.requests)
        path = f"/api/v2/campaigns/{campaign['instantlyCampaignId']}/{verb}"
        assert (request.method, request.path, request.body) == ("POST", path, b"")
        assert in_instantly(world, campaign)["status"] == number
        assert world.upstreams.runs_http.requests == []


def test_a_switch_moves_the_time_of_update_only(world, campaign):
    world.db.connection.execute(
        "UPDATE instantly_campaigns SET created_at = '2020-01-01Z', updated_at = '2020-01-01Z'"
    )
    shown = world.switch("active").get_json()["campaign"]
    assert shown["createdAt"] == "2020-01-01T00:00:00.000Z"
    assert shown["updatedAt"] > shown["createdAt"]


@pytest.mark.parametrize("status", ["", "Active", "bounce_protect"])
def test_a_wrong_status_is_told_the_right_ones(world, campaign, status):
    answer = world.switch(status)
    assert (answer.status_code, answer.get_json()["error"]) == (400, "Invalid status")
    assert answer.get_json()["allowed"] == ["active", "paused", "completed"]
    assert world.upstreams.instantly_http.requests == []
    assert world.shown()["status"] == "draft"


@pytest.mark.parametrize("status", ["active", "completed"])
def test_trouble_that_instantly_reports_wins(world, campaign, status):
    body = {**in_instantly(world, campaign), "status": -99}
    world.upstreams.instantly_http.fail("POST", ".*/(activate|pause)", status=200, body=body)
    assert world.switch(status).get_json()["campaign"]["status"] == "account_suspended"
    assert world.shown()["status"] == "account_suspended"
    assert world.switch(status).get_json()["campaign"]["status"] == status


@pytest.mark.parametrize(
    ("fault", "status", "error"),
    [
        ({"status": 401}, 422, "Instantly API key was rejected"),
        ({"status": 402}, 422, "Instantly rejected the request"),
        ({"status": 429, "times": None}, 503, "Instantly rate limit reached"),
        ({"status": 500, "times": None}, 502, "Instantly unavailable"),
        ({"status": 200, "body": []}, 502, "Instantly unavailable"),
    ],
)
def test_a_failed_switch_leaves_our_row_as_it_was(world, campaign, fault, status, error):
    assert world.switch("paused").status_code == 200
    before = world.shown()
    world.upstreams.instantly_http.fail("POST", ".*/(activate|pause)", **fault)
    answer = world.switch("active")
    assert (answer.status_code, answer.get_json()["error"]) == (status, error)
    assert world.shown() == before


@pytest.mark.parametrize("fault", [{"status": 503, "times": 2}, {"how": "drop_after"}], ids=str)
def test_a_switch_is_tried_again(world, campaign, fault):
    world.upstreams.instantly_http.fail("POST", ".*/activate", **fault)
    assert world.switch("active").status_code == 200
