"""`groupBy` in POST /stats: the same figures for each campaign, brand, app and so on."""

import random
from typing import Any
from uuid import uuid4

import pytest
from flask import Flask
from helpers import configure, stats
from world import World

KEYS = ["campaignId", "brandId", "appId", "clerkOrgId"]


def groups(ours: World, group_by: str, **conditions: Any) -> list[dict[str, Any]]:
    answer = ours.statistics(**(conditions or {"appId": "app-1"}), groupBy=group_by)
    found: list[dict[str, Any]] = answer["groups"]
    assert answer["groupsTotal"] == len(found)
    return found


def test_the_answer_is_as_before_but_for_the_groups(ours: World) -> None:
    ours.receive("email_sent", step=1)
    plain = ours.statistics(appId="app-1")
    assert list(plain) == ["stats", "recipients", "stepStats", "snapshots", "people", "replies"]
    for group_by in (*KEYS, "step"):
        answer = ours.statistics(appId="app-1", groupBy=group_by)
        assert answer.pop("groups") and answer.pop("groupsTotal") == 1
        assert answer == plain


@pytest.mark.parametrize("group_by", [*KEYS, "step"])
def test_nothing_makes_no_groups(ours: World, group_by: str) -> None:
    answer = ours.statistics(appId="app-1", groupBy=group_by)
    assert (answer["groups"], answer["groupsTotal"]) == ([], 0)


def test_most_sent_stand_first_and_equals_in_a_stable_order(ours: World) -> None:
    for brand, count in (("b", 1), ("ccc", 1), ("aa", 1), ("d", 2), ("e", 0)):
        campaign = ours.another(brandId=brand)
        for _ in range(count):
            campaign.receive("email_sent")
        campaign.receive("email_opened")
    assert [group["key"] for group in groups(ours, "brandId")] == ["d", "b", "aa", "ccc", "e"]


def test_steps_are_numbers_and_what_has_none_is_null(ours: World) -> None:
    for step in (10, 2, None, 2):
        ours.receive("email_sent", step=step)
    ours.receive("reply_received", step=1)
    found = groups(ours, "step")
    assert [(group["key"], group["stats"]["emailsSent"]) for group in found] == [
        (2, 2),
        (None, 1),
        (10, 1),
        (1, 0),
    ]


def test_a_lead_is_one_lead_in_a_group_across_its_campaigns(ours: World) -> None:
    for _ in range(2):
        campaign = ours.another()
        for step in (1, 2):
            campaign.receive("email_sent", step=step)
            campaign.receive("email_opened", step=step)
    (group,) = groups(ours, "brandId")
    assert (group["stats"], group["recipients"]) == (stats(4, 4, 1, 0, 0, 0, 0, 0, 0, 0), 1)
    of_campaigns = groups(ours, "campaignId")
    assert [(group["stats"]["emailsOpened"], group["recipients"]) for group in of_campaigns] == [
        (1, 1),
        (1, 1),
    ]


def test_what_does_not_count_makes_no_group(
    ours: World, app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(app, monkeypatch, stats_excluded=("ours.example",))
    ours.receive("email_sent", lead="a@ours.example", step=1)
    ours.receive("email_sent", lead="me@y.example", email_account="me@y.example", step=2)
    ours.receive("lead_interested", step=3)
    assert groups(ours, "step") == groups(ours, "campaignId") == []


def test_a_thousand_groups_are_shown_and_all_are_counted(ours: World) -> None:
    ours.db.connection.execute(
        "INSERT INTO instantly_campaigns (id, instantly_campaign_id, org_id, clerk_org_id,"
        " brand_id, app_id, name, run_id) SELECT gen_random_uuid(), gen_random_uuid(), 'o', 'c',"
        " 'b', 'app-1', 'Autumn', gen_random_uuid() FROM generate_series(1, 1001)"
    )
    ours.db.connection.execute(
        "INSERT INTO instantly_lead_activity SELECT id, 'a@x.example', 1, row_number() OVER (),"
        " 0, 0, 0, 0, 0, 0, 0, 0 FROM instantly_campaigns WHERE clerk_org_id = 'c'"
    )
    answer = ours.statistics(appId="app-1", groupBy="campaignId")
    assert (len(answer["groups"]), answer["groupsTotal"]) == (1000, 1001)
    sent = [group["stats"]["emailsSent"] for group in answer["groups"]]
    assert sent == list(range(1001, 1, -1))


@pytest.mark.parametrize(
    "body",
    [
        *({"appId": "a", "groupBy": value} for value in ("", "brand", "brand_id", None, 5, [])),
        {"groupBy": "brandId"},
    ],
)
def test_what_cannot_be_asked_is_a_bad_request(ours: World, body: dict[str, Any]) -> None:
    answer = ours.send("POST", "/stats", body)
    assert (answer.status_code, answer.get_json()["error"]) == (400, "Invalid request")
    assert list(answer.get_json()["details"]) == ["groupBy" if "appId" in body else "body"]


@pytest.mark.parametrize("seed", [1, 2])
def test_a_group_is_what_would_be_answered_about_it_alone(ours: World, seed: int) -> None:
    chance = random.Random(seed)
    campaigns = [
        ours.another(
            appId=chance.choice(["app-1", "app-2"]),
            brandId=chance.choice(["brand-1", "brand-2", "brand-3"]),
            clerkOrgId=chance.choice(["clerk-1", "clerk-2"]),
            parentRunId=str(uuid4()),
        )
        for _ in range(6)
    ]
    for _ in range(250):
        chance.choice(campaigns).receive(
            chance.choice(["email_sent", "email_opened", "link_clicked", "reply_received"]),
            lead=chance.choice(["a@x.example", "b@x.example", "c@x.example", None]),
            step=chance.choice([1, 2, 3, None]),
        )
    runs = {"runIds": [own.campaign["runId"] for own in campaigns]}
    for group_by in KEYS:
        found = groups(ours, group_by, **runs)
        name = "id" if group_by == "campaignId" else group_by
        assert {group["key"] for group in found} == {own.campaign[name] for own in campaigns}
        for group in found:
            alone = ours.statistics(**runs, **{group_by: group["key"]})
            assert group == {name: alone[name] for name in group.keys() - {"key"}} | {
                "key": group["key"]
            }
    steps = {row["step"]: row for row in ours.statistics(**runs)["stepStats"]}
    of_steps = groups(ours, "step", **runs)
    assert {group["key"] for group in of_steps} == {*steps, None}
    for group in of_steps:
        row = steps.get(group["key"], {"step": None})
        assert {**group["stats"], **row, "step": None} == {**group["stats"], "step": None}
