"""A campaign's leads: uploaded and billed once, listed, deleted one by one.

What a failed upload leaves behind is told in test_undo, paging in test_pages.
"""

import random
import re
from collections import Counter
from typing import Any
from unittest.mock import ANY

import pytest
from world import World, addresses, leads_of

ADD = ("POST", "/api/v2/leads/add")
LIST = ("POST", "/api/v2/leads/list")
DELETE = ("DELETE", "/api/v2/leads")
COSTS = ("POST", "/v1/runs/.*/costs")
LEAD_FIELDS = set(
    "id instantlyCampaignId instantlyLeadId email firstName lastName companyName"
    " customVariables status orgId runId createdAt updatedAt".split()
)
TEXTS = "firstName lastName companyName jobTitle phone website personalization".split()

pytestmark = pytest.mark.usefixtures("campaign")


def answer_to(total: int, *, added: int, duplicates: int = 0, rejected: Any = ()) -> dict[str, Any]:
    return {
        "success": True,
        "added": added,
        "total": total,
        "duplicates": duplicates,
        "rejected": list(rejected),
        "remainingInPlan": ANY,
        "warnings": ["The campaign is a draft: nothing is sent until it is activated."],
    }


def sent_to_instantly(world: World) -> dict[str, Any]:
    """The body of the one upload."""
    (request,) = world.upstreams.instantly_http.calls(*ADD)
    return request.json


# Adding: what happens when all goes well


def test_leads_are_added(world):
    answer = world.upload(leads_of(addresses(3)))
    assert (answer.status_code, answer.get_json()) == (201, answer_to(3, added=3))
    assert world.rows() == addresses(3)
    assert world.agrees()
    assert (world.runs(), world.billed()) == (["completed"], 3)
    # Nothing is sent to anybody: the campaign is still a draft.
    assert [campaign["status"] for campaign in world.campaigns().values()] == [0]


def test_every_field_of_a_lead_is_sent_by_instantlys_name(world):
    variables = {"city_name": "Köln", "n": 5, "f": 1.5, "yes": True, "no": False, "none": None}
    texts = {
        "firstName": "Ada",
        "lastName": "Lovelace",
        "companyName": "Engines & Söhne",
        "jobTitle": "Analyst",
        "phone": "+44 1",
        "website": "https://x.example",
        "personalization": "Dear Ada,\nhello 😀",
    }
    ignored = {"surprise": "ignored", "campaign": "ignored"}
    lead = {"email": " Ada@X.example ", **texts, "customVariables": variables, **ignored}
    assert world.upload([lead]).status_code == 201
    sent = {re.sub("[A-Z]", lambda m: f"_{m[0].lower()}", name): texts[name] for name in texts}
    assert sent_to_instantly(world) == {
        "campaign_id": world.campaign["instantlyCampaignId"],
        "leads": [{"email": "Ada@X.example", **sent, "custom_variables": variables}],
    }


@pytest.mark.parametrize("name", TEXTS)
def test_a_number_in_place_of_a_text_is_written_out(world, name):
    """As JSON, since a client that is written in Python would choose other words for some."""
    numbers = ("4915112345678", "4.915112345678e12", "0", "-1.50", "1e-7", "1" * 400)
    leads = ",".join(
        f'{{"email": "a{index}@x.example", "{name}": {number}}}'
        for index, number in enumerate(numbers)
    )
    answer = world.client.post(
        world.path("/leads"),
        data=f'{{"orgId": "org-1", "leads": [{leads}]}}',
        content_type="application/json",
    )
    assert answer.status_code == 201
    option = re.sub("[A-Z]", lambda letter: f"_{letter[0].lower()}", name)
    assert [lead[option] for lead in sent_to_instantly(world)["leads"]] == [
        "4915112345678",
        "4915112345678",
        "0",
        "-1.5",
        "0.0000001",
        "1" * 400,
    ]


def test_the_organisation_may_be_named_by_either_id(world):
    for org_id in ("org-1", "clerk-1"):
        assert world.upload(leads_of(addresses(1)), orgId=org_id).status_code == 201


@pytest.mark.parametrize("org_id", ["org-2", "brand-1", "ORG-1", "org"])
def test_another_organisation_is_refused(world, org_id):
    answer = world.upload(leads_of(addresses(1)), orgId=org_id)
    assert answer.status_code == 403
    assert answer.get_json() == {"error": "Campaign belongs to another organization"}
    assert world.upstreams.calls() == 0
    assert world.rows() == []


def test_2500_leads_are_three_calls_and_a_handful_of_statements(world, statements):
    world.add(["single@x.example"])
    for_one_lead = Counter(statements.names)
    statements.names.clear()
    world.upstreams.instantly_http.clear()
    assert world.add(addresses(2500))["added"] == 2500
    calls = world.upstreams.instantly_http.calls(*ADD)
    assert sorted(len(call.json["leads"]) for call in calls) == [500, 1000, 1000]
    assert world.upstreams.instantly_http.requests == calls
    assert Counter(statements.names) == for_one_lead
    assert len(statements.names) <= 10
    assert world.rows() == ["single@x.example", *addresses(2500)]
    assert world.billed() == 2501


# Adding: duplicates


def test_an_address_that_stands_twice_is_one_lead(world):
    answer = world.add(["Ada@x.example", "bob@x.example", " ada@X.example\n", "ADA@X.EXAMPLE"])
    assert answer == answer_to(4, added=2, duplicates=2)
    sent = sent_to_instantly(world)["leads"]
    assert [lead["email"].lower() for lead in sent] == ["ada@x.example", "bob@x.example"]
    assert world.rows() == ["ada@x.example", "bob@x.example"]
    assert world.billed() == 2


def test_leads_that_we_hold_are_neither_sent_nor_billed_again(world):
    world.add(["a@x.example", "B@x.example"])
    world.upstreams.forget_requests()
    answer = world.add(["A@X.example", " b@x.example", "c@x.example"])
    assert answer == answer_to(3, added=1, duplicates=2)
    assert sent_to_instantly(world)["leads"] == leads_of(["c@x.example"])
    assert world.rows() == ["a@x.example", "b@x.example", "c@x.example"]
    assert world.billed() == 3


def test_nothing_new_is_a_completed_run_without_a_cost(world):
    world.add(addresses(2))
    world.upstreams.forget_requests()
    assert world.add(addresses(2)) == answer_to(2, added=0, duplicates=2)
    assert world.upstreams.instantly_http.requests == []
    assert world.upstreams.runs_http.calls(*COSTS) == []
    assert (world.runs(), world.billed()) == (["completed"] * 2, 2)


def test_addresses_beyond_ascii_are_compared_without_case_too(world):
    world.add(["a@BÜCHER.example"])
    assert world.add(["A@bücher.example"]) == answer_to(1, added=0, duplicates=1)
    assert world.delete(["a@Bücher.example"]).get_json()["deleted"] == 1


def test_the_same_lead_may_be_in_two_campaigns(world):
    other = world.created()
    assert world.add(addresses(2))["added"] == 2
    assert world.add(addresses(3), other)["added"] == 3
    assert set(world.in_instantly(other)) == set(addresses(3))
    assert world.upstreams.runs.billed()["instantly-lead-add"] == 5


# Adding: leads that Instantly holds already, or refuses


def test_a_lead_that_only_instantly_holds_is_adopted(world):
    lead_id = world.put_into_instantly("Known@x.example")
    assert world.add(["known@X.example", "new@x.example"]) == answer_to(2, added=2)
    assert world.billed() == 2
    assert world.lead_rows()["known@x.example"] == lead_id


def test_a_lead_of_another_campaign_is_not_adopted(world):
    world.put_into_instantly("skip+a@x.example", campaign=world.created())
    answer = world.add(["skip+a@x.example"])
    assert (answer["added"], len(answer["rejected"])) == (0, 1)
    assert world.rows() == []


@pytest.mark.parametrize(
    ("refused", "reason"),
    [
        (["blocked@x.example", "any@blocked.example"], "blocklisted"),
        (["a@x.invalid"], "invalid"),
        (["skip+a@x.example", "Skip+b@x.example"], "skipped"),
        (["blocked@x.example", "a@x.invalid"], "unknown"),
    ],
)
def test_a_refused_lead_is_named_with_the_reason(world, refused, reason):
    workspace = world.upstreams.instantly.workspace("clerk-1")
    workspace.blocklist |= {"blocked@x.example", "blocked.example"}
    known = addresses(3)
    world.put_into_instantly(known[0])
    rejected = [{"email": email, "reason": reason} for email in refused]
    answer = world.add([*known, *refused])
    assert answer == answer_to(3 + len(refused), added=3, rejected=rejected)
    assert world.rows() == known
    assert world.billed() == 3


def test_when_all_are_refused_nothing_is_billed(world):
    rejected = [{"email": "a@x.invalid", "reason": "invalid"}]
    answer = world.add(["a@x.invalid", "A@X.INVALID"])
    assert answer == answer_to(2, added=0, duplicates=1, rejected=rejected)
    assert world.rows() == []
    assert world.upstreams.runs_http.calls(*COSTS) == []
    assert world.runs() == ["completed"]


@pytest.mark.parametrize("seed", range(3))
def test_added_duplicates_and_rejected_are_the_total(world, seed):
    chance = random.Random(seed)
    world.upstreams.instantly.workspace("clerk-1").blocklist.add("blocked.example")
    kinds = ("lead{}@x.example", "skip+{}@x.example", "{}@x.invalid", "{}@blocked.example")
    takeable = {kinds[0].format(n) for n in range(40)}
    pool = [kind.format(n) for kind in kinds for n in range(40 if kind == kinds[0] else 5)]
    for email in chance.sample(sorted(takeable), 8):
        world.put_into_instantly(email)
    asked = set()
    for _ in range(3):
        held = set(world.rows())
        emails = chance.choices(pool, k=chance.randrange(1, 60))
        asked |= set(emails)
        answer = world.add(chance.choice((e, e.upper(), f" {e} ")) for e in emails)
        rejected = [lead["email"].lower() for lead in answer["rejected"]]
        assert answer["total"] == len(emails)
        assert answer["added"] + answer["duplicates"] + len(rejected) == len(emails)
        assert answer["added"] == len((set(emails) & takeable) - held)
        assert sorted(rejected) == sorted(set(emails) - takeable)
    assert set(world.rows()) == asked & takeable
    assert len(world.rows()) == len(set(world.rows())) == world.billed()
    assert world.upstreams.runs.open_runs() == []


# Adding: what is refused before anything is called

NO_ADDRESSES = [
    "",
    "nobody",
    "@x.example",
    "a@x",
    "a b@x.example",
    "a@x.example,b@x.example",
    "a@x.example\nBcc: b",
    f"{'a' * 400}@x.example",
    None,
    5,
    # Whose small letters Python and Postgres do not agree about.
    "\u0130@x.example",
    "\u03a3\u03a3@x.example",
    # Of which a comparison would make a blank, a comma, an @, an empty label.
    "a@wid\u3000gets.example",
    "a@x\uff0cy.example",
    "a@x\uff20y.example",
    "a@x.\uff0ey.example",
]
NO_TEXTS: list[Any] = [True, ["5"], {"n": 5}]
# What is refused, and under which name; see test_errors for what is no list at all.
INVALID = [
    (["a@x.example"], "leads.0"),
    ([{"email": "a@x.example"}, None], "leads.1"),
    ([{"Email": "a@x.example"}], "leads.0.email"),
    *(([*leads_of(addresses(3)), {"email": bad}], "leads.3.email") for bad in NO_ADDRESSES),
    *(
        ([{"email": "a@x.example", name: bad}], f"leads.0.{name}")
        for name in TEXTS
        for bad in NO_TEXTS
    ),
    *(
        ([{"email": "a@x.example", "customVariables": bad}], f"leads.0.customVariables{below}")
        for bad, below in (([], ""), ("x", ""), ({"ok": 1, "bad": []}, ".bad"), ({"a": {}}, ".a"))
    ),
]


@pytest.mark.parametrize("path", dict.fromkeys(path for _, path in INVALID))
def test_an_invalid_lead_is_refused_by_its_index_and_nothing_is_called(world, path):
    for leads in (leads for leads, refused in INVALID if refused == path):
        answer = world.upload(leads)
        assert (answer.status_code, answer.get_json()["error"]) == (400, "Invalid request"), leads
        assert list(answer.get_json()["details"]) == [path], leads
    assert world.upstreams.calls() == 0
    assert world.rows() == []


def test_every_bad_lead_is_named(world):
    leads = leads_of(addresses(20))
    leads[4], leads[17] = {"email": "nobody"}, {}
    answer = world.upload(leads)
    assert answer.get_json()["details"].keys() == {"leads.4.email", "leads.17.email"}


def test_unusual_addresses_are_taken(world):
    for email in ("o'brien+tag@x.example", "a_b-c.d@sub.x.example", "1@2.example", "UP@X.EXAMPLE"):
        assert world.add([email])["added"] == 1
        assert [lead["email"] for lead in world.listed_leads()] == [email]
        assert world.delete([email]).get_json()["deleted"] == 1


# Listing


def test_a_lead_is_shown_with_all_its_fields(world):
    variables = {"city_name": "Köln", "n": 5, "f": 1.5, "yes": True, "none": None, "": "😀"}
    lead = {
        "email": "Ada@X.example",
        "firstName": "Ada",
        "lastName": "Lovelace",
        "companyName": "Engines",
        "customVariables": variables,
    }
    world.upload([lead], orgId="clerk-1")
    (shown,) = world.listed_leads()
    assert shown.keys() >= LEAD_FIELDS
    assert {name: shown[name] for name in lead} == lead
    assert shown["instantlyCampaignId"] == world.campaign["instantlyCampaignId"]
    assert world.in_instantly() == {"ada@x.example": shown["instantlyLeadId"]}
    assert (shown["status"], shown["orgId"]) == ("active", "org-1")
    assert [shown["runId"]] == list(world.upstreams.runs.runs)


NO_VALUES = [{}, dict.fromkeys([*TEXTS, "customVariables"]), {"customVariables": ""}]


@pytest.mark.parametrize("values", NO_VALUES, ids=str)
@pytest.mark.parametrize("run_id", [None, ""])
def test_what_a_lead_leaves_out_is_null(world, values, run_id):
    assert world.upload([{"email": "a@x.example", **values}], runId=run_id).status_code == 201
    assert sent_to_instantly(world)["leads"] == [{"email": "a@x.example"}]
    (shown,) = world.listed_leads()
    assert (shown["firstName"], shown["lastName"], shown["companyName"]) == (None, None, None)
    assert shown["customVariables"] == {}


# Deleting


def test_leads_are_deleted_in_instantly_and_from_our_rows(world):
    world.add(addresses(5))
    lead_ids = [world.lead_rows()[email] for email in ("lead1@x.example", "lead3@x.example")]
    answer = world.delete(["lead1@x.example", " LEAD3@X.example ", "LEAD1@x.example"])
    assert answer.status_code == 200
    assert answer.get_json() == {"success": True, "deleted": 2, "notFound": []}
    assert world.rows() == ["lead0@x.example", "lead2@x.example", "lead4@x.example"]
    assert world.agrees()
    # A bulk delete names its leads and how many they are: without ids it would empty the campaign.
    (call,) = world.upstreams.instantly_http.calls(*DELETE)
    assert call.json["campaign_id"] == world.campaign["instantlyCampaignId"]
    assert (sorted(call.json["ids"]), call.json["limit"]) == (sorted(lead_ids), 2)


def test_unknown_addresses_are_named_once_as_they_were_written(world):
    world.add(addresses(2))
    answer = world.delete(
        ["No-One@X.example", "lead0@x.example", "no-one@x.example", "b@x.example"]
    )
    unknown = ["No-One@X.example", "b@x.example"]
    assert answer.get_json() == {"success": True, "deleted": 1, "notFound": unknown}
    assert world.rows() == ["lead1@x.example"]


def test_when_no_address_is_known_nothing_is_deleted_at_all(world):
    """As when a delete is repeated."""
    world.add(addresses(4))
    assert world.delete(addresses(2)).get_json()["deleted"] == 2
    world.upstreams.forget_requests()
    answer = world.delete(addresses(2))
    assert answer.status_code == 200
    assert answer.get_json() == {"success": True, "deleted": 0, "notFound": addresses(2)}
    assert world.upstreams.instantly_http.calls(*DELETE) == []
    assert world.rows() == addresses(2, start=2)
    assert world.agrees()


def test_a_lead_that_only_instantly_holds_is_deleted_there(world):
    world.put_into_instantly("only@x.example")
    world.put_into_instantly("other@x.example")
    answer = world.delete(["ONLY@x.example"])
    assert answer.get_json() == {"success": True, "deleted": 1, "notFound": []}
    assert set(world.in_instantly()) == {"other@x.example"}


def test_a_lead_that_instantly_lost_is_deleted_from_our_rows(world):
    world.add(addresses(2))
    workspace = world.upstreams.instantly.workspace("clerk-1")
    workspace.remove_leads(workspace.leads_of(world.campaign["instantlyCampaignId"])[:1])
    assert world.delete(addresses(1)).status_code == 200
    assert world.rows() == ["lead1@x.example"]


def test_leads_of_another_campaign_stay(world):
    other = world.created()
    world.add(addresses(2))
    world.add(addresses(3), other)
    world.put_into_instantly("only@x.example", campaign=other)
    answer = world.delete([*addresses(3), "only@x.example"]).get_json()
    assert (answer["deleted"], answer["notFound"]) == (2, ["lead2@x.example", "only@x.example"])
    assert set(world.in_instantly()) == {*addresses(3), "only@x.example"}
    assert world.rows() == addresses(3)


def test_a_deleted_lead_may_come_back_and_only_adding_is_billed(world):
    world.add(addresses(1))
    world.upstreams.forget_requests()
    world.delete(addresses(1))
    assert world.upstreams.runs_http.requests == []
    assert world.add(addresses(1))["added"] == 1
    assert world.billed() == 2


def test_2500_addresses_are_deleted_and_no_others(world, statements):
    world.add(addresses(2510))
    statements.names.clear()
    answer = world.delete(addresses(2500))
    assert answer.get_json() == {"success": True, "deleted": 2500, "notFound": []}
    assert len(statements.names) <= 10
    calls = world.upstreams.instantly_http.calls(*DELETE)
    assert len({lead_id for call in calls for lead_id in call.json["ids"]}) == 2500
    assert all(call.json["limit"] == len(call.json["ids"]) > 0 for call in calls)
    assert world.rows() == addresses(10, start=2500)
    assert world.agrees()


@pytest.mark.parametrize(
    ("fault", "status", "message"),
    [
        ({"status": 400}, 422, "Instantly rejected the request"),
        ({"status": 429, "times": None}, 503, "Instantly rate limit reached"),
        ({"how": "drop", "times": None}, 502, "Instantly unavailable"),
    ],
)
@pytest.mark.parametrize("call", [LIST, DELETE], ids=["listing", "deleting"])
def test_a_failed_delete_leaves_our_rows(world, call, fault, status, message):
    world.add(addresses(3))
    world.upstreams.instantly_http.fail(*call, **fault)
    answer = world.delete([*addresses(2), "unknown@x.example"])
    assert (answer.status_code, answer.get_json()["error"]) == (status, message)
    assert world.rows() == addresses(3)
    assert world.agrees()
    # The caller may simply repeat.
    world.upstreams.instantly_http.heal()
    assert world.delete(addresses(2)).get_json()["deleted"] == 2
    assert world.rows() == ["lead2@x.example"]


@pytest.mark.parametrize(
    "fault",
    [{"status": 503, "times": 2}, {"how": "drop_after"}, {"how": "after", "status": 404}],
    ids=str,
)
def test_a_delete_is_tried_again_and_what_is_gone_already_is_deleted(world, fault):
    world.add(addresses(3))
    world.upstreams.instantly_http.fail(*DELETE, **fault)
    assert world.delete(addresses(2)).get_json()["deleted"] == 2
    assert world.rows() == ["lead2@x.example"]
    assert world.agrees()


@pytest.mark.parametrize("bad", ["", " ", None, {}, "a\x00@x.example"], ids=ascii)
def test_an_invalid_delete_deletes_nothing(world, bad):
    world.add(addresses(2))
    world.upstreams.forget_requests()
    answer = world.delete(["lead0@x.example", bad])
    assert (answer.status_code, list(answer.get_json()["details"])) == (400, ["emails.1"])
    assert world.upstreams.calls() == 0
    assert world.rows() == addresses(2)


def test_rows_and_instantly_agree_after_any_mixture_of_failures(world):
    chance = random.Random(7)
    outcomes = Counter()
    upstreams = world.upstreams
    faults = [{}, {}, {"status": 500, "times": None}, {"status": 429, "times": 2}, {"status": 422}]
    calls = [
        (upstreams.instantly_http, *ADD),
        (upstreams.instantly_http, *LIST),
        (upstreams.runs_http, *COSTS),
        (upstreams.runs_http, "POST", "/v1/runs"),
        (upstreams.keys_http, "GET", ".*"),
    ]
    for _ in range(25):
        fault = chance.choice(faults)
        http, method, path = chance.choice(calls)
        if fault:
            http.fail(method, path, **fault)
        emails = chance.sample(addresses(60), chance.randrange(1, 20))
        is_upload = chance.random() < 0.6
        answer = world.upload(leads_of(emails)) if is_upload else world.delete(emails)
        outcomes[answer.status_code] += 1
        http.heal()
        assert world.agrees()
        assert upstreams.runs.open_runs() == []
    assert outcomes.keys() >= {200, 201, 502}
