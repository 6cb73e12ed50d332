"""The statistics can be counted again from the events, and come out the same."""

import random

from helpers import ENVIRONMENT, run_python
from psycopg.errors import DeadlockDetected

from instantly import rebuild as rebuild_module
from instantly.rebuild import main, rebuild
from instantly.storage.database import Database

TYPES = [
    *("email_sent", "email_opened", "link_clicked", "email_link_clicked", "reply_received"),
    *("email_bounced", "auto_reply_received", "lead_not_interested", "lead_out_of_office"),
    *("lead_unsubscribed", "lead_interested", "account_error", "Call back in Q4"),
]
ACTIVITY = "SELECT * FROM instantly_lead_activity ORDER BY campaign_id, lead_email, step"


def test_a_rebuild_mends_what_was_wrong_and_changes_nothing_that_was_right(
    world, campaign, settings, db, monkeypatch
):
    # Events of all kinds, with and without leads and steps, some of the sender to himself.
    chance = random.Random(7)
    for number in range(300):
        payload = {
            "event_type": chance.choice(TYPES),
            "campaign_id": campaign["instantlyCampaignId"],
            "lead_email": chance.choice(["A@x.example", "b@x.example", "me@y.example", None]),
            "email_account": chance.choice(["me@y.example", None]),
            "step": chance.choice([1, 2, None, 0]),
            "n": number,
        }
        assert world.records(**payload)
    # And what Instantly's fields proved of a lead, with and without events.
    db.connection.execute(
        "INSERT INTO instantly_lead_activity (campaign_id, lead_email, step, proved)"
        " SELECT id, lead, 0, '{opened}' FROM instantly_campaigns,"
        " unnest('{b@x.example,quiet@x.example}'::text[]) AS lead"
        " ON CONFLICT (campaign_id, lead_email, step) DO UPDATE SET proved = excluded.proved"
    )
    right = db.all(ACTIVITY)
    assert len(right) > 10
    database = Database(settings.database_url, pool_size=1)
    assert rebuild(database) == 1
    database.close()
    assert db.all(ACTIVITY) == right
    db.connection.execute("UPDATE instantly_lead_activity SET sent = sent + 1 WHERE step = 1")
    db.connection.execute("DELETE FROM instantly_lead_activity WHERE step = 2")
    db.connection.execute("UPDATE instantly_lead_activity SET sent = 9 WHERE proved IS NOT NULL")
    environment = ENVIRONMENT | {"INSTANTLY_SERVICE_DATABASE_URL": settings.database_url}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    main()
    assert db.all(ACTIVITY) == right


def test_a_rebuild_without_configuration_says_what_is_missing():
    ended = run_python("-m", "instantly.rebuild")
    assert ended.returncode != 0
    assert "INSTANTLY_SERVICE_DATABASE_URL is missing" in ended.stderr


def test_a_campaign_that_met_a_deadlock_is_counted_again(campaign, settings, monkeypatch):
    tried = []

    def rebuild_campaign(database, campaign_id):
        tried.append(campaign_id)
        if len(tried) == 1:
            raise DeadlockDetected

    monkeypatch.setattr(rebuild_module, "rebuild_campaign", rebuild_campaign)
    database = Database(settings.database_url, pool_size=1)
    assert rebuild(database) == 1
    database.close()
    assert tried == [campaign["id"]] * 2
