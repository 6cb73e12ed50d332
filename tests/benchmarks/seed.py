"""Rows by the hundred thousand, written by PostgreSQL itself."""

from typing import Any

import psycopg

CAMPAIGNS = """
INSERT INTO instantly_campaigns (
  id, instantly_campaign_id, org_id, clerk_org_id, brand_id, app_id, name, status, run_id
)
SELECT
  gen_random_uuid(), gen_random_uuid(), %(org)s, 'clerk_1',
  coalesce(%(brand)s, 'brand_' || n %% 10), 'app_1', 'Campaign ' || n, 'active', gen_random_uuid()
FROM generate_series(0, %(count)s - 1) AS n
RETURNING id::text, instantly_campaign_id::text
"""

LEADS = """
INSERT INTO instantly_leads (
  campaign_id, instantly_lead_id, email, first_name, last_name, company_name, custom_variables,
  org_id, run_id
)
SELECT
  c.id::uuid, gen_random_uuid()::text, 'lead' || n || '@c' || c.number || '.example', 'Ada',
  'Lovelace', 'Engines Ltd', '{"city": "London", "size": 12}', 'org_1', gen_random_uuid()
FROM (
  SELECT id, ordinality - 1 AS number
  FROM unnest(%(ids)s::text[]) WITH ORDINALITY AS ids (id, ordinality)
) AS c
CROSS JOIN generate_series(0, %(leads)s - 1) AS n
"""

EVENTS = """
INSERT INTO instantly_events (
  campaign_id, event_type, lead_email, account_email, step, variant, occurred_at, fingerprint,
  payload
)
SELECT
  c.id,
  (ARRAY['email_sent', 'email_opened', 'email_opened', 'email_link_clicked', 'reply_received'])
    [1 + n %% 5],
  'lead' || (n / c.total) %% 100 || '@c' || c.number || '.example',
  'lena@try-northbeam.example', 1 + n %% 2, 1, now() - n * interval '1 second',
  sha256(n::text::bytea), json_build_object('n', n, 'text', repeat('x', 200))
FROM generate_series(%(first)s::bigint, %(first)s::bigint + %(count)s - 1) AS n
JOIN (
  SELECT id, row_number() OVER (ORDER BY position) - 1 AS number, count(*) OVER () AS total
  FROM instantly_campaigns
  WHERE brand_id <> 'brand_big'
) AS c ON c.number = n %% c.total
"""

ACTIVITY = """
INSERT INTO instantly_lead_activity (
  campaign_id, lead_email, step, sent, opened, clicked, replied, last_event_at
)
SELECT
  campaign_id,
  coalesce(lead_email, ''),
  coalesce(step, 0),
  count(*) FILTER (WHERE event_type = 'email_sent'),
  count(*) FILTER (WHERE event_type = 'email_opened'),
  count(*) FILTER (WHERE event_type = 'email_link_clicked'),
  count(*) FILTER (WHERE event_type = 'reply_received'),
  max(occurred_at)
FROM instantly_events
GROUP BY 1, 2, 3
"""


def seed_campaigns(
    connection: psycopg.Connection[Any],
    count: int,
    *,
    leads: int,
    brand: str | None = None,
    org: str = "org_1",
) -> list[tuple[str, str]]:
    """Campaigns over ten brands, each with its leads; (id, Instantly's id) of each."""
    campaigns = connection.execute(
        CAMPAIGNS, {"count": count, "brand": brand, "org": org}
    ).fetchall()
    ids = [campaign_id for campaign_id, _ in campaigns]
    connection.execute(LEADS, {"ids": ids, "leads": leads})
    connection.execute("ANALYZE")
    return campaigns


def seed_events(connection: psycopg.Connection[Any], count: int, *, first: int) -> None:
    """Events spread over all campaigns and leads, and what they add up to."""
    connection.execute(EVENTS, {"count": count, "first": first})
    connection.execute("TRUNCATE instantly_lead_activity")
    connection.execute(ACTIVITY)
    connection.execute("VACUUM ANALYZE")
