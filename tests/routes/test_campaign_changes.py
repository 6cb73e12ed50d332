"""What Instantly holds of a campaign, in our words, and how it is changed."""

import threading
from typing import Any

import pytest
from helpers import UNKNOWN_ID
from world import Campaign, World

Json = dict[str, Any]

GET_CAMPAIGN = ("GET", "/api/v2/campaigns/[^/]+")
PATCH_CAMPAIGN = ("PATCH", "/api/v2/campaigns/[^/]+")
SENDERS = ["lena@try-northbeam.example", "marc@try-northbeam.example"]
STEP = {"subject": "Hello", "bodyHtml": "<p>Hi</p>"}
SEQUENCE = [
    {**STEP, "daysSinceLastStep": 0},
    {"variants": [STEP, {"subject": "", "bodyHtml": "<p>B</p>"}], "daysSinceLastStep": 3},
    {"subject": "", "bodyHtml": "<p>Last</p>", "daysSinceLastStep": 0},
]
SCHEDULE = {
    "timezone": "America/Detroit",
    "from": "09:30",
    "to": "12:00",
    "days": ["sun", "fri"],
    "startDate": "2027-02-28",
    "endDate": None,
}
DEFAULT_SCHEDULE = {
    "timezone": "America/Chicago",
    "from": "08:00",
    "to": "17:00",
    "days": ["mon", "tue", "wed", "thu", "fri"],
    "startDate": None,
    "endDate": None,
}
PROTECTIONS = {"stopOnReply": True, "insertUnsubscribeHeader": True}
WHOLE: Json = {
    "name": "Winter",
    "accountIds": SENDERS,
    "sequence": SEQUENCE,
    "schedule": SCHEDULE,
    "settings": {"dailyLimit": 50, "openTracking": False, "ccList": ["eve@x.example"]},
}
EMPTY = {
    "name": "Autumn",
    "accountIds": [],
    "sequence": [],
    "schedule": DEFAULT_SCHEDULE,
    "settings": PROTECTIONS,
}


def configuration(world: World) -> Json:
    answer = world.send("GET", world.path("/configuration"))
    assert (answer.status_code, answer.get_json().keys()) == (200, {"configuration"}), answer.text
    shown: Json = answer.get_json()["configuration"]
    return shown


def at_instantly(world: World) -> Json:
    return world.campaigns()[world.campaign["instantlyCampaignId"]]


def change(world: World, **changes: Any) -> Any:
    return world.send("PATCH", world.path(), changes)


def changed(world: World, **changes: Any) -> list[str]:
    """The warnings of a change, which is told with the campaign as it is now."""
    answer = change(world, **changes)
    assert answer.status_code == 200, answer.text
    told: Json = answer.get_json()
    assert told == {"campaign": world.shown(), "warnings": told["warnings"]}
    warnings: list[str] = told["warnings"]
    return warnings


# Reading


def test_a_campaign_without_anything_has_its_defaults(world: World, campaign: Campaign) -> None:
    assert configuration(world) == EMPTY
    (request,) = world.upstreams.instantly_http.requests
    assert request.headers["Authorization"] == "Bearer key-1"


def test_what_was_created_is_shown_in_the_same_words(world: World) -> None:
    world.campaign = world.created(**WHOLE)
    settings = {**WHOLE["settings"], **PROTECTIONS}
    assert configuration(world) == {**WHOLE, "settings": settings}


def test_what_is_shown_makes_an_equal_campaign_and_changes_nothing(world: World) -> None:
    world.campaign = world.created(**WHOLE)
    before, shown = dict(at_instantly(world)), configuration(world)
    changed(world, **shown)
    untouched = ("email_list", "sequences", "daily_limit", "cc_list", "name", "stop_on_reply")
    assert [at_instantly(world)[name] for name in untouched] == [before[n] for n in untouched]
    world.campaign = world.created(**shown)
    assert configuration(world) == shown


def step_of(*variants: Any, **more: Any) -> Json:
    return {"type": "email", "delay": 0, "variants": list(variants), **more}


TEXT = {"subject": "Hello", "body": "<p>Hi</p>"}
SHOWN = {**STEP, "daysSinceLastStep": 0}
NOTHING = {"subject": None, "bodyHtml": None, "daysSinceLastStep": 0}
BARE = dict.fromkeys(DEFAULT_SCHEDULE)

READ = [
    # Names and senders
    *(({"name": odd}, {"name": None}) for odd in (None, 5, ["x"])),
    *(({"email_list": odd}, {"accountIds": None}) for odd in (None, "a@x.example", {})),
    ({"email_list": ["a@x.example", None, 5]}, {"accountIds": ["a@x.example"]}),
    # Sequences
    *(
        ({"sequences": odd}, {"sequence": None})
        for odd in (None, "x", [None], [{}], [{"steps": 5}])
    ),
    ({"sequences": [{"steps": []}]}, {"sequence": []}),
    ({"sequences": [{"steps": [step_of(TEXT)]}, {"steps": []}]}, {"sequence": [SHOWN]}),
    *(
        ({"sequences": [{"steps": [odd]}]}, {"sequence": [NOTHING]})
        for odd in (None, "x", {}, {"variants": "x"}, step_of(), step_of("x", None), step_of({}))
    ),
    (
        {"sequences": [{"steps": [step_of(TEXT, {**TEXT, "v_disabled": True})]}]},
        {"sequence": [SHOWN]},
    ),
    *(
        (
            {"sequences": [{"steps": [step_of(TEXT, **wait), step_of(TEXT)]}]},
            {"sequence": [SHOWN, {**SHOWN, "daysSinceLastStep": days}]},
        )
        for wait, days in [
            ({"delay": 2, "delay_unit": "days"}, 2),
            *(({"delay": three}, 3) for three in (3.0, "3")),
            ({"delay": 48, "delay_unit": "hours"}, 2),
            ({"delay": 1440, "delay_unit": "minutes"}, 1),
            *(({"delay": odd}, None) for odd in (1.5, -1, "soon", None, True, [])),
            ({"delay": 5, "delay_unit": "hours"}, None),
            *(({"delay": 1, "delay_unit": odd}, None) for odd in ("weeks", ["days"])),
            ({"delay": 1, "delay_unit": None}, 1),
        ]
    ),
    # Schedules
    *(
        ({"campaign_schedule": odd}, {"schedule": None})
        for odd in (None, [], {}, {"schedules": []}, {"schedules": ["x"]}, {"schedules": {}})
    ),
    *(
        ({"campaign_schedule": {"schedules": [odd]}}, {"schedule": BARE})
        for odd in ({}, {"timezone": 5, "timing": "x", "days": []}, {"timing": {"from": 8}})
    ),
    (
        {"campaign_schedule": {"schedules": [{"days": {}}]}},
        {"schedule": {**BARE, "days": []}},
    ),
    (
        {
            "campaign_schedule": {
                "start_date": "1970-01-01T00:00:00.000Z",
                "end_date": "soon",
                "schedules": [{"days": {"0": True, "6": 1, "1": False, "9": True}}, {}],
            }
        },
        {"schedule": {**BARE, "days": ["sun"], "startDate": "1970-01-01"}},
    ),
    # Settings
    ({"daily_limit": 0, "email_gap": 0}, {"settings": {**PROTECTIONS, "emailGap": 0}}),
    ({"daily_limit": "9", "email_gap": 1.5}, {"settings": {**PROTECTIONS, "dailyLimit": 9}}),
    ({"stop_on_reply": None, "link_tracking": 1}, {"settings": {"insertUnsubscribeHeader": True}}),
    (
        {"pl_value": 100, "owned_by": "x", "text_only": True},
        {"settings": {**PROTECTIONS, "textOnly": True}},
    ),
]


@pytest.mark.parametrize(("said", "shown"), READ, ids=str)
def test_what_can_be_read_is_shown(
    world: World, campaign: Campaign, said: Json, shown: Json
) -> None:
    body = {**at_instantly(world), **said}
    world.upstreams.instantly_http.fail(*GET_CAMPAIGN, status=200, body=body)
    assert configuration(world) == {**EMPTY, **shown}


def test_of_an_answer_that_says_nothing_nothing_is_known(world: World, campaign: Campaign) -> None:
    body = {"id": campaign["instantlyCampaignId"].upper()}
    world.upstreams.instantly_http.fail(*GET_CAMPAIGN, status=200, body=body)
    assert configuration(world) == {**dict.fromkeys(EMPTY), "settings": {}}


WRONG = [
    ({"status": 404}, 422, "Instantly rejected the request"),
    ({"status": 401}, 422, "Instantly API key was rejected"),
    ({"status": 500, "times": None}, 502, "Instantly unavailable"),
    *(
        ({"status": 200, "body": body}, 502, "Instantly unavailable")
        for body in ([], "x", {"id": UNKNOWN_ID, "name": "Winter"})
    ),
    (
        {"status": 200, "body": {"statusCode": 404, "error": "Not Found"}},
        422,
        "Instantly rejected the request",
    ),
]


@pytest.mark.parametrize(("fault", "status", "error"), WRONG, ids=str)
def test_what_goes_wrong_at_instantly_is_told(
    world: World, campaign: Campaign, fault: Json, status: int, error: str
) -> None:
    before = world.shown()
    for act, call in ((GET_CAMPAIGN, ("GET", "/configuration")), (PATCH_CAMPAIGN, ("PATCH", ""))):
        world.upstreams.instantly_http.fail(*act, **fault)
        body = {"name": "Winter"} if call[0] == "PATCH" else None
        answer = world.send(call[0], world.path(call[1]), body)
        assert (answer.status_code, answer.get_json()["error"]) == (status, error)
    assert world.shown() == before


# Changing


@pytest.mark.parametrize(
    ("body", "is_done"),
    [
        (None, True),
        ({}, True),
        ({"name": "Winter "}, True),
        ({"name": "Autumn"}, False),
        ({"name": None}, False),
        ({"email_list": []}, False),
    ],
    ids=str,
)
def test_a_name_is_ours_when_it_is_instantlys(
    world: World, campaign: Campaign, body: Any, is_done: bool
) -> None:
    world.upstreams.instantly_http.fail(*PATCH_CAMPAIGN, status=200, body=body)
    assert change(world, name="Winter").status_code == (200 if is_done else 502)
    assert world.shown()["name"] == ("Winter" if is_done else "Autumn")


def test_all_that_can_be_changed_is_changed_with_one_call(world: World, campaign: Campaign) -> None:
    assert changed(world, **WHOLE) == []
    calls = [(call.method, call.path) for call in world.upstreams.instantly_http.requests]
    assert calls == [("PATCH", f"/api/v2/campaigns/{campaign['instantlyCampaignId']}")]
    assert (world.runs(), world.shown()["name"]) == ([], "Winter")
    settings = {**WHOLE["settings"], **PROTECTIONS}
    assert configuration(world) == {**WHOLE, "settings": settings}


@pytest.mark.parametrize(
    ("changes", "sent", "shown"),
    [
        ({"name": "Winter"}, {"name": "Winter"}, {"name": "Winter"}),
        ({"accountIds": []}, {"email_list": []}, {"accountIds": []}),
        ({"accountIds": SENDERS[:1]}, {"email_list": SENDERS[:1]}, {"accountIds": SENDERS[:1]}),
        ({"sequence": SEQUENCE[:1]}, None, {"sequence": SEQUENCE[:1]}),
        ({"schedule": {}}, None, {"schedule": DEFAULT_SCHEDULE}),
        ({"schedule": {"to": "18:00"}}, None, {"schedule": {**DEFAULT_SCHEDULE, "to": "18:00"}}),
        (
            {"settings": {"stopOnReply": False, "dailyLimit": None}},
            {"stop_on_reply": False},
            {"settings": {**WHOLE["settings"], **PROTECTIONS, "stopOnReply": False}},
        ),
        ({"name": "Winter", "accountIds": None, "settings": ""}, {"name": "Winter"}, {}),
        ({"name": "Winter", "status": "active", "orgId": "x"}, {"name": "Winter"}, {}),
    ],
    ids=str,
)
def test_a_change_leaves_alone_what_it_does_not_name(
    world: World, changes: Json, sent: Json | None, shown: Json
) -> None:
    world.campaign = world.created(**WHOLE)
    before = configuration(world)
    world.upstreams.forget_requests()
    changed(world, **changes)
    (call,) = world.upstreams.instantly_http.calls(*PATCH_CAMPAIGN)
    assert sent is None or call.json == sent
    assert configuration(world) == {**before, **shown}


def test_days_that_a_new_schedule_does_not_name_are_taken_away(world: World) -> None:
    world.campaign = world.created(schedule=SCHEDULE)
    changed(world, schedule={"endDate": "2099-01-01"})
    schedule = at_instantly(world)["campaign_schedule"]
    assert (schedule["start_date"], schedule["end_date"]) == (None, "2099-01-01")


@pytest.mark.parametrize(
    "body", [{}, {"name": None}, {"settings": {}}, {"settings": {"dailyLimit": None}}, {"x": 1}]
)
def test_a_change_of_nothing_is_refused(world: World, campaign: Campaign, body: Json) -> None:
    answer = change(world, **body)
    names = "name, accountIds, sequence, schedule, settings"
    details = {"body": [f"At least one of {names} is required."]}
    assert (answer.status_code, answer.get_json()["details"]) == (400, details)


@pytest.mark.parametrize(("body", "path"), [({"name": ""}, "name"), ({"name": "a\0"}, "name")])
def test_a_name_must_be_one(world: World, campaign: Campaign, body: Json, path: str) -> None:
    answer = change(world, **body)
    assert (answer.status_code, list(answer.get_json()["details"])) == (400, [path])


BARE_URL = [{"subject": "Hello", "bodyHtml": "<p>https://x.example</p>"}]
NO_HEADER = {"insertUnsubscribeHeader": False}


@pytest.mark.parametrize(
    ("changes", "places"),
    [
        ({"name": " "}, ["name"]),
        ({"schedule": {"timezone": "US/Pacific"}}, ["schedule.timezone"]),
        ({"schedule": {"endDate": "2020-01-01"}}, ["schedule.endDate"]),
        ({"sequence": [{"subject": "", "bodyHtml": "{{first_name}}"}]}, ["Step 1", "Step 1, body"]),
        # Whether Instantly tracks links or adds the header is not in the change.
        ({"sequence": BARE_URL}, []),
        ({"sequence": BARE_URL, "settings": {"linkTracking": True}}, ["Step 1, body"]),
        ({"sequence": BARE_URL, "settings": NO_HEADER}, ["Step 1"]),
        ({"settings": {**NO_HEADER, "linkTracking": True}}, []),
    ],
    ids=str,
)
def test_a_change_is_warned_of_what_it_brings(
    world: World, campaign: Campaign, changes: Json, places: list[str]
) -> None:
    warnings = changed(world, **changes)
    assert [warning.partition(":")[0] for warning in warnings] == places


def test_senders_that_instantly_loses_are_not_told_as_set(world: World, campaign: Campaign) -> None:
    body = {**at_instantly(world), "email_list": SENDERS[:1]}
    for senders, status in ((SENDERS, 502), ([SENDERS[0].upper()], 200), ([], 200)):
        world.upstreams.instantly_http.fail(*PATCH_CAMPAIGN, status=200, body=body)
        assert change(world, accountIds=senders).status_code == status


def test_a_change_waits_for_the_campaigns_switch(world: World, campaign: Campaign) -> None:
    world.upstreams.instantly_http.fail(*PATCH_CAMPAIGN, how="hang")
    beside = world.beside()
    changing = threading.Thread(target=lambda: change(beside, name="Winter"))
    changing.start()
    world.upstreams.instantly_http.wait_until_hanging()
    switching = threading.Thread(target=lambda: world.beside().switch("active"))
    switching.start()
    switching.join(0.2)
    assert world.shown()["status"] == "draft"
    world.upstreams.instantly_http.release()
    changing.join(60)
    switching.join(60)
    assert (world.shown()["name"], world.shown()["status"]) == ("Winter", "active")


def test_a_change_that_names_no_name_leaves_the_one_that_another_sets(
    world: World, campaign: Campaign
) -> None:
    world.upstreams.instantly_http.fail(*PATCH_CAMPAIGN, how="hang")
    changes: tuple[Json, ...] = ({"name": "Winter"}, {"settings": {"dailyLimit": 5}})
    threads = [
        threading.Thread(target=change, args=[world.beside()], kwargs=each) for each in changes
    ]
    threads[0].start()
    world.upstreams.instantly_http.wait_until_hanging()
    threads[1].start()
    threads[1].join(0.2)
    world.upstreams.instantly_http.release()
    for thread in threads:
        thread.join(60)
    assert world.shown()["name"] == configuration(world)["name"] == "Winter"


def test_a_lock_that_was_lost_meanwhile_changes_no_row(world: World, campaign: Campaign) -> None:
    world.upstreams.instantly_http.fail(*PATCH_CAMPAIGN, how="hang_after")
    answers: list[Any] = []
    changing = threading.Thread(target=lambda: answers.append(change(world, name="Winter")))
    changing.start()
    world.upstreams.instantly_http.wait_until_hanging()
    world.db.take_over()
    world.upstreams.instantly_http.release()
    changing.join(60)
    assert (answers[0].status_code, "Retry-After" in answers[0].headers) == (503, True)
    assert world.shown()["name"] == "Autumn"
