"""POST /leads/erase: what a person may ask for by law, and what is never heard of them again."""

import hmac
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from harness import HANGING_SECONDS, wait_until
from helpers import configure
from werkzeug.test import TestResponse
from world import World, addresses, leads_of

from instantly.storage.statements import SQL_DIRECTORY, load_statements
from instantly.translation.events import Event, fingerprint

ADD = ("POST", "/api/v2/leads/add")
LIST = ("POST", "/api/v2/leads/list")
DELETE = ("DELETE", "/api/v2/leads")
ADA = "Ada@X.example"
NAME = "Lovelace"
REPLY = "Please do not write to me again"
PERSONAL = (ADA, NAME, REPLY)
EVENTS = ("email_sent", "email_opened", "link_clicked", "reply_received", "lead_not_interested")
STATEMENTS = load_statements(SQL_DIRECTORY)

pytestmark = pytest.mark.usefixtures("campaign")


def erase(world: World, *emails: str, **changes: Any) -> TestResponse:
    body = {"clerkOrgId": "clerk-1", "emails": list(emails), **changes}
    return world.send("POST", "/leads/erase", body)


def erased(world: World, *emails: str, **changes: Any) -> tuple[int, int, int]:
    answer = erase(world, *emails, **changes)
    assert answer.status_code == 200, answer.text
    assert answer.get_json()["success"] is True
    return tuple(answer.get_json()[name] for name in ("erased", "leads", "events"))


def places(world: World, *texts: str) -> set[str]:
    """The columns of all tables that hold one of the texts, in any case."""
    columns = world.db.all(
        "SELECT table_name, column_name FROM information_schema.columns"
        " WHERE table_schema = 'public'"
    )
    found = set()
    for table, column in ((row["table_name"], row["column_name"]) for row in columns):
        values = world.db.all(f'SELECT "{column}"::text AS value FROM {table}')  # noqa: S608
        told = "\n".join(row["value"] or "" for row in values).lower()
        if any(text.lower() in told for text in texts):
            found.add(f"{table}.{column}")
    return found


def figures(world: World) -> list[dict[str, Any]]:
    """All that POST /stats tells."""
    conditions: list[dict[str, str]] = [{"clerkOrgId": "clerk-1"}, {"appId": "app-1"}]
    conditions += [
        {"groupBy": by} for by in ("campaignId", "brandId", "step", "day", "accountEmail")
    ]
    return [world.statistics(**{"clerkOrgId": "clerk-1", **each}) for each in conditions]


def live(world: World, email: str = ADA, name: str = NAME, text: str = REPLY) -> None:
    """All that can happen between a campaign and a person."""
    for step, event_type in enumerate(EVENTS):
        world.receive(event_type, lead=email, step=step % 3, lastName=name, reply_text=text)


@pytest.fixture
def lived(world: World) -> World:
    """Two campaigns have held and written to the same people."""
    other = World(world.db, world.upstreams, world.client, world.created(brandId="brand-2"))
    for place in (world, other):
        lead = {"email": ADA, "firstName": "Ada", "lastName": NAME, "companyName": NAME}
        leads = [{**lead, "customVariables": {"note": REPLY}}, {"email": "bo@x.example"}]
        assert place.upload(leads).status_code == 201
        live(place)
        live(place, "bo@x.example", "Beck", "Tell me more")
    world.upstreams.forget_requests()
    world.upstreams.runs.runs.clear()
    return world


@contextmanager
def under_way(task: Any) -> Any:
    with ThreadPoolExecutor(1) as thread:
        future: Future[TestResponse] = thread.submit(task)
        yield future


# What becomes of a person


def test_nothing_of_a_person_is_left_and_figures_stay(lived):
    world = lived
    key = {"Idempotency-Key": "order-1"}
    body = {"orgId": "org-1", "leads": [{"email": ADA}, {"email": f"{NAME} <{ADA}>"}]}
    body |= {"invalid": "reject", "refuse": ["held"]}
    third = world.created()
    path = world.path("/leads", third).upper().replace("/CAMPAIGNS/", "/campaigns/")
    path = path.replace("/LEADS", "/leads")
    kept = world.send("POST", path, body, headers=key).get_json()
    assert [lead["reason"] for lead in kept["rejected"]] == ["malformed", "held"]
    before = figures(world)
    assert places(world, *PERSONAL) > {"instantly_leads.email", "instantly_idempotency_keys.body"}

    assert erased(world, " ada@x.EXAMPLE") == (1, 2, 10)
    assert places(world, *PERSONAL) == set()
    assert figures(world) == before
    assert world.db.count("instantly_events") == 20
    for campaign in world.campaign_rows():
        assert set(world.in_instantly({"instantlyCampaignId": campaign})) <= {"bo@x.example"}
    assert world.rows() == ["bo@x.example"] * 2
    repeat = world.send("POST", path, body, headers=key)
    assert repeat.headers["Idempotent-Replayed"] == "true"
    assert [lead.pop("email") for lead in kept["rejected"]] == [f"{NAME} <{ADA}>", ADA]
    assert [lead.pop("email") for lead in repeat.get_json()["rejected"]] == [None, None]
    assert erased(world, ADA) == (1, 0, 0)


@pytest.mark.parametrize("statement", ["update_answer_body", "upsert_answer"])
def test_what_another_erasure_takes_out_of_an_answer_stays_out(world, statements, statement):
    key, people = {"Idempotency-Key": "order-1"}, ["ada@x.example", "bo@x.example"]
    world.another().hold(*people)
    body = {"orgId": "org-1", "leads": [{"email": each} for each in people], "refuse": ["held"]}

    def erase_the_other() -> None:
        world.db.connection.execute(
            "UPDATE instantly_idempotency_keys SET body = replace(body, %s, %s)",
            [f'"{people[1]}"', "null"],
        )

    statements.before(statement, erase_the_other)
    world.send("POST", world.path("/leads"), body, headers=key)
    erased(world, people[0])
    repeat = world.send("POST", world.path("/leads"), body, headers=key)
    assert [lead["email"] for lead in repeat.get_json()["rejected"]] == [None, None]


def test_who_was_erased_is_unknown_and_not_written_to(lived):
    world = lived
    erased(world, ADA)
    (entry,) = world.send(
        "POST", "/leads/status", {"clerkOrgId": "clerk-1", "emails": [ADA]}
    ).get_json()["leads"]
    facts = {name: value for name, value in entry.items() if name not in ("email", "campaigns")}
    assert (set(facts.values()), entry["campaigns"]) == ({False, None}, [])
    world.upstreams.forget_requests()
    for refuse in ([], ["unsubscribed"]):
        answer = world.upload(leads_of(["ADA@x.example"]), refuse=refuse).get_json()
        assert answer["rejected"] == [{"email": "ADA@x.example", "reason": "erased"}]
    assert world.upstreams.instantly_http.requests == []
    assert world.billed() == 0


def test_what_is_delivered_of_a_person_afterwards_counts_and_says_nothing(lived):
    world = lived
    payload = world.payload("email_opened", lead_email=ADA, step=1, text=REPLY, n=1)
    assert world.deliver(payload).get_json()["recorded"]
    erased(world, ADA)
    before = world.statistics(clerkOrgId="clerk-1")
    assert world.deliver(payload).get_json()["reason"] == "duplicate"
    for n in range(2):
        payload = {**payload, "event_type": "email_sent", "n": n}
        answers = [world.deliver(payload).get_json() for _ in "12"]
        assert [answer["recorded"] for answer in answers] == [True, False]
    assert places(world, ADA) == set()
    after = world.statistics(clerkOrgId="clerk-1")
    assert after["stats"]["emailsSent"] == before["stats"]["emailsSent"] + 2
    assert after["recipients"] == before["recipients"]
    shown = world.listed(world.path("/events"), "payload=true&limit=1")["events"][0]
    assert (shown["eventType"], shown["payload"]) == ("email_sent", {})
    assert shown["leadEmail"].startswith("erased:")
    # What came between the request and now is emptied by a repeat.
    assert erased(world, ADA) == (1, 0, 0)
    assert world.statistics(clerkOrgId="clerk-1") == after


def test_a_reconcile_neither_adopts_a_person_nor_keeps_what_instantly_proves(world):
    erased(world, ADA)
    world.put_into_instantly(ADA)
    world.put_into_instantly("bo@x.example")
    for lead in world.upstreams.instantly.workspace("clerk-1").leads.values():
        lead.update(status=-1, email_reply_count=1)
    answer = world.send("POST", world.path("/reconcile"), {}).get_json()
    assert answer["leads"]["adopted"] == 1
    assert world.rows() == ["bo@x.example"]
    assert places(world, ADA) == set()


def test_a_sender_who_is_a_lead_goes_on_not_to_count(world):
    world.receive("email_sent", lead=ADA, email_account=ADA)
    before = figures(world)
    assert erased(world, ADA) == (1, 0, 1)
    world.receive("email_sent", lead=ADA, email_account=ADA)
    assert figures(world) == before
    assert places(world, ADA) == set()


@pytest.mark.parametrize("excluded", ["x.example", "ada@x.example"])
def test_who_does_not_count_goes_on_not_to_count(world, app, monkeypatch, excluded):
    configure(app, monkeypatch, stats_excluded=(excluded,))
    live(world)
    before = figures(world)
    assert before[0]["stats"]["emailsSent"] == 0
    erased(world, ADA)
    live(world)
    assert figures(world) == before
    assert places(world, ADA) == set()


# Whose leads are deleted


def test_what_only_instantly_holds_is_deleted_there_too_in_our_campaigns_alone(world):
    workspace = world.upstreams.instantly.workspace("clerk-1")
    foreign = {"instantlyCampaignId": workspace.ids.uuid()}
    world.put_into_instantly(ADA)
    world.put_into_instantly(ADA, campaign=world.created())
    world.put_into_instantly("o'brien@bücher.example")
    kept = world.put_into_instantly(ADA, campaign=foreign)
    world.hold("ADA@x.example")
    assert erased(world, "ada@x.example", "O'Brien@Bücher.example") == (2, 3, 0)
    asked = world.upstreams.instantly_http.calls(*LIST)[0].json
    assert set(asked["contacts"]) == {
        "ada@x.example",
        "ADA@x.example",
        "o'brien@xn--bcher-kva.example",
    }
    assert list(workspace.leads) == [kept]


@pytest.mark.parametrize("held", ["ann@xn--mller-kva.example", "ann@müller.example"])
@pytest.mark.parametrize("asked", ["ann@xn--mller-kva.example", "ann@MÜLLER.example"])
def test_what_only_instantly_holds_is_deleted_in_either_spelling(world, held, asked):
    world.put_into_instantly(held)
    assert erased(world, asked) == (1, 1, 0)
    assert world.in_instantly() == {}
    world.put_into_instantly(held)
    assert world.delete([asked]).get_json()["deleted"] == 1
    assert world.in_instantly() == {}


# Of which PostgreSQL makes other small letters than Python.
@pytest.mark.parametrize("email", ["\u039f\u0394\u039f\u03a3@x.example", "\u0130lker@x.example"])
def test_whom_a_reconcile_adopted_is_erased_whatever_the_letters(world, email):
    world.put_into_instantly(email)
    assert world.send("POST", world.path("/reconcile"), {}).get_json()["leads"]["adopted"] == 1
    world.receive("lead_unsubscribed", lead=email)
    assert set(world.statuses().values()) == {"unsubscribed"}
    assert erased(world, email) == (1, 1, 1)
    assert world.rows() == []
    world.put_into_instantly(email)
    assert world.send("POST", world.path("/reconcile"), {}).get_json()["leads"]["adopted"] == 0


def test_another_organizations_person_stays(world):
    stranger = world.another(clerkOrgId="clerk-2")
    stranger.hold(ADA)
    live(stranger)
    rows = world.db.all("SELECT * FROM instantly_events")
    assert erased(world, ADA) == (1, 0, 0)
    assert world.rows() == [ADA.lower()]
    assert world.db.all("SELECT * FROM instantly_events") == rows
    live(stranger)
    assert stranger.statistics(clerkOrgId="clerk-2")["recipients"] == 1
    assert len(places(world, ADA)) > 2


def test_an_organization_without_campaigns_remembers_and_asks_nobody(world):
    assert erased(world, ADA, ADA.upper(), clerkOrgId="clerk-9") == (1, 0, 0)
    assert world.upstreams.calls() == 0


def test_a_thousand_people_are_erased_with_a_handful_of_calls(world, statements):
    people = addresses(1000)
    world.add(people)
    world.receive("email_sent", lead=people[7])
    world.upstreams.forget_requests()
    statements.names.clear()
    assert erased(world, *people, *people[:0]) == (1000, 1000, 1)
    requests = world.upstreams.instantly_http.requests
    assert (len(requests), len(world.upstreams.instantly_http.calls(*DELETE))) == (21, 1)
    assert len(statements.names) < 60
    assert world.rows() == []


# What goes wrong, and what goes on meanwhile


@pytest.mark.parametrize(
    ("fault", "status"),
    [({"status": 400}, 422), ({"status": 429, "times": None}, 503), ({"times": None}, 502)],
)
@pytest.mark.parametrize("call", [LIST, DELETE], ids=["listing", "deleting"])
def test_after_a_failure_of_instantly_nothing_comes_back_and_a_repeat_finishes(
    lived, call, fault, status
):
    world = lived
    before = figures(world)
    world.upstreams.instantly_http.fail(*call, **fault)
    assert erase(world, ADA).status_code == status
    third = world.created()
    rejected = world.upload(leads_of([ADA]), third).get_json()["rejected"]
    assert [lead["reason"] for lead in rejected] == ["erased"]
    world.upstreams.instantly_http.heal()
    assert erased(world, ADA) == (1, 2, 10)
    assert places(world, ADA) == set()
    assert figures(world) == before
    assert set(world.in_instantly(world.campaign)) == {"bo@x.example"}


@pytest.mark.parametrize("name", ["upsert_erased_activity", "delete_erased_leads"])
@pytest.mark.parametrize("acts", [True, False])
def test_after_a_failure_of_postgres_a_repeat_finishes(lived, statements, name, acts):
    world = lived
    before = figures(world)
    statements.fail(name, times=1, acts=acts)
    assert erase(world, ADA).status_code == 503
    world.receive("email_sent", lead=ADA, step=0)
    assert erased(world, ADA)[0::2] == (1, 10)
    assert places(world, ADA) == set()
    for then, now in zip(before, figures(world), strict=True):
        assert now["stats"].pop("emailsSent") == then["stats"].pop("emailsSent") + 1
        del then["stats"]["emailsDelivered"], now["stats"]["emailsDelivered"]
        assert (now["stats"], now["recipients"]) == (then["stats"], then["recipients"])


def test_an_upload_that_had_looked_before_does_not_keep_a_person(world):
    stand_in = world.upstreams.instantly_http
    stand_in.fail(*ADD, how="hang")
    with under_way(lambda: world.beside().upload(leads_of([ADA, "bo@x.example"]))) as upload:
        stand_in.wait_until_hanging()
        with under_way(lambda: erase(world.beside(), ADA)) as erasure:
            wait_until(lambda: world.db.count("instantly_erased") == 1)
            assert not erasure.done()
            stand_in.release()
            assert upload.result(HANGING_SECONDS).get_json()["added"] == 2
            assert erasure.result(HANGING_SECONDS).get_json()["leads"] == 1
    assert set(world.in_instantly()) == set(world.rows()) == {"bo@x.example"}


def delivery_of(world: World) -> dict[str, Any]:
    """The parameters of the statement that records a delivery of hers."""
    event = Event.from_payload(world.payload("email_sent", lead_email=ADA))
    assert event is not None
    payload = '{"text": "' + REPLY + '"}'
    return {**event.parameters(), "fingerprint": fingerprint(payload), "payload": payload}


def test_a_delivery_that_is_recorded_meanwhile_is_emptied(world, database_url):
    with psycopg.connect(database_url) as other:
        other.execute(STATEMENTS["insert_event"].encode(), delivery_of(world))
        with under_way(lambda: erase(world.beside(), ADA)) as erasure:
            wait_until(lambda: waiting(world) == 1)
            other.commit()
            assert erasure.result(HANGING_SECONDS).get_json()["events"] == 1
    assert places(world, ADA, REPLY) == set()


def test_a_delivery_that_waited_for_an_erasure_says_nothing(world, database_url):
    """It began when nothing was remembered, and goes on when all is."""
    with psycopg.connect(database_url) as other:
        other.execute("SELECT FROM instantly_campaigns FOR UPDATE")
        with under_way(lambda: world.beside().receive("email_sent", lead=ADA)) as delivery:
            wait_until(lambda: waiting(world) == 1)
            other.execute(
                STATEMENTS["insert_erased"].encode(),
                {"clerk_org_id": "clerk-1", "addresses": [ADA.lower()], "excluded": []},
            )
            other.commit()
            delivery.result(HANGING_SECONDS)
    assert places(world, ADA) == set()
    assert world.statistics(clerkOrgId="clerk-1")["recipients"] == 1


def waiting(world: World) -> int:
    """How many statements wait for a lock."""
    sql = "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    return len(world.db.all(sql))


# What is remembered, and what can be asked for


def test_a_keyed_hash_is_remembered(world):
    email = "ada@bücher.example"
    erased(world, email)
    (row,) = world.db.all("SELECT * FROM instantly_erased CROSS JOIN instantly_erasure_key")
    keys = {bytes(byte ^ pad for byte in row[name]) for name, pad in PADS.items()}
    (key,) = keys
    assert len(key) == 64
    assert row["hash"] == hmac.digest(key, email.encode(), "sha256")
    assert row["pseudonym"] == f"erased:{row['hash'].hex()}"


PADS = {"inner_pad": 0x36, "outer_pad": 0x5C}


def test_what_no_lead_can_have_for_an_address_is_nothing(world):
    assert erased(world, "nobody", "a" * 400, "\u200b") == (1, 0, 0)


@pytest.mark.parametrize(
    ("body", "name"),
    [
        ({"clerkOrgId": None}, "clerkOrgId"),
        ({"clerkOrgId": "x" * 256}, "clerkOrgId"),
        *(({"emails": bad}, "emails") for bad in ([], None, ADA, [ADA] * 1001)),
        *(({"emails": [ADA, bad]}, "emails.1") for bad in (None, 5, "a\x00@x.example")),
    ],
)
def test_what_cannot_be_erased_is_a_bad_request(world, body, name):
    answer = erase(world, ADA, **body)
    assert (answer.status_code, list(answer.get_json()["details"])) == (400, [name])
    assert world.db.count("instantly_erased") == 0
