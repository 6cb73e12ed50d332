"""Named statements, and connections that neither hang nor stay broken."""

import ast
import os
import re
import signal
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg import OperationalError, generators
from psycopg.waiting import Ready

import instantly
from instantly.storage import pool as pool_module
from instantly.storage import statements as database_module
from instantly.storage.pool import DeadlineConnection
from instantly.storage.statements import SQL_DIRECTORY, Database, load_statements

PACKAGE = Path(instantly.__file__).parent
NAME = re.compile(r"(select|insert|upsert|update|delete)_[a-z_]+")
STATEMENTS = load_statements(SQL_DIRECTORY)
# No call may take longer, on whatever machine: a bound against hanging, not a promise of speed.
HANGING_SECONDS = 8.0

GOOD = "-- name: select_one\n-- The number one.\nSELECT 1 AS one;\n"


# The loader


@pytest.fixture
def load(tmp_path) -> Callable[..., dict[str, str]]:
    def load(*texts: str) -> dict[str, str]:
        for number, text in enumerate(texts):
            (tmp_path / f"{number}.sql").write_text(text)
        return load_statements(tmp_path)

    return load


def test_statements_are_loaded_by_name_from_all_files(load):
    second = "-- name: select_two\n-- The number two,\n-- in two lines.\nSELECT\n  2 AS two;\n\n"
    third = "-- name: select_three\n-- 3.\n-- It's a % sign.\nSELECT 3 -- really\n;"
    statements = load(GOOD + "\n\n" + second, third)
    assert list(statements) == ["select_one", "select_two", "select_three"]
    assert statements["select_one"] == "SELECT 1 AS one"
    assert all(";" not in statement for statement in statements.values())


HEADER = "-- name: select_one\n"
MALFORMED = {
    "a name that stands twice": GOOD + GOOD,
    "no header": "SELECT 1;",
    "a header without a colon": "-- name select_one\n-- One.\nSELECT 1;",
    "a name in two words": "-- name: select one\n-- One.\nSELECT 1;",
    "a name in capitals": "-- name: Select_one\n-- One.\nSELECT 1;",
    "no purpose": HEADER + "SELECT 1;",
    "a gap in the header": HEADER + "\n-- One.\nSELECT 1;",
    "no end": HEADER + "-- One.\nSELECT 1",
    "two statements under one name": GOOD + "SELECT 2;",
    "a misspelt header": GOOD + "-- nmae: select_two\n-- Two.\nSELECT 2;",
    "words at the end": GOOD + "-- the end\n",
    "blanks for a statement": HEADER + "-- One.\n  \n;\n",
    "words for a statement": HEADER + "-- One.\n-- Only words.\n;\n",
    "an empty block before another": "-- name: select_none\n-- None.\n" + GOOD,
    "no end before another": "-- name: select_two\n-- Two.\nSELECT 2\n\n" + GOOD,
}


@pytest.mark.parametrize("text", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_file_is_refused(load, text):
    with pytest.raises(ValueError, match=r"\.sql"):
        load(text)


def test_a_name_that_stands_in_two_files_is_refused(load):
    with pytest.raises(ValueError, match=r"\.sql"):
        load(GOOD, GOOD)


# The statements


@pytest.mark.parametrize("name", STATEMENTS)
def test_the_statement_fits_the_schema_with_null_for_every_placeholder(database_url, name):
    statement = STATEMENTS[name]
    nulls = dict.fromkeys(re.findall(r"%\((\w+)\)s", statement))
    with psycopg.connect(database_url) as connection, connection.transaction(force_rollback=True):
        try:
            connection.execute(statement.encode(), nulls)
        except psycopg.IntegrityError:
            pass  # It ran, and a constraint refused the NULLs.


def test_every_statement_is_used_and_every_name_that_is_used_is_that_of_a_statement():
    sources = [path for path in PACKAGE.rglob("*.py") if "sandbox" not in path.parts]
    nodes = (node for path in sources for node in ast.walk(ast.parse(path.read_text())))
    texts = {node.value for node in nodes if isinstance(node, ast.Constant)}
    used = {text for text in texts if isinstance(text, str) and NAME.fullmatch(text)}
    assert used - {"insert_unsubscribe_header"} == STATEMENTS.keys()  # that is a setting


# The connections


STATEMENTS_OF_THE_TESTS = {
    "select_one": "SELECT 1 AS one",
    "select_numbers": "SELECT number FROM generate_series(1, %(last)s) AS number",
    "select_process": "SELECT pg_backend_pid() AS process FROM pg_sleep(%(seconds)s)",
    "select_transaction": "SELECT txid_current() AS id",
    "select_json": "SELECT json_build_object('name', %(name)s::text) AS body",
    "select_nothing_for_ever": "SELECT pg_sleep(60)",
    "select_slowly": "SELECT pg_sleep(0.3) IS NULL AS never",
    "select_nonsense": "SELECT 1 / 0",
    "select_the_end": "SELECT pg_terminate_backend(pg_backend_pid())",
    "insert_mark": "INSERT INTO marks VALUES (%(mark)s)",
    "select_marks": "SELECT mark FROM marks ORDER BY mark",
}


@pytest.fixture(autouse=True)
def statements_of_the_tests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = [
        f"-- name: {name}\n-- For a test.\n{statement};\n"
        for name, statement in STATEMENTS_OF_THE_TESTS.items()
    ]
    (tmp_path / "sql").mkdir()
    (tmp_path / "sql" / "tests.sql").write_text("\n".join(blocks))
    monkeypatch.setattr(database_module, "SQL_DIRECTORY", tmp_path / "sql")


@contextmanager
def opened(url: str, pool_size: int = 1) -> Iterator[Database]:
    database = Database(url, pool_size)
    try:
        yield database
    finally:
        database.close()


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """With one connection."""
    with opened(database_url) as database:
        yield database


@contextmanager
def fails_in_time() -> Iterator[None]:
    started = time.monotonic()
    with pytest.raises(OperationalError):
        yield
    assert time.monotonic() - started < HANGING_SECONDS


def ping(database: Database) -> bool:
    started = time.monotonic()
    is_there = database.ping()
    assert time.monotonic() - started < 3.0
    return is_there


@pytest.fixture
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    assert database_module.PING_TIMEOUT_SECONDS < 3.0
    monkeypatch.setattr(database_module, "PING_TIMEOUT_SECONDS", 0.4)
    monkeypatch.setattr(pool_module, "SLOT_WAIT_SECONDS", 0.4)
    monkeypatch.setattr(DeadlineConnection, "deadline_seconds", 0.4)


def refused_url() -> str:
    """Nobody listens there."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"postgresql://postgres@127.0.0.1:{taken.getsockname()[1]}/test"


@pytest.fixture
def silent_url() -> Iterator[str]:
    """Somebody accepts there and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"postgresql://postgres@127.0.0.1:{listener.getsockname()[1]}/test"


@contextmanager
def frozen(process_id: int) -> Iterator[None]:
    """The server process is there, holds its connection, and does nothing."""
    os.kill(process_id, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process_id, signal.SIGCONT)


PROCESSES = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend'"


def process_of(database: Database, seconds: float = 0) -> int:
    """The server process behind a connection, which is held for so long."""
    return database.fetch_one("select_process", seconds=seconds)["process"]


def processes_of(database: Database, pool_size: int) -> set[int]:
    """Lets the pool open all its connections; the server processes behind them."""
    processes: set[int] = set()
    with ThreadPoolExecutor(pool_size) as executor:
        while len(processes) < pool_size:
            processes = set(executor.map(lambda _: process_of(database, 0.2), range(pool_size)))
    return processes


def test_a_statement_answers_rows_by_column_name(database):
    assert database.fetch_all("select_numbers", last=2) == [{"number": 1}, {"number": 2}]
    assert database.fetch_one("select_numbers", last=2) == {"number": 1}
    assert database.fetch_one("select_numbers", last=0) is None


def test_json_is_utf_8_whatever_the_connection_string_says(database_url):
    with opened(database_url + "?client_encoding=LATIN1") as database:
        row = database.fetch_one("select_json", name="Grüße, 東京")
    assert row["body"].decode() == '{"name" : "Grüße, 東京"}'


def test_each_statement_is_its_own_transaction(database):
    first = database.fetch_one("select_transaction")
    with pytest.raises(psycopg.errors.DivisionByZero):
        database.execute("select_nonsense")
    assert database.fetch_one("select_transaction") != first


@pytest.fixture
def marks(connection) -> Iterator[None]:
    connection.execute("CREATE TABLE marks (mark integer)")
    yield
    connection.execute("DROP TABLE marks")


def test_a_transaction_is_kept_whole_or_not_at_all(marks, database):
    with pytest.raises(psycopg.errors.DivisionByZero), database.transaction() as session:
        session.execute("insert_mark", mark=1)
        session.execute("select_nonsense")
    assert database.fetch_all("select_marks") == []
    with database.transaction() as session:
        session.execute("insert_mark", mark=2)
        assert session.fetch_one("select_marks") == {"mark": 2}
        session.execute("insert_mark", mark=3)
    assert database.fetch_all("select_marks") == [{"mark": 2}, {"mark": 3}]


@pytest.mark.parametrize(
    ("asked", "seconds"), [("", 2), ("?connect_timeout=7", 7), ("?connect_timeout=60", 10)]
)
def test_a_connection_takes_as_long_as_its_url_says_within_bounds(asked, seconds):
    url = f"postgresql://db.example/x{asked}"
    assert pool_module.connect_seconds(url) == seconds
    assert pool_module.connect_seconds("postgresql://db.example/x?connect_timeout=0") == 10


def test_what_libpq_says_is_told_without_host_and_user():
    words = (
        'connection failed: connection to server at "10.0.0.5", port 5432 failed: FATAL:  password'
        ' authentication failed for user "ann"\n\tIs the server running?'
    )
    told = "FATAL:  password authentication failed for user …"
    assert pool_module.without_names(words) == told


def test_without_a_server_nothing_hangs_and_opening_does_not_wait_for_it():
    with opened(refused_url()) as database:
        assert ping(database) is False
        with fails_in_time():
            database.fetch_one("select_one")
        assert ping(database) is False


def test_a_server_that_accepts_and_never_answers_hangs_nobody(silent_url, short_waits):
    host = silent_url.rpartition("@")[2].partition("/")[0]
    for url in (silent_url, f"postgresql://postgres@{host},{host}/test"):
        with opened(url) as database:
            assert ping(database) is False
    with opened(silent_url) as database, fails_in_time():
        database.fetch_one("select_one")


@pytest.mark.parametrize("run", ["fetch_all", "fetch_one", "execute", "transaction"])
def test_a_server_that_falls_silent_hangs_no_statement(database, short_waits, run):
    with frozen(process_of(database)):
        with fails_in_time():
            if run == "transaction":
                with database.transaction() as session:
                    session.execute("select_one")
            else:
                getattr(database, run)("select_one")
        # The silent connection is given up, and a new one works.
        assert database.fetch_one("select_one") == {"one": 1}


def test_a_server_that_falls_silent_hangs_no_ping(database, connection, short_waits):
    own = {process for (process,) in connection.execute(PROCESSES)}
    assert ping(database) is True
    (process,) = {process for (process,) in connection.execute(PROCESSES)} - own
    with frozen(process):
        assert ping(database) is False
    assert ping(database) is True


def test_postgres_is_there_while_all_connections_wait_in_it(database, short_waits):
    with database.transaction():
        assert ping(database) is True


def test_many_may_ping_at_once(database):
    with ThreadPoolExecutor(20) as threads:
        assert set(threads.map(lambda _: database.ping(), range(200))) == {True}


def test_who_waits_for_a_statement_is_not_woken_for_nothing(database_url):
    resumed = []

    def counted(gen):
        ready = yield next(gen)
        while True:
            resumed.append(ready)
            try:
                ready = yield gen.send(ready)
            except StopIteration as done:
                return done.value

    with DeadlineConnection.connect(database_url, autocommit=True) as connection:
        connection.pgconn.send_query(b"SELECT pg_sleep(0.2)")
        connection.wait(counted(generators.execute(connection.pgconn)))
    assert resumed
    assert Ready.NONE not in resumed


def test_a_statement_that_never_ends_is_given_up(database, short_waits):
    with fails_in_time():
        database.fetch_one("select_nothing_for_ever")
    assert ping(database) is True


def test_a_ping_leaves_the_deadline_of_statements_as_it_was(database, monkeypatch):
    monkeypatch.setattr(database_module, "PING_TIMEOUT_SECONDS", 0.2)
    assert database.fetch_one("select_one")
    assert ping(database) is True
    assert database.fetch_one("select_slowly") == {"never": False}


def test_when_no_connection_is_free_a_statement_fails_in_time(database, short_waits):
    with database.transaction(), fails_in_time():
        database.fetch_one("select_one")


@pytest.mark.parametrize("size", [1, 5])
def test_connections_that_were_closed_while_idle_are_replaced(database_url, connection, size):
    with opened(database_url, size) as database:
        processes = processes_of(database, size)
        for process in processes:
            connection.execute("SELECT pg_terminate_backend(%s, 5000)", [process])
        for _ in range(size + 1):
            assert process_of(database) not in processes


def test_a_connection_that_dies_under_a_statement_fails_that_statement_alone(database):
    with pytest.raises(OperationalError):
        database.fetch_one("select_the_end")
    assert database.fetch_one("select_one") == {"one": 1}
