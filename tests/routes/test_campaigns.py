"""Campaigns: create one and bill it, read and list them, switch on and off.

What a failed creation leaves behind is told in test_undo, paging in test_pages.
"""

import json
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
from stand_in import RecordedRequest
from world import ORG, Campaign, World, campaign_request

from instantly.config import USER_AGENT

CREATE = ("POST", "/api/v2/campaigns")
CAMPAIGN_FIELDS = {
    *("id", "instantlyCampaignId", "name", "status", "orgId", "clerkOrgId", "brandId", "appId"),
    *("runId", "parentRunId", "metadata", "createdAt", "updatedAt"),
}
STEP = {"subject": "Hello", "bodyHtml": "<p>Hi</p>"}
NEXT = {**STEP, "daysSinceLastStep": 1}


def only(requests: list[RecordedRequest]) -> RecordedRequest:
    (request,) = requests
    return request


def sent(world: World) -> dict[str, Any]:
    """The one body that went to Instantly's POST /campaigns."""
    body: dict[str, Any] = only(world.upstreams.instantly_http.calls(*CREATE)).json
    return body


def sent_steps(world: World) -> list[dict[str, Any]]:
    (sequence,) = sent(world)["sequences"]
    steps: list[dict[str, Any]] = sequence["steps"]
    return steps


def sent_schedule(world: World) -> dict[str, Any]:
    (schedule,) = sent(world)["campaign_schedule"]["schedules"]
    assert isinstance(schedule, dict)
    return schedule


def in_instantly(world: World, campaign: Campaign) -> dict[str, Any]:
    return world.campaigns()[campaign["instantlyCampaignId"]]


# Creating: what happens when all goes well


def test_a_campaign_is_created_as_a_draft(world: World) -> None:
    answer = world.create()
    assert answer.status_code == 201
    campaign = answer.get_json()["campaign"]
    ((instantly_id, held),) = world.campaigns().items()
    assert str(UUID(campaign["id"])) == campaign["id"]
    shown = {"instantlyCampaignId": instantly_id, "name": "Autumn", "status": "draft"}
    assert answer.get_json() == {"success": True, "campaign": {"id": campaign["id"], **shown}}
    assert held["status"] == 0
    assert (world.runs(), world.upstreams.runs.billed()) == (
        ["completed"],
        {"instantly-campaign-create": 1},
    )


def test_the_row_holds_what_was_asked_for(world: World) -> None:
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


def test_without_a_run_of_the_caller_the_run_has_no_parent(world: World) -> None:
    campaign = world.created(runId=None)
    assert "parentRunId" not in only(world.upstreams.runs_http.calls("POST", "/v1/runs")).json
    assert world.shown(campaign)["parentRunId"] is None


def test_the_request_to_key_service_says_who_asks_and_why(world: World) -> None:
    world.created()
    request = only(world.upstreams.keys_http.requests)
    assert (request.method, request.path) == ("GET", "/internal/keys/instantly/decrypt")
    assert request.query == {"clerkOrgId": ["clerk-1"]}
    assert request.headers["X-Api-Key"] == "keys-key"
    assert request.headers["X-Caller-Service"] == "instantly"
    assert request.headers["X-Caller-Method"] == "POST"
    assert request.headers["X-Caller-Path"] == "/campaigns"
    assert request.headers["User-Agent"] == USER_AGENT


def test_the_smallest_request_to_instantly(world: World) -> None:
    world.created()
    request = only(world.upstreams.instantly_http.requests)
    assert (request.method, request.path, request.query) == (*CREATE, {})
    assert request.headers["Authorization"] == "Bearer key-1"
    assert request.headers["User-Agent"] == USER_AGENT
    body = request.json
    assert body["campaign_schedule"]["schedules"][0].pop("name") != ""
    assert body == {
        "name": "Autumn",
        "campaign_schedule": {
            "schedules": [
                {
                    "timing": {"from": "08:00", "to": "17:00"},
                    "days": {str(day): 1 <= day <= 5 for day in range(7)},
                    "timezone": "America/Chicago",
                }
            ]
        },
        "stop_on_reply": True,
        "insert_unsubscribe_header": True,
    }


@pytest.mark.parametrize("org", ["a b", "ö/ü", "a&b=c", "100%", "x" * 255, "org_😀", "+"])
def test_ids_are_taken_as_they_are(world: World, org: str) -> None:
    world.upstreams.keys.organizations[org] = "key-1"
    shown = world.shown(world.created(**dict.fromkeys(ORG, org)))
    assert {shown[name] for name in ORG} == {org}
    assert only(world.upstreams.keys_http.requests).query == {"clerkOrgId": [org]}


def test_the_same_request_twice_makes_two_campaigns(world: World) -> None:
    assert world.created()["id"] != world.created()["id"]
    assert (len(world.campaigns()), world.billed()) == (2, 2)


# Creating: what each field becomes


def test_waits_before_steps_become_waits_after_steps(world: World) -> None:
    days = [0, 3, 0, 5, 2**31 - 1]
    world.created(sequence=[{**STEP, "daysSinceLastStep": wait} for wait in days])
    steps = sent_steps(world)
    assert [step["delay"] for step in steps] == [3, 0, 5, 2**31 - 1, 0]
    assert {step["type"] for step in steps} == {"email"}
    assert all(step.get("delay_unit", "days") == "days" for step in steps)


def test_the_first_wait_may_be_absent(world: World) -> None:
    world.created(sequence=[STEP, {**STEP, "daysSinceLastStep": 4}])
    assert [step["delay"] for step in sent_steps(world)] == [4, 0]


def test_a_single_step_waits_for_nothing(world: World) -> None:
    world.created(sequence=[STEP])
    variant = {"subject": "Hello", "body": "<p>Hi</p>"}
    assert sent_steps(world) == [{"type": "email", "delay": 0, "variants": [variant]}]


def test_fifty_steps_are_taken(world: World) -> None:
    world.created(sequence=[STEP, *[NEXT] * 49])
    assert len(sent_steps(world)) == 50


def test_variants_of_a_step_are_sent_in_their_order(world: World) -> None:
    variants = [{"subject": f"S{n}", "bodyHtml": f"Text {n}"} for n in range(3)]
    world.created(sequence=[STEP, {"variants": variants, "daysSinceLastStep": 2}])
    first, second = sent_steps(world)
    assert len(first["variants"]) == 1
    expected = [{"subject": f"S{n}", "body": f"<p>Text {n}</p>"} for n in range(3)]
    assert second["variants"] == expected


@pytest.mark.parametrize(
    ("body", "sent_body"),
    [
        ("<p>Hi {{firstName}}</p>", "<p>Hi {{firstName}}</p>"),
        ("1 < 2 & 3", "<p>1 &lt; 2 &amp; 3</p>"),
        ("one\ntwo\n\nthree", "<p>one<br/>two</p><p>three</p>"),
        ("Before<div>inside</div>after", "<p>Before</p><div>inside</div><p>after</p>"),
    ],
)
def test_no_word_of_a_body_is_lost_in_instantly(world: World, body: str, sent_body: str) -> None:
    campaign = world.created(sequence=[{"subject": "S", "bodyHtml": body}])
    assert sent_steps(world)[0]["variants"][0]["body"] == sent_body
    kept = in_instantly(world, campaign)["sequences"][0]["steps"][0]
    assert kept["variants"][0]["body"] == sent_body


def test_an_empty_subject_continues_the_thread(world: World) -> None:
    world.created(sequence=[STEP, {**NEXT, "subject": ""}])
    assert sent_steps(world)[1]["variants"][0]["subject"] == ""


def test_days_become_their_numbers(world: World) -> None:
    for number, day in enumerate(("sun", "mon", "tue", "wed", "thu", "fri", "sat")):
        world.upstreams.forget_requests()
        world.created(schedule={"days": [day]})
        days = sent_schedule(world)["days"]
        assert [n for n, sends in days.items() if sends] == [str(number)]


def test_a_whole_schedule(world: World) -> None:
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
def test_what_a_schedule_leaves_out_has_a_default(world: World, schedule: dict[str, Any]) -> None:
    world.created(schedule=schedule)
    body = sent_schedule(world)
    assert body["timing"] == {"from": "08:00", "to": "17:00"} | {
        name: schedule[name] for name in ("from", "to") if name in schedule
    }
    assert body["days"]["1"] is True
    assert body["days"]["5"] is ("days" not in schedule)
    assert body["timezone"] == "America/Chicago"


def test_a_timezone_is_sent_by_a_name_that_instantly_knows(world: World) -> None:
    world.created(schedule={"timezone": "Europe/Berlin"})
    assert sent_schedule(world)["timezone"] == "Europe/Belgrade"


def test_a_timezone_without_an_equal_is_refused_with_the_closest(world: World) -> None:
    answer = world.create(schedule={"timezone": "America/Los_Angeles"})
    assert answer.status_code == 400
    (message,) = answer.get_json()["details"]["schedule.timezone"]
    assert "America/" in message
    assert world.upstreams.calls() == 0


NUMBERS = {
    "dailyLimit": "daily_limit",
    "dailyMaxLeads": "daily_max_leads",
    "emailGap": "email_gap",
    "randomWaitMax": "random_wait_max",
}
SWITCHES = {
    "stopOnReply": "stop_on_reply",
    "stopOnAutoReply": "stop_on_auto_reply",
    "stopForCompany": "stop_for_company",
    "openTracking": "open_tracking",
    "linkTracking": "link_tracking",
    "textOnly": "text_only",
    "insertUnsubscribeHeader": "insert_unsubscribe_header",
    "prioritizeNewLeads": "prioritize_new_leads",
    "matchLeadEsp": "match_lead_esp",
    "allowRiskyContacts": "allow_risky_contacts",
    "disableBounceProtect": "disable_bounce_protect",
}
LISTS = {"ccList": "cc_list", "bccList": "bcc_list"}
AT_LEAST_ONE = ("dailyLimit", "dailyMaxLeads")
VALUES: dict[str, list[Any]] = {
    **{name: [int(name in AT_LEAST_ONE), 50, 2**31 - 1] for name in NUMBERS},
    **{name: [True, False] for name in SWITCHES},
    **{name: [["a@x.example", "b@x.example"], []] for name in LISTS},
}


def test_the_settings_are_seventeen() -> None:
    assert len(VALUES) == 17


@pytest.mark.parametrize(("name", "option"), [*NUMBERS.items(), *SWITCHES.items(), *LISTS.items()])
def test_a_setting_becomes_an_option_of_instantly(world: World, name: str, option: str) -> None:
    for value in VALUES[name]:
        world.upstreams.forget_requests()
        world.created(settings={name: value})
        body = sent(world)
        assert (body[option], type(body[option])) == (value, type(value))
        protections = {"stop_on_reply": True, "insert_unsubscribe_header": True}
        options = {key: body[key] for key in body.keys() - {"name", "campaign_schedule"}}
        assert options == {**protections, option: value}


SENDERS = ["lena@try-northbeam.example", "Marc@Try-Northbeam.example"]


def test_senders_become_the_email_list(world: World) -> None:
    campaign = world.created(accountIds=[SENDERS[0], f"  {SENDERS[1]} "])
    assert sent(world)["email_list"] == SENDERS
    assert world.upstreams.instantly_http.calls("PATCH", ".*") == []
    assert in_instantly(world, campaign)["email_list"] == SENDERS


def test_senders_that_instantly_lost_are_set_again(world: World) -> None:
    world.upstreams.instantly.loses_email_list = True
    campaign = world.created(accountIds=SENDERS)
    repair = only(world.upstreams.instantly_http.calls("PATCH", ".*"))
    assert repair.path == f"/api/v2/campaigns/{campaign['instantlyCampaignId']}"
    assert repair.json == {"email_list": SENDERS}
    assert in_instantly(world, campaign)["email_list"] == SENDERS


@pytest.mark.parametrize("senders", [{}, {"accountIds": []}])
def test_without_senders_there_is_nothing_to_lose(world: World, senders: dict[str, Any]) -> None:
    world.upstreams.instantly.loses_email_list = True
    world.created(**senders)
    assert world.upstreams.instantly_http.calls("PATCH", ".*") == []


def test_senders_that_cannot_be_set_again_undo_the_campaign(world: World) -> None:
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
        None,
        {},
        {"integers": [0, -1, 2**53 + 1, 10**30, -(10**30)]},
        {"floats": [0.1, -1.5, 1e-7, 123456789.123456789]},
        {"integer": 1, "float": 1.5, "truth": [True, False, None], "text": "1"},
        {"text": "Grüße \u2028 😀 \" \\ / \t\n\r \x01 \x7f ' ; --", "": "", " ": " "},
        {"ключ": {"鍵": "clé"}, "%s": "%(name)s", "{}": "{0}"},
        {"snake_case": 1, "camelCase": 2, "__proto__": {"a": 1}, "$ref": "#", "a.b": 3},
        {"empty": [[], {}, [[]], [{}], ""]},
        {"many": {str(n): n for n in range(2000)}, "long": "x" * 100_000},
        {"deep": json.loads("[" * 50 + "1" + "]" * 50)},
    ],
    ids=range(11),
)
def test_metadata_is_kept_exactly(world: World, metadata: dict[str, Any] | None) -> None:
    shown = world.shown(world.created(metadata=metadata))
    # As text, since to Python 1 is 1.0 and true.
    kept, given = (json.dumps(value, sort_keys=True) for value in (shown["metadata"], metadata))
    assert kept == given
    assert world.listed("/campaigns/by-org/org-1")["campaigns"] == [shown]


def test_no_metadata_is_null(world: World) -> None:
    assert world.shown(world.created())["metadata"] is None


# Creating: what is refused before anything is called

ABSENT = object()
IDS = ("orgId", "clerkOrgId", "brandId", "appId")


def step(index: int, **fields: Any) -> dict[str, Any]:
    """A sequence whose step of this index, 0 or 1, is no good."""
    return {"sequence": [STEP, fields][1 - index :]}


INVALID: list[tuple[dict[str, Any], str]] = [
    *(({name: bad}, name) for name in (*IDS, "name") for bad in (ABSENT, None, "", 5)),
    *(({name: "x" * 256}, name) for name in IDS),
    *(({"runId": bad}, "runId") for bad in ("", "run-1", 5)),
    *(({"metadata": bad}, "metadata") for bad in ([], "x", 5)),
    # Senders
    *(({"accountIds": bad}, "accountIds") for bad in ("a@x.example", {"a": 1})),
    *(({"accountIds": ["a@x.example", bad]}, "accountIds.1") for bad in ("nobody", "", None)),
    # Sequences
    *(({"sequence": bad}, "sequence") for bad in ([], {}, "x", [STEP, *[NEXT] * 50])),
    *(({"sequence": [bad]}, "sequence.0") for bad in ("x", None)),
    (step(0, bodyHtml="x"), "sequence.0.subject"),
    (step(0, subject="x"), "sequence.0.bodyHtml"),
    *((step(0, **STEP | {"subject": bad}), "sequence.0.subject") for bad in (5, None)),
    *((step(0, **STEP | {"bodyHtml": bad}), "sequence.0.bodyHtml") for bad in (5, None, " ")),
    (step(0, variants=[STEP], subject="x"), "sequence.0.variants"),
    (step(0, variants=[STEP], bodyHtml="x"), "sequence.0.variants"),
    *((step(0, variants=bad), "sequence.0.variants") for bad in ([], STEP)),
    (step(0, variants=[STEP, {"subject": "x"}]), "sequence.0.variants.1.bodyHtml"),
    (step(0, variants=[STEP, {"bodyHtml": "x"}]), "sequence.0.variants.1.subject"),
    (step(0, variants=[STEP, "x"]), "sequence.0.variants.1"),
    (step(0, **NEXT), "sequence.0.daysSinceLastStep"),
    (step(1, **STEP), "sequence.1.daysSinceLastStep"),
    *(
        (step(1, **STEP | {"daysSinceLastStep": bad}), "sequence.1.daysSinceLastStep")
        for bad in (-1, "1", 1.0, True, None, 2**31)
    ),
    # Schedules
    *(({"schedule": bad}, "schedule") for bad in ([], "x")),
    *(
        ({"schedule": {name: bad}}, f"schedule.{name}")
        for name, bads in {
            "timezone": ["", "Mars/Base", "america/chicago", "../etc/passwd", 5, None],
            "from": ["", "8:00", "24:00", "08:60", "08:00\n", "\u0660\u0668:\u0660\u0660", 8, None],
            "to": ["17.00", "25:00", "17:00\n", 17, None, "07:59", "08:00"],
            "days": [[], "mon", {"mon": True}],
            "startDate": ["", "28.02.2027", "2027-02-29", 20270228],
            "endDate": ["", "28.02.2027", "2027-02-29", 20270228],
        }.items()
        for bad in bads
    ),
    ({"schedule": {"from": "17:00"}}, "schedule.to"),
    *(({"schedule": {"days": ["mon", bad]}}, "schedule.days.1") for bad in ("Mon", 1, None)),
    ({"schedule": {"startDate": "2027-03-01", "endDate": "2027-02-28"}}, "schedule.endDate"),
    # Settings
    *(({"settings": bad}, "settings") for bad in ([], "x")),
    *(
        ({"settings": {name: bad}}, f"settings.{name}")
        for names, bads in (
            (NUMBERS, [-1, "1", 1.5, True, None, 2**31]),
            (AT_LEAST_ONE, [0]),
            (SWITCHES, [1, "true", None]),
            (LISTS, ["a@x.example", None]),
            (("stop_on_reply", "stopOnClick", "name"), [True]),
        )
        for name in names
        for bad in bads
    ),
    *(({"settings": {name: ["a@x.example", "nobody"]}}, f"settings.{name}.1") for name in LISTS),
]


@pytest.mark.parametrize("path", dict.fromkeys(path for _, path in INVALID))
def test_an_invalid_campaign_is_refused_by_field_and_nothing_is_called(
    world: World, path: str
) -> None:
    for changes in (changes for changes, refused in INVALID if refused == path):
        body = {**campaign_request(), **changes}
        body = {name: value for name, value in body.items() if value is not ABSENT}
        answer = world.send("POST", "/campaigns", body)
        assert (answer.status_code, answer.get_json()["error"]) == (400, "Invalid request"), changes
        assert list(answer.get_json()["details"]) == [path], changes
    assert world.upstreams.calls() == 0
    assert world.campaign_rows() == []


# Reading


def test_times_are_utc_with_milliseconds(world: World, campaign: Campaign) -> None:
    world.db.connection.execute(
        "UPDATE instantly_campaigns SET created_at = '2026-02-25 14:00:00+02',"
        " updated_at = '2026-12-31 23:59:59.9994+00'"
    )
    assert world.shown()["createdAt"] == "2026-02-25T12:00:00.000Z"
    assert world.shown()["updatedAt"] == "2026-12-31T23:59:59.999Z"


ODD_IDS: list[Callable[[str], str]] = [
    lambda known: str(uuid4()),
    lambda known: known.replace("-", ""),
    lambda known: "{" + known + "}",
    lambda known: f"urn:uuid:{known}",
    lambda known: f"{known}0",
    lambda known: f"%20{known}",
    lambda known: f"{known}%0A",
    lambda known: "nobody",
    lambda known: "0",
    lambda known: "%00",
    lambda known: "%ff",
    lambda known: "\u0660" * 32,
    lambda known: "x" * 5000,
    lambda known: "'%20OR%20true%20--",
]
ON_A_CAMPAIGN: list[tuple[str, str, dict[str, Any] | None]] = [
    ("GET", "", None),
    ("PATCH", "/status", {"status": "active"}),
    ("GET", "/leads", None),
    ("POST", "/leads", {"orgId": "org-1", "leads": [{"email": "a@x.example"}]}),
    ("DELETE", "/leads", {"emails": ["a@x.example"]}),
    ("GET", "/analytics", None),
    ("GET", "/sending-status", None),
    ("POST", "/reconcile", {}),
]


@pytest.mark.parametrize(("method", "path", "body"), ON_A_CAMPAIGN)
def test_what_is_no_id_of_a_campaign_is_not_found(
    world: World, campaign: Campaign, method: str, path: str, body: Any
) -> None:
    ids = [odd(campaign["id"]) for odd in ODD_IDS]
    for odd_id in (*ids, campaign["instantlyCampaignId"]):
        answer = world.send(method, f"/campaigns/{odd_id}{path}", body)
        not_found = {"error": "Campaign not found"}
        assert (answer.status_code, answer.get_json()) == (404, not_found), odd_id
    assert world.upstreams.calls() == 0


def test_by_org_alone_is_no_campaign(world: World) -> None:
    answer = world.send("GET", "/campaigns/by-org")
    assert answer.get_json() == {"error": "Campaign not found"}


def test_an_organisations_campaigns_are_listed_newest_first_as_they_are_shown(world: World) -> None:
    world.created(orgId="org-2")
    campaigns = [world.created() for _ in range(3)]
    assert world.listed("/campaigns/by-org/org-1") == {
        "campaigns": [world.shown(campaign) for campaign in reversed(campaigns)],
        "count": 3,
        "total": 3,
        "nextCursor": None,
    }


def test_an_unknown_organisation_has_no_campaigns(world: World, campaign: Campaign) -> None:
    empty = {"campaigns": [], "count": 0, "total": 0, "nextCursor": None}
    for org_id in ("nobody", "org-", "ORG-1", "org-1%20", "clerk-1", "%25", "org%5F1", "ö"):
        assert world.listed(f"/campaigns/by-org/{org_id}") == empty


def test_an_organisation_with_nul_in_its_name_is_a_bad_request(world: World) -> None:
    answer = world.send("GET", "/campaigns/by-org/org-1%00")
    assert (answer.status_code, answer.get_json()["error"]) == (400, "Invalid request")
    assert list(answer.get_json()["details"]) == ["orgId"]


# Switching on and off


@pytest.mark.parametrize(
    ("status", "verb", "number"),
    [("active", "activate", 1), ("paused", "pause", 2), ("completed", "pause", 2)],
)
def test_a_campaign_is_switched_in_instantly_and_in_our_row(
    world: World, campaign: Campaign, status: str, verb: str, number: int
) -> None:
    answer = world.switch(status)
    assert answer.status_code == 200
    assert answer.get_json()["campaign"] == world.shown()
    assert world.shown()["status"] == status
    request = only(world.upstreams.instantly_http.requests)
    path = f"/api/v2/campaigns/{campaign['instantlyCampaignId']}/{verb}"
    assert (request.method, request.path, request.body) == ("POST", path, b"")
    assert "Content-Type" not in request.headers
    assert request.headers["Authorization"] == "Bearer key-1"
    assert in_instantly(world, campaign)["status"] == number


def test_a_switch_uses_its_organisations_key_and_is_not_billed(
    world: World, campaign: Campaign
) -> None:
    assert world.switch("active").status_code == 200
    request = only(world.upstreams.keys_http.requests)
    assert request.query == {"clerkOrgId": ["clerk-1"]}
    assert request.headers["X-Caller-Method"] == "PATCH"
    assert request.headers["X-Caller-Path"] == "/campaigns/:campaignId/status"
    assert world.upstreams.runs_http.requests == []


def test_a_campaign_can_be_switched_to_and_fro(world: World, campaign: Campaign) -> None:
    for status in ("active", "active", "paused", "active", "completed", "active"):
        assert world.switch(status).status_code == 200
        assert world.shown()["status"] == status


def test_a_switch_moves_the_time_of_update_only(world: World, campaign: Campaign) -> None:
    world.db.connection.execute(
        "UPDATE instantly_campaigns SET created_at = '2020-01-01Z', updated_at = '2020-01-01Z'"
    )
    shown = world.switch("active").get_json()["campaign"]
    assert shown["createdAt"] == "2020-01-01T00:00:00.000Z"
    assert shown["updatedAt"] > shown["createdAt"]


@pytest.mark.parametrize("status", ["", "draft", "Active", "active ", "pause", "bounce_protect"])
def test_a_wrong_status_is_told_the_right_ones(
    world: World, campaign: Campaign, status: str
) -> None:
    answer = world.switch(status)
    assert (answer.status_code, answer.get_json()["error"]) == (400, "Invalid status")
    assert answer.get_json()["allowed"] == ["active", "paused", "completed"]
    assert world.upstreams.instantly_http.requests == []
    assert world.shown()["status"] == "draft"


@pytest.mark.parametrize("body", [{}, {"status": None}, {"status": 1}, {"status": ["active"]}])
def test_a_status_that_is_no_text_is_a_bad_request(
    world: World, campaign: Campaign, body: dict[str, Any]
) -> None:
    assert world.send("PATCH", world.path("/status"), body).status_code == 400
    assert world.upstreams.instantly_http.requests == []
    assert world.shown()["status"] == "draft"


@pytest.mark.parametrize("status", ["active", "paused", "completed"])
def test_trouble_that_instantly_reports_wins(world: World, campaign: Campaign, status: str) -> None:
    body = {**in_instantly(world, campaign), "status": -99}
    world.upstreams.instantly_http.fail("POST", ".*/(activate|pause)", status=200, body=body)
    assert world.switch(status).get_json()["campaign"]["status"] == "account_suspended"
    assert world.shown()["status"] == "account_suspended"
    assert world.switch(status).get_json()["campaign"]["status"] == status


DOWN = {"error": "Instantly unavailable"}
REFUSED = {"error": "Instantly rejected the request", "details": {"status": 402, "message": "M"}}


@pytest.mark.parametrize(
    ("fault", "status", "told"),
    [
        ({"status": 401}, 422, {"error": "Instantly API key was rejected"}),
        ({"status": 402, "body": {"message": "M"}}, 422, REFUSED),
        ({"status": 429, "times": None}, 503, {"error": "Instantly rate limit reached"}),
        ({"status": 500, "times": None}, 502, DOWN),
        ({"how": "drop", "times": None}, 502, DOWN),
        ({"status": 200, "body": "<html>"}, 502, DOWN),
        ({"status": 200, "body": []}, 502, DOWN),
    ],
)
def test_a_failed_switch_leaves_our_row_as_it_was(
    world: World, campaign: Campaign, fault: dict[str, Any], status: int, told: Any
) -> None:
    assert world.switch("paused").status_code == 200
    before = world.shown()
    world.upstreams.instantly_http.fail("POST", ".*/(activate|pause)", **fault)
    answer = world.switch("active")
    assert (answer.status_code, answer.get_json()) == (status, told)
    assert world.shown() == before


@pytest.mark.parametrize("fault", [{"status": 503, "times": 2}, {"how": "drop_after"}], ids=str)
def test_a_switch_is_tried_again(world: World, campaign: Campaign, fault: dict[str, Any]) -> None:
    world.upstreams.instantly_http.fail("POST", ".*/activate", **fault)
    assert world.switch("active").status_code == 200


def test_without_a_key_a_campaign_is_not_switched(world: World, campaign: Campaign) -> None:
    world.upstreams.keys.organizations.clear()
    answer = world.switch("active")
    assert answer.status_code == 422
    assert answer.get_json() == {"error": "BYOK key not configured for this organization"}
    assert world.upstreams.instantly_http.requests == []
    assert world.shown()["status"] == "draft"
