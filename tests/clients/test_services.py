"""key-service and runs-service: what they are asked, and which answers are none."""

import pytest
import responses
from calls import BY_NAME, CALLER, CAMPAIGN_ID, KEY, RUN, RUN_ID, refused

from instantly.clients.keys import AppKeyMissing, OrganizationKeyMissing


def test_key_service_is_told_who_asks_and_for_whom(upstream):
    upstream.answers(KEY)
    assert upstream.keys.decrypt_organization_key("a&b=c d/é", **CALLER) == "key-1"
    assert upstream.only.path == "/internal/keys/instantly/decrypt"
    assert upstream.only.query == {"clerkOrgId": ["a&b=c d/é"]}
    assert upstream.only.headers["X-Caller-Service"] == "instantly"
    assert upstream.only.headers["X-Caller-Method"] == "POST"
    assert upstream.only.headers["X-Caller-Path"] == "/campaigns/:campaignId/leads"


def test_the_app_key_is_that_of_this_service(upstream):
    upstream.answers(KEY)
    assert upstream.keys.decrypt_app_key(**CALLER) == "key-1"
    assert upstream.only.path == "/internal/app-keys/instantly/decrypt"
    assert upstream.only.query == {"appId": ["instantly-service"]}


@pytest.mark.parametrize(
    ("name", "error"),
    [("decrypt_organization_key", OrganizationKeyMissing), ("decrypt_app_key", AppKeyMissing)],
)
def test_a_missing_key_is_told_apart_from_a_failing_key_service(name, error, upstream):
    upstream.answers({"error": "Key not found"}, status=404)
    with pytest.raises(error):
        BY_NAME[name].call(upstream)


def test_a_run_is_opened_with_what_is_known(upstream):
    upstream.answers({"id": RUN_ID.upper()})
    assert upstream.runs.create_run(**RUN) == RUN_ID
    known = {
        "clerkOrgId": "clerk-1",
        "appId": "app-1",
        "serviceName": "instantly-service",
        "taskName": "leads-add",
        "brandId": "b-1",
    }
    assert (upstream.only.method, upstream.only.path) == ("POST", "/v1/runs")
    assert upstream.only.json == known

    responses.calls.reset()
    upstream.runs.create_run(**RUN, campaign_id=CAMPAIGN_ID, parent_run_id=RUN_ID)
    assert upstream.only.json == {**known, "campaignId": CAMPAIGN_ID, "parentRunId": RUN_ID}


def test_costs_and_ends_go_to_their_run(upstream):
    upstream.answers({})
    upstream.runs.add_costs(RUN_ID, "instantly-lead-add", 7)
    upstream.runs.end_run(RUN_ID, "completed")
    upstream.runs.end_run(RUN_ID, "failed", "because")
    items = [{"costName": "instantly-lead-add", "quantity": 7}]
    assert [(call.method, call.path, call.json) for call in upstream.requests] == [
        ("POST", f"/v1/runs/{RUN_ID}/costs", {"items": items}),
        ("PATCH", f"/v1/runs/{RUN_ID}", {"status": "completed"}),
        ("PATCH", f"/v1/runs/{RUN_ID}", {"status": "failed", "error": "because"}),
    ]


NO_OBJECTS = [None, [], [{}], 5, "text", True]
NO_KEYS = [None, 5, ["key"], "", " ", "two words", "a\nb", "schlüssel", "\x7f"]
NO_IDS = [None, 5, True, [RUN_ID], {}, "", RUN_ID[:-1]]
WRONG_SHAPES = [
    *(("decrypt_app_key", answer) for answer in (*NO_OBJECTS, {})),
    *(("decrypt_app_key", {"key": key}) for key in NO_KEYS),
    ("decrypt_organization_key", {"key": None}),
    *(("create_run", answer) for answer in (*NO_OBJECTS, {})),
    *(("create_run", {"id": run_id}) for run_id in NO_IDS),
]


@pytest.mark.parametrize(("name", "answer"), WRONG_SHAPES, ids=repr)
def test_an_answer_of_the_wrong_shape_is_an_error(name, answer, upstream):
    upstream.answers(answer)
    assert refused(BY_NAME[name], upstream).status is None
    assert len(upstream.requests) == 1
