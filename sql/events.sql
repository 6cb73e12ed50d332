-- name: insert_event
-- Records a delivery: the event, what it adds to the statistics, the lead's and the campaign's state.
-- A payload that is here already and a campaign that is not ours change nothing.
WITH campaign AS (
  SELECT id, clerk_org_id
  FROM instantly_campaigns
  WHERE instantly_campaign_id = %(instantly_campaign_id)s
  -- Locked before anything is written, and not by the foreign key at the end: while the campaign is
  -- deleted, a delivery waits, and the campaign is unknown then.
  FOR KEY SHARE
),
-- Of a person who was erased, the event counts and says nothing.
delivery AS (
  SELECT id AS campaign_id, counted_address(clerk_org_id, %(lead_email)s) AS counted_email
  FROM campaign
),
event AS (
  INSERT INTO instantly_events (
    campaign_id, event_type, lead_email, account_email, step, variant, occurred_at,
    fingerprint, payload
  )
  SELECT
    campaign_id, %(event_type)s, counted_email,
    CASE WHEN %(account_email)s = %(lead_email)s THEN counted_email ELSE %(account_email)s END,
    %(step)s, %(variant)s, coalesce(%(occurred_at)s, clock_timestamp()), %(fingerprint)s,
    CASE WHEN counted_email <> %(lead_email)s THEN '{}' ELSE %(payload)s::json END
  FROM delivery
  ON CONFLICT (fingerprint) DO NOTHING
  RETURNING campaign_id, lead_email, occurred_at
),
activity AS (
  INSERT INTO instantly_lead_activity AS activity (
    campaign_id, lead_email, step, sent, opened, clicked, replied, bounced, auto_replied,
    not_interested, out_of_office, unsubscribed, last_event_at, proved, label, labelled_at
  )
  SELECT
    campaign_id,
    coalesce(lead_email, ''),
    kept.step,
    (%(counted_as)s = 'sent')::integer,
    (%(counted_as)s = 'opened')::integer,
    (%(counted_as)s = 'clicked')::integer,
    (%(counted_as)s = 'replied')::integer,
    (%(counted_as)s = 'bounced')::integer,
    (%(counted_as)s = 'auto_replied')::integer,
    (%(counted_as)s = 'not_interested' AND kept.step = coalesce(%(step)s, 0))::integer,
    (%(counted_as)s = 'out_of_office' AND kept.step = coalesce(%(step)s, 0))::integer,
    (%(counted_as)s = 'unsubscribed')::integer,
    occurred_at,
    %(proves)s::text[],
    CASE WHEN kept.step = 0 THEN %(label)s END,
    CASE WHEN kept.step = 0 AND %(label)s IS NOT NULL THEN occurred_at END
  FROM event
  CROSS JOIN unnest(%(steps)s::bigint[]) AS kept (step)
  ON CONFLICT (campaign_id, lead_email, step) DO UPDATE
  SET
    sent = activity.sent + excluded.sent,
    opened = activity.opened + excluded.opened,
    clicked = activity.clicked + excluded.clicked,
    replied = activity.replied + excluded.replied,
    bounced = activity.bounced + excluded.bounced,
    auto_replied = activity.auto_replied + excluded.auto_replied,
    not_interested = activity.not_interested + excluded.not_interested,
    out_of_office = activity.out_of_office + excluded.out_of_office,
    unsubscribed = activity.unsubscribed + excluded.unsubscribed,
    last_event_at = greatest(activity.last_event_at, excluded.last_event_at),
    proved = CASE
      WHEN excluded.proved IS NULL THEN activity.proved
      ELSE ARRAY(SELECT unnest(activity.proved) UNION SELECT unnest(excluded.proved))
    END,
    label = later_label(activity.label, activity.labelled_at, excluded.label, excluded.labelled_at),
    labelled_at = greatest(activity.labelled_at, excluded.labelled_at)
),
finished AS (
  UPDATE instantly_campaigns AS campaign
  SET status = %(campaign_status)s, updated_at = clock_timestamp()
  FROM event
  WHERE campaign.id = event.campaign_id
    AND %(campaign_status)s::text IS NOT NULL
)
-- In this order nothing is written before announce_events runs, which then costs less.
SELECT
  EXISTS (SELECT FROM event) AS recorded,
  EXISTS (SELECT FROM campaign) AS known,
  (
    SELECT raise_lead(campaign_id, %(lead_email)s, %(lead_status)s, occurred_at)
    FROM event
    WHERE %(lead_status)s::text IS NOT NULL
      AND %(lead_email)s::text IS NOT NULL
  );

-- name: select_last_delivery
-- When the last event of an organisation's campaigns arrived.
-- Ids rise with the arrival: one row a campaign, however many events there are.
SELECT api_time(max(event.received_at)) AS "lastDeliveryAt"
FROM instantly_campaigns AS campaign
CROSS JOIN LATERAL (
  SELECT received_at
  FROM instantly_events
  WHERE campaign_id = campaign.id
  ORDER BY id DESC
  LIMIT 1
) AS event
WHERE campaign.clerk_org_id = %(clerk_org_id)s;

-- name: select_events_page
-- The answer of GET /campaigns/{campaignId}/events as JSON: one page, newest arrival first.
-- No row at all when there is no such campaign. The total is known where counting costs little.
-- With payloads it may be shorter than asked for: they can be of 4 MiB each.
WITH chosen AS MATERIALIZED (
  SELECT event_ids(
    %(campaign_id)s, %(event_type)s, %(lead_email)s, %(cursor)s, %(skip)s, %(limit)s::bigint + 1
  ) AS positions
),
page AS MATERIALIZED (
  SELECT
    positions,
    CASE
      WHEN %(payload)s::boolean THEN events_that_fit(positions[:%(limit)s], %(max_bytes)s)
      ELSE %(limit)s
    END AS size
  FROM chosen
)
SELECT page_json(
  'events',
  (
    SELECT json_agg(event_json(event, %(payload)s) ORDER BY id DESC)
    FROM instantly_events AS event
    WHERE id = ANY (positions[:size])
  ),
  positions,
  size,
  (
    SELECT CASE WHEN counted <= 10000 THEN counted END
    FROM cardinality(event_ids(%(campaign_id)s, NULL, NULL, NULL, NULL, 10001)) AS counted
    WHERE %(event_type)s::text IS NULL
      AND %(lead_email)s::text IS NULL
  )
) AS body
FROM instantly_campaigns AS campaign
CROSS JOIN page
WHERE campaign.id = %(campaign_id)s;

-- name: select_certain_event_id
-- Up to which id a feed can be read. A statement of its own: only a later one sees all events up to there.
SELECT id
FROM certain_event_id() AS id;

-- name: select_feed_page
-- The answer of GET /events as JSON: a page of an organisation's events, oldest arrival first, and the
-- cursor of the next one. With payloads it may be shorter than asked for: they can be of 4 MiB each.
WITH chosen AS MATERIALIZED (
  SELECT feed_ids(
    %(clerk_org_id)s, %(event_types)s::text[], %(after)s::bigint, %(until)s::bigint, %(limit)s::bigint
  ) AS ids
),
page AS MATERIALIZED (
  SELECT
    CASE
      WHEN %(payload)s::boolean THEN ids[:events_that_fit(ids, %(max_bytes)s)]
      ELSE ids
    END AS ids
  FROM chosen
)
SELECT json_build_object(
  'events', (
    SELECT coalesce(json_agg(event_json(event, %(payload)s) ORDER BY id), '[]')
    FROM instantly_events AS event
    WHERE id = ANY (ids)
  ),
  'nextCursor', coalesce(ids[cardinality(ids)], %(after)s)::text
) AS body
FROM page;

-- name: select_lead_messages
-- The events of a lead of these types, the latest ones, in the order in which they happened; with their
-- payloads, as far as those are not too many bytes in all.
WITH latest AS MATERIALIZED (
  SELECT ARRAY(
    SELECT event_id
    FROM unnest(%(event_types)s::text[]) AS type
    CROSS JOIN unnest(
      event_ids(%(campaign_id)s, type, %(lead_email)s, NULL, NULL, %(limit)s)
    ) AS event_id
    ORDER BY event_id DESC
    LIMIT %(limit)s
  ) AS ids
)
SELECT id, event_type, step, account_email, api_time(occurred_at) AS at, payload
FROM latest
JOIN instantly_events ON id = ANY (ids[:events_that_fit(ids, %(max_bytes)s)])
ORDER BY occurred_at, id;
