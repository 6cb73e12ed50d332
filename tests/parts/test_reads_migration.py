"""The migrations after 0003 on recorded events: it is as if these had come afterwards."""

from pathlib import Path

import psycopg
from harness import looking_at
from psycopg import sql

from instantly.migrate import MIGRATIONS, migrate
from instantly.rebuild import rebuild
from instantly.sandbox.postgres import LocalPostgres
from instantly.storage.database import Database

EVENTS = """
INSERT INTO instantly_campaigns (id, instantly_campaign_id, org_id, clerk_org_id, brand_id, app_id,
  name, run_id)
VALUES (gen_random_uuid(), gen_random_uuid(), 'o', 'c', 'b', 'a', 'Autumn', gen_random_uuid());
INSERT INTO instantly_events (campaign_id, event_type, lead_email, account_email, step,
  occurred_at, fingerprint, payload)
SELECT id, type, lead, 'me@y.example', step, now() - n * interval '1 hour',
  uuid_send(gen_random_uuid()), '{}'
FROM instantly_campaigns, generate_series(1, 3) AS n,
  unnest('{email_sent,lead_interested}'::text[]) AS type,
  unnest('{a@x.example,me@y.example,NULL}'::text[]) AS lead,
  unnest('{1,NULL}'::bigint[]) AS step
"""
ACTIVITY = "SELECT * FROM instantly_lead_activity ORDER BY campaign_id, lead_email, step"


def test_what_was_recorded_before_is_as_if_it_was_recorded_after(
    postgres: LocalPostgres, tmp_path: Path
) -> None:
    before = tmp_path / "migrations"
    before.mkdir()
    for path in sorted(MIGRATIONS.glob("*.sql"))[:3]:
        (before / path.name).write_text(path.read_text())
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        connection.execute("CREATE DATABASE before_reads")
        url = str(postgres.url(database="before_reads"))
        migrate(url, before)
        with looking_at(url) as db:
            db.connection.execute(EVENTS)
            # As the service kept it then.
            db.connection.execute(
                "INSERT INTO instantly_lead_activity"
                " SELECT campaign_id, coalesce(lead_email, ''), coalesce(step, 0), count(*),"
                " 0, 0, 0, 0, 0, 0, 0, 0 FROM instantly_events WHERE event_type = 'email_sent'"
                " AND lead_email IS DISTINCT FROM account_email GROUP BY 1, 2, 3"
            )
            assert migrate(url)[0] == "0004_events_by_arrival.sql"
            migrated = db.all(ACTIVITY)
            database = Database(url, pool_size=1)
            rebuild(database)
            database.close()
            assert len(migrated) == 6
            assert all(row["last_event_at"] for row in migrated)
            assert db.all(ACTIVITY) == migrated
        connection.execute(sql.SQL("DROP DATABASE before_reads WITH (FORCE)"))
