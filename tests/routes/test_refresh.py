"""One call for all figures of an organisation: snapshots, statuses, and who is behind."""

import threading
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from harness import wait_until
from werkzeug.test import TestResponse
from world import Campaign, World

Json = dict[str, Any]

ANALYTICS = ("GET", "/api/v2/campaigns/analytics")
NAMES = ("sent", "replied", "bounced", "unsubscribed", "opened")


def figures(campaign: Campaign, **changes: Any) -> Json:
    """Instantly's object about a campaign that has sent nothing yet."""
    counts = ("leads", "contacted", "emails_sent", "open", "reply", "bounced", "unsubscribed")
    return {
        "campaign_id": campaign["instantlyCampaignId"],
        "campaign_status": 0,
        **dict.fromkeys((f"{name}_count" for name in counts), 0),
        **changes,
    }


def refresh(world: World, *answered: Any) -> TestResponse:
    """With this answer of Instantly's, if one is given."""
    for body in answered:
        world.upstreams.instantly_http.fail(*ANALYTICS, status=200, body=body)
    return world.send("POST", "/analytics/refresh", {"clerkOrgId": "clerk-1"})


def refreshed(world: World, *answered: Any) -> tuple[int, list[Json]]:
    """How many campaigns, and those that are behind."""
    answer = refresh(world, *answered)
    assert answer.status_code == 200, answer.text
    told: Json = answer.get_json()
    assert told.keys() == {"success", "campaigns", "behind"}
    return told["campaigns"], told["behind"]


def behind(campaign: Campaign, **counts: tuple[int, int]) -> Json:
    """What is told of a campaign: here and at Instantly."""
    pairs = {name: counts.get(name, (0, 0)) for name in NAMES}
    told = {name: {"here": here, "instantly": there} for name, (here, there) in pairs.items()}
    return {"campaignId": campaign["id"], **told}


def snapshots(world: World) -> list[tuple[str, int, Json]]:
    rows = world.db.all("SELECT * FROM instantly_analytics_snapshots ORDER BY snapshot_at")
    return [(str(row["campaign_id"]), row["total_leads"], row["raw_data"]) for row in rows]


def test_all_campaigns_of_the_organisation_are_refreshed_with_one_call(
    ours: World,
) -> None:
    first, silent, second = ours.campaign, ours.another().campaign, ours.another().campaign
    theirs = ours.another(clerkOrgId="clerk-2").campaign
    listed = [
        figures(second, leads_count=5, campaign_status=2),
        figures({"instantlyCampaignId": str(uuid4())}, leads_count="odd"),
        figures(theirs, leads_count=7, campaign_status=1),
        figures(
            first,
            leads_count=3,
            campaign_status=1,
            campaign_id=first["instantlyCampaignId"].upper(),
        ),
    ]
    assert refreshed(ours, listed) == (2, [])
    (call,) = ours.upstreams.instantly_http.requests
    assert (call.query, call.headers["Authorization"]) == ({}, "Bearer key-1")
    kept = {campaign_id: (leads, raw) for campaign_id, leads, raw in snapshots(ours)}
    assert kept == {first["id"]: (3, listed[3]), second["id"]: (5, listed[0])}
    statuses = [ours.shown(each)["status"] for each in (first, silent, second, theirs)]
    assert statuses == ["active", "draft", "paused", "draft"]
    assert ours.runs() == []


def test_a_workspace_that_has_sent_nothing_has_nothing_to_refresh(ours: World) -> None:
    assert refreshed(ours) == (0, [])
    assert snapshots(ours) == []


def test_for_an_organisation_without_campaigns_nobody_is_asked(ours: World) -> None:
    for clerk_org_id in ("clerk-2", "nobody", "CLERK-1"):
        answer = ours.send("POST", "/analytics/refresh", {"clerkOrgId": clerk_org_id})
        assert answer.get_json() == {"success": True, "campaigns": 0, "behind": []}
    assert ours.upstreams.calls() == 0


def test_what_we_completed_by_pausing_stays_completed(ours: World) -> None:
    ours.db.connection.execute("UPDATE instantly_campaigns SET status = 'completed'")
    assert refreshed(ours, [figures(ours.campaign, campaign_status=2)]) == (1, [])
    assert ours.status() == "completed"


# Two leads open and reply twice each, the third bounces twice.
EVENTS = [
    *(("email_sent", lead, step) for lead in "abc" for step in (1, 2)),
    *((name, lead, 1) for lead in "ab" for name in ("email_opened", "reply_received") * 2),
    *(("email_bounced", "c", step) for step in (1, 2)),
    *(("lead_unsubscribed", lead, None) for lead in "ab"),
    ("auto_reply_received", "c", 1),
    ("email_link_clicked", "a", 1),
]
COUNTED = {
    "emails_sent_count": 6,
    "open_count": 4,
    "open_count_unique": 2,
    "reply_count": 4,
    "reply_count_unique": 2,
    "bounced_count": 1,
    "unsubscribed_count": 2,
}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, {}),
        (dict.fromkeys(COUNTED, 0), {}),
        ({"emails_sent_count": 7}, {"sent": (6, 7)}),
        ({"reply_count_unique": 3}, {"replied": (2, 3)}),
        ({"bounced_count": 2}, {"bounced": (1, 2)}),
        ({"unsubscribed_count": 3}, {"unsubscribed": (2, 3)}),
        ({"open_count_unique": 3}, {"opened": (2, 3)}),
        # Who opens twice is one; what is no open or reply of a person does not count.
        ({"open_count": 90, "reply_count": 90}, {}),
        # Without the unique counts the plain ones are compared with our events.
        ({"reply_count_unique": None, "open_count_unique": None}, {}),
        ({"reply_count_unique": None, "reply_count": 5}, {"replied": (4, 5)}),
        ({"open_count_unique": None, "open_count": 5}, {"opened": (4, 5)}),
        # More here is nothing to worry about, and is told beside what is.
        ({"emails_sent_count": 9, "bounced_count": 0}, {"sent": (6, 9), "bounced": (1, 0)}),
    ],
    ids=str,
)
def test_a_campaign_is_behind_where_instantly_counts_more_than_our_events(
    ours: World, changes: Json, told: Json
) -> None:
    for name, lead, step in EVENTS:
        ours.receive(name, lead=f"{lead}@x.example", step=step)
    other = ours.another()
    other.receive("email_sent", "email_opened", "reply_received", "email_bounced")
    equal = {"sent": (6, 6), "replied": (2, 2), "bounced": (1, 1), "unsubscribed": (2, 2)}
    equal["opened"] = (2, 2)
    listed = [figures(ours.campaign, **{**COUNTED, **changes}), figures(other.campaign)]
    expected = [behind(ours.campaign, **{**equal, **told})] if told else []
    assert refreshed(ours, listed) == (2, expected)


def test_of_campaigns_without_events_all_that_instantly_counts_is_missing(ours: World) -> None:
    """The oldest campaign first."""
    campaigns = [ours.campaign, *(ours.another().campaign for _ in range(3))]
    listed = [figures(each, emails_sent_count=number) for number, each in enumerate(campaigns)]
    told = [behind(each, sent=(0, number)) for number, each in enumerate(campaigns) if number]
    assert refreshed(ours, listed[::-1]) == (4, told)


@pytest.mark.parametrize(
    "body",
    [
        None,
        {},
        5,
        "text",
        [5],
        [None],
        [[]],
        [{}],
        [{"campaign_id": 5}],
        *({"leads_count": odd} for odd in (None, -1, "x", 1.5, True)),
        {"emails_sent_count": "many"},
        {"bounced_count": [1]},
    ],
    ids=str,
)
def test_nonsense_is_told_and_changes_nothing(ours: World, body: Any) -> None:
    is_figures = isinstance(body, dict) and body
    answer = refresh(
        ours, [figures(ours.campaign, campaign_status=1, **body)] if is_figures else body
    )
    assert (answer.status_code, answer.get_json()["error"]) == (502, "Instantly unavailable")
    assert (snapshots(ours), ours.status()) == ([], "draft")


@pytest.mark.parametrize(
    ("body", "status"), [({}, 400), ({"clerkOrgId": ""}, 400), ({"clerkOrgId": "a\0"}, 400)]
)
def test_an_organisation_must_be_named(world: World, body: Json, status: int) -> None:
    answer = world.send("POST", "/analytics/refresh", body)
    assert (answer.status_code, list(answer.get_json()["details"])) == (status, ["clerkOrgId"])


def test_without_a_key_nothing_is_refreshed(ours: World) -> None:
    ours.upstreams.keys.organizations.clear()
    answer = refresh(ours)
    message = "BYOK key not configured for this organization"
    assert (answer.status_code, answer.get_json()["error"]) == (422, message)


def test_a_refresh_that_waits_for_a_campaign_holds_none_after_it(world: World) -> None:
    ids = [str(UUID(int=number)) for number in (3, 2, 1)]
    campaigns = [world.another(id=campaign_id).campaign for campaign_id in ids]
    asked = [figures(campaign) for campaign in campaigns]
    beside = world.beside()
    lock = "SELECT FROM instantly_campaigns WHERE id = %s FOR UPDATE NOWAIT"
    with psycopg.connect(world.db.connection.info.dsn) as erasure:
        erasure.execute(lock, [ids[-1]])
        refreshing = threading.Thread(target=lambda: refresh(beside, asked))
        refreshing.start()
        waiting = "SELECT FROM pg_locks WHERE NOT granted"
        wait_until(lambda: world.db.all(waiting))
        erasure.execute(lock, [ids[0]])
    refreshing.join(60)
    assert world.db.count("instantly_analytics_snapshots") == 3
