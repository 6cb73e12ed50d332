"""Figures: snapshots of Instantly's analytics, and statistics over the recorded events."""

import json
import random
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from conftest import Rows, Upstreams
from flask.testing import FlaskClient
from helpers import STATS, OurCampaign, configure, recorded, stats
from werkzeug.test import TestResponse

LEAD = "a@x.example"
FIGURES = "/api/v2/campaigns/analytics"
SNAPSHOT = ("totalLeads", "contacted", "opened", "replied", "bounced", "unsubscribed")
NO_SNAPSHOTS = dict.fromkeys(("campaigns", *SNAPSHOT), 0)
NOTHING = {
    "stats": dict.fromkeys(STATS, 0),
    "recipients": 0,
    "stepStats": [],
    "snapshots": NO_SNAPSHOTS,
}


def figures(instantly_campaign_id: str, **changes: Any) -> dict[str, Any]:
    """Instantly's object about a campaign."""
    return {
        "campaign_id": instantly_campaign_id,
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


@dataclass
class Analytics:
    """Asks for the figures of a campaign that the service has created."""

    client: FlaskClient
    campaign: dict[str, Any]
    upstreams: Upstreams
    db: Rows

    def figures(self, **changes: Any) -> dict[str, Any]:
        return figures(self.campaign["instantlyCampaignId"], **changes)

    def answers(self, body: object) -> None:
        """From now on Instantly answers this instead of its figures."""
        self.fails(status=200, body=body)

    def fails(self, **fault: Any) -> None:
        self.upstreams.instantly_http.fail("GET", FIGURES, times=None, **fault)

    def ask(self) -> TestResponse:
        return self.client.get(f"/campaigns/{self.campaign['id']}/analytics")

    def get(self) -> tuple[Any, dict[str, Any]]:
        """Instantly's figures as they are shown, and the snapshot that is kept."""
        answer = self.ask()
        assert answer.status_code == 200
        body = answer.get_json()
        return body["analytics"], body["snapshot"]

    def is_refused(self, status: int, error: str) -> bool:
        """Whether the answer is this error, and no snapshot was kept."""
        answer = self.ask()
        is_kept = self.db.count("instantly_analytics_snapshots") > 0
        return (answer.status_code, answer.get_json()["error"], is_kept) == (status, error, False)


@pytest.fixture
def analytics(client, campaign, upstreams, db):
    return Analytics(client, campaign, upstreams, db)


# Analytics


def test_instantlys_figures_are_shown_and_each_call_keeps_a_snapshot(analytics):
    theirs = analytics.figures(unknown={"to": ["us", 1.5, None]}, leads_count=2**63 - 1)
    analytics.answers([theirs])
    shown, snapshot = analytics.get()
    assert shown == theirs
    taken_at = datetime.fromisoformat(snapshot["snapshotAt"])
    assert abs(datetime.now(UTC) - taken_at) < timedelta(minutes=5)
    counts = [2**63 - 1, 90, 30, 9, 3, 2]
    assert snapshot == {
        "id": snapshot["id"],
        "campaignId": analytics.campaign["id"],
        **dict(zip(SNAPSHOT, counts, strict=True)),
        "snapshotAt": snapshot["snapshotAt"],
    }
    (row,) = analytics.db.all("SELECT * FROM instantly_analytics_snapshots")
    assert (str(row["id"]), row["raw_data"]) == (snapshot["id"], theirs)
    columns = ("total_leads", "contacted", "opened", "replied", "bounced", "unsubscribed")
    assert [row[name] for name in columns] == counts
    assert analytics.get()[1]["id"] != snapshot["id"]
    assert analytics.db.count("instantly_analytics_snapshots") == 2


def test_exactly_this_campaign_is_asked_for(analytics):
    workspace = analytics.upstreams.instantly.workspace("clerk-1")
    counts = workspace.analytics[analytics.campaign["instantlyCampaignId"]]
    counts.update(emails_sent_count=7, contacted_count=5, open_count=4, open_count_unique=3)
    shown, snapshot = analytics.get()
    assert (shown["emails_sent_count"], snapshot["contacted"], snapshot["opened"]) == (7, 5, 3)
    (request,) = analytics.upstreams.instantly_http.calls("GET", FIGURES)
    assert request.query == {"id": [analytics.campaign["instantlyCampaignId"]]}


@pytest.mark.parametrize(
    ("unique", "opened_and_replied"), [("missing", (40, 12)), (None, (40, 12)), (0, (0, 0))]
)
def test_plain_counts_stand_in_for_missing_unique_ones(analytics, unique, opened_and_replied):
    theirs = analytics.figures(open_count_unique=unique, reply_count_unique=unique)
    if unique == "missing":
        del theirs["open_count_unique"], theirs["reply_count_unique"]
    analytics.answers([theirs])
    _, snapshot = analytics.get()
    assert (snapshot["opened"], snapshot["replied"]) == opened_and_replied


def test_a_campaign_that_sent_nothing_has_no_figures_but_a_snapshot_of_zeros(analytics):
    shown, snapshot = analytics.get()
    assert shown is None
    zeros = dict.fromkeys(SNAPSHOT, 0)
    assert snapshot == snapshot | zeros | {"campaignId": analytics.campaign["id"]}
    statistics = Statistics(analytics.client, analytics.db)
    assert statistics.of(campaignId=analytics.campaign["id"])["snapshots"]["campaigns"] == 1


def test_another_campaigns_figures_are_not_ours(analytics):
    other = figures(str(uuid4()), leads_count=999)
    analytics.answers([other])
    shown, snapshot = analytics.get()
    assert (shown, snapshot["totalLeads"]) == (None, 0)
    analytics.upstreams.instantly_http.heal()
    analytics.answers([other, analytics.figures(), other])
    shown, snapshot = analytics.get()
    assert (shown, snapshot["totalLeads"]) == (analytics.figures(), 100)


@pytest.mark.parametrize(
    "changes",
    [
        *({"leads_count": -1}, {"leads_count": 2**63}, {"contacted_count": "90"}),
        *({"contacted_count": None}, {"open_count_unique": -5}, {"bounced_count": True}),
        # What is no JSON number is not passed on.
        *({"total_opportunity_value": float(number)} for number in ("nan", "-inf")),
    ],
    ids=str,
)
def test_a_figure_that_is_no_count_is_nonsense_and_not_kept(analytics, changes):
    analytics.answers([analytics.figures(**changes)])
    assert analytics.is_refused(502, "Instantly unavailable")


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"status": 402}, (422, "Instantly rejected the request")),
        ({"how": "cut"}, (502, "Instantly unavailable")),
        ({"status": 200, "body": {}}, (502, "Instantly unavailable")),
        ({"status": 200, "body": [5]}, (502, "Instantly unavailable")),
        ({"status": 200, "body": [{"leads_count": 1}]}, (502, "Instantly unavailable")),
    ],
    ids=str,
)
def test_without_figures_of_instantly_nothing_is_kept(analytics, fault, error):
    analytics.fails(**fault)
    assert analytics.is_refused(*error)


def test_odd_texts_do_not_lose_the_snapshot(analytics):
    odd = "優希 a\\u0000b \x00\ud800"
    theirs = analytics.figures(campaign_name=odd, **{odd: [odd]})
    analytics.answers([theirs])
    shown, _ = analytics.get()
    (row,) = analytics.db.all("SELECT raw_data FROM instantly_analytics_snapshots")
    assert shown == row["raw_data"] == theirs


# POST /stats: what is asked


@dataclass
class Statistics:
    """Campaigns with deliveries and snapshots, and what is answered about them."""

    client: FlaskClient
    db: Rows

    def campaign(self, **columns: Any) -> OurCampaign:
        return OurCampaign(self.db, self.client, **columns)

    def with_event(self, **columns: Any) -> OurCampaign:
        """A campaign that has sent one e-mail."""
        campaign = self.campaign(**columns)
        event(campaign, "email_sent")
        return campaign

    def snapshot(self, campaign: OurCampaign, age_hours: int, *counts: int) -> None:
        self.db.connection.execute(
            "INSERT INTO instantly_analytics_snapshots (campaign_id, total_leads, contacted,"
            " opened, replied, bounced, unsubscribed, snapshot_at)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
            (campaign.id, *counts, datetime.now(UTC) - timedelta(hours=age_hours)),
        )

    def of(self, **conditions: Any) -> dict[str, Any]:
        answer = self.client.post("/stats", json=conditions)
        assert answer.status_code == 200
        return answer.get_json()

    def all(self) -> dict[str, Any]:
        return self.of(clerkOrgId="clerk-1")

    def sent(self, **conditions: Any) -> int:
        return int(self.of(**conditions)["stats"]["emailsSent"])


@pytest.fixture
def statistics(client, db):
    return Statistics(client, db)


def event(campaign: OurCampaign, *event_types: str, lead: object = LEAD, **fields: Any) -> None:
    """Events unlike any others of this campaign."""
    for event_type in event_types:
        assert campaign.records(event_type, email_id=str(uuid4()), lead_email=lead, **fields)


def step_row(step: int, *counts: int) -> dict[str, int]:
    names = ("emailsSent", "emailsOpened", "emailsReplied", "emailsBounced")
    return {"step": step, **dict(zip(names, counts, strict=True))}


@pytest.mark.parametrize(
    "conditions",
    [
        {"runIds": [str(uuid4()) for _ in range(1000)]},
        {"clerkOrgId": ""},
        {"brandId": "x" * 10_000},
        {"appId": "%"},
        {"campaignId": str(uuid4())},
    ],
    ids=lambda conditions: next(iter(conditions)),
)
def test_all_is_zero_when_nothing_matches(statistics, conditions):
    statistics.snapshot(statistics.with_event(), 1, 1, 1, 1, 1, 1, 1)
    assert statistics.of(**conditions) == NOTHING


def test_conditions_must_all_hold(statistics):
    campaign = statistics.with_event()
    conditions = {
        "clerkOrgId": "clerk-1",
        "brandId": "brand-1",
        "appId": "app-1",
        # Ids in upper case are the same ids.
        "campaignId": campaign.id.upper(),
        "runIds": [str(uuid4()), campaign.run_id.upper()],
    }
    assert statistics.sent(**conditions) == 1
    for name in conditions:
        wrong = [str(uuid4())] if name == "runIds" else str(uuid4())
        assert statistics.of(**{**conditions, name: wrong}) == NOTHING, name


def test_a_campaign_that_matches_twice_counts_once(statistics):
    campaign = statistics.with_event(parent_run_id=str(uuid4()))
    statistics.snapshot(campaign, 1, 9, 8, 7, 6, 5, 4)
    answer = statistics.of(runIds=[campaign.run_id, campaign.parent_run_id, campaign.run_id])
    assert answer["stats"]["emailsSent"] == 1
    assert answer["snapshots"]["campaigns"] == 1


def test_a_campaign_made_through_the_api_is_found_by_its_run(statistics, world, campaign):
    payload = {"event_type": "email_sent", "campaign_id": campaign["instantlyCampaignId"]}
    assert recorded(statistics.client, payload)
    assert statistics.sent(runIds=[world.shown()["runId"]]) == 1


# POST /stats: what counts


EVENTS_OF_A_STEP = ("email_sent", "email_opened", "reply_received", "email_bounced")


def test_opens_and_recipients_are_distinct_leads_and_the_rest_are_events(statistics):
    campaign = statistics.campaign()
    others = ("link_clicked", "auto_reply_received", "lead_not_interested", "lead_out_of_office")
    for lead in ("a@x.example", "A@X.example", "b@x.example"):
        event(campaign, *EVENTS_OF_A_STEP, *others, "lead_unsubscribed", lead=lead, step=1)
    answer = statistics.all()
    assert answer["stats"] == stats(3, 0, 2, 3, 3, 3, 3, 3, 3, 3)
    assert answer["recipients"] == 2
    assert answer["stepStats"] == [step_row(1, 3, 2, 3, 3)]


def test_a_lead_is_one_lead_across_campaigns(statistics):
    for _ in range(2):
        event(statistics.campaign(), "email_sent", "email_opened", step=1)
    answer = statistics.all()
    assert answer["stats"]["emailsSent"] == 2
    assert (answer["stats"]["emailsOpened"], answer["recipients"]) == (1, 1)
    assert answer["stepStats"] == [step_row(1, 2, 1, 0, 0)]


def test_delivered_is_never_below_zero(statistics):
    event(statistics.campaign(), "email_sent", "email_bounced", "email_bounced", lead=None)
    assert statistics.all()["stats"] == stats(1, 0, 0, 0, 0, 2, 0, 0, 0, 0)


@pytest.mark.parametrize("lead", [None, 5, "a" * 321])
def test_an_event_without_a_lead_counts_where_leads_are_not_counted(statistics, lead):
    event(statistics.campaign(), *EVENTS_OF_A_STEP, lead=lead, step=1)
    answer = statistics.all()
    assert answer["stats"]["emailsSent"] == answer["stats"]["emailsReplied"] == 1
    assert (answer["stats"]["emailsOpened"], answer["recipients"]) == (0, 0)
    assert answer["stepStats"] == [step_row(1, 1, 0, 1, 1)]


def test_the_sending_account_is_no_lead(statistics):
    account = {"lead": "Marc@Sender.example", "email_account": " marc@sender.example"}
    event(statistics.campaign(), *EVENTS_OF_A_STEP, step=1, **account)
    assert statistics.db.count("instantly_events") == 4
    assert statistics.all() == NOTHING


# Excluded domains


@pytest.fixture
def two_excluded(app, monkeypatch):
    configure(app, monkeypatch, stats_excluded=("ours.example", "my_test.example", "a_%@x.example"))


@pytest.mark.parametrize(
    "lead", ["A@OURS.Example", "a@b.c.ours.example", "a@my_test.example", "A_%@x.example"]
)
def test_excluded_domains_and_their_subdomains_do_not_count(statistics, two_excluded, lead):
    event(statistics.campaign(), "email_sent", lead=lead, step=1)
    assert statistics.all() == NOTHING


def test_domains_that_only_look_excluded_count(statistics, two_excluded):
    campaign = statistics.campaign()
    alike = ["notours.example", "ours.example.org", "ours-example", "oursxexample", "example"]
    for domain in (*alike, "myxtest.example"):
        event(campaign, "email_sent", lead=f"ours.example@{domain}")
    for lead in ("ab@x.example", "a_%b@x.example", "b.a_%@x.example", "a_%@b.x.example", None):
        event(campaign, "email_sent", lead=lead)
    assert statistics.all()["stats"]["emailsSent"] == len(alike) + 6


def test_excluding_a_domain_later_applies_to_what_was_recorded_before(statistics, app, monkeypatch):
    statistics.with_event()
    assert statistics.all()["recipients"] == 1
    configure(app, monkeypatch, stats_excluded=("x.example",))
    assert statistics.all() == NOTHING


# Snapshots in the statistics


def test_only_the_latest_snapshot_of_each_campaign_is_summed(statistics):
    one, two, _ = (statistics.campaign() for _ in range(3))
    statistics.snapshot(one, 2, 1000, 1000, 1000, 1000, 1000, 1000)
    statistics.snapshot(one, 1, 10, 9, 8, 7, 6, 5)
    statistics.snapshot(one, 3, 5000, 5000, 5000, 5000, 5000, 5000)
    statistics.snapshot(two, 5, 100, 90, 80, 70, 60, 50)
    statistics.snapshot(statistics.campaign(clerk_org_id="clerk-2"), 0, 7, 7, 7, 7, 7, 7)
    answer = statistics.all()
    sums = dict(zip(SNAPSHOT, [110, 99, 88, 77, 66, 55], strict=True))
    assert answer["snapshots"] == {"campaigns": 2, **sums}
    assert answer["stats"] == NOTHING["stats"]


def test_snapshots_add_up_beyond_64_bits(statistics):
    for _ in range(2):
        statistics.snapshot(statistics.campaign(), 1, 2**63 - 1, 0, 0, 0, 0, 0)
    assert statistics.all()["snapshots"]["totalLeads"] == 2**64 - 2


# POST /stats against an independent count

EVENT_TYPES = [
    *["email_sent"] * 8,
    *["email_opened"] * 5,
    *("link_clicked", "email_link_clicked", "reply_received", "reply_received", "email_bounced"),
    *("auto_reply_received", "lead_unsubscribed", "lead_interested", "lead_neutral"),
    *("lead_not_interested", "lead_out_of_office", "lead_closed", "account_error"),
    *("campaign_completed_for_lead_without_reply", "Call back in Q4"),
]
EXCLUDED = ("ours.example", "internal.example")
DOMAINS = ["x.example", "y.example", "ours.example", "eu.internal.example", "notours.example"]
PEOPLE = [f"{name}@{domain}" for name in ("a", "b", "c", "dora") for domain in DOMAINS]
SENDERS = ["lena@sender.example", "marc@sender.example", PEOPLE[0]]
STEPS = [1, 1, 1, 2, 2, 3, 7, None, 0, -1, "1", 1.5, True]


def random_case(chance: random.Random, text: str) -> str:
    return "".join(chance.choice((letter, letter.upper())) for letter in text)


def random_payload(chance: random.Random, campaign: OurCampaign) -> dict[str, Any]:
    payload = {
        "event_type": chance.choice(EVENT_TYPES),
        "campaign_id": chance.choice((campaign.instantly_id, campaign.instantly_id.upper())),
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


COUNTED_AS = {
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


def counted_by_hand(payloads: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """The contract's definitions over distinct payloads, without a database."""
    counts, opened, recipients = Counter(), set(), set()
    steps = defaultdict(lambda: (Counter(), set()))
    for payload in payloads:
        lead = payload.get("lead_email", "").lower()
        if lead and (lead == payload.get("email_account", "").lower() or is_excluded(lead)):
            continue
        event_type, step = payload["event_type"], payload.get("step")
        for_the_step = [steps[step]] if type(step) is int and step > 0 else []
        for events, leads in [(counts, opened), *for_the_step]:
            events[COUNTED_AS.get(event_type)] += 1
            if lead and event_type == "email_opened":
                leads.add(lead)
        if lead and event_type == "email_sent":
            recipients.add(lead)
    delivered = max(0, counts["emailsSent"] - counts["emailsBounced"])
    distinct = {"emailsOpened": len(opened), "emailsDelivered": delivered}
    return {
        "stats": {name: counts[name] for name in STATS} | distinct,
        "recipients": len(recipients),
        "stepStats": [
            step_row(n, e["emailsSent"], len(leads), e["emailsReplied"], e["emailsBounced"])
            for n, (e, leads) in sorted(steps.items())
        ],
    }


def without_empty_steps(answer: dict[str, Any]) -> dict[str, Any]:
    """Whether a step that has nothing but zeros is listed is nobody's promise."""
    steps = [row for row in answer["stepStats"] if any(list(row.values())[1:])]
    return {**answer, "stepStats": steps}


def matches(campaign: OurCampaign, conditions: dict[str, Any]) -> bool:
    run_ids = conditions.get("runIds")
    return (
        conditions.get("clerkOrgId") in (None, campaign.clerk_org_id)
        and conditions.get("brandId") in (None, campaign.brand_id)
        and conditions.get("appId") in (None, campaign.app_id)
        and conditions.get("campaignId") in (None, campaign.id)
        and (run_ids is None or campaign.run_id in run_ids or campaign.parent_run_id in run_ids)
    )


def random_conditions(chance: random.Random, campaigns: list[OurCampaign]) -> dict[str, Any]:
    runs = [campaign.run_id for campaign in campaigns]
    runs += [campaign.parent_run_id for campaign in campaigns if campaign.parent_run_id]
    possible = {
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
    statistics, app, monkeypatch, seed
):
    configure(app, monkeypatch, stats_excluded=EXCLUDED)
    chance = random.Random(seed)
    parents = [str(uuid4()), str(uuid4()), None]
    campaigns = [
        statistics.campaign(
            clerk_org_id=chance.choice(["clerk-1", "clerk-2", "clerk-3"]),
            brand_id=chance.choice(["brand-1", "brand-2"]),
            app_id=chance.choice(["app-1", "app-2"]),
            parent_run_id=chance.choice(parents),
        )
        for _ in range(9)
    ]
    # The last campaign stays without events.
    history = {}
    for _ in range(900):
        campaign = chance.choice(campaigns[:-1])
        payload = random_payload(chance, campaign)
        identity = json.dumps(payload, sort_keys=True)
        if chance.random() < 0.1 and history:
            identity = chance.choice(sorted(history))
            campaign, payload = history[identity]
        assert recorded(statistics.client, payload) is (identity not in history)
        history[identity] = (campaign, payload)
    latest = {}
    for campaign in campaigns[2:]:
        for age_hours in chance.sample(range(100), 3):
            statistics.snapshot(campaign, 100 + age_hours, *(chance.randint(0, 99),) * 6)
        latest[campaign] = [chance.randint(0, 1000) for _ in SNAPSHOT]
        statistics.snapshot(campaign, 1, *latest[campaign])

    for _ in range(150):
        conditions = random_conditions(chance, campaigns)
        expected = counted_by_hand(
            payload for campaign, payload in history.values() if matches(campaign, conditions)
        )
        rows = [counts for campaign, counts in latest.items() if matches(campaign, conditions)]
        sums = [sum(column) for column in zip(*rows, strict=True)] or [0] * 6
        expected["snapshots"] = dict(zip(NO_SNAPSHOTS, [len(rows), *sums], strict=True))
        counted = statistics.of(**conditions)
        assert without_empty_steps(counted) == without_empty_steps(expected)
