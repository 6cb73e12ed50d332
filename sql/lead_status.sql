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
