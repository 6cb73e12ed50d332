"""Whether a campaign sends and why not, in words; and what one lacks that is activated."""

import json
from pathlib import Path
from typing import Any

import pytest
from helpers import UNKNOWN_ID
from world import Campaign, World, leads_of

from instantly.sandbox.operations import OPERATIONS
from instantly.translation.campaigns import NO_LEADS, NO_SENDERS, NO_SEQUENCE
from instantly.translation.sending_status import EXPLANATIONS, SILENT, UNKNOWN

Json = dict[str, Any]

DOCUMENT = Path(__file__).parents[3] / "shared" / "instantly-openapi.json"
ASK = ("GET", "/api/v2/campaigns/[^/]+/sending-status")
GET_CAMPAIGN = ("GET", "/api/v2/campaigns/[^/]+")
ACTIVATE = ("POST", "/api/v2/campaigns/[^/]+/activate")
SENDERS = ["lena@try-northbeam.example"]
SEQUENCE = [{"subject": "Hello", "bodyHtml": "<p>Hi</p>"}]
STEPS = [{"steps": [{"type": "email", "delay": 0, "variants": []}]}]


def words_in(answer: Json) -> list[str]:
    words: list[str] = answer["properties"]["diagnostics"]["properties"]["status"]["enum"]
    return words


# The table


def test_every_word_of_our_facts_has_an_explanation() -> None:
    (operation,) = (one for one in OPERATIONS if one.name == "get_sending_status")
    assert set(EXPLANATIONS) == set(words_in(operation.answer))


def test_every_word_of_the_official_document_has_an_explanation() -> None:
    if not DOCUMENT.exists():
        pytest.skip("the official document is not at hand")
    path = json.loads(DOCUMENT.read_text())["paths"]["/api/v2/campaigns/{id}/sending-status"]
    answer = path["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert set(EXPLANATIONS) == set(words_in(answer))


def test_each_explanation_is_one_sentence_of_its_own() -> None:
    sentences = [sentence for _, sentence in EXPLANATIONS.values()]
    assert len({*sentences, UNKNOWN, SILENT}) == len(sentences) + 2
    for sentence in (*sentences, UNKNOWN, SILENT):
        assert sentence[0].isupper()
        assert sentence.index(".") == len(sentence) - 1
        assert "_" not in sentence


# What is answered


def asked(world: World) -> Json:
    answer = world.send("GET", world.path("/sending-status"))
    assert answer.status_code == 200, answer.text
    shown: Json = answer.get_json()
    return shown


def told(world: World, body: Any) -> Json:
    """What is answered when Instantly answers so."""
    world.upstreams.instantly_http.fail(*ASK, status=200, body=body)
    return asked(world)


@pytest.mark.parametrize("word", EXPLANATIONS)
def test_a_word_is_explained(world: World, campaign: Campaign, word: str) -> None:
    diagnostics = {"campaign_id": campaign["instantlyCampaignId"], "status": word, "more": [1]}
    sends = word in ("healthy", "campaign_running_subsequences")
    assert told(world, {"diagnostics": diagnostics, "summary": None}) == {
        "sending": sends,
        "reason": word,
        "explanation": EXPLANATIONS[word][1],
        "diagnostics": diagnostics,
        "summary": None,
    }


@pytest.mark.parametrize(
    ("diagnostics", "summary", "reason"),
    [
        ({"status": "healthy"}, {"status": "campaign_paused"}, "healthy"),
        ({"status": None}, {"status": "campaign_paused"}, "campaign_paused"),
        ({}, {"status": "campaign_paused"}, "campaign_paused"),
        (None, {"status": "campaign_draft"}, "campaign_draft"),
        (None, {"status": None}, None),
        ({}, {}, None),
        (None, None, None),
    ],
)
def test_the_reason_is_in_the_diagnostics_or_else_in_the_summary(
    world: World, campaign: Campaign, diagnostics: Any, summary: Any, reason: str | None
) -> None:
    answer = told(world, {"diagnostics": diagnostics, "summary": summary})
    assert answer["reason"] == reason
    assert (answer["diagnostics"], answer["summary"]) == (diagnostics, summary)


def test_a_word_that_nobody_knows_is_passed_on(world: World, campaign: Campaign) -> None:
    answer = told(world, {"diagnostics": {"status": "moon_phase"}})
    assert (answer["sending"], answer["reason"]) == (None, "moon_phase")
    assert answer["explanation"] == UNKNOWN


@pytest.mark.parametrize("body", [{}, {"diagnostics": None, "summary": None}], ids=str)
def test_silence_is_said_to_be_silence(world: World, campaign: Campaign, body: Any) -> None:
    answer = told(world, body)
    assert (answer["sending"], answer["reason"], answer["explanation"]) == (None, None, SILENT)


def test_the_organisations_key_asks_once(world: World, campaign: Campaign) -> None:
    asked(world)
    (request,) = world.upstreams.instantly_http.requests
    assert request.path.endswith(f"/campaigns/{campaign['instantlyCampaignId']}/sending-status")
    assert request.headers["Authorization"] == "Bearer key-1"
    assert world.runs() == []


@pytest.mark.parametrize(
    ("fault", "status", "error"),
    [
        ({"status": 404}, 422, "Instantly rejected the request"),
        ({"status": 401}, 422, "Instantly API key was rejected"),
        ({"status": 500, "times": None}, 502, "Instantly unavailable"),
        ({"status": 200, "body": []}, 502, "Instantly unavailable"),
        ({"status": 200, "body": {"diagnostics": "healthy"}}, 502, "Instantly unavailable"),
        ({"status": 200, "body": {"summary": {"status": 1}}}, 502, "Instantly unavailable"),
    ],
    ids=str,
)
def test_what_goes_wrong_at_instantly_is_told(
    world: World, campaign: Campaign, fault: Json, status: int, error: str
) -> None:
    world.upstreams.instantly_http.fail(*ASK, **fault)
    answer = world.send("GET", world.path("/sending-status"))
    assert (answer.status_code, answer.get_json()["error"]) == (status, error)


# The sandbox's Instantly


@pytest.mark.parametrize(
    ("number", "word"),
    [
        (0, "campaign_draft"),
        (2, "campaign_paused"),
        (3, "campaign_completed"),
        (4, "campaign_running_subsequences"),
        (-1, "campaign_accounts_unhealthy"),
        (-2, "campaign_bounce_protect"),
        (-99, "campaign_account_suspended"),
    ],
)
def test_the_sandbox_tells_why_a_campaign_is_off(
    world: World, campaign: Campaign, number: int, word: str
) -> None:
    world.campaigns()[campaign["instantlyCampaignId"]]["status"] = number
    answer = asked(world)
    assert (answer["reason"], answer["diagnostics"]) == (word, None)


def test_the_sandbox_tells_what_an_active_campaign_lacks(world: World) -> None:
    world.campaign = world.created()
    world.switch("active")
    at_instantly = world.campaigns()[world.campaign["instantlyCampaignId"]]
    assert asked(world)["reason"] == "no_accounts_available"
    at_instantly["email_list"] = SENDERS
    assert asked(world)["reason"] == "waiting_for_leads"
    world.add(["ada@x.example"])
    assert asked(world)["reason"] is None
    at_instantly["sequences"] = [{"steps": [{"variants": [{"subject": "a", "body": "b"}]}]}]
    assert (asked(world)["reason"], asked(world)["sending"]) == ("healthy", True)


# Warnings


def activated(world: World) -> list[str]:
    answer = world.switch("active")
    assert (answer.status_code, answer.get_json()["campaign"]["status"]) == (200, "active")
    warnings: list[str] = answer.get_json()["warnings"]
    return warnings


@pytest.mark.parametrize("senders", [None, SENDERS])
@pytest.mark.parametrize("sequence", [None, SEQUENCE])
@pytest.mark.parametrize("leads", [0, 1])
def test_an_activated_campaign_is_told_what_it_lacks(
    world: World, senders: Any, sequence: Any, leads: int
) -> None:
    given = {"accountIds": senders, "sequence": sequence}
    world.campaign = world.created(**{name: value for name, value in given.items() if value})
    if leads:
        world.upload(leads_of(["ada@x.example"]))
    lacking = [(senders, NO_SENDERS), (sequence, NO_SEQUENCE), (leads, NO_LEADS)]
    assert activated(world) == [warning for held, warning in lacking if not held]


@pytest.mark.parametrize("status", ["paused", "completed"])
def test_only_an_activation_comes_with_warnings(
    world: World, campaign: Campaign, status: str
) -> None:
    assert world.switch(status).get_json().keys() == {"campaign"}


def test_leads_of_another_campaign_do_not_count(world: World, campaign: Campaign) -> None:
    other = world.created(name="Winter")
    world.upload(leads_of(["ada@x.example"]), other)
    assert NO_LEADS in activated(world)


FULL = {"email_list": SENDERS, "sequences": STEPS}


@pytest.mark.parametrize(
    ("said", "warnings"),
    [
        ({}, []),
        ({"email_list": []}, [NO_SENDERS]),
        ({"email_list": [], "email_tag_list": []}, [NO_SENDERS]),
        ({"email_list": [], "email_tag_list": ["tag"]}, []),
        ({"sequences": []}, [NO_SEQUENCE]),
        ({"sequences": [{"steps": []}]}, [NO_SEQUENCE]),
        ({"sequences": [{"steps": []}, *STEPS]}, [NO_SEQUENCE]),
        ({"sequences": [{}]}, []),
        ({"sequences": ["odd"]}, []),
        ({"sequences": [None]}, []),
    ],
    ids=str,
)
def test_no_warning_is_made_of_what_instantly_does_not_say(
    world: World, campaign: Campaign, said: Json, warnings: list[str]
) -> None:
    world.add(["ada@x.example"])
    body = {"status": 1, **FULL, **said}
    world.upstreams.instantly_http.fail(*ACTIVATE, status=200, body=body)
    assert activated(world) == warnings
    assert world.upstreams.instantly_http.calls(*GET_CAMPAIGN) == []


LEFT_OUT = [
    {},
    {"email_list": None, "sequences": None},
    {"email_list": "nobody", "sequences": 5},
    {"email_list": []},
    {"sequences": []},
]


@pytest.mark.parametrize("said", LEFT_OUT, ids=str)
def test_what_the_answer_to_an_activation_leaves_out_is_asked_for(
    world: World, campaign: Campaign, said: Json
) -> None:
    world.add(["ada@x.example"])
    full = {**world.campaigns()[campaign["instantlyCampaignId"]], **FULL}
    for held, warnings in ((None, [NO_SENDERS, NO_SEQUENCE]), (full, [])):
        world.upstreams.forget_requests()
        world.upstreams.instantly_http.fail(*ACTIVATE, status=200, body={"status": 1, **said})
        if held:
            world.upstreams.instantly_http.fail(*GET_CAMPAIGN, status=200, body=held)
        assert activated(world) == warnings
        assert len(world.upstreams.instantly_http.calls(*GET_CAMPAIGN)) == 1


@pytest.mark.parametrize(
    "fault",
    [{"status": 404}, {"status": 500, "times": None}, {"status": 200, "body": {"id": UNKNOWN_ID}}],
    ids=str,
)
def test_an_activation_does_not_fail_for_a_warning(
    world: World, campaign: Campaign, fault: Json
) -> None:
    world.add(["ada@x.example"])
    world.upstreams.instantly_http.fail(*GET_CAMPAIGN, **fault)
    for said, warnings in (({}, []), ({"sequences": []}, [NO_SEQUENCE])):
        world.upstreams.instantly_http.fail(*ACTIVATE, status=200, body={"status": 1, **said})
        assert activated(world) == warnings
        world.upstreams.instantly_http.fail(*GET_CAMPAIGN, **fault)


def test_trouble_is_shown_beside_the_warnings(world: World, campaign: Campaign) -> None:
    world.upstreams.instantly.activate_status = -1
    answer = world.switch("active").get_json()
    assert answer["campaign"]["status"] == "accounts_unhealthy"
    assert answer["warnings"] == [NO_SENDERS, NO_SEQUENCE, NO_LEADS]
