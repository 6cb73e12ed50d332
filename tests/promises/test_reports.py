"""Faults of kinds that people met in public with services like this one: what is right."""

import json
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import pytest
from figures import rising
from harness import Service, running
from world import World

TESS = "tess@widgets.example"
LISTED = "/api/v2/leads/list"
NOT_FOUND = {"statusCode": 404, "error": "Not Found", "message": "Campaign not found"}


@pytest.fixture
def world(world: World, campaign: Any) -> World:
    return world


def fail(world: World, method: str, path: str, **how: Any) -> None:
    world.upstreams.instantly_http.fail(method, path, **how)


def facts(world: World, *emails: str) -> list[dict[str, Any]]:
    answer = world.send("POST", "/leads/status", {"clerkOrgId": "clerk-1", "emails": emails})
    assert answer.status_code == 200, answer.text
    return answer.get_json()["leads"]


def sync_from(world: World, *accounts: dict[str, Any]) -> dict[str, Any]:
    """What a sync makes of these accounts."""
    fail(world, "GET", "/api/v2/accounts", status=200, body={"items": accounts})
    answer = world.send("POST", "/accounts/sync")
    assert answer.status_code == 200, answer.text
    return answer.get_json()


# What Instantly did not do is not told as done


@pytest.mark.parametrize("count", [0, None, "0"])
def test_a_lead_that_instantly_did_not_delete_stays(world, count):
    world.add([TESS])
    fail(world, "DELETE", "/api/v2/leads", status=200, body={"count": count}, times=None)
    answer = world.delete([TESS])
    assert (answer.status_code, answer.get_json()["error"]) == (502, "Instantly unavailable")
    assert world.rows() == [TESS]
    world.upstreams.instantly_http.heal()
    assert world.delete([TESS]).get_json()["deleted"] == 1
    assert world.agrees()


def test_a_lead_that_was_gone_already_is_deleted_though_it_is_not_counted(world):
    world.add([TESS, "bo@widgets.example"])
    workspace = world.upstreams.instantly.workspace("clerk-1")
    workspace.remove_leads([lead for lead in workspace.leads.values() if lead["email"] == TESS])
    assert world.delete([TESS, "bo@widgets.example"]).get_json()["deleted"] == 2
    assert world.rows() == []


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        (NOT_FOUND, (422, {"status": 404, "message": "Campaign not found"})),
        ({"statusCode": "404", "message": "no"}, (422, {"status": 404, "message": "no"})),
        ({"status": 404, "error": "no"}, (422, {"status": 404, "message": "no"})),
        ({"error": {"code": 404, "message": "no"}}, (422, {"status": 404, "message": "no"})),
        ({"error": "Internal Server Error"}, (502, None)),
        ({"errors": [{"message": "no"}]}, (502, None)),
        ({"success": False, "message": "no"}, (502, None)),
        ({"statusCode": 500, "error": "Internal Server Error"}, (502, None)),
    ],
    ids=str,
)
@pytest.mark.parametrize(
    ("method", "path", "call"),
    [
        ("POST", ".*/activate", lambda world: world.switch("active")),
        ("POST", ".*/pause", lambda world: world.switch("paused")),
        (
            "GET",
            ".*/sending-status",
            lambda world: world.send("GET", world.path("/sending-status")),
        ),
        (
            "POST",
            ".*/warmup-analytics",
            lambda world: world.send("GET", "/accounts/warmup-analytics?emails=a@x.example"),
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_error_inside_a_success_is_an_error(world, method, path, call, body, answer):
    fail(world, method, path, status=200, body=body, times=None)
    refused = call(world)
    assert (refused.status_code, refused.get_json().get("details")) == answer
    assert world.shown()["status"] == "draft"


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_answer_without_anything_that_is_promised_is_none(world, method):
    path = {"GET": "sending-status", "POST": "warmup-analytics"}[method]
    fail(world, method, f".*/{path}", status=200, body={"message": "Campaign not found"})
    asked = {"POST": "/accounts/warmup-analytics?emails=a@x.example"}
    answer = world.send("GET", asked.get(method) or world.path(f"/{path}"))
    assert (answer.status_code, answer.get_json()["error"]) == (502, "Instantly unavailable")


@pytest.mark.parametrize("body", [NOT_FOUND, {"count": 0}], ids=str)
def test_an_undo_that_was_answered_so_counts_as_not_done(upload_act, body):
    upload_act.fail("runs costs", status=422, body={"error": "no"})
    upload_act.fail("take back", status=200, body=body, times=None)
    with rising(upload_act.world.client) as rise:
        assert upload_act.send().status_code == 422
    assert rise.of("left_over_total") == 1
    assert upload_act.world.in_instantly().keys() > upload_act.before["Instantly's leads"].keys()


@pytest.mark.parametrize("status", [200, 204])
def test_a_success_without_a_body_is_one_where_nothing_is_needed(world, status):
    fail(world, "POST", ".*/activate", how="after", status=status, body=None)
    answer = world.switch("active")
    assert (answer.status_code, answer.get_json()["campaign"]["status"]) == (200, "active")


# One person is one


SPELLINGS = {
    TESS: [
        *(TESS.replace("@", f"{hidden}@") for hidden in "\u200b\u2060\u00ad\u034f\ufe0f\u200e"),
        "\ufeff" + TESS,
        TESS + "\U000e0020",
        TESS.upper() + "\u202c",
        *(f"\u2003{TESS}{blank}" for blank in "\u3000\u2003\u202f\u2028"),
    ],
    "tess@b\u00fccher.example": [
        "tess@xn--bcher-kva.example",
        "tess@XN--BCHER-KVA.example",
        "tess@B\u00dcCHER.example",
        "tess@bu\u0308cher.example",
    ],
    "tess@stra\u00dfe.example": ["tess@xn--strae-oqa.example"],
    "ren\u00e9@widgets.example": ["rene\u0301@widgets.example"],
}


@pytest.mark.parametrize(
    ("one", "other"), [(one, other) for one, others in SPELLINGS.items() for other in others]
)
def test_two_spellings_are_one_person(world, one, other):
    for first, second in ((one, other), (other, one)):
        leads = [{"email": first}, {"email": second}, {"email": second}]
        body = world.upload(leads, refuse=[]).get_json()
        assert (body["added"], body["duplicates"]) == (1, 2)
        assert world.add([second])["added"] == 0
        assert len(world.in_instantly()) == world.billed() == 1
        for event_type, fact in (("email_bounced", "bounced"), ("lead_unsubscribed",) * 2):
            fact = fact.removeprefix("lead_")
            assert world.records(event_type, lead_email=second, n=first)
            assert [lead[fact] for lead in facts(world, first, second)] == [True, True]
        assert set(world.statuses().values()) == {"unsubscribed"}
        shown = world.listed(world.path("/events"), f"leadEmail={second}")
        assert shown["count"] >= 2
        assert world.delete([second]).get_json() == {"success": True, "deleted": 1, "notFound": []}
        world.upstreams.runs.runs.clear()


def test_two_domains_stay_two(world):
    assert world.add(["tess@stra\u00dfe.example", "tess@strasse.example"])["added"] == 2


def test_the_first_cell_of_a_spreadsheet_is_an_address(world):
    assert world.add(["\ufeffbo@widgets.example", "mia@widgets.example"])["added"] == 2
    assert world.rows() == ["bo@widgets.example", "mia@widgets.example"]


def test_senders_and_copies_are_sent_once_each(world):
    senders = ["ann@senders.test", "ANN@senders.test", "ann@senders.test\u200b"]
    created = world.created(accountIds=senders, settings={"ccList": senders})
    sent = world.campaigns()[created["instantlyCampaignId"]]
    assert sent["email_list"] == sent["cc_list"] == ["ann@senders.test"]


# Whom we hold can be asked about and deleted


@pytest.mark.parametrize(
    "email", ["tess@sub_domain.example", "tess@-widgets.example", "tess@widgets.example.", "tess"]
)
def test_what_comes_from_instantly_can_be_asked_about_and_deleted(world, email):
    world.put_into_instantly(email)
    (lead,) = world.upstreams.instantly.workspace("clerk-1").leads.values()
    lead["status"] = -2
    assert world.send("POST", world.path("/reconcile"), {}).get_json()["leads"]["adopted"] == 1
    (known, unknown) = facts(world, email, "nobody at all")
    assert (known["email"], known["known"], known["unsubscribed"]) == (email, True, True)
    assert (unknown["known"], unknown["status"]) == (False, None)
    answer = world.delete([email, "nobody at all"]).get_json()
    assert answer == {"success": True, "deleted": 1, "notFound": ["nobody at all"]}
    assert world.in_instantly() == {}


def test_a_sender_with_an_odd_address_can_be_warmed_up(world):
    sync_from(world, {"email": "lena@sub_domain.example"})
    answer = world.send("POST", "/accounts/lena@sub_domain.example/warmup", {"enabled": True})
    assert answer.status_code in (200, 202)


# Deliveries


@pytest.mark.parametrize(
    ("fields", "lead"),
    [
        ({"email": TESS}, TESS),
        ({"lead_email": TESS, "email": "other@x.example"}, TESS),
        ({"email": "lena@senders.test", "email_account": "lena@senders.test"}, None),
        ({"lead_email": "", "email": TESS}, TESS),
    ],
    ids=str,
)
def test_a_lead_that_stands_in_another_field_is_found(world, fields, lead):
    world.add([TESS])
    assert world.records("lead_unsubscribed", **fields)
    assert world.listed(world.path("/events"))["events"][0]["leadEmail"] == lead
    assert world.statuses() == {TESS: "unsubscribed" if lead else "active"}


def test_an_email_in_an_event_of_no_lead_is_no_lead(world):
    assert world.records("account_error", email=TESS)
    assert world.listed(world.path("/events"))["events"][0]["leadEmail"] is None


def test_a_recovered_delivery_has_the_lead_and_the_time_of_its_item(world):
    world.add([TESS])
    item = {
        "payload": world.payload("lead_unsubscribed"),
        "lead_email": TESS,
        "timestamp_created": "2026-01-02T03:04:05.000Z",
        "webhook_url": "https://instantly-service.example/webhooks/instantly",
    }
    fail(world, "GET", "/api/v2/webhook-events", status=200, body={"items": [item]})
    days = {"clerkOrgId": "clerk-1", "from": "2026-01-01", "to": "2026-01-03"}
    assert world.send("POST", "/webhooks/instantly/recover", days).get_json()["recorded"] == 1
    (event,) = world.listed(world.path("/events"))["events"]
    assert (event["leadEmail"], event["occurredAt"]) == (TESS, "2026-01-02T03:04:05.000Z")
    assert world.statuses() == {TESS: "unsubscribed"}


@pytest.mark.parametrize(
    ("timestamp", "shown"),
    [
        ("2026-01-02t03:04:05z", "2026-01-02T03:04:05.000Z"),
        (" 2026-01-02T03:04:05Z\n", "2026-01-02T03:04:05.000Z"),
        (1767323045, "2026-01-02T03:04:05.000Z"),
        ("1767323045500", "2026-01-02T03:04:05.500Z"),
    ],
)
def test_a_time_is_read_however_it_is_written(world, timestamp, shown):
    assert world.records(timestamp=timestamp, step="2", variant="1")
    (event,) = world.listed(world.path("/events"))["events"]
    assert (event["occurredAt"], event["step"], event["variant"]) == (shown, 2, 1)


def test_a_label_of_a_time_to_come_does_not_stay_for_ever(world):
    world.add([TESS])
    assert world.records("lead_interested", lead_email=TESS, timestamp="2099-01-01T00:00:00Z")
    assert world.records("lead_not_interested", lead_email=TESS)
    assert world.statuses() == {TESS: "not_interested"}
    assert facts(world, TESS)[0]["lastEventAt"] < "2099"


def test_a_plus_in_a_query_is_no_blank(world):
    assert world.records(lead_email="tess+news@widgets.example")
    for query in ("tess+news@widgets.example", "tess%2Bnews@widgets.example"):
        assert world.listed(world.path("/events"), f"leadEmail={query}")["count"] == 1


def test_a_webhook_with_a_slash_at_its_end_is_taken(world):
    delivery = world.payload(n="/")
    answer = world.send("POST", "/webhooks/instantly/", delivery, headers={"X-API-Key": ""})
    assert answer.get_json()["recorded"] is True


@pytest.mark.parametrize("body", [b'\xef\xbb\xbf{"event_type": "x", "campaign_id": "%s"}'])
def test_a_byte_order_mark_is_ignored(world, body):
    text = body % world.campaign["instantlyCampaignId"].encode()
    assert world.deliver(text).get_json()["recorded"] is True
    stats = b"\xef\xbb\xbf" + json.dumps({"brandId": "b"}).encode()
    answer = world.client.open(
        "/stats", method="POST", data=stats, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 200


@pytest.mark.parametrize("path", ["/stats", "/webhooks/instantly"])
def test_an_encoded_body_is_told_as_such(world, path):
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    answer = world.client.open(path, method="POST", data=b"\x1f\x8b", headers=headers)
    error = {"error": "Content-Encoding is not supported"}
    assert (answer.status_code, answer.get_json()) == (415, error)


# Instantly's numbers


@pytest.mark.parametrize(
    ("status", "shown"),
    [
        (1, "active"),
        ("1", "active"),
        ("-1", "connection_error"),
        (2, "paused"),
        (-4, "connection_error"),
        (7, "maintenance"),
        ("odd", "maintenance"),
        (None, "active"),
    ],
)
def test_a_status_that_is_not_understood_is_not_the_best(world, status, shown):
    sync_from(world, {"email": "lena@senders.test", "status": status, "daily_limit": "30"})
    (account,) = world.send("GET", "/accounts").get_json()["accounts"]
    assert (account["status"], account["dailySendLimit"]) == (shown, 30)


def test_an_account_without_an_address_does_not_end_the_sync(world):
    assert sync_from(world, {"status": 1}, {"email": "lena@senders.test"})["synced"] == 1


def test_figures_of_a_listed_lead_may_be_texts(world):
    world.put_into_instantly(TESS)
    (lead,) = world.upstreams.instantly.workspace("clerk-1").leads.values()
    lead |= {"status": "1", "email_open_count": "2", "payload": {"pause_until": "x", "city": "y"}}
    assert world.send("POST", world.path("/reconcile"), {}).status_code == 200
    (shown,) = world.listed_leads()
    assert (shown["status"], shown["customVariables"]) == ("opened", {"city": "y"})


# The rest


def test_a_chunk_that_is_too_large_is_halved(world):
    emails = [f"lead{number}@x.example" for number in range(7)]
    fail(world, "POST", "/api/v2/leads/add", status=413, body=None, times=3)
    assert world.add(emails)["added"] == 7
    assert world.agrees()


def test_leads_that_a_full_plan_leaves_out_are_told_as_such(world):
    full = {"created_leads": [], "remaining_in_plan": 0}
    fail(world, "POST", "/api/v2/leads/add", status=200, body=full)
    assert world.add([TESS])["rejected"] == [{"email": TESS, "reason": "plan_full"}]


@pytest.mark.parametrize(
    "org_id", ["acme/eu", "acme/", "/acme", "/", "a//b", "..", "a%2Fb", "a?b#c"]
)
def test_an_organisation_has_its_campaigns_whatever_its_id(world, org_id):
    created = world.created(orgId=org_id)
    (listed,) = world.listed(f"/campaigns/by-org/{quote(org_id, safe='')}")["campaigns"]
    assert listed["id"] == created["id"]


def test_a_key_that_was_pasted_with_a_line_break_works(world):
    world.upstreams.keys.organizations["clerk-1"] = "key-1\n"
    world.upstreams.keys.app_key = " app-key\n"
    assert world.add([TESS])["added"] == 1
    assert world.send("POST", "/accounts/sync").status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Forwarded-Proto": "https", "X-Forwarded-Protocol": "https"},
        {"X-Forwarded-Proto": "https", "X-Forwarded-Ssl": "off"},
        {"SCRIPT_NAME": "/instantly"},
        {"X-Forwarded-For": "1.2.3.4", "Forwarded": "for=x;proto=https", "PATH-INFO": "/docs"},
    ],
    ids=str,
)
def test_what_proxies_say_refuses_nobody(proxied: Service, headers):
    answer = proxied.call("GET", "/health", headers=headers)
    assert (answer.status_code, answer.json()["status"]) == (200, "ok")
    without_key = proxied.call("GET", f"/campaigns/{uuid4()}", headers={**headers, "X-API-Key": ""})
    assert without_key.status_code == 401


@pytest.fixture(scope="module")
def proxied(service_of_the_module, sockets, tmp_path_factory):
    url = service_of_the_module.db.connection.info.dsn
    folder = tmp_path_factory.mktemp("proxied")
    with running(Service(url, sockets, folder, FORWARDED_ALLOW_IPS="*")) as service:
        yield service
