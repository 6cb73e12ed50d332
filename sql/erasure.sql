-- name: insert_erased
-- Remembers whom an organisation erases. Whose address does not count in statistics goes on not to count.
INSERT INTO instantly_erased (clerk_org_id, hash, pseudonym)
SELECT
  %(clerk_org_id)s,
  erasure_hash(address, key),
  'erased:' || encode(erasure_hash(address, key), 'hex')
    || CASE WHEN address LIKE ANY (%(excluded)s::text[]) THEN '@excluded' ELSE '' END
FROM unnest(%(addresses)s::text[]) AS address
CROSS JOIN instantly_erasure_key AS key
ON CONFLICT (clerk_org_id, hash) DO NOTHING;

-- name: select_campaigns_being_changed
-- The campaigns of an organisation whose leads somebody is changing now.
SELECT campaign.id::text
FROM instantly_campaigns AS campaign
JOIN instantly_leases AS lease ON lease.name = 'leads:' || campaign.id
WHERE clerk_org_id = %(clerk_org_id)s
ORDER BY campaign.id;

-- name: select_leads_to_erase
-- The leads of an organisation that have one of the addresses.
SELECT campaign.instantly_campaign_id::text, lead.instantly_lead_id, lead.email
FROM unnest(%(addresses)s::text[]) AS address
CROSS JOIN LATERAL (
  SELECT *
  FROM instantly_leads
  WHERE lower(email) = address
  OFFSET 0
) AS lead
JOIN instantly_campaigns AS campaign ON campaign.id = lead.campaign_id
WHERE campaign.clerk_org_id = %(clerk_org_id)s;

-- name: select_campaigns_to_erase_from
-- Locks the campaigns of an organisation. It waits for deliveries under way, and others wait for it.
SELECT id
FROM instantly_campaigns
WHERE clerk_org_id = %(clerk_org_id)s
ORDER BY id
FOR UPDATE;

-- name: upsert_erased_activity
-- Empties the events of these addresses and lets what they counted count under the pseudonyms, where later
-- deliveries may have counted already; answers how many events. Each event of a lead has counted in
-- instantly_lead_activity, which so tells in which campaigns they are.
WITH place AS (
  SELECT DISTINCT campaign_id, address, pseudonym
  FROM erased_among(%(clerk_org_id)s, %(addresses)s::text[])
  CROSS JOIN LATERAL (
    SELECT campaign_id
    FROM instantly_lead_activity
    WHERE lead_email = address
    OFFSET 0
  ) AS activity
  JOIN instantly_campaigns AS campaign ON campaign.id = campaign_id
  WHERE clerk_org_id = %(clerk_org_id)s
),
emptied AS (
  UPDATE instantly_events AS event
  SET
    payload = '{}',
    lead_email = pseudonym,
    account_email = CASE WHEN account_email = address THEN pseudonym ELSE account_email END
  FROM place
  WHERE event.campaign_id = place.campaign_id
    AND hashtextextended(lead_email, 0) = hashtextextended(address, 0)
    AND lead_email = address
  RETURNING id
),
gone AS (
  DELETE FROM instantly_lead_activity AS activity
  USING place
  WHERE activity.campaign_id = place.campaign_id
    AND lead_email = address
  RETURNING activity.*, pseudonym
),
counted AS (
  INSERT INTO instantly_lead_activity AS activity (
    campaign_id, lead_email, step, sent, opened, clicked, replied, bounced, auto_replied,
    not_interested, out_of_office, unsubscribed, last_event_at, proved, label, labelled_at
  )
  SELECT
    campaign_id, pseudonym, step, sent, opened, clicked, replied, bounced, auto_replied,
    not_interested, out_of_office, unsubscribed, last_event_at, proved, label, labelled_at
  FROM gone
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
    proved = ARRAY(SELECT unnest(activity.proved) UNION SELECT unnest(excluded.proved)),
    label = later_label(activity.label, activity.labelled_at, excluded.label, excluded.labelled_at),
    labelled_at = greatest(activity.labelled_at, excluded.labelled_at)
)
SELECT count(*) AS events
FROM emptied;

-- name: delete_erased_leads
-- Deletes the leads of these addresses. Their campaigns go on to count them among the people that they
-- hold.
WITH lead AS (
  SELECT lead.id, campaign_id, pseudonym
  FROM erased_among(%(clerk_org_id)s, %(addresses)s::text[])
  CROSS JOIN LATERAL (
    SELECT id, campaign_id
    FROM instantly_leads
    WHERE lower(email) = address
    OFFSET 0
  ) AS lead
  JOIN instantly_campaigns AS campaign ON campaign.id = campaign_id
  WHERE clerk_org_id = %(clerk_org_id)s
),
gone AS (
  DELETE FROM instantly_leads
  WHERE id = ANY (ARRAY(SELECT id FROM lead))
)
INSERT INTO instantly_erased_leads (campaign_id, pseudonym)
SELECT campaign_id, pseudonym
FROM lead
ON CONFLICT DO NOTHING;

-- name: select_upload_answers
-- Under which keys the answers to uploads of an organisation are kept that hold addresses.
SELECT key, method, path
FROM instantly_idempotency_keys
WHERE lower(path) IN (
    SELECT '/campaigns/' || id || '/leads'
    FROM instantly_campaigns
    WHERE clerk_org_id = %(clerk_org_id)s
  )
  AND position('@' IN body) > 0;

-- name: update_answer_body
-- What repeats are answered from now on, unless somebody else has changed that.
UPDATE instantly_idempotency_keys
SET body = %(body)s
WHERE key = %(key)s
  AND method = %(method)s
  AND path = %(path)s
  AND body = %(body_before)s
RETURNING key;

-- name: update_old_payloads
-- Empties the payloads of old events among the next thousand after an id; answers how many, and the last
-- id, which is NULL once no event of the thousand is old. Whom somebody else has locked is left out.
WITH page AS (
  SELECT id, received_at < %(before)s AS is_old
  FROM instantly_events
  WHERE id > %(after)s
  ORDER BY id
  LIMIT 1000
),
old AS MATERIALIZED (
  SELECT event.id
  FROM page
  JOIN instantly_events AS event USING (id)
  WHERE is_old
    AND event.payload::text <> '{}'
  FOR NO KEY UPDATE OF event SKIP LOCKED
),
emptied AS (
  UPDATE instantly_events AS event
  SET payload = '{}'
  FROM old
  WHERE event.id = old.id
  RETURNING event.id
)
SELECT
  (SELECT count(*) FROM emptied) AS events,
  (SELECT max(id) FROM page HAVING bool_or(is_old)) AS last_id;
