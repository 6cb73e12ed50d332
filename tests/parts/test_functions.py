"""The outward form of rows is put in place by every run of the migrations."""

import psycopg
from harness import fresh_database

from instantly.migrate import MIGRATIONS, migrate

FUNCTION = "CREATE OR REPLACE FUNCTION shape() RETURNS text LANGUAGE sql AS $$ SELECT '{}' $$;"


def shape(url: str) -> str:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT shape()").fetchone()
    assert row
    return str(row[0])


def test_a_changed_function_is_in_place_after_the_next_run(postgres, tmp_path):
    folder = tmp_path / "migrations"
    folder.mkdir()
    for path in MIGRATIONS.glob("*.sql"):
        (folder / path.name).write_text(path.read_text())
    with fresh_database(postgres) as url:
        for text in ("old", "new"):
            (tmp_path / "functions.sql").write_text(FUNCTION.format(text))
            assert migrate(url, folder) == []
            assert shape(url) == text
