"""`python -m instantly.forget`: payloads do not stay for ever. And how commands fail."""

import pytest
from helpers import ENVIRONMENT, LOCALHOST, run_python
from world import World

NOWHERE = LOCALHOST.replace("http", "postgresql") + "/none"


def forget(url: str, *arguments: str) -> tuple[int, str]:
    environment = {**ENVIRONMENT, "INSTANTLY_SERVICE_DATABASE_URL": url}
    done = run_python("-m", "instantly.forget", *arguments, **environment)
    return done.returncode, done.stdout


def age(world: World, days: float, condition: str) -> None:
    world.db.connection.execute(
        "UPDATE instantly_events SET received_at = received_at - make_interval(secs => %s)"  # noqa: S608
        f" WHERE {condition}",
        [days * 86_400],
    )


def payloads(world: World) -> list[str]:
    rows = world.db.all("SELECT payload::text FROM instantly_events ORDER BY id")
    return [row["payload"] for row in rows]


def test_old_payloads_are_emptied_and_nothing_else_changes(ours: World, database_url: str) -> None:
    old, young = (
        ours.payload("reply_received", lead_email=f"{name}@x.example", reply_text=name)
        for name in ("ada", "bo")
    )
    for payload in (old, young):
        ours.deliver(payload)
    age(ours, 30.01, "lead_email = 'ada@x.example'")
    age(ours, 29.99, "lead_email = 'bo@x.example'")
    kept = "SELECT id, event_type, lead_email, fingerprint FROM instantly_events ORDER BY id"
    events, figures = ours.db.all(kept), ours.statistics(clerkOrgId="clerk-1")
    done = "emptied the payloads of {} events\n"
    assert forget(database_url, "--days", "30") == (0, done.format(1))
    assert [payload == "{}" for payload in payloads(ours)] == [True, False]
    assert ours.db.all(kept) == events
    assert ours.statistics(clerkOrgId="clerk-1") == figures
    assert ours.deliver(old).get_json()["reason"] == "duplicate"
    ours.hold("ada@x.example")
    (mail,) = ours.send("GET", ours.path("/leads/ada@x.example")).get_json()["messages"]
    assert (mail["direction"], mail["text"]) == ("received", None)
    assert forget(database_url, "--days", "30") == (0, done.format(0))


def test_thousands_are_emptied_in_turn_without_waiting_for_one(
    ours: World, database_url: str
) -> None:
    ours.db.connection.execute(
        "INSERT INTO instantly_events (campaign_id, event_type, occurred_at, fingerprint, payload)"
        " SELECT id, 'email_sent', now(), sha256(n::text::bytea), json_build_object('n', n)"
        " FROM instantly_campaigns CROSS JOIN generate_series(1, 3500) AS n"
    )
    age(ours, 10, "payload ->> 'n' <> '2500' AND payload ->> 'n' <= '3400'")
    with ours.db.connection.transaction():
        ours.db.all("SELECT FROM instantly_events WHERE payload ->> 'n' = '7' FOR UPDATE")
        number, _ = forget(database_url, "--days", "7")
    assert number == 0
    left = {"7", "2500"} | {str(n) for n in range(1, 3501) if str(n) > "3400"}
    assert len(payloads(ours)) == 3500
    assert [payload for payload in payloads(ours) if payload != "{}"] == [
        f'{{"n" : {n}}}' for n in sorted(left, key=int)
    ]


@pytest.mark.parametrize(
    ("url", "arguments", "status"),
    [
        (NOWHERE, ["--days", "30"], 1),
        *((NOWHERE, arguments, 2) for arguments in ([], ["--days", "-1"], ["--days", "many"])),
        ("mysql://x", ["--days", "30"], 1),
    ],
)
def test_what_cannot_be_done_has_another_exit_status(
    url: str, arguments: list[str], status: int
) -> None:
    assert forget(url, *arguments) == (status, "")


@pytest.mark.parametrize("command", [["forget", "--days", "30"], ["cleanup"]])
def test_a_command_says_in_one_line_that_there_is_no_database(command: list[str]) -> None:
    environment = {**ENVIRONMENT, "INSTANTLY_SERVICE_DATABASE_URL": NOWHERE}
    done = run_python("-m", f"instantly.{command[0]}", *command[1:], **environment)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "Database unavailable: NotConnected\n"
