"""The migration runner: every file once, in order, whole or not at all."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from uuid import uuid4

import psycopg
import pytest
from harness import HANGING_SECONDS, ROOT, fresh_database, looking_at, wait_until
from helpers import ENVIRONMENT, run_python
from psycopg import sql
from world import World

from instantly.migrate import MIGRATIONS, MigrationError, migrate
from instantly.sandbox.postgres import LocalPostgres

ONE, TWO, THREE = "0001_one.sql", "0002_two.sql", "0003_three.sql"
WITHOUT_REPLY = "campaign_completed_for_lead_without_reply"
DATABASE_URL = "INSTANTLY_SERVICE_DATABASE_URL"
Files = Callable[..., Path]


@pytest.fixture
def url(postgres: LocalPostgres) -> Iterator[str]:
    """A database of its own, empty."""
    name = f"migrate_{uuid4().hex}"
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        yield postgres.url(database=name)
        connection.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(name)))


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """Makes the folder of migrations hold exactly these files."""

    def write(**texts: str) -> Path:
        for path in tmp_path.iterdir():
            path.unlink()
        for name, text in texts.items():
            (tmp_path / name).write_text(text)
        return tmp_path

    return write


def texts(url: str, query: str) -> list[str]:
    """The only column of all rows."""
    with psycopg.connect(url) as connection:
        return [text for (text,) in connection.execute(query).fetchall()]


def tables(url: str) -> set[str]:
    names = texts(url, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    return set(names) - {"schema_migrations"}


def applied(url: str) -> list[str]:
    return texts(url, "SELECT name FROM schema_migrations ORDER BY name")


def run(**environment: str) -> subprocess.CompletedProcess[str]:
    return run_python("-m", "instantly.migrate", **environment)


def test_a_new_file_is_applied_alone_and_all_are_applied_once(url, files):
    assert migrate(url, files(**{ONE: "CREATE TABLE one ();"})) == [ONE]
    folder = files(**{ONE: "CREATE TABLE one ();", TWO: "CREATE TABLE two ();"})
    assert migrate(url, folder) == [TWO]
    assert migrate(url, folder) == []
    assert tables(url) == {"one", "two"}


def test_a_file_may_hold_any_sql_and_other_files_are_no_migrations(url, files):
    text = """
        CREATE TABLE one (percent text DEFAULT '100 %s; %(name)s');
        CREATE FUNCTION two() RETURNS integer LANGUAGE plpgsql AS $$ BEGIN RETURN 2; END; $$;
        INSERT INTO one DEFAULT VALUES;
    """
    folder = files(**{ONE: text, "README.md": "words", "0002_two.sql~": "words"})
    assert migrate(url, folder) == [ONE]


def test_a_changed_outward_form_is_in_place_after_the_next_run(url, tmp_path):
    folder = shutil.copytree(MIGRATIONS, tmp_path / "migrations")
    names = sorted(path.name for path in folder.glob("*.sql"))
    for text, applied_now in (("old", names), ("new", [])):
        function = f"CREATE OR REPLACE FUNCTION shape() RETURNS text RETURN '{text}';"
        for name in ("shape", "form"):
            path = tmp_path / f"{name}_functions.sql".removeprefix("shape_")
            path.write_text(function.replace("shape", name))
        assert migrate(url, folder) == applied_now
        assert texts(url, "SELECT shape() UNION ALL SELECT form()") == [text, text]


def test_of_six_processes_that_start_at_once_each_file_is_applied_by_one(url, files):
    slow = "SELECT pg_sleep(0.05); CREATE TABLE {} ();"
    folder = files(**{ONE: NUMBERS, TWO: INDEX, THREE: slow.format("three")})
    barrier = Barrier(6)

    def start(_: int) -> list[str]:
        barrier.wait(10)
        return migrate(url, folder)

    with ThreadPoolExecutor(6) as executor:
        done = list(executor.map(start, range(6)))
    assert sorted(name for names in done for name in names) == [ONE, TWO, THREE]
    assert tables(url) == {"numbers", "three"}
    assert is_valid(url)


# Outside a transaction

NUMBERS = "CREATE TABLE numbers AS SELECT n FROM generate_series(1, 10000) AS n;"
TWICE = "INSERT INTO numbers VALUES (1);"
INDEX = """-- outside a transaction
-- Why; in words.
DROP INDEX CONCURRENTLY IF EXISTS numbers_by_n;
CREATE UNIQUE INDEX CONCURRENTLY numbers_by_n
  ON numbers (n);
"""


def is_valid(url: str) -> bool | None:
    """Whether the index is complete; None without it."""
    query = "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('numbers_by_n')"
    return next(iter(texts(url, query)), None)


def test_what_fails_outside_a_transaction_is_built_anew(url, files):
    folder = files(**{ONE: NUMBERS + TWICE, TWO: INDEX})
    with pytest.raises(psycopg.errors.UniqueViolation):
        migrate(url, folder)
    assert (applied(url), is_valid(url)) == ([ONE], False)
    with psycopg.connect(url) as connection:
        connection.execute("DELETE FROM numbers WHERE n = 1")
    assert migrate(url, folder) == [TWO]
    assert is_valid(url)


def test_writers_go_on_while_an_index_is_built_and_it_may_be_broken_off(url, files):
    migrate(url, files(**{ONE: NUMBERS}))
    folder = files(**{ONE: NUMBERS, TWO: INDEX})
    command = f"from instantly.migrate import *; migrate({str(url)!r}, Path({str(folder)!r}))"
    with (
        psycopg.connect(url) as long_writer,
        psycopg.connect(url, autocommit=True, options="-c lock_timeout=5s") as writer,
        ThreadPoolExecutor() as executor,
    ):
        # The index waits for this transaction: it began before.
        long_writer.execute("INSERT INTO numbers VALUES (-1)")
        building = subprocess.Popen([sys.executable, "-c", command], cwd=ROOT)
        wait_until(lambda: is_valid(url) is False)
        writer.execute("INSERT INTO numbers VALUES (-2)")
        building.kill()
        building.wait(HANGING_SECONDS)
        again = executor.submit(migrate, url, folder)
        writer.execute("INSERT INTO numbers VALUES (-3)")
        long_writer.commit()
        assert again.result(HANGING_SECONDS) == [TWO]
    assert is_valid(url)
    with psycopg.connect(url) as connection, pytest.raises(psycopg.errors.UniqueViolation):
        connection.execute("INSERT INTO numbers VALUES (-3)")


# The files that a database is met with, which has applied CREATE_ONE as 1 and "SELECT 2;" as 2.
CREATE_ONE = "CREATE TABLE one ();"
OTHER_FILES = {
    "an edited file": {ONE: "CREATE TABLE one (x int);", TWO: "SELECT 2;"},
    "a blank more": {ONE: CREATE_ONE + " ", TWO: "SELECT 2;"},
    "the last file removed": {ONE: CREATE_ONE},
    "no file left": {},
    "a file renamed": {ONE: CREATE_ONE, "0002_other.sql": "SELECT 2;"},
    "a file put in front": {ONE: "SELECT 0;", TWO: CREATE_ONE, THREE: "SELECT 2;"},
    "an edited file before a new one": {ONE: CREATE_ONE, TWO: "SELECT 22;", THREE: "SELECT 3;"},
}


@pytest.mark.parametrize("other", OTHER_FILES.values(), ids=OTHER_FILES)
def test_a_database_that_holds_other_migrations_is_refused_and_left_alone(url, files, other):
    migrate(url, files(**{ONE: CREATE_ONE, TWO: "SELECT 2;"}))
    folder = files(**other)
    with pytest.raises(MigrationError):
        migrate(url, folder)
    assert applied(url) == [ONE, TWO]
    assert tables(url) == {"one"}


@pytest.mark.parametrize(
    "broken", ["SELECT no_such_column;", "CREATE TABLE", "DROP TABLE schema_migrations;"]
)
def test_a_failing_file_leaves_nothing_behind_but_those_before_it(url, files, broken):
    broken = f"CREATE TABLE two (); {broken}"
    folder = files(**{ONE: CREATE_ONE, TWO: broken, THREE: "CREATE TABLE three ();"})
    with pytest.raises(psycopg.Error):
        migrate(url, folder)
    assert tables(url) == {"one"}
    assert applied(url) == [ONE]

    (folder / TWO).write_text("CREATE TABLE two ();")
    assert migrate(url, folder) == [TWO, THREE]
    assert tables(url) == {"one", "two", "three"}


def test_events_are_written_while_our_indexes_are_built(postgres, tmp_path):
    folder = tmp_path / "migrations"
    folder.mkdir()
    for path in sorted(MIGRATIONS.glob("*.sql"))[:2]:
        shutil.copy(path, folder)
    event = (
        "INSERT INTO instantly_events (campaign_id, event_type, occurred_at, fingerprint, payload)"
        " VALUES (%s, 'email_sent', now(), uuid_send(gen_random_uuid()), '{}')"
    )
    builds = "SELECT FROM pg_stat_activity WHERE query ~ 'INDEX CONC' AND wait_event_type = 'Lock'"
    with (
        fresh_database(postgres, is_migrated=False) as url,
        looking_at(url) as db,
        ThreadPoolExecutor() as executor,
        psycopg.connect(url) as long_writer,
    ):
        migrate(url, folder)
        ours = World(db, None, None).another()
        db.connection.execute("SET lock_timeout = '5s'")
        long_writer.execute(event, [ours.campaign["id"]])
        again = executor.submit(migrate, url)
        wait_until(lambda: again.done() or db.all(builds))
        for _ in range(3):
            db.connection.execute(event, [ours.campaign["id"]])
        assert not again.done()
        long_writer.commit()
        assert "0007_events_by_time.sql" in again.result(HANGING_SECONDS)
        assert not db.all("SELECT FROM pg_index WHERE NOT indisvalid")


def test_the_labels_of_events_that_were_recorded_before_count(postgres, tmp_path):
    folder = tmp_path / "migrations"
    folder.mkdir()
    first, *_ = sorted(MIGRATIONS.glob("*.sql"))
    shutil.copy(first, folder)
    with fresh_database(postgres, is_migrated=False) as url, looking_at(url) as db:
        migrate(url, folder)
        ours = World(db, None, None).another()
        for event_type, day, lead in (
            ("lead_interested", 3, "a@x.example"),
            ("lead_won", 4, "a@x.example"),
            ("lead_lost", 2, "a@x.example"),
            ("lead_neutral", 9, "me@y.example"),
            ("lead_interested", 1, None),
            (WITHOUT_REPLY, 5, "b@x.example"),
        ):
            db.connection.execute(
                "INSERT INTO instantly_events (campaign_id, event_type, lead_email, account_email,"
                " occurred_at, fingerprint, payload)"
                " VALUES (%s, %s, %s, 'me@y.example', %s, uuid_send(gen_random_uuid()), '{}')",
                [ours.campaign["id"], event_type, lead, f"2026-08-{day:02}T00:00:00Z"],
            )
        migrate(url)
        rows = db.all("SELECT * FROM instantly_lead_activity ORDER BY lead_email")
        labels = [(row["lead_email"], row["label"], row["proved"]) for row in rows]
        proved = ["completed", "contacted"]
        assert labels == [("a@x.example", "closed", None), ("b@x.example", None, proved)]
        assert rows[0]["labelled_at"].isoformat() == "2026-08-04T00:00:00+00:00"


def test_gaps_and_bad_names_are_refused_before_anything_is_applied(url, files):
    for names in (
        [ONE, THREE],
        ["0000_zero.sql", ONE],
        [TWO],
        [ONE, "0001_other.sql"],
        [ONE, "notes.sql"],
        ["001_one.sql"],
        ["0001-one.sql"],
        ["0001_One.sql"],
        ["0001_.sql"],
        ["0001.sql"],
        ["0001_one.two.sql"],
    ):
        folder = files(**dict.fromkeys(names, "CREATE TABLE one ();"))
        with pytest.raises(MigrationError):
            migrate(url, folder)
        assert tables(url) == set(), names


def test_the_command_brings_a_fresh_database_up_to_date_and_says_what_it_applied(url):
    first, second = (run(**ENVIRONMENT, **{DATABASE_URL: url}) for _ in range(2))
    for ended in (first, second):
        assert (ended.returncode, ended.stderr) == (0, "")
    assert applied(url) == sorted(path.name for path in MIGRATIONS.glob("*.sql"))
    assert {"instantly_campaigns", "instantly_leads", "instantly_events"} <= tables(url)
    assert all(name in first.stdout for name in applied(url))
    assert second.stdout.count("\n") == 1
    assert ".sql" not in second.stdout


def test_the_command_stops_at_a_bad_environment_with_one_message():
    ended = run(RUNS_SERVICE_URL="nonsense", PORT="many")
    assert ended.returncode != 0
    assert ended.stdout == ""
    assert ended.stderr.count("\n") == 1
    for name in [*ENVIRONMENT, DATABASE_URL, "PORT"]:
        assert name in ended.stderr


@pytest.mark.parametrize("fault", [{"port": 1}, {"database": "no_such_database"}], ids=str)
def test_the_command_fails_without_a_stack_trace_when_it_cannot_connect(postgres, fault):
    url = postgres.url(user="postgres:hush-hush", **fault)
    ended = run(**ENVIRONMENT, **{DATABASE_URL: url})
    assert ended.returncode != 0
    assert ended.stdout == ""
    assert "Traceback" not in ended.stderr
    assert "hush-hush" not in ended.stderr
