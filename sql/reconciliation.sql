-- name: update_found_campaign
-- A campaign's status as Instantly has it, and what it is now; nothing without the lock.
-- What a delivery changed while Instantly was asked stays, and so does our `completed` when
-- Instantly says paused: we complete by pausing.
WITH campaign AS (
  SELECT
    id,
    status AS held_status,
    CASE
      WHEN status <> %(status_before)s OR (status = 'completed' AND %(status)s = 'paused') THEN status
      ELSE %(status)s
    END AS status
  FROM instantly_campaigns
  WHERE id = %(campaign_id)s
    AND holds_lease(%(name)s, %(holder)s)
  FOR NO KEY UPDATE
),
repaired AS (
  UPDATE instantly_campaigns
  SET status = campaign.status, updated_at = clock_timestamp()
  FROM campaign
  WHERE instantly_campaigns.id = campaign.id
    AND campaign.status <> campaign.held_status
)
SELECT status
FROM campaign;

-- name: update_learned_statuses
-- The statuses of campaigns as Instantly tells them by the way. It needs no lock: a campaign that
-- anybody has changed since it was read stays as it is, and so does our `completed`, as above.
-- Locked in one order: two statements never wait for each other.
WITH learned AS (
  SELECT campaign.id, learned.status
  FROM unnest(
    %(campaign_ids)s::uuid[], %(updated_at)s::timestamptz[], %(statuses)s::text[]
  ) AS learned (id, updated_at, status)
  INNER JOIN instantly_campaigns AS campaign
    ON campaign.id = learned.id
    AND campaign.updated_at = learned.updated_at
  WHERE NOT (campaign.status = 'completed' AND learned.status = 'paused')
  ORDER BY campaign.id
  FOR NO KEY UPDATE OF campaign
)
UPDATE instantly_campaigns AS campaign
SET status = learned.status, updated_at = clock_timestamp()
FROM learned
WHERE campaign.id = learned.id;

-- name: upsert_found_leads
-- A page of the leads that Instantly holds: ours are marked, raised to what is proved and get
-- Instantly's ids; the others are adopted. Nothing without the lock.
-- Who was erased is left out. A lead that stands twice in Instantly's list counts once. The campaign's
-- row is locked as in insert_leads: deliveries of the campaign wait for the statement, or it for them.
WITH campaign AS (
  SELECT id, org_id, clerk_org_id
  FROM instantly_campaigns
  WHERE id = %(campaign_id)s
    AND holds_lease(%(name)s, %(holder)s)
  FOR UPDATE
),
found AS (
  SELECT DISTINCT ON (lower(lead.email)) campaign.id AS campaign_id, campaign.org_id, lead.*
  FROM campaign
  CROSS JOIN ROWS FROM (
    json_to_recordset(%(leads)s::json) AS (
      instantly_lead_id text, email text, first_name text, last_name text, company_name text,
      custom_variables json, status text, labelled_at timestamptz
    )
  ) WITH ORDINALITY AS lead (
    instantly_lead_id, email, first_name, last_name, company_name, custom_variables, status,
    labelled_at, number
  )
  WHERE counted_address(campaign.clerk_org_id, lower(lead.email)) = lower(lead.email)
  ORDER BY lower(lead.email), lead.number
),
held AS MATERIALIZED (
  SELECT
    lead.id,
    lower(lead.email) AS address,
    lead.reconciled_at IS DISTINCT FROM %(reconciled_at)s AS is_new,
    found.instantly_lead_id,
    found.status,
    found.labelled_at,
    lead.status <> found.status
      AND gives_way(lead.status, lead.labelled_at, found.status, found.labelled_at) AS is_weaker
  FROM found
  INNER JOIN instantly_leads AS lead
    ON lead.campaign_id = found.campaign_id
    AND lower(lead.email) = lower(found.email)
  FOR NO KEY UPDATE OF lead
),
repaired AS (
  UPDATE instantly_leads AS lead
  SET
    instantly_lead_id = CASE
      WHEN is_new THEN held.instantly_lead_id ELSE lead.instantly_lead_id
    END,
    status = CASE WHEN is_weaker THEN held.status ELSE lead.status END,
    labelled_at = CASE WHEN is_weaker THEN held.labelled_at ELSE lead.labelled_at END,
    reconciled_at = %(reconciled_at)s,
    updated_at = CASE
      WHEN is_weaker OR (is_new AND lead.instantly_lead_id <> held.instantly_lead_id)
      THEN clock_timestamp()
      ELSE lead.updated_at
    END
  FROM held
  WHERE lead.id = held.id
),
adopted AS (
  INSERT INTO instantly_leads (
    campaign_id, instantly_lead_id, email, first_name, last_name, company_name, custom_variables,
    status, labelled_at, org_id, reconciled_at
  )
  SELECT
    campaign_id, instantly_lead_id, email, first_name, last_name, company_name, custom_variables,
    status, labelled_at, org_id, %(reconciled_at)s
  FROM found
  WHERE lower(email) NOT IN (SELECT address FROM held)
  ORDER BY number
  ON CONFLICT (campaign_id, lower(email)) DO NOTHING
  RETURNING id
)
SELECT
  (SELECT count(*) FROM held WHERE is_new) AS "both",
  (SELECT count(*) FROM adopted) AS adopted,
  (SELECT count(*) FROM held WHERE is_weaker) AS raised,
  raise_new_leads(campaign.id, ARRAY(SELECT id FROM adopted), %(statuses)s::jsonb)
FROM campaign;

-- name: upsert_proved_facts
-- What Instantly's fields prove of the leads of a page, and their labels. It is kept apart from the leads,
-- since it outlives their status and themselves; in a statement of its own, which holds no lead.
WITH campaign AS (
  SELECT id, clerk_org_id
  FROM instantly_campaigns
  WHERE id = %(campaign_id)s
  FOR KEY SHARE  -- as insert_event does
),
found AS (
  SELECT
    lower(email) AS lead_email,
    array_agg(DISTINCT fact ORDER BY fact) FILTER (WHERE fact IS NOT NULL) AS proved,
    (array_agg(label ORDER BY labelled_at DESC NULLS LAST))[1] AS label,
    max(labelled_at) AS labelled_at
  FROM json_to_recordset(%(leads)s::json) AS lead (
    email text, proved json, label text, labelled_at timestamptz
  )
  LEFT JOIN json_array_elements_text(proved) AS fact ON true
  GROUP BY lower(email)
)
INSERT INTO instantly_lead_activity AS activity (
  campaign_id, lead_email, step, proved, label, labelled_at
)
SELECT id, lead_email, 0, found.proved, found.label, found.labelled_at
FROM campaign
CROSS JOIN found
WHERE (found.proved IS NOT NULL OR found.label IS NOT NULL)
  AND counted_address(clerk_org_id, lead_email) = lead_email
ORDER BY lead_email
ON CONFLICT (campaign_id, lead_email, step) DO UPDATE
SET
  proved = CASE
    WHEN excluded.proved IS NULL THEN activity.proved
    ELSE ARRAY(SELECT unnest(activity.proved) UNION SELECT unnest(excluded.proved))
  END,
  label = later_label(activity.label, activity.labelled_at, excluded.label, excluded.labelled_at),
  labelled_at = greatest(activity.labelled_at, excluded.labelled_at)
WHERE NOT coalesce(activity.proved, '{}') @> coalesce(excluded.proved, '{}')
  OR (activity.label, activity.labelled_at) IS DISTINCT FROM (excluded.label, excluded.labelled_at);

-- name: select_leads_not_found
-- The leads that a reconcile has not found in Instantly: the first ones and how many there are.
-- Nothing without the lock: somebody may have added leads since.
WITH missing AS (
  SELECT position, email
  FROM instantly_leads
  WHERE campaign_id = %(campaign_id)s
    AND reconciled_at IS DISTINCT FROM %(reconciled_at)s
)
SELECT
  ARRAY(SELECT email FROM missing ORDER BY position LIMIT %(limit)s) AS emails,
  (SELECT count(*) FROM missing) AS total
WHERE holds_lease(%(name)s, %(holder)s);
