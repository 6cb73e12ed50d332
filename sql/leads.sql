-- name: select_held_leads
-- Which of the addresses (lower case) the campaign holds, and by which lead ids.
SELECT lower(email) AS email, instantly_lead_id
FROM instantly_leads
WHERE campaign_id = %(campaign_id)s
  AND lower(email) = ANY (%(emails)s::text[]);

-- name: select_leads_not_to_send
-- Of the addresses (lower case) that an upload names, those that the campaign holds, without a reason,
-- and those that are to be refused, with the strongest of the reasons that are asked for.
-- The facts are those of select_lead_statuses, over all campaigns of the organisation. In order the
-- addresses meet the same pages of the indexes, and OFFSET keeps the planner to these indexes.
WITH address AS (
  SELECT address
  FROM unnest(%(addresses)s::text[]) AS address
  ORDER BY address
),
campaign AS (
  SELECT id
  FROM instantly_campaigns
  WHERE clerk_org_id = %(clerk_org_id)s
),
held AS (
  SELECT
    address,
    bool_or(campaign_id = %(campaign_id)s) AS here,
    bool_or(campaign_id <> %(campaign_id)s) AS elsewhere,
    bool_or(status <> ALL ('{active,skipped,unsubscribed}')) AS contacted,
    bool_or(status = 'replied') AS replied,
    bool_or(status = 'bounced') AS bounced,
    bool_or(status = 'unsubscribed') AS unsubscribed
  FROM address
  CROSS JOIN LATERAL (
    SELECT campaign_id, status
    FROM instantly_leads
    WHERE lower(email) = address
    OFFSET 0
  ) AS lead
  JOIN campaign ON campaign.id = campaign_id
  GROUP BY address
),
active AS (
  SELECT
    address,
    bool_or(sent > 0 OR 'contacted' = ANY (proved)) AS contacted,
    bool_or(replied > 0 OR 'replied' = ANY (proved)) AS replied,
    bool_or(bounced > 0 OR 'bounced' = ANY (proved)) AS bounced,
    bool_or(unsubscribed > 0 OR 'unsubscribed' = ANY (proved)) AS unsubscribed
  FROM address
  CROSS JOIN LATERAL (
    SELECT *
    FROM instantly_lead_activity
    WHERE lead_email = address
      AND %(refuse)s::text[] && '{replied,contacted}'
    UNION ALL
    -- As instantly_lead_activity_of_noes has it.
    SELECT *
    FROM instantly_lead_activity
    WHERE lead_email = address
      AND NOT %(refuse)s::text[] && '{replied,contacted}'
      AND (bounced > 0 OR unsubscribed > 0 OR proved && '{bounced,unsubscribed}')
    OFFSET 0
  ) AS activity
  JOIN campaign ON campaign.id = campaign_id
  GROUP BY address
),
known AS (
  SELECT
    address,
    here,
    CASE
      WHEN pseudonym IS NOT NULL THEN 'erased'
      WHEN here THEN NULL
      WHEN 'unsubscribed' = ANY (%(refuse)s) AND (held.unsubscribed OR active.unsubscribed)
      THEN 'unsubscribed'
      WHEN 'bounced' = ANY (%(refuse)s) AND (held.bounced OR active.bounced) THEN 'bounced'
      WHEN 'replied' = ANY (%(refuse)s) AND (held.replied OR active.replied) THEN 'replied'
      WHEN 'contacted' = ANY (%(refuse)s) AND (held.contacted OR active.contacted) THEN 'contacted'
      WHEN 'held' = ANY (%(refuse)s) AND elsewhere THEN 'held'
    END AS reason
  FROM held
  FULL JOIN active USING (address)
  FULL JOIN erased_among(%(clerk_org_id)s, %(addresses)s::text[]) USING (address)
)
SELECT address, reason
FROM known
WHERE here
  OR reason IS NOT NULL;

-- name: insert_leads
-- Leads of one run, all at once; answers how many the campaign did not hold yet.
-- Nothing is stored nor answered without the lock, or when the run has ended; see BilledRun.store.
-- The campaign's row is locked so that positions become visible in their order (a reader who pages by
-- them misses no lead that commits late), and against deliveries: a lead takes the state that its events
-- prove, whoever came first.
WITH campaign AS (
  SELECT id, org_id
  FROM instantly_campaigns
  WHERE id = %(campaign_id)s
    AND is_open(%(run_id)s)
    AND holds_lease(%(name)s, %(holder)s)
  FOR UPDATE
),
added AS (
  INSERT INTO instantly_leads (
    campaign_id, instantly_lead_id, email, first_name, last_name, company_name, custom_variables,
    org_id, run_id
  )
  SELECT
    campaign.id, lead.instantly_lead_id, lead.email, lead.first_name, lead.last_name,
    lead.company_name, coalesce(lead.custom_variables, '{}'), campaign.org_id, %(run_id)s::uuid
  FROM campaign
  CROSS JOIN ROWS FROM (
    json_to_recordset(%(leads)s::json) AS (
      instantly_lead_id text, email text, first_name text, last_name text, company_name text,
      custom_variables json
    )
  ) WITH ORDINALITY AS lead (
    instantly_lead_id, email, first_name, last_name, company_name, custom_variables, number
  )
  ORDER BY lead.number
  ON CONFLICT (campaign_id, lower(email)) DO NOTHING
  RETURNING id
)
SELECT
  count(added.id) AS added,
  raise_new_leads(campaign.id, array_agg(added.id), %(statuses)s::jsonb)
FROM campaign
LEFT JOIN added ON true
GROUP BY campaign.id;

-- name: delete_leads
-- Leads that are gone in Instantly.
DELETE FROM instantly_leads
WHERE campaign_id = %(campaign_id)s
  AND instantly_lead_id = ANY (%(lead_ids)s::text[]);

-- name: delete_leads_of_run
-- Takes the leads that a run stored back.
DELETE FROM instantly_leads
WHERE campaign_id = %(campaign_id)s
  AND run_id = %(run_id)s;

-- name: select_leads_page
-- The answer of GET /campaigns/{campaignId}/leads as JSON: one page, oldest first.
-- No row at all when there is no such campaign.
WITH page AS (
  SELECT array_agg(position) AS positions
  FROM (
    SELECT position
    FROM instantly_leads
    WHERE campaign_id = %(campaign_id)s
      AND position > coalesce(%(cursor)s::bigint, 0)
    ORDER BY position
    OFFSET %(skip)s::bigint
    LIMIT %(limit)s::bigint + 1
  ) AS numbered
)
SELECT page_json(
  'leads',
  (
    SELECT json_agg(lead)
    FROM (
      SELECT
        id,
        campaign.instantly_campaign_id AS "instantlyCampaignId",
        instantly_lead_id AS "instantlyLeadId",
        email,
        first_name AS "firstName",
        last_name AS "lastName",
        company_name AS "companyName",
        custom_variables AS "customVariables",
        status,
        org_id AS "orgId",
        run_id AS "runId",
        api_time(created_at) AS "createdAt",
        api_time(updated_at) AS "updatedAt"
      FROM instantly_leads
      WHERE campaign_id = %(campaign_id)s
        AND position BETWEEN positions[1] AND positions[least(%(limit)s, cardinality(positions))]
      ORDER BY position
    ) AS lead
  ),
  positions,
  %(limit)s,
  (SELECT count(*) FROM instantly_leads WHERE campaign_id = %(campaign_id)s)
) AS body
FROM instantly_campaigns AS campaign
CROSS JOIN page
WHERE campaign.id = %(campaign_id)s;

-- name: select_lead
-- A campaign's lead by its address, as JSON, like those of select_leads_page.
SELECT to_json(lead) AS lead
FROM (
  SELECT
    lead.id,
    instantly_campaign_id AS "instantlyCampaignId",
    instantly_lead_id AS "instantlyLeadId",
    email,
    first_name AS "firstName",
    last_name AS "lastName",
    company_name AS "companyName",
    custom_variables AS "customVariables",
    lead.status,
    lead.org_id AS "orgId",
    lead.run_id AS "runId",
    api_time(lead.created_at) AS "createdAt",
    api_time(lead.updated_at) AS "updatedAt"
  FROM instantly_leads AS lead
  JOIN instantly_campaigns AS campaign ON campaign.id = campaign_id
  WHERE campaign_id = %(campaign_id)s
    AND lower(email) = %(address)s
) AS lead;

-- name: select_lead_statuses
-- The answer of POST /leads/status as JSON: one entry for each address asked for, in that order.
-- OFFSET keeps the planner to the indexes of the addresses: it looks up a thousand at most.
WITH asked AS (
  SELECT *
  FROM unnest(%(emails)s::text[], %(addresses)s::text[]) WITH ORDINALITY AS asked (
    email, address, number
  )
),
address AS (
  SELECT DISTINCT address
  FROM asked
),
campaign AS (
  SELECT
    id,
    position,
    (%(brand_id)s::text IS NULL OR brand_id = %(brand_id)s)
      AND (%(campaign_id)s::uuid IS NULL OR id = %(campaign_id)s) AS is_meant
  FROM instantly_campaigns
  WHERE clerk_org_id = %(clerk_org_id)s
),
held AS (
  SELECT
    address,
    array_agg(
      status
      ORDER BY status_strength(status) DESC, labelled_at DESC NULLS LAST, position
    ) FILTER (WHERE is_meant) AS statuses,
    json_agg(json_build_object('campaignId', campaign.id, 'status', status) ORDER BY position)
      FILTER (WHERE is_meant) AS campaigns,
    bool_or(status = 'bounced') AS bounced,
    bool_or(status = 'unsubscribed') AS unsubscribed
  FROM address
  CROSS JOIN LATERAL (
    SELECT campaign_id, status, labelled_at
    FROM instantly_leads
    WHERE lower(email) = address
    OFFSET 0
  ) AS lead
  JOIN campaign ON campaign.id = campaign_id
  GROUP BY address
),
active AS (
  SELECT
    address,
    bool_or(sent > 0 OR 'contacted' = ANY (proved)) FILTER (WHERE is_meant) AS contacted,
    bool_or(opened > 0 OR 'opened' = ANY (proved)) FILTER (WHERE is_meant) AS opened,
    bool_or(clicked > 0 OR 'clicked' = ANY (proved)) FILTER (WHERE is_meant) AS clicked,
    bool_or(replied > 0 OR 'replied' = ANY (proved)) FILTER (WHERE is_meant) AS replied,
    bool_or(bounced > 0 OR 'bounced' = ANY (proved)) AS bounced,
    bool_or(unsubscribed > 0 OR 'unsubscribed' = ANY (proved)) AS unsubscribed,
    max(last_event_at) FILTER (WHERE is_meant) AS last_event_at
  FROM address
  CROSS JOIN LATERAL (
    SELECT *
    FROM instantly_lead_activity
    WHERE lead_email = address
    OFFSET 0
  ) AS activity
  JOIN campaign ON campaign.id = campaign_id
  GROUP BY address
)
SELECT json_build_object(
  'leads', json_agg(
    json_build_object(
      'email', email,
      'known', statuses IS NOT NULL,
      'status', statuses[1],
      'contacted', (contacted OR NOT statuses <@ '{active,skipped,unsubscribed}') IS TRUE,
      'opened', (opened OR 'opened' = ANY (statuses)) IS TRUE,
      'clicked', (clicked OR 'clicked' = ANY (statuses)) IS TRUE,
      'replied', (replied OR 'replied' = ANY (statuses)) IS TRUE,
      'bounced', (held.bounced OR active.bounced) IS TRUE,
      'unsubscribed', (held.unsubscribed OR active.unsubscribed) IS TRUE,
      'lastEventAt', api_time(last_event_at),
      'campaigns', coalesce(campaigns, '[]')
    )
    ORDER BY number
  )
) AS body
FROM asked
LEFT JOIN held USING (address)
LEFT JOIN active USING (address);
