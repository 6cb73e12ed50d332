"""Instantly's client: whole lists, no lead but those that are meant, and no nonsense."""

from itertools import product

import pytest
import responses
from calls import BY_NAME, CAMPAIGN, CAMPAIGN_ID, JOB, LEAD_ID, LEADS, PAGE, refused

from instantly.clients.instantly import InstantlyError
from instantly.translation.campaigns import trouble_of

OTHER_CAMPAIGN_ID = "019c0000-0000-7000-8000-000000000002"
LOOKUP = ("POST", "/api/v2/leads/list")
DELETION = ("DELETE", "/api/v2/leads")


def lead(number, campaign_id=CAMPAIGN_ID):
    return {
        "id": f"019c0000-0000-7000-8000-{number:012d}",
        "email": f"lead{number}@example.com",
        "campaign": campaign_id,
    }


IDS = [lead(number)["id"] for number in range(1500)]


ASKED = [lead(number)["email"] for number in (1, 2, 3, 9)]


def listed(upstream):
    return list(upstream.workspace.find_leads(CAMPAIGN_ID, ASKED))


def deleted_ids(upstream):
    calls = upstream.requests
    return [call.json["ids"] for call in calls if (call.method, call.path) == DELETION]


# Which answers are none

NO_LEADS_CREATED = [
    None,
    5,
    {"index": 0},
    [None],
    [[]],
    [{}],
    [{"index": 0}],
    [{"id": LEAD_ID}],
    *([{"index": index, "id": LEAD_ID}] for index in (-1, 2, 10**30, "2", 0.5, None, [0])),
    *([{"index": 0, "id": lead_id}] for lead_id in (None, 5, [LEAD_ID])),
]
NO_ITEMS = [None, 5, "text", {}, {"items": []}, [5], [None], ["text"], [[]]]
MAY_BE_EMPTY = {
    *"activate_campaign pause_campaign patch_campaign delete_campaign delete_leads".split(),
    *"patch_webhook resume_webhook".split(),
}
LISTS = "find_leads list_all_leads list_accounts list_webhooks list_failed_deliveries".split()
ANSWERED_BY_AN_OBJECT = [
    "create_campaign",
    "patch_campaign",
    "delete_campaign",
    "activate_campaign",
    "pause_campaign",
    "add_leads",
    "delete_leads",
    "get_account",
    "switch_warmup",
    "get_background_job",
    "get_campaign",
    "get_sending_status",
    "create_webhook",
    "patch_webhook",
    "resume_webhook",
    "count_failed_deliveries",
    *LISTS,
]
WRONG_SHAPES = [
    *product(ANSWERED_BY_AN_OBJECT, [[{}]]),
    *product(sorted(set(ANSWERED_BY_AN_OBJECT) - MAY_BE_EMPTY), [None]),
    *product(["create_campaign"], [[], 5, "text", True, {}]),
    *(("create_campaign", {"id": campaign_id}) for campaign_id in (None, 5, "", "nope")),
    *(("activate_campaign", {"status": status}) for status in ("active", [], {}, True)),
    *(("add_leads", {"created_leads": created}) for created in NO_LEADS_CREATED),
    *(("add_leads", {"created_leads": [], "in_blocklist": count}) for count in ("many", True)),
    *(("find_leads", {"items": items}) for items in NO_ITEMS),
    *(("find_leads", {"items": [{**lead(1), "id": lead_id}]}) for lead_id in (None, 5)),
    ("find_leads", {"items": [], "next_starting_after": 5}),
    *product(LISTS, [{}, {"items": [5]}]),
    *product(
        ["switch_warmup", "get_background_job"],
        [{}, {"id": 5, "status": "pending"}, {"id": JOB["id"]}],
    ),
    *product(["get_campaign_analytics"], [None, {}, 5, "text"]),
    *product(["get_campaign", "patch_campaign"], [{**CAMPAIGN, "id": LEAD_ID}]),
    ("get_campaign", {}),
    ("patch_campaign", {**CAMPAIGN, "name": "Autumn"}),
    *product(["get_sending_status"], ({"diagnostics": odd} for odd in [[], "healthy", True])),
    *product(["get_sending_status"], ({"summary": {"status": odd}} for odd in [[], {}, True])),
]


@pytest.mark.parametrize(("name", "answer"), WRONG_SHAPES, ids=lambda value: str(value)[:40])
def test_an_answer_of_the_wrong_shape_is_an_error(name, answer, upstream):
    upstream.answers(answer)
    assert refused(BY_NAME[name], upstream).status is None
    assert len(upstream.requests) == 1


# Campaigns


def test_what_stands_in_a_path_is_quoted(upstream):
    odd, campaign = "a/b?c#d e%", "/api/v2/campaigns/a%2Fb%3Fc%23d%20e%25"
    upstream.answers({"name": "Winter", "email": "a+b/c@x.example"})
    upstream.workspace.patch_campaign(odd, {"name": "Winter"})
    upstream.workspace.delete_campaign(odd)
    upstream.workspace.activate_campaign(odd)
    upstream.workspace.pause_campaign(odd)
    targets = [call.request.path_url for call in responses.calls]
    assert targets == [campaign, campaign, f"{campaign}/activate", f"{campaign}/pause"]
    # No id of Instantly looks like this: our schemas would refuse it.
    responses.calls.reset()
    upstream.workspace.get_account("a+b/c@x.example")
    assert upstream.only.path == "/api/v2/accounts/a+b/c@x.example"


def test_a_campaign_that_is_gone_is_as_good_as_deleted(upstream):
    """Which is asked for: the deletion's own 404 proves nothing."""
    upstream.answers({"message": "Resource not found"}, status=404)
    upstream.workspace.delete_campaign(CAMPAIGN_ID)
    assert [call.method for call in upstream.requests] == ["DELETE", "GET"]


def test_a_campaign_that_is_still_there_is_not_deleted(upstream):
    path = f"/api/v2/campaigns/{CAMPAIGN_ID}"
    upstream.answers({"statusCode": 404, "error": "Not Found"}, to=("DELETE", path))
    upstream.answers(CAMPAIGN, to=("GET", path))
    assert refused(BY_NAME["delete_campaign"], upstream).status == 404


@pytest.mark.parametrize("name", ["activate_campaign", "pause_campaign"])
@pytest.mark.parametrize(
    ("status", "trouble"),
    [
        *product([1, None, "1", 1.5, 7], [None]),
        (-3, "accounts_unhealthy"),
        ("-2", "bounce_protect"),
        (-1, "accounts_unhealthy"),
        (-2, "bounce_protect"),
        (-99, "account_suspended"),
    ],
    ids=str,
)
def test_a_switched_campaign_tells_what_keeps_it_from_sending(name, status, trouble, upstream):
    upstream.answers({"id": CAMPAIGN_ID, "status": status})
    assert trouble_of(BY_NAME[name].call(upstream)) == trouble


# Leads that are added and looked up


def test_added_leads_are_known_by_their_index_and_refusals_by_their_number(upstream):
    counts = {"invalid_email_count": 0, "in_blocklist": 1, "skipped_count": None}
    upstream.answers({"created_leads": [{"index": 1, "id": LEAD_ID}], **counts})
    added = upstream.workspace.add_leads(CAMPAIGN_ID, LEADS)
    assert (added.created, added.refusals) == ({1: LEAD_ID}, {"blocklisted": 1})
    assert upstream.only.json == {"campaign_id": CAMPAIGN_ID, "leads": LEADS}


LAST_PAGES = {
    "without a cursor": [{"items": [lead(2)]}],
    "with null for a cursor": [{"items": [lead(2)], "next_starting_after": None}],
    "with an empty cursor": [{"items": [lead(2)], "next_starting_after": ""}],
    "empty, with a cursor": [
        {"items": [lead(2)], "next_starting_after": "b"},
        {"items": [], "next_starting_after": "c"},
    ],
    "with the cursor of before": [{"items": [lead(2)], "next_starting_after": "a"}],
    "with a cursor of long before": [
        {"items": [lead(2)], "next_starting_after": "b"},
        {"items": [lead(3)], "next_starting_after": "a"},
    ],
}


@pytest.mark.parametrize("last_pages", LAST_PAGES.values(), ids=LAST_PAGES)
def test_leads_are_listed_to_the_last_page(last_pages, upstream):
    pages = [{"items": [lead(1)], "next_starting_after": "a"}, *last_pages]
    upstream.answers(*pages)
    cursors = [None, "a", "b"][: len(pages)]
    assert listed(upstream) == [each for page in pages for each in page["items"]]
    assert [call.json.get("starting_after") for call in upstream.requests] == cursors
    for call in upstream.requests:
        assert call.json["campaign"] == CAMPAIGN_ID
        assert call.json["contacts"] == ASKED


@pytest.mark.parametrize(
    "stranger",
    [
        lead(9, OTHER_CAMPAIGN_ID),
        {**lead(9), "campaign": None},
        {**lead(9), "email": None},
        {"id": LEAD_ID, "email": "lead9@example.com"},
        lead(8),
    ],
    ids=[
        "another campaign's",
        "no campaign's",
        "without an address",
        "of nowhere",
        "not asked for",
    ],
)
def test_leads_that_are_not_those_of_the_campaign_are_not_listed(stranger, upstream):
    upstream.answers({"items": [stranger, lead(1), stranger]})
    assert listed(upstream) == [lead(1)]


def test_leads_of_the_whole_workspace_are_those_that_some_campaign_holds(upstream):
    mine = [lead(1), lead(2, OTHER_CAMPAIGN_ID)]
    upstream.answers({"items": [*mine, {**lead(3), "campaign": None}, lead(8)]})
    assert list(upstream.workspace.find_leads(None, ASKED)) == mine
    assert upstream.only.json == {"contacts": ASKED, "limit": 100}


def test_leads_are_looked_up_by_a_hundred_and_never_without_addresses(upstream):
    emails = [lead(number)["email"] for number in range(250)]
    upstream.answers(PAGE)
    assert list(upstream.workspace.find_leads(CAMPAIGN_ID, [])) == []
    assert upstream.requests == []
    assert list(upstream.workspace.find_leads(CAMPAIGN_ID, emails)) == []
    asked = [call.json["contacts"] for call in upstream.requests]
    assert asked == [emails[:100], emails[100:200], emails[200:]]
    assert {call.json["campaign"] for call in upstream.requests} == {CAMPAIGN_ID}


@pytest.mark.parametrize("email", ["jürgen@example.com", "\u0131@x.example", '"ada b"@example.com'])
def test_an_address_that_no_filter_of_instantly_takes_is_looked_up_all_the_same(email, upstream):
    mine, similar = {**lead(1), "email": email.replace("e", "E")}, {**lead(2), "email": f"x{email}"}
    upstream.answers({"items": [similar, mine]})
    assert list(upstream.workspace.find_leads(CAMPAIGN_ID, [email])) == [mine]


# Leads that are deleted


@pytest.mark.parametrize(("count", "sizes"), [(0, []), (1000, [1000]), (1500, [1000, 500])])
def test_leads_are_deleted_by_the_thousand_and_never_without_ids_or_their_number(
    count, sizes, upstream
):
    """A deletion without ids would empty the campaign, one without a limit perhaps, too."""
    upstream.answers({"count": 1000})
    assert upstream.workspace.delete_leads(CAMPAIGN_ID, IDS[:count]) == set()
    bodies = [call.json for call in upstream.requests]
    assert [body["limit"] for body in bodies] == [len(body["ids"]) for body in bodies] == sizes
    assert [lead_id for body in bodies for lead_id in body["ids"]] == IDS[:count]
    assert all(body["campaign_id"] == CAMPAIGN_ID for body in bodies)


@pytest.mark.parametrize(
    "left",
    [[], [lead(2)], [lead(1), lead(3)], [lead(2), lead(3, OTHER_CAMPAIGN_ID)]],
    ids=["none is left", "one is left", "two are left", "one is left here"],
)
def test_when_some_leads_are_gone_already_those_that_are_left_are_deleted(left, upstream):
    upstream.answers({"items": left}, to=LOOKUP)
    upstream.answers({"message": "Resource not found"}, to=DELETION, status=404)
    upstream.answers({"count": 2}, to=DELETION)
    assert upstream.workspace.delete_leads(CAMPAIGN_ID, IDS[1:4]) == set()
    left_here = [each["id"] for each in left if each["campaign"] == CAMPAIGN_ID]
    assert deleted_ids(upstream) == [IDS[1:4], left_here][: 2 if left else 1]
    (lookup,) = (call for call in upstream.requests if call.path == LOOKUP[1])
    assert (lookup.json["campaign"], lookup.json["ids"]) == (CAMPAIGN_ID, IDS[1:4])


def test_when_no_lead_is_gone_a_404_of_the_deletion_is_an_error(upstream):
    upstream.answers({"items": [lead(1), lead(2)]}, to=LOOKUP)
    upstream.answers({}, to=DELETION, status=404)
    with pytest.raises(InstantlyError) as raised:
        upstream.workspace.delete_leads(CAMPAIGN_ID, IDS[1:3])
    assert raised.value.status == 404
    assert deleted_ids(upstream) == [IDS[1:3]]


def test_after_a_404_the_other_chunks_are_deleted_too(upstream):
    upstream.answers(PAGE, to=LOOKUP)
    upstream.answers({}, to=DELETION, status=404)
    upstream.answers({"count": 500}, to=DELETION)
    upstream.workspace.delete_leads(CAMPAIGN_ID, IDS)
    assert deleted_ids(upstream) == [IDS[:1000], IDS[1000:]]
