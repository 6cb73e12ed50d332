"""Figures: snapshots of Instantly's analytics, and statistics over the recorded events."""

import json
import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from hand_count import EXCLUDED, NO_ONE, events_by_hand, people_by_hand, step_row
from helpers import STATS, configure, stats
from werkzeug.test import TestResponse
from world import Campaign, World

FIGURES = "/api/v2/campaigns/analytics"
SNAPSHOT = ("totalLeads", "contacted", "opened", "replied", "bounced", "unsubscribed")
NO_SNAPSHOTS = dict.fromkeys(("campaigns", *SNAPSHOT), 0)
NOTHING = {
    "stats": dict.fromkeys(STATS, 0),
    "recipients": 0,
    "stepStats": [],
    "snapshots": NO_SNAPSHOTS,
    **NO_ONE,
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

    world: World

    def figures(self, **changes: Any) -> dict[str, Any]:
        return figures(self.world.campaign["instantlyCampaignId"], **changes)

    def answers(self, body: object) -> None:
        """From now on Instantly answers this instead of its figures."""
        self.fails(status=200, body=body)

    def fails(self, **fault: Any) -> None:
        self.world.upstreams.instantly_http.fail("GET", FIGURES, times=None, **fault)

    def ask(self) -> TestResponse:
        return self.world.send("GET", self.world.path("/analytics"))

    def get(self) -> tuple[Any, dict[str, Any]]:
        """Instantly's figures as they are shown, and the snapshot that is kept."""
        answer = self.ask()
        assert answer.status_code == 200
        body = answer.get_json()
        return body["analytics"], body["snapshot"]

    def is_refused(self, status: int, error: str) -> bool:
        """Whether the answer is this error, and no snapshot was kept."""
        answer = self.ask()
        is_kept = self.world.db.count("instantly_analytics_snapshots") > 0
        return (answer.status_code, answer.get_json()["error"], is_kept) == (status, error, False)


@pytest.fixture
def analytics(world, campaign):
    return Analytics(world)


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
        "campaignId": analytics.world.campaign["id"],
        **dict(zip(SNAPSHOT, counts, strict=True)),
        "snapshotAt": snapshot["snapshotAt"],
    }
    (row,) = analytics.world.db.all("SELECT * FROM instantly_analytics_snapshots")
    assert (str(row["id"]), row["raw_data"]) == (snapshot["id"], theirs)
    columns = ("total_leads", "contacted", "opened", "replied", "bounced", "unsubscribed")
    assert [row[name] for name in columns] == counts
    assert analytics.get()[1]["id"] != snapshot["id"]
    assert analytics.world.db.count("instantly_analytics_snapshots") == 2


def test_exactly_this_campaign_is_asked_for(analytics):
    workspace = analytics.world.upstreams.instantly.workspace("clerk-1")
    counts = workspace.analytics[analytics.world.campaign["instantlyCampaignId"]]
    counts.update(emails_sent_count=7, contacted_count=5, open_count=4, open_count_unique=3)
    shown, snapshot = analytics.get()
    assert (shown["emails_sent_count"], snapshot["contacted"], snapshot["opened"]) == (7, 5, 3)
    (request,) = analytics.world.upstreams.instantly_http.calls("GET", FIGURES)
    assert request.query == {"id": [analytics.world.campaign["instantlyCampaignId"]]}


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
    assert snapshot == snapshot | zeros | {"campaignId": analytics.world.campaign["id"]}
    counted = analytics.world.statistics(campaignId=analytics.world.campaign["id"])
    assert counted["snapshots"]["campaigns"] == 1


def test_another_campaigns_figures_are_not_ours(analytics):
    other = figures(str(uuid4()), leads_count=999)
    analytics.answers([other])
    shown, snapshot = analytics.get()
    assert (shown, snapshot["totalLeads"]) == (None, 0)
    analytics.world.upstreams.instantly_http.heal()
    analytics.answers([other, analytics.figures(), other])
    shown, snapshot = analytics.get()
    assert (shown, snapshot["totalLeads"]) == (analytics.figures(), 100)


@pytest.mark.parametrize(
    "changes",
    [
        {"leads_count": -1},
        {"leads_count": 2**63},
        {"contacted_count": "ninety"},
        {"contacted_count": None},
        {"open_count_unique": -5},
        {"bounced_count": True},
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
    (row,) = analytics.world.db.all("SELECT raw_data FROM instantly_analytics_snapshots")
    assert shown == row["raw_data"] == theirs


# POST /stats: what is asked


def snapshot(ours: World, age_hours: int, *counts: int) -> None:
    ours.db.connection.execute(
        "INSERT INTO instantly_analytics_snapshots (campaign_id, total_leads, contacted,"
        " opened, replied, bounced, unsubscribed, snapshot_at)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
        (ours.campaign["id"], *counts, datetime.now(UTC) - timedelta(hours=age_hours)),
    )


def all_statistics(world: World) -> dict[str, Any]:
    return world.statistics(clerkOrgId="clerk-1")


def sent(world: World, **conditions: Any) -> int:
    return int(world.statistics(**conditions)["stats"]["emailsSent"])


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
def test_all_is_zero_when_nothing_matches(ours, conditions):
    ours.receive("email_sent")
    snapshot(ours, 1, 1, 1, 1, 1, 1, 1)
    assert ours.statistics(**conditions) == NOTHING


def test_conditions_must_all_hold(ours):
    ours.receive("email_sent")
    conditions = {
        "clerkOrgId": "clerk-1",
        "brandId": "brand-1",
        "appId": "app-1",
        # Ids in upper case are the same ids.
        "campaignId": ours.campaign["id"].upper(),
        "runIds": [str(uuid4()), ours.campaign["runId"].upper()],
    }
    assert sent(ours, **conditions) == 1
    for name in conditions:
        wrong = [str(uuid4())] if name == "runIds" else str(uuid4())
        assert ours.statistics(**{**conditions, name: wrong}) == NOTHING, name


def test_a_campaign_that_matches_twice_counts_once(world):
    ours = world.another(parentRunId=str(uuid4()))
    ours.receive("email_sent")
    snapshot(ours, 1, 9, 8, 7, 6, 5, 4)
    own, parent = ours.campaign["runId"], ours.campaign["parentRunId"]
    answer = world.statistics(runIds=[own, parent, own])
    assert answer["stats"]["emailsSent"] == 1
    assert answer["snapshots"]["campaigns"] == 1


def test_a_campaign_made_through_the_api_is_found_by_its_run(world, campaign):
    world.receive("email_sent")
    assert sent(world, runIds=[world.shown()["runId"]]) == 1


# POST /stats: what counts


EVENTS_OF_A_STEP = ("email_sent", "email_opened", "reply_received", "email_bounced")


def test_opens_and_recipients_are_distinct_leads_and_the_rest_are_events(ours):
    others = ("link_clicked", "auto_reply_received", "lead_not_interested", "lead_out_of_office")
    for lead in ("a@x.example", "A@X.example", "b@x.example"):
        ours.receive(*EVENTS_OF_A_STEP, *others, "lead_unsubscribed", lead=lead, step=1)
    answer = all_statistics(ours)
    assert answer["stats"] == stats(3, 0, 2, 3, 3, 3, 3, 3, 3, 3)
    assert answer["recipients"] == 2
    assert answer["stepStats"] == [step_row(1, 3, 2, 3, 3, 3)]


def test_a_lead_is_one_lead_across_campaigns(world):
    for _ in range(2):
        world.another().receive("email_sent", "email_opened", step=1)
    answer = all_statistics(world)
    assert answer["stats"]["emailsSent"] == 2
    assert (answer["stats"]["emailsOpened"], answer["recipients"]) == (1, 1)
    assert answer["stepStats"] == [step_row(1, 2, 1, 0, 0)]


def test_delivered_is_never_below_zero(ours):
    ours.receive("email_sent", "email_bounced", "email_bounced", lead=None)
    assert all_statistics(ours)["stats"] == stats(1, 0, 0, 0, 0, 2, 0, 0, 0, 0)


@pytest.mark.parametrize("lead", [None, 5, "a" * 321])
def test_an_event_without_a_lead_counts_where_leads_are_not_counted(ours, lead):
    ours.receive(*EVENTS_OF_A_STEP, lead=lead, step=1)
    answer = all_statistics(ours)
    assert answer["stats"]["emailsSent"] == answer["stats"]["emailsReplied"] == 1
    assert (answer["stats"]["emailsOpened"], answer["recipients"]) == (0, 0)
    assert answer["stepStats"] == [step_row(1, 1, 0, 1, 1)]


def test_the_sending_account_is_no_lead(ours):
    account = {"lead": "Marc@Sender.example", "email_account": " marc@sender.example"}
    ours.receive(*EVENTS_OF_A_STEP, step=1, **account)
    assert ours.db.count("instantly_events") == 4
    assert all_statistics(ours) == NOTHING


# Excluded domains


@pytest.fixture
def two_excluded(app, monkeypatch):
    configure(app, monkeypatch, stats_excluded=("ours.example", "my_test.example", "a_%@x.example"))


@pytest.mark.parametrize(
    "lead", ["A@OURS.Example", "a@b.c.ours.example", "a@my_test.example", "A_%@x.example"]
)
def test_excluded_domains_and_their_subdomains_do_not_count(ours, two_excluded, lead):
    ours.receive("email_sent", lead=lead, step=1)
    assert all_statistics(ours) == NOTHING


def test_domains_that_only_look_excluded_count(ours, two_excluded):
    alike = ["notours.example", "ours.example.org", "ours-example", "oursxexample", "example"]
    for domain in (*alike, "myxtest.example"):
        ours.receive("email_sent", lead=f"ours.example@{domain}")
    for lead in ("ab@x.example", "a_%b@x.example", "b.a_%@x.example", "a_%@b.x.example", None):
        ours.receive("email_sent", lead=lead)
    assert all_statistics(ours)["stats"]["emailsSent"] == len(alike) + 6


def test_excluding_a_domain_later_applies_to_what_was_recorded_before(ours, app, monkeypatch):
    ours.receive("email_sent")
    assert all_statistics(ours)["recipients"] == 1
    configure(app, monkeypatch, stats_excluded=("x.example",))
    assert all_statistics(ours) == NOTHING


# Snapshots in the statistics


def test_only_the_latest_snapshot_of_each_campaign_is_summed(world):
    one, two, _ = (world.another() for _ in range(3))
    snapshot(one, 2, 1000, 1000, 1000, 1000, 1000, 1000)
    snapshot(one, 1, 10, 9, 8, 7, 6, 5)
    snapshot(one, 3, 5000, 5000, 5000, 5000, 5000, 5000)
    snapshot(two, 5, 100, 90, 80, 70, 60, 50)
    snapshot(world.another(clerkOrgId="clerk-2"), 0, 7, 7, 7, 7, 7, 7)
    answer = all_statistics(world)
    sums = dict(zip(SNAPSHOT, [110, 99, 88, 77, 66, 55], strict=True))
    assert answer["snapshots"] == {"campaigns": 2, **sums}
    assert answer["stats"] == NOTHING["stats"]


def test_snapshots_add_up_beyond_64_bits(world):
    for _ in range(2):
        snapshot(world.another(), 1, 2**63 - 1, 0, 0, 0, 0, 0)
    assert all_statistics(world)["snapshots"]["totalLeads"] == 2**64 - 2


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
    "lead_won",
    "account_error",
    "lead_lost",
    "lead_meeting_booked",
    "lead_no_show",
    "lead_wrong_person",
    "campaign_completed_for_lead_without_reply",
    "Call back in Q4",
]
DOMAINS = ["x.example", "y.example", "ours.example", "eu.internal.example", "notours.example"]
PEOPLE = [f"{name}@{domain}" for name in ("a", "b", "c", "dora") for domain in DOMAINS]
SENDERS = ["lena@sender.example", "marc@sender.example", PEOPLE[0]]
STEPS = [1, 1, 1, 2, 2, 3, 7, None, 0, -1, "1", 1.5, True]


def random_case(chance: random.Random, text: str) -> str:
    return "".join(chance.choice((letter, letter.upper())) for letter in text)


def random_payload(chance: random.Random, ours: World) -> dict[str, Any]:
    instantly_id = ours.campaign["instantlyCampaignId"]
    payload = {
        "event_type": chance.choice(EVENT_TYPES),
        "campaign_id": chance.choice((instantly_id, instantly_id.upper())),
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


def without_empty_steps(answer: dict[str, Any]) -> dict[str, Any]:
    steps = [row for row in answer["stepStats"] if any(list(row.values())[1:])]
    return {**answer, "stepStats": steps}


def matches(campaign: Campaign, conditions: dict[str, Any]) -> bool:
    run_ids = conditions.get("runIds")
    return (
        conditions.get("campaignId") in (None, campaign["id"])
        and all(
            conditions.get(name) in (None, campaign[name])
            for name in ("clerkOrgId", "brandId", "appId")
        )
        and (run_ids is None or campaign["runId"] in run_ids or campaign["parentRunId"] in run_ids)
    )


def random_conditions(chance: random.Random, campaigns: list[Campaign]) -> dict[str, Any]:
    runs = [campaign["runId"] for campaign in campaigns]
    runs += [campaign["parentRunId"] for campaign in campaigns if campaign["parentRunId"]]
    possible = {
        "clerkOrgId": chance.choice(["clerk-1", "clerk-2", "clerk-3", "clerk-4"]),
        "brandId": chance.choice(["brand-1", "brand-2", "brand-3"]),
        "appId": chance.choice(["app-1", "app-2"]),
        "campaignId": chance.choice([*(each["id"] for each in campaigns), str(uuid4())]),
        "runIds": chance.sample([*runs, str(uuid4())], chance.randint(1, len(runs))),
    }
    names = chance.sample(sorted(possible), chance.choice([1, 1, 2, 2, 3, 5]))
    return {name: possible[name] for name in names}


@pytest.mark.parametrize("seed", [1, 2])
def test_statistics_are_what_an_independent_count_of_the_payloads_gives(
    world, app, monkeypatch, seed
):
    configure(app, monkeypatch, stats_excluded=EXCLUDED)
    chance = random.Random(seed)
    parents = [str(uuid4()), str(uuid4()), None]
    worlds = [
        world.another(
            clerkOrgId=chance.choice(["clerk-1", "clerk-2", "clerk-3"]),
            brandId=chance.choice(["brand-1", "brand-2"]),
            appId=chance.choice(["app-1", "app-2"]),
            parentRunId=chance.choice(parents),
        )
        for _ in range(9)
    ]
    held = {ours: chance.sample(PEOPLE, chance.randint(0, 6)) for ours in worlds}
    for ours, emails in held.items():
        ours.hold(*(random_case(chance, email) for email in emails))
    # The last campaign stays without events.
    history = {}
    for _ in range(900):
        ours = chance.choice(worlds[:-1])
        payload = random_payload(chance, ours)
        identity = json.dumps(payload, sort_keys=True)
        if chance.random() < 0.1 and history:
            identity = chance.choice(sorted(history))
            ours, payload = history[identity]
        assert ours.records(**payload) is (identity not in history)
        history[identity] = (ours, payload)
    latest = {}
    for ours in worlds[2:]:
        for age_hours in chance.sample(range(100), 3):
            snapshot(ours, 100 + age_hours, *(chance.randint(0, 99),) * 6)
        latest[ours] = [chance.randint(0, 1000) for _ in SNAPSHOT]
        snapshot(ours, 1, *latest[ours])

    for _ in range(150):
        conditions = random_conditions(chance, [ours.campaign for ours in worlds])
        payloads = [
            payload for ours, payload in history.values() if matches(ours.campaign, conditions)
        ]
        holders = [ours for ours in worlds if matches(ours.campaign, conditions)]
        expected = {
            **events_by_hand(payloads),
            **people_by_hand(payloads, [email for ours in holders for email in held[ours]]),
        }
        rows = [counts for ours, counts in latest.items() if matches(ours.campaign, conditions)]
        sums = [sum(column) for column in zip(*rows, strict=True)] or [0] * 6
        expected["snapshots"] = dict(zip(NO_SNAPSHOTS, [len(rows), *sums], strict=True))
        counted = world.statistics(**conditions)
        assert without_empty_steps(counted) == expected
