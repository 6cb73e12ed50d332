-- name: select_held_leads
-- Which of the addresses (lower case) the campaign holds, and by which lead ids.
SELECT lower(email) AS email, instantly_lead_id
FROM instantly_leads
WHERE campaign_id = %(campaign_id)s
  AND lower(email) = ANY (%(emails)s::text[]);

-- name: insert_leads
-- Leads of one run, all at once; answers how many the campaign did not hold yet.
-- Nothing is stored nor answered without the lock, or when the run has ended; see BilledRun.store.
-- The campaign's row is locked so that positions become visible in their order: a reader who pages
-- by them misses no lead that commits late.
WITH campaign AS (
  SELECT id, org_id
  FROM instantly_campaigns
  WHERE id = %(campaign_id)s
    AND is_open(%(run_id)s)
    AND holds_lease(%(name)s, %(holder)s)
  FOR NO KEY UPDATE
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
SELECT count(added.id) AS added
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
