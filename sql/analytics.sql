-- name: insert_snapshots
-- Campaigns' figures at this moment, as the API shows them. A campaign that was deleted meanwhile has none.
INSERT INTO instantly_analytics_snapshots AS snapshot (
  campaign_id, total_leads, contacted, opened, replied, bounced, unsubscribed, raw_data
)
SELECT figures.*
FROM unnest(
  %(campaign_ids)s::uuid[], %(total_leads)s::bigint[], %(contacted)s::bigint[],
  %(opened)s::bigint[], %(replied)s::bigint[], %(bounced)s::bigint[], %(unsubscribed)s::bigint[],
  %(raw_data)s::json[]
) AS figures (campaign_id)
INNER JOIN instantly_campaigns AS campaign ON campaign.id = figures.campaign_id
FOR KEY SHARE OF campaign
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
-- The answer of POST /stats as JSON. What is NULL among the conditions does not restrict, and without
-- a grouping there are no groups.
WITH matching AS (
  SELECT
    id,
    CASE %(group_by)s::text
      WHEN 'campaignId' THEN id::text
      WHEN 'brandId' THEN brand_id
      WHEN 'appId' THEN app_id
      WHEN 'clerkOrgId' THEN clerk_org_id
    END AS key
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
-- One row for a step of a campaign: a few, where leads are many. A lead stands once in its arrays.
activity AS MATERIALIZED (
  SELECT coalesce(matching.key, step::text) AS key, activity.*
  FROM matching
  -- Campaign by campaign, never the whole table: OFFSET keeps the planner from another order.
  CROSS JOIN LATERAL (
    SELECT
      step,
      sum(sent) AS sent,
      sum(opened) AS opened,
      sum(clicked) AS clicked,
      sum(replied) AS replied,
      sum(bounced) AS bounced,
      sum(auto_replied) AS auto_replied,
      sum(not_interested) AS not_interested,
      sum(out_of_office) AS out_of_office,
      sum(unsubscribed) AS unsubscribed,
      array_agg(lead_hash) FILTER (WHERE opened > 0 AND lead_email <> '') AS openers,
      array_agg(lead_hash) FILTER (WHERE sent > 0 AND lead_email <> '') AS recipients
    FROM instantly_lead_activity
    WHERE campaign_id = matching.id
      AND lead_email NOT LIKE ALL (%(excluded)s::text[])
    GROUP BY step
    OFFSET 0
  ) AS activity
),
totals AS (
  SELECT
    sum(sent) AS sent,
    sum(clicked) AS clicked,
    sum(replied) AS replied,
    sum(bounced) AS bounced,
    sum(auto_replied) AS auto_replied,
    sum(not_interested) AS not_interested,
    sum(out_of_office) AS out_of_office,
    sum(unsubscribed) AS unsubscribed,
    (SELECT count(DISTINCT lead) FROM activity CROSS JOIN unnest(openers) AS lead) AS opened,
    (SELECT count(DISTINCT lead) FROM activity CROSS JOIN unnest(recipients) AS lead) AS recipients
  FROM activity
),
-- Here and below, ordered before unnest: GROUP BY then sorts a few rows, not one for each lead.
steps AS (
  SELECT *
  FROM (
    SELECT step, sum(sent) AS sent, sum(replied) AS replied, sum(bounced) AS bounced
    FROM activity
    WHERE step > 0
      AND sent + opened + replied + bounced > 0
    GROUP BY step
  ) AS sums
  LEFT JOIN (
    SELECT step, count(DISTINCT lead) AS opened
    FROM (SELECT step, openers FROM activity ORDER BY step) AS ordered
    CROSS JOIN unnest(openers) AS lead
    GROUP BY step
  ) AS opens USING (step)
),
groups AS (
  SELECT *
  FROM (
    SELECT
      key,
      sum(sent) AS sent,
      sum(clicked) AS clicked,
      sum(replied) AS replied,
      sum(bounced) AS bounced,
      sum(auto_replied) AS auto_replied,
      sum(not_interested) AS not_interested,
      sum(out_of_office) AS out_of_office,
      sum(unsubscribed) AS unsubscribed
    FROM activity
    WHERE sent + opened + clicked + replied + bounced + auto_replied + not_interested
      + out_of_office + unsubscribed > 0
    GROUP BY key
  ) AS sums
  LEFT JOIN (
    SELECT key, count(DISTINCT lead) AS opened
    FROM (SELECT key, openers FROM activity ORDER BY key) AS ordered
    CROSS JOIN unnest(openers) AS lead
    GROUP BY key
  ) AS opens USING (key)
  LEFT JOIN (
    SELECT key, count(DISTINCT lead) AS recipients
    FROM (SELECT key, recipients FROM activity ORDER BY key) AS ordered
    CROSS JOIN unnest(recipients) AS lead
    GROUP BY key
  ) AS sends USING (key)
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
),
parts AS (
  SELECT
    stats_json(
      sent, opened, clicked, replied, bounced, auto_replied, not_interested, out_of_office,
      unsubscribed
    ) AS stats,
    recipients,
    (
      SELECT coalesce(
        json_agg(
          json_build_object(
            'step', step,
            'emailsSent', sent,
            'emailsOpened', coalesce(opened, 0),
            'emailsReplied', replied,
            'emailsBounced', bounced
          ) ORDER BY step
        ),
        '[]'
      )
      FROM steps
    ) AS steps,
    (
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
    ) AS snapshots
  FROM totals
)
SELECT CASE
  WHEN %(group_by)s::text IS NULL THEN json_build_object(
    'stats', stats, 'recipients', recipients, 'stepStats', steps, 'snapshots', snapshots
  )
  ELSE json_build_object(
    'stats', stats, 'recipients', recipients, 'stepStats', steps, 'snapshots', snapshots,
    'groups', (
      SELECT coalesce(json_agg(shown), '[]')
      FROM (
        SELECT
          CASE
            WHEN %(group_by)s <> 'step' THEN to_json(key)
            WHEN key <> '0' THEN to_json(key::bigint)
          END AS key,
          stats_json(
            sent, opened, clicked, replied, bounced, auto_replied, not_interested, out_of_office,
            unsubscribed
          ) AS stats,
          coalesce(recipients, 0) AS recipients
        FROM groups
        -- Of equally many the shorter key first: steps in their order.
        ORDER BY sent DESC, length(groups.key), groups.key
        LIMIT 1000
      ) AS shown
    ),
    'groupsTotal', (SELECT count(*) FROM groups)
  )
END AS body
FROM parts;

-- name: select_event_counts
-- What our events say of campaigns: e-mails, and the leads of whom it is true.
SELECT
  campaign_id::text AS id,
  sum(sent)::bigint AS sent,
  sum(opened)::bigint AS opens,
  sum(replied)::bigint AS replies,
  count(DISTINCT lead_hash) FILTER (WHERE opened > 0) AS openers,
  count(DISTINCT lead_hash) FILTER (WHERE replied > 0) AS repliers,
  count(DISTINCT lead_hash) FILTER (WHERE bounced > 0) AS bounced,
  count(DISTINCT lead_hash) FILTER (WHERE unsubscribed > 0) AS unsubscribed
FROM instantly_lead_activity
WHERE campaign_id = ANY (%(campaign_ids)s::uuid[])
GROUP BY campaign_id;
