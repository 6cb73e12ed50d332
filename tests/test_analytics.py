"""Figures: snapshots of Instantly's analytics, and statistics over the recorded events."""

import json
import random
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from conftest import Rows, Upstreams
from flask import Flask
from flask.testing import FlaskClient

from instantly.context import EXTENSION
from instantly.routes.analytics import excluded_addresses

FIGURES = "/api/v2/campaigns/analytics"
COUNTS = ("emailsSent", "emailsDelivered", "emailsOpened", "emailsClicked", "emailsReplied")
REPLY_COUNTS = (
    "repliesAutoReply",
    "repliesNotInterested",
    "repliesOutOfOffice",
    "repliesUnsubscribe",
)
SNAPSHOT_COLUMNS = ("total_leads", "contacted", "opened", "replied", "bounced", "unsubscribed")
NO_SNAPSHOTS = {
    "campaigns": 0,
    "totalLeads": 0,
    "contacted": 0,
    "opened": 0,
    "replied": 0,
    "bounced": 0,
    "unsubscribed": 0,
}
NOTHING: dict[str, Any] = {
    "stats": dict.fromkeys([*COUNTS, "emailsBounced", *REPLY_COUNTS], 0),
    "recipients": 0,
    "stepStats": [],
    "snapshots": NO_SNAPSHOTS,
}


@dataclass(frozen=True)
class Campaign:
    """A row of ours that nobody had to create at Instantly."""

    id: str
    instantly_campaign_id: str
    clerk_org_id: str
    brand_id: str
    app_id: str
    run_id: str
    parent_run_id: str | None


def insert_campaign(db: Rows, **columns: str | None) -> Campaign:
    values: dict[str, Any] = {
        "id": str(uuid4()),
        "instantly_campaign_id": str(uuid4()),
        "clerk_org_id": "clerk-1",
        "brand_id": "brand-1",
        "app_id": "app-1",
        "run_id": str(uuid4()),
        "parent_run_id": None,
        **columns,
    }
    db.connection.execute(
        "INSERT INTO instantly_campaigns (org_id, name, id, instantly_campaign_id, clerk_org_id,"
        " brand_id, app_id, run_id, parent_run_id) VALUES ('org-1', 'Autumn', %(id)s,"
        " %(instantly_campaign_id)s, %(clerk_org_id)s, %(brand_id)s, %(app_id)s, %(run_id)s,"
        " %(parent_run_id)s)",
        values,
    )
    return Campaign(**values)


def insert_snapshot(db: Rows, campaign: Campaign, age_hours: int, *counts: int) -> None:
    db.connection.execute(
        "INSERT INTO instantly_analytics_snapshots (campaign_id, total_leads, contacted, opened,"
        " replied, bounced, unsubscribed, snapshot_at) VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
        (campaign.id, *counts, datetime.now(UTC) - timedelta(hours=age_hours)),
    )


def deliver(client: FlaskClient, campaign: Campaign, event_type: str, **fields: Any) -> None:
    """A delivery unlike any other of this campaign."""
    payload = {
        "timestamp": "2026-08-18T07:12:44.318Z",
        "event_type": event_type,
        "campaign_id": campaign.instantly_campaign_id,
        "email_id": str(uuid4()),
        **fields,
    }
    answer = client.post("/webhooks/instantly", json=payload)
    assert (answer.status_code, answer.get_json()["recorded"]) == (200, True)


def stats_of(client: FlaskClient, **conditions: Any) -> dict[str, Any]:
    answer = client.post("/stats", json=conditions)
    assert answer.status_code == 200
    body: dict[str, Any] = answer.get_json()
    return body


def figures(campaign: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Instantly's object about a campaign."""
    return {
        "campaign_id": campaign["instantlyCampaignId"],
        "campaign_name": "Autumn",
        "campaign_status": 1,
        "leads_count": 100,
        "contacted_count": 90,
        "emails_sent_count": 150,
        "open_count": 40,
        "open_count_unique": 30,
        "reply_count": 12,
        "reply_count_unique": 9,
        "bounced_count": 3,
        "unsubscribed_count": 2,
        "link_click_count": 5,
        **changes,
    }


def answers(upstreams: Upstreams, body: object, status: int = 200) -> None:
    upstreams.instantly_http.fail("GET", FIGURES, status=status, body=body, times=None)


def get_analytics(client: FlaskClient, campaign: dict[str, Any]) -> Any:
    return client.get(f"/campaigns/{campaign['id']}/analytics")


# Analytics


def test_instantlys_figures_are_shown_and_kept(
    client: FlaskClient, campaign: dict[str, Any], upstreams: Upstreams, db: Rows
) -> None:
    theirs = figures(campaign, unknown={"to": ["us", 1.5, None]})
    answers(upstreams, [theirs])
    answer = get_analytics(client, campaign)
    assert answer.status_code == 200
    body = answer.get_json()
    assert body["analytics"] == theirs
    snapshot = body["snapshot"]
    UUID(snapshot["id"])
    taken_at = datetime.fromisoformat(snapshot["snapshotAt"])
    assert abs(datetime.now(UTC) - taken_at) < timedelta(minutes=5)
    assert snapshot == {
        "id": snapshot["id"],
        "campaignId": campaign["id"],
        "totalLeads": 100,
        "contacted": 90,
        "opened": 30,
        "replied": 9,
        "bounced": 3,
        "unsubscribed": 2,
        "snapshotAt": snapshot["snapshotAt"],
    }
    (row,) = db.all("SELECT *, id::text AS snapshot_id FROM instantly_analytics_snapshots")
    assert row["snapshot_id"] == snapshot["id"]
    assert [row[name] for name in SNAPSHOT_COLUMNS] == [100, 90, 30, 9, 3, 2]
    assert row["raw_data"] == theirs


def test_the_figures_of_the_stand_in_are_those_of_the_campaign(
    client: FlaskClient, campaign: dict[str, Any], upstreams: Upstreams
) -> None:
    counts = upstreams.instantly.workspace("clerk-1").analytics[campaign["instantlyCampaignId"]]
    counts.update(emails_sent_count=7, contacted_count=5, open_count=4, open_count_unique=3)
    body = get_analytics(client, campaign).get_json()
    assert body["analytics"]["emails_sent_count"] == 7
    assert (body["snapshot"]["contacted"], body["snapshot"]["opened"]) == (5, 3)


def test_exactly_this_campaign_is_asked_for_with_its_organizations_key(
    client: FlaskClient, campaign: dict[str, Any], upstreams: Upstreams
) -> None:
    assert get_analytics(client, campaign).status_code == 200
    (request,) = upstreams.instantly_http.calls("GET", FIGURES)
    assert request.query == {"id": [campaign["instantlyCampaignId"]]}
    assert request.headers["Authorization"] == "Bearer key-1"


@pytest.mark.parametrize("unique", [{}, {"open_count_unique": None, "reply_count_unique": None}])
def test_plain_counts_stand_in_for_missing_unique_ones(
    client: FlaskClient, campaign: dict[str, Any], upstreams: Upstreams, unique: dict[str, None]
) -> None:
    theirs = figures(campaign)
    del theirs["open_count_unique"], theirs["reply_count_unique"]
    answers(upstreams, [{**theirs, **unique}])
    snapshot = get_analytics(client, campaign).get_json()["snapshot"]
    assert (snapshot["opened"], snapshot["replied"]) == (40, 12)


def test_a_unique_count_of_zero_is_a_count(
    client: FlaskClient, campaign: dict[str, Any], upstreams: Upstreams
) -> None:
    answers(upstreams, [figures(campaign, open_count_unique=0, reply_count_unique=0)])
    snapshot = get_analytics(client, campaign).get_json()["snapshot"]
    assert (snapshot["opened"], snapshot["replied"]) == (0, 0)


def test_a_campaign_that_sent_nothing_has_no_figures_but_a_snapshot_of_zeros(
    client: FlaskClient, campaign: dict[str, Any], db: Rows
) -> None:
    answer = get_analytics(client, campaign)
    assert answer.status_code == 200
    body = answer.get_json()
    assert body["analytics"] is None
    zeros = {name: 0 for name in NO_SNAPSHOTS if name != "campaigns"}
    assert body["snapshot"] == body["snapshot"] | zeros | {"campaignId": campaign["id"]}
    assert db.count("instantly_analytics_snapshots") == 1
    assert stats_of(client, campaignId=campaign["id"])["snapshots"]["campaigns"] == 1


def test_another_campaigns_figures_are_not_ours(
    client: FlaskClient, campaign: dict[str, Any], upstreams: Upstreams
) -> None:
    other = figures({"instantlyCampaignId": str(uuid4())}, leads_count=999)
    answers(upstreams, [other])
    body = get_analytics(client, campaign).get_json()
    assert (body["analytics"], body["snapshot"]["totalLeads"]) == (None, 0)


def test_our_figures_are_found_among_others(
    client: FlaskClient, campaign: dict[str, Any], upstreams: Upstreams
) -> None:
    other = figures({"instantlyCampaignId": str(uuid4())}, leads_count=999)
    answers(upstreams, [other, figures(campaign), other])
    body = get_analytics(client, campaign).get_json()
    assert body["analytics"] == figures(campaign)
    assert body["snapshot"]["totalLeads"] == 100


def test_each_call_keeps_another_snapshot(
    client: FlaskClient, campaign: dict[str, Any], db: Rows
) -> None:
    ids = {get_analytics(client, campaign).get_json()["snapshot"]["id"] for _ in range(3)}
    assert len(ids) == db.count("instantly_analytics_snapshots") == 3


@pytest.mark.parametrize(
    "changes",
    [
        {"leads_count": -1},
        {"contacted_count": "90"},
        {"contacted_count": None},
        {"open_count_unique": -5},
        {"open_count_unique": "30"},
        {"reply_count_unique": [9]},
        {"bounced_count": {}},
        {"bounced_count": True},
        {"unsubscribed_count": 1.5},
        {"leads_count": 2**63},
    ],
    ids=str,
)
def test_a_figure_that_is_no_count_is_nonsense_and_not_kept(
    client: FlaskClient,
    campaign: dict[str, Any],
    upstreams: Upstreams,
    db: Rows,
    changes: dict[str, Any],
) -> None:
    answers(upstreams, [figures(campaign, **changes)])
    answer = get_analytics(client, campaign)
    assert answer.status_code == 502
    assert answer.get_json() == {"error": "Instantly unavailable"}
    assert db.count("instantly_analytics_snapshots") == 0


def test_the_largest_count_is_kept(
    client: FlaskClient, campaign: dict[str, Any], upstreams: Upstreams
) -> None:
    answers(upstreams, [figures(campaign, leads_count=2**63 - 1)])
    assert get_analytics(client, campaign).get_json()["snapshot"]["totalLeads"] == 2**63 - 1


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, {}),
        (200, {"items": []}),
        (200, [5]),
        (200, [None]),
        (200, [{"leads_count": 1}]),
        (200, None),
        (200, "<html>"),
        (200, "[" * 100_000),
        (200, 5),
        (500, []),
        (503, None),
    ],
)
def test_nonsense_instead_of_figures_is_502_and_keeps_nothing(
    client: FlaskClient,
    campaign: dict[str, Any],
    upstreams: Upstreams,
    db: Rows,
    status: int,
    body: object,
) -> None:
    answers(upstreams, body, status)
    answer = get_analytics(client, campaign)
    assert answer.status_code == 502
    assert answer.get_json() == {"error": "Instantly unavailable"}
    assert db.count("instantly_analytics_snapshots") == 0


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_is_no_json_number_is_not_passed_on(
    client: FlaskClient, campaign: dict[str, Any], upstreams: Upstreams, db: Rows, value: float
) -> None:
    answers(upstreams, [figures(campaign, total_opportunity_value=value)])
    answer = get_analytics(client, campaign)
    assert answer.status_code == 502
    assert answer.get_json() == {"error": "Instantly unavailable"}
    assert db.count("instantly_analytics_snapshots") == 0


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("Ümlaut 🚚 優希", "Ümlaut 🚚 優希"),
        ("a\x00b", "a\\u0000b"),
        ("a\ud800b\udc00", "a\\ud800b\\udc00"),
        ("a\\u0000b", "a\\u0000b"),
        ("\\\x00", "\\\\u0000"),
    ],
    ids=ascii,
)
def test_odd_texts_do_not_lose_the_snapshot(
    client: FlaskClient,
    campaign: dict[str, Any],
    upstreams: Upstreams,
    db: Rows,
    sent: str,
    kept: str,
) -> None:
    answers(upstreams, [figures(campaign, campaign_name=sent, **{sent: [sent]})])
    answer = get_analytics(client, campaign)
    assert answer.status_code == 200
    assert answer.get_json()["analytics"]["campaign_name"] == sent
    (row,) = db.all("SELECT raw_data FROM instantly_analytics_snapshots")
    assert row["raw_data"] == figures(campaign, campaign_name=kept, **{kept: [kept]})


@pytest.mark.parametrize("campaign_id", [str(uuid4()), "1", "none", "a" * 300, "%00", "%F0"])
def test_figures_of_an_unknown_campaign_are_404(
    client: FlaskClient, upstreams: Upstreams, campaign_id: str
) -> None:
    answer = client.get(f"/campaigns/{campaign_id}/analytics")
    assert (answer.status_code, answer.get_json()) == (404, {"error": "Campaign not found"})
    assert upstreams.instantly_http.requests == []


@pytest.mark.parametrize(
    ("fault", "status", "error", "details"),
    [
        ({"status": 401}, 422, "Instantly API key was rejected", None),
        (
            {"status": 402, "body": {"message": "no plan"}},
            422,
            "Instantly rejected the request",
            {"status": 402, "message": "no plan"},
        ),
        (
            {"status": 404, "body": {"error": "Not Found"}},
            422,
            "Instantly rejected the request",
            {"status": 404, "message": "Not Found"},
        ),
        ({"status": 429}, 503, "Instantly rate limit reached", None),
        ({"status": 500}, 502, "Instantly unavailable", None),
        ({"how": "drop"}, 502, "Instantly unavailable", None),
        ({"how": "cut"}, 502, "Instantly unavailable", None),
    ],
)
def test_instantlys_failures_keep_nothing(
    client: FlaskClient,
    campaign: dict[str, Any],
    upstreams: Upstreams,
    db: Rows,
    fault: dict[str, Any],
    status: int,
    error: str,
    details: object,
) -> None:
    upstreams.instantly_http.fail("GET", FIGURES, times=None, **fault)
    answer = get_analytics(client, campaign)
    body = answer.get_json()
    assert (answer.status_code, body["error"], body.get("details")) == (status, error, details)
    assert ("Retry-After" in answer.headers) is (status == 503)
    assert db.count("instantly_analytics_snapshots") == 0


def test_figures_without_an_organizations_key_are_422(
    client: FlaskClient, campaign: dict[str, Any], upstreams: Upstreams, db: Rows
) -> None:
    upstreams.keys.organizations.clear()
    answer = get_analytics(client, campaign)
    assert answer.status_code == 422
    assert answer.get_json() == {"error": "BYOK key not configured for this organization"}
    assert db.count("instantly_analytics_snapshots") == 0


# POST /stats: what is asked


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"orgId": "org-1"},
        {"unknown": 1},
        {"runIds": []},
        {"runIds": None},
        {"runIds": str(uuid4())},
        {"runIds": ["run-1"]},
        {"runIds": [None]},
        {"runIds": [5]},
        {"runIds": [str(uuid4())] * 1001},
        {"clerkOrgId": None},
        {"clerkOrgId": 5},
        {"clerkOrgId": ["clerk-1"]},
        {"clerkOrgId": "a\x00b"},
        {"brandId": {}},
        {"brandId": "\ud800"},
        {"appId": True},
        {"campaignId": "campaign"},
        {"campaignId": None},
        {"campaignId": 7},
        {"clerkOrgId": "clerk-1", "campaignId": "campaign"},
    ],
    ids=lambda body: ascii(body)[:60],
)
def test_a_bad_question_is_400(client: FlaskClient, body: dict[str, Any]) -> None:
    answer = client.post("/stats", json=body)
    assert answer.status_code == 400
    assert answer.get_json()["error"] == "Invalid request"
    assert answer.get_json()["details"]


@pytest.mark.parametrize(
    ("body", "content_type", "status", "error"),
    [
        ("", "application/json", 400, "Invalid JSON"),
        ("{", "application/json", 400, "Invalid JSON"),
        ("[]", "application/json", 400, "Invalid JSON"),
        ('{"clerkOrgId": NaN}', "application/json", 400, "Invalid JSON"),
        ("[" * 100_000, "application/json", 400, "Invalid JSON"),
        (b'{"clerkOrgId": "\xff"}', "application/json", 400, "Invalid JSON"),
        ('{"clerkOrgId": "c"}', "text/plain", 415, "Content-Type must be application/json"),
    ],
    ids=range(7),
)
def test_a_body_that_is_no_json_object_is_refused(
    client: FlaskClient, body: str | bytes, content_type: str, status: int, error: str
) -> None:
    answer = client.post("/stats", data=body, content_type=content_type)
    assert (answer.status_code, answer.get_json()) == (status, {"error": error})


@pytest.mark.parametrize(
    "conditions",
    [
        {"runIds": [str(uuid4())]},
        {"runIds": [str(uuid4()) for _ in range(1000)]},
        {"clerkOrgId": "nobody"},
        {"clerkOrgId": ""},
        {"brandId": "x" * 10_000},
        {"appId": "%"},
        {"campaignId": str(uuid4())},
    ],
    ids=lambda conditions: next(iter(conditions)),
)
def test_all_is_zero_when_nothing_matches(
    client: FlaskClient, db: Rows, conditions: dict[str, Any]
) -> None:
    campaign = insert_campaign(db)
    deliver(client, campaign, "email_sent", lead_email="a@x.example", step=1)
    insert_snapshot(db, campaign, 1, 1, 1, 1, 1, 1, 1)
    assert stats_of(client, **conditions) == NOTHING


def test_a_campaign_without_events_is_all_zero(client: FlaskClient, db: Rows) -> None:
    assert stats_of(client, campaignId=insert_campaign(db).id) == NOTHING


@pytest.mark.parametrize(
    ("condition", "column"),
    [
        ("clerkOrgId", "clerk_org_id"),
        ("brandId", "brand_id"),
        ("appId", "app_id"),
        ("campaignId", "id"),
        ("runIds", "run_id"),
        ("runIds", "parent_run_id"),
    ],
)
def test_each_condition_alone_selects_its_campaigns(
    client: FlaskClient, db: Rows, condition: str, column: str
) -> None:
    wanted, other = str(uuid4()), str(uuid4())
    deliver(client, insert_campaign(db, **{column: wanted}), "email_sent", lead_email="a@x.example")
    deliver(client, insert_campaign(db, **{column: other}), "email_sent", lead_email="b@x.example")
    value = [wanted] if condition == "runIds" else wanted
    assert stats_of(client, **{condition: value})["stats"]["emailsSent"] == 1


@pytest.mark.parametrize(
    ("wrong", "value"),
    [
        ("clerkOrgId", "clerk-2"),
        ("brandId", "brand-2"),
        ("appId", "app-2"),
        ("campaignId", str(uuid4())),
        ("runIds", [str(uuid4())]),
    ],
)
def test_conditions_must_all_hold(client: FlaskClient, db: Rows, wrong: str, value: object) -> None:
    campaign = insert_campaign(db)
    deliver(client, campaign, "email_sent", lead_email="a@x.example")
    conditions: dict[str, Any] = {
        "clerkOrgId": "clerk-1",
        "brandId": "brand-1",
        "appId": "app-1",
        "campaignId": campaign.id,
        "runIds": [str(uuid4()), campaign.run_id],
    }
    assert stats_of(client, **conditions)["stats"]["emailsSent"] == 1
    assert stats_of(client, **{**conditions, wrong: value}) == NOTHING


def test_a_campaign_that_matches_twice_counts_once(client: FlaskClient, db: Rows) -> None:
    run_id, parent_run_id = str(uuid4()), str(uuid4())
    campaign = insert_campaign(db, run_id=run_id, parent_run_id=parent_run_id)
    deliver(client, campaign, "email_sent", lead_email="a@x.example")
    insert_snapshot(db, campaign, 1, 9, 8, 7, 6, 5, 4)
    answer = stats_of(client, runIds=[run_id, parent_run_id, run_id])
    assert answer["stats"]["emailsSent"] == 1
    assert answer["snapshots"]["campaigns"] == 1


def test_ids_in_upper_case_are_the_same_ids(client: FlaskClient, db: Rows) -> None:
    campaign = insert_campaign(db)
    deliver(client, campaign, "email_sent", lead_email="a@x.example")
    conditions = {"campaignId": campaign.id.upper(), "runIds": [campaign.run_id.upper()]}
    assert stats_of(client, **conditions)["stats"]["emailsSent"] == 1


def test_a_campaign_made_through_the_api_is_found_by_its_runs(
    client: FlaskClient, campaign: dict[str, Any]
) -> None:
    details = client.get(f"/campaigns/{campaign['id']}").get_json()["campaign"]
    payload = {"event_type": "email_sent", "campaign_id": campaign["instantlyCampaignId"]}
    client.post("/webhooks/instantly", json=payload)
    assert stats_of(client, runIds=[details["runId"]])["stats"]["emailsSent"] == 1


# POST /stats: what counts


@pytest.mark.parametrize(
    ("event_type", "counts"),
    [
        ("email_sent", {"emailsSent": 1, "emailsDelivered": 1}),
        ("email_opened", {"emailsOpened": 1}),
        ("link_clicked", {"emailsClicked": 1}),
        ("email_link_clicked", {"emailsClicked": 1}),
        ("reply_received", {"emailsReplied": 1}),
        ("email_bounced", {"emailsBounced": 1}),
        ("auto_reply_received", {"repliesAutoReply": 1}),
        ("lead_not_interested", {"repliesNotInterested": 1}),
        ("lead_out_of_office", {"repliesOutOfOffice": 1}),
        ("lead_unsubscribed", {"repliesUnsubscribe": 1}),
        ("lead_interested", {}),
        ("account_error", {}),
        ("campaign_completed", {}),
        ("Call back in Q4", {}),
    ],
)
def test_an_event_counts_as(
    client: FlaskClient, db: Rows, event_type: str, counts: dict[str, int]
) -> None:
    deliver(client, insert_campaign(db), event_type, lead_email="a@x.example")
    answer = stats_of(client, clerkOrgId="clerk-1")
    assert answer["stats"] == {**NOTHING["stats"], **counts}
    assert answer["recipients"] == (1 if event_type == "email_sent" else 0)
    assert answer["stepStats"] == []


def test_opens_and_recipients_are_distinct_leads_and_the_rest_are_events(
    client: FlaskClient, db: Rows
) -> None:
    campaign = insert_campaign(db)
    for event_type in (
        "email_sent",
        "email_opened",
        "link_clicked",
        "reply_received",
        "email_bounced",
        "auto_reply_received",
        "lead_not_interested",
        "lead_out_of_office",
        "lead_unsubscribed",
    ):
        for lead in ("a@x.example", "A@X.example", "b@x.example"):
            deliver(client, campaign, event_type, lead_email=lead, step=1)
    answer = stats_of(client, clerkOrgId="clerk-1")
    assert answer["stats"] == {
        "emailsSent": 3,
        "emailsDelivered": 0,
        "emailsOpened": 2,
        "emailsClicked": 3,
        "emailsReplied": 3,
        "emailsBounced": 3,
        "repliesAutoReply": 3,
        "repliesNotInterested": 3,
        "repliesOutOfOffice": 3,
        "repliesUnsubscribe": 3,
    }
    assert answer["recipients"] == 2
    assert answer["stepStats"] == [
        {"step": 1, "emailsSent": 3, "emailsOpened": 2, "emailsReplied": 3, "emailsBounced": 3}
    ]


def test_a_lead_is_one_lead_across_campaigns(client: FlaskClient, db: Rows) -> None:
    for _ in range(2):
        campaign = insert_campaign(db)
        for event_type in ("email_sent", "email_opened"):
            deliver(client, campaign, event_type, lead_email="a@x.example", step=1)
    answer = stats_of(client, clerkOrgId="clerk-1")
    assert answer["stats"]["emailsSent"] == 2
    assert (answer["stats"]["emailsOpened"], answer["recipients"]) == (1, 1)
    (step,) = answer["stepStats"]
    assert (step["emailsSent"], step["emailsOpened"]) == (2, 1)


def test_delivered_is_never_below_zero(client: FlaskClient, db: Rows) -> None:
    campaign = insert_campaign(db)
    deliver(client, campaign, "email_sent", lead_email="a@x.example")
    for lead in ("a@x.example", "b@x.example"):
        deliver(client, campaign, "email_bounced", lead_email=lead)
    stats = stats_of(client, clerkOrgId="clerk-1")["stats"]
    assert (stats["emailsSent"], stats["emailsBounced"], stats["emailsDelivered"]) == (1, 2, 0)


def test_steps_are_listed_in_their_order(client: FlaskClient, db: Rows) -> None:
    campaign = insert_campaign(db)
    for step in (10, 2, 1, 99999999999):
        deliver(client, campaign, "email_sent", lead_email="a@x.example", step=step)
    answer = stats_of(client, clerkOrgId="clerk-1")
    assert [step["step"] for step in answer["stepStats"]] == [1, 2, 10, 99999999999]
    assert answer["recipients"] == 1


def test_an_event_without_a_step_counts_but_for_the_steps(client: FlaskClient, db: Rows) -> None:
    campaign = insert_campaign(db)
    deliver(client, campaign, "email_sent", lead_email="a@x.example")
    deliver(client, campaign, "email_sent", lead_email="a@x.example", step=0)
    deliver(client, campaign, "email_sent", lead_email="a@x.example", step=2)
    answer = stats_of(client, clerkOrgId="clerk-1")
    assert answer["stats"]["emailsSent"] == 3
    assert [(step["step"], step["emailsSent"]) for step in answer["stepStats"]] == [(2, 1)]


@pytest.mark.parametrize("lead", [None, "", "  ", 5, ["a@x.example"], "a" * 321])
def test_an_event_without_a_lead_counts_where_leads_are_not_counted(
    client: FlaskClient, db: Rows, lead: object
) -> None:
    campaign = insert_campaign(db)
    for event_type in ("email_sent", "email_opened", "reply_received", "email_bounced"):
        deliver(client, campaign, event_type, lead_email=lead, step=1)
    answer = stats_of(client, clerkOrgId="clerk-1")
    assert answer["stats"]["emailsSent"] == answer["stats"]["emailsReplied"] == 1
    assert (answer["stats"]["emailsOpened"], answer["recipients"]) == (0, 0)
    assert answer["stepStats"] == [
        {"step": 1, "emailsSent": 1, "emailsOpened": 0, "emailsReplied": 1, "emailsBounced": 1}
    ]


def test_the_sending_account_is_no_lead(client: FlaskClient, db: Rows) -> None:
    campaign = insert_campaign(db)
    for event_type in ("email_sent", "email_opened", "reply_received", "email_bounced"):
        deliver(
            client,
            campaign,
            event_type,
            lead_email="Marc@Sender.example",
            email_account=" marc@sender.example",
            step=1,
        )
    assert db.count("instantly_events") == 4
    assert stats_of(client, clerkOrgId="clerk-1") == NOTHING


def test_a_repeated_delivery_counts_once(client: FlaskClient, db: Rows) -> None:
    campaign = insert_campaign(db)
    payload = {
        "event_type": "email_sent",
        "campaign_id": campaign.instantly_campaign_id,
        "lead_email": "a@x.example",
    }
    for _ in range(3):
        assert client.post("/webhooks/instantly", json=payload).status_code == 200
    assert stats_of(client, clerkOrgId="clerk-1")["stats"]["emailsSent"] == 1


# Excluded domains


def exclude(app: Flask, monkeypatch: pytest.MonkeyPatch, *domains: str) -> None:
    parts = app.extensions[EXTENSION]
    settings = replace(parts.settings, stats_excluded_domains=domains)
    monkeypatch.setitem(app.extensions, EXTENSION, replace(parts, settings=settings))


@pytest.mark.parametrize(
    ("lead", "counts"),
    [
        ("a@ours.example", False),
        ("A@OURS.Example", False),
        ("a@mail.ours.example", False),
        ("a@b.c.ours.example", False),
        ("a@my_test.example", False),
        ("a@sub.my_test.example", False),
        ("a@notours.example", True),
        ("a@ours.example.org", True),
        ("ours.example@else.example", True),
        ("a@ours-example", True),
        ("a@oursxexample", True),
        ("a@myxtest.example", True),
        ("a@example", True),
        (None, True),
    ],
)
def test_excluded_domains_and_their_subdomains_do_not_count(
    client: FlaskClient,
    app: Flask,
    db: Rows,
    monkeypatch: pytest.MonkeyPatch,
    lead: str | None,
    counts: bool,
) -> None:
    exclude(app, monkeypatch, "ours.example", "my_test.example")
    deliver(client, insert_campaign(db), "email_sent", lead_email=lead, step=1)
    answer = stats_of(client, clerkOrgId="clerk-1")
    assert answer["stats"]["emailsSent"] == (1 if counts else 0)
    assert (answer == NOTHING) is not counts


def test_excluding_a_domain_later_applies_to_what_was_recorded_before(
    client: FlaskClient, app: Flask, db: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    campaign = insert_campaign(db)
    deliver(client, campaign, "email_sent", lead_email="a@ours.example")
    assert stats_of(client, clerkOrgId="clerk-1")["recipients"] == 1
    exclude(app, monkeypatch, "ours.example")
    assert stats_of(client, clerkOrgId="clerk-1") == NOTHING


def test_without_excluded_domains_nothing_is_excluded(app: Flask) -> None:
    with app.app_context():
        assert excluded_addresses() == []


# Snapshots in the statistics


def test_only_the_latest_snapshot_of_each_campaign_is_summed(client: FlaskClient, db: Rows) -> None:
    one, two = insert_campaign(db), insert_campaign(db)
    insert_campaign(db)
    insert_snapshot(db, one, 2, 1000, 1000, 1000, 1000, 1000, 1000)
    insert_snapshot(db, one, 1, 10, 9, 8, 7, 6, 5)
    insert_snapshot(db, one, 3, 5000, 5000, 5000, 5000, 5000, 5000)
    insert_snapshot(db, two, 5, 100, 90, 80, 70, 60, 50)
    elsewhere = insert_campaign(db, clerk_org_id="clerk-2")
    insert_snapshot(db, elsewhere, 0, 7, 7, 7, 7, 7, 7)
    answer = stats_of(client, clerkOrgId="clerk-1")
    assert answer["snapshots"] == {
        "campaigns": 2,
        "totalLeads": 110,
        "contacted": 99,
        "opened": 88,
        "replied": 77,
        "bounced": 66,
        "unsubscribed": 55,
    }
    assert answer["stats"] == NOTHING["stats"]


def test_snapshots_add_up_beyond_64_bits(client: FlaskClient, db: Rows) -> None:
    for _ in range(2):
        insert_snapshot(db, insert_campaign(db), 1, 2**63 - 1, 0, 0, 0, 0, 0)
    assert stats_of(client, clerkOrgId="clerk-1")["snapshots"]["totalLeads"] == 2**64 - 2


# POST /stats against an independent count

EVENT_TYPES = [
    *["email_sent"] * 8,
    *["email_opened"] * 5,
    "link_clicked",
    "email_link_clicked",
    "reply_received",
    "reply_received",
    "email_bounced",
    "auto_reply_received",
    "lead_unsubscribed",
    "lead_interested",
    "lead_neutral",
    "lead_not_interested",
    "lead_out_of_office",
    "lead_closed",
    "account_error",
    "campaign_completed_for_lead_without_reply",
    "Call back in Q4",
]
EXCLUDED = ("ours.example", "internal.example")
DOMAINS = ["x.example", "y.example", "ours.example", "eu.internal.example", "notours.example"]
PEOPLE = [f"{name}@{domain}" for name in ("a", "b", "c", "dora") for domain in DOMAINS]
SENDERS = ["lena@sender.example", "marc@sender.example", PEOPLE[0]]
STEPS = [1, 1, 1, 2, 2, 3, 7, None, 0, -1, "1", 1.5, True]


def random_case(chance: random.Random, text: str) -> str:
    return "".join(chance.choice((letter, letter.upper())) for letter in text)


def random_payload(chance: random.Random, campaign: Campaign) -> dict[str, Any]:
    payload: dict[str, Any] = {
        "event_type": chance.choice(EVENT_TYPES),
        "campaign_id": chance.choice(
            (campaign.instantly_campaign_id, campaign.instantly_campaign_id.upper())
        ),
        "timestamp": f"2026-08-{chance.randint(10, 28)}T07:{chance.randint(10, 59)}:00.000Z",
    }
    if chance.random() < 0.9:
        payload["lead_email"] = random_case(chance, chance.choice(PEOPLE))
    if chance.random() < 0.7:
        payload["email_account"] = random_case(chance, chance.choice(SENDERS))
    if chance.random() < 0.8:
        payload["step"] = chance.choice(STEPS)
    if chance.random() < 0.5:
        payload["firstName"] = chance.choice(["Ümit", "a\x00", "\ud800", "優希"])
    return payload


def is_excluded(address: str) -> bool:
    domain = address.rpartition("@")[2]
    return any(domain == name or domain.endswith("." + name) for name in EXCLUDED)


def counted_by_hand(payloads: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """The contract's definitions over distinct payloads, without a database."""
    counts: dict[str, int] = {}
    opened: set[str] = set()
    recipients: set[str] = set()
    steps: dict[int, dict[str, Any]] = {}
    names = {
        "email_sent": "emailsSent",
        "link_clicked": "emailsClicked",
        "email_link_clicked": "emailsClicked",
        "reply_received": "emailsReplied",
        "email_bounced": "emailsBounced",
        "auto_reply_received": "repliesAutoReply",
        "lead_not_interested": "repliesNotInterested",
        "lead_out_of_office": "repliesOutOfOffice",
        "lead_unsubscribed": "repliesUnsubscribe",
    }
    for payload in payloads:
        lead = payload.get("lead_email", "").lower()
        if lead and (lead == payload.get("email_account", "").lower() or is_excluded(lead)):
            continue
        event_type, step = payload["event_type"], payload.get("step")
        of_step: dict[str, Any] = {}
        if type(step) is int and step > 0:
            of_step = steps.setdefault(step, {"opened": set()})
        if event_type in names:
            name = names[event_type]
            counts[name] = counts.get(name, 0) + 1
            of_step[name] = of_step.get(name, 0) + 1
        if lead and event_type == "email_sent":
            recipients.add(lead)
        if lead and event_type == "email_opened":
            opened.add(lead)
            of_step.setdefault("opened", set()).add(lead)
    delivered = max(0, counts.get("emailsSent", 0) - counts.get("emailsBounced", 0))
    return {
        "stats": {
            **dict.fromkeys(NOTHING["stats"], 0),
            **counts,
            "emailsOpened": len(opened),
            "emailsDelivered": delivered,
        },
        "recipients": len(recipients),
        "stepStats": [
            {
                "step": step,
                "emailsSent": of_step.get("emailsSent", 0),
                "emailsOpened": len(of_step["opened"]),
                "emailsReplied": of_step.get("emailsReplied", 0),
                "emailsBounced": of_step.get("emailsBounced", 0),
            }
            for step, of_step in sorted(steps.items())
        ],
    }


def without_empty_steps(answer: dict[str, Any]) -> dict[str, Any]:
    """Whether a step that has nothing but zeros is listed is nobody's promise."""
    steps = [row for row in answer["stepStats"] if any(list(row.values())[1:])]
    return {**answer, "stepStats": steps}


def matches(campaign: Campaign, conditions: dict[str, Any]) -> bool:
    run_ids = conditions.get("runIds")
    return (
        conditions.get("clerkOrgId") in (None, campaign.clerk_org_id)
        and conditions.get("brandId") in (None, campaign.brand_id)
        and conditions.get("appId") in (None, campaign.app_id)
        and conditions.get("campaignId") in (None, campaign.id)
        and (run_ids is None or campaign.run_id in run_ids or campaign.parent_run_id in run_ids)
    )


def random_conditions(chance: random.Random, campaigns: list[Campaign]) -> dict[str, Any]:
    runs = [campaign.run_id for campaign in campaigns]
    runs += [campaign.parent_run_id for campaign in campaigns if campaign.parent_run_id]
    possible: dict[str, Any] = {
        "clerkOrgId": chance.choice(["clerk-1", "clerk-2", "clerk-3", "clerk-4"]),
        "brandId": chance.choice(["brand-1", "brand-2", "brand-3"]),
        "appId": chance.choice(["app-1", "app-2"]),
        "campaignId": chance.choice([*(campaign.id for campaign in campaigns), str(uuid4())]),
        "runIds": chance.sample([*runs, str(uuid4())], chance.randint(1, len(runs))),
    }
    names = chance.sample(sorted(possible), chance.choice([1, 1, 2, 2, 3, 5]))
    return {name: possible[name] for name in names}


@pytest.mark.parametrize("seed", [1, 2])
def test_statistics_are_what_an_independent_count_of_the_payloads_gives(
    client: FlaskClient, app: Flask, db: Rows, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    exclude(app, monkeypatch, *EXCLUDED)
    chance = random.Random(seed)
    parents = [str(uuid4()), str(uuid4()), None]
    campaigns = [
        insert_campaign(
            db,
            clerk_org_id=chance.choice(["clerk-1", "clerk-2", "clerk-3"]),
            brand_id=chance.choice(["brand-1", "brand-2"]),
            app_id=chance.choice(["app-1", "app-2"]),
            parent_run_id=chance.choice(parents),
        )
        for _ in range(9)
    ]
    # The last campaign stays without events.
    history: dict[str, tuple[Campaign, dict[str, Any]]] = {}
    for _ in range(900):
        campaign = chance.choice(campaigns[:-1])
        payload = random_payload(chance, campaign)
        identity = json.dumps(payload, sort_keys=True)
        if chance.random() < 0.1 and history:
            identity = chance.choice(sorted(history))
            campaign, payload = history[identity]
        answer = client.post("/webhooks/instantly", json=payload)
        assert answer.status_code == 200
        assert answer.get_json()["recorded"] is (identity not in history)
        history[identity] = (campaign, payload)
    latest: dict[Campaign, list[int]] = {}
    for campaign in campaigns[2:]:
        for age_hours in chance.sample(range(100), 3):
            insert_snapshot(db, campaign, 100 + age_hours, *(chance.randint(0, 99),) * 6)
        latest[campaign] = [chance.randint(0, 1000) for _ in SNAPSHOT_COLUMNS]
        insert_snapshot(db, campaign, 1, *latest[campaign])

    for _ in range(150):
        conditions = random_conditions(chance, campaigns)
        expected = counted_by_hand(
            payload for campaign, payload in history.values() if matches(campaign, conditions)
        )
        rows = [counts for campaign, counts in latest.items() if matches(campaign, conditions)]
        sums = [sum(column) for column in zip(*rows, strict=True)] or [0] * 6
        expected["snapshots"] = dict(zip(NO_SNAPSHOTS, [len(rows), *sums], strict=True))
        counted = stats_of(client, **conditions)
        assert without_empty_steps(counted) == without_empty_steps(expected)
