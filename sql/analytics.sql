-- name: insert_snapshot
-- A campaign's figures at this moment, as the API shows them.
INSERT INTO instantly_analytics_snapshots AS snapshot (
  campaign_id, total_leads, contacted, opened, replied, bounced, unsubscribed, raw_data
)
VALUES (
  %(campaign_id)s, %(total_leads)s, %(contacted)s, %(opened)s, %(replied)s, %(bounced)s,
  %(unsubscribed)s, %(raw_data)s
)
RETURNING json_build_object(
  'id', id,
  'campaignId', campaign_id,
  'totalLeads', total_leads,
  'contacted', contacted,
  'opened', opened,
  'replied', replied,
  'bounced', bounced,
  'unsubscribed', unsubscribed,
  'snapshotAt', api_time(snapshot_at)
) AS snapshot;

-- name: select_stats
-- The answer of POST /stats as JSON. What is NULL among the conditions does not restrict.
WITH matching AS (
  SELECT id
  FROM instantly_campaigns
  WHERE (%(campaign_id)s::uuid IS NULL OR id = %(campaign_id)s::uuid)
    AND (%(clerk_org_id)s::text IS NULL OR clerk_org_id = %(clerk_org_id)s)
    AND (%(brand_id)s::text IS NULL OR brand_id = %(brand_id)s)
    AND (%(app_id)s::text IS NULL OR app_id = %(app_id)s)
    AND (
      %(run_ids)s::uuid[] IS NULL
      OR run_id = ANY (%(run_ids)s::uuid[])
      OR parent_run_id = ANY (%(run_ids)s::uuid[])
    )
),
activity AS (
  SELECT
    activity.*,
    CASE WHEN sent > 0 AND lead_email <> '' THEN lead_hash END AS sent_to,
    CASE WHEN opened > 0 AND lead_email <> '' THEN lead_hash END AS opened_by
  FROM matching
  -- Campaign by campaign, never the whole table: OFFSET keeps the planner from another order.
  CROSS JOIN LATERAL (
    SELECT *
    FROM instantly_lead_activity
    WHERE campaign_id = matching.id
    OFFSET 0
  ) AS activity
  WHERE lead_email NOT LIKE ALL (%(excluded)s::text[])
),
totals AS (
  SELECT
    coalesce(sum(sent), 0) AS sent,
    count(DISTINCT opened_by) AS opened,
    coalesce(sum(clicked), 0) AS clicked,
    coalesce(sum(replied), 0) AS replied,
    coalesce(sum(bounced), 0) AS bounced,
    coalesce(sum(auto_replied), 0) AS auto_replied,
    coalesce(sum(not_interested), 0) AS not_interested,
    coalesce(sum(out_of_office), 0) AS out_of_office,
    coalesce(sum(unsubscribed), 0) AS unsubscribed,
    count(DISTINCT sent_to) AS recipients
  FROM activity
),
steps AS (
  SELECT
    step,
    sum(sent) AS sent,
    count(DISTINCT opened_by) AS opened,
    sum(replied) AS replied,
    sum(bounced) AS bounced
  FROM activity
  WHERE step > 0
    AND sent + opened + replied + bounced > 0
  GROUP BY step
),
latest AS (
  SELECT snapshot.*
  FROM matching
  CROSS JOIN LATERAL (
    SELECT *
    FROM instantly_analytics_snapshots
    WHERE campaign_id = matching.id
    ORDER BY snapshot_at DESC
    LIMIT 1
  ) AS snapshot
)
SELECT json_build_object(
  'stats', json_build_object(
    'emailsSent', sent,
    'emailsDelivered', greatest(sent - bounced, 0),
    'emailsOpened', opened,
    'emailsClicked', clicked,
    'emailsReplied', replied,
    'emailsBounced', bounced,
    'repliesAutoReply', auto_replied,
    'repliesNotInterested', not_interested,
    'repliesOutOfOffice', out_of_office,
    'repliesUnsubscribe', unsubscribed
  ),
  'recipients', recipients,
  'stepStats', (
    SELECT coalesce(
      json_agg(
        json_build_object(
          'step', step,
          'emailsSent', sent,
          'emailsOpened', opened,
          'emailsReplied', replied,
          'emailsBounced', bounced
        ) ORDER BY step
      ),
      '[]'
    )
    FROM steps
  ),
  'snapshots', (
    SELECT json_build_object(
      'campaigns', count(*),
      'totalLeads', coalesce(sum(total_leads), 0),
      'contacted', coalesce(sum(contacted), 0),
      'opened', coalesce(sum(opened), 0),
      'replied', coalesce(sum(replied), 0),
      'bounced', coalesce(sum(bounced), 0),
      'unsubscribed', coalesce(sum(unsubscribed), 0)
    )
    FROM latest
  )
) AS body
FROM totals;
