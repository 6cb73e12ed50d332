-- name: insert_campaign
-- The row of a campaign that Instantly has just created, and the answer about it.
-- Not when the run has ended meanwhile; see BilledRun.store.
INSERT INTO instantly_campaigns (
  id, instantly_campaign_id, org_id, clerk_org_id, brand_id, app_id, name,
  run_id, parent_run_id, metadata
)
SELECT
  %(campaign_id)s, %(instantly_campaign_id)s, %(org_id)s, %(clerk_org_id)s, %(brand_id)s,
  %(app_id)s, %(name)s, %(run_id)s, %(parent_run_id)s, %(metadata)s
WHERE is_open(%(run_id)s)
RETURNING id::text, instantly_campaign_id::text AS "instantlyCampaignId", name, status;

-- name: delete_campaign
-- Takes the row of a campaign back.
DELETE FROM instantly_campaigns
WHERE id = %(campaign_id)s;

-- name: select_campaign
-- The answer of GET /campaigns/{campaignId} as JSON.
SELECT json_build_object('campaign', campaign_json(campaign)) AS body
FROM instantly_campaigns AS campaign
WHERE id = %(campaign_id)s;

-- name: select_campaign_row
-- What acts need to know of a campaign.
SELECT
  id::text, instantly_campaign_id::text, org_id, clerk_org_id, brand_id, app_id, name, status,
  updated_at
FROM instantly_campaigns
WHERE id = %(campaign_id)s;

-- name: select_organizations
-- Whose campaigns there are, by the name that decides on the key.
SELECT DISTINCT clerk_org_id
FROM instantly_campaigns
ORDER BY clerk_org_id;

-- name: select_organization_rows
-- What acts need to know of all campaigns of an organisation, the oldest first.
SELECT id::text, instantly_campaign_id::text, clerk_org_id, status, updated_at
FROM instantly_campaigns
WHERE clerk_org_id = %(clerk_org_id)s
ORDER BY position;

-- name: select_campaigns_page
-- The answer of GET /campaigns/by-org/{orgId} as JSON: one page, newest first.
WITH page AS (
  SELECT array_agg(position) AS positions
  FROM (
    SELECT position
    FROM instantly_campaigns
    WHERE org_id = %(org_id)s
      AND position < coalesce(%(cursor)s::bigint, 9223372036854775807)
    ORDER BY position DESC
    OFFSET %(skip)s::bigint
    LIMIT %(limit)s::bigint + 1
  ) AS numbered
)
SELECT page_json(
  'campaigns',
  (
    SELECT json_agg(campaign_json(campaign) ORDER BY position DESC)
    FROM instantly_campaigns AS campaign
    WHERE org_id = %(org_id)s
      AND position BETWEEN positions[least(%(limit)s, cardinality(positions))] AND positions[1]
  ),
  positions,
  %(limit)s,
  (SELECT count(*) FROM instantly_campaigns WHERE org_id = %(org_id)s)
) AS body
FROM page;

-- name: update_campaign
-- What PATCH /campaigns/{campaignId} leaves, and its answer as JSON: Instantly holds all but the name, which
-- may be NULL and stays then.
UPDATE instantly_campaigns AS campaign
SET name = coalesce(%(name)s, name), updated_at = clock_timestamp()
WHERE id = %(campaign_id)s
RETURNING json_build_object(
  'campaign', campaign_json(campaign), 'warnings', %(warnings)s::text[]
) AS body;

-- name: update_campaign_status
-- What PATCH /campaigns/{campaignId}/status leaves, and its answer as JSON: with warnings, and one
-- more where we hold no leads, unless they are NULL.
UPDATE instantly_campaigns AS campaign
SET status = %(status)s, updated_at = clock_timestamp()
WHERE id = %(campaign_id)s
RETURNING CASE
  WHEN %(warnings)s::text[] IS NULL THEN json_build_object('campaign', campaign_json(campaign))
  ELSE json_build_object(
    'campaign', campaign_json(campaign),
    'warnings', %(warnings)s::text[] || ARRAY(
      SELECT %(warning_without_leads)s::text
      WHERE NOT EXISTS (SELECT FROM instantly_leads WHERE campaign_id = campaign.id)
    )
  )
END AS body;
