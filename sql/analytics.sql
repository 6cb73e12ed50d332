-- name: insert_snapshots
-- Campaigns' figures at this moment, as the API shows them. A campaign that was deleted meanwhile has none.
-- Locked in one order: two statements never wait for each other.
WITH campaign AS (
  SELECT id
  FROM instantly_campaigns
  WHERE id = ANY (%(campaign_ids)s::uuid[])
  ORDER BY id
  FOR KEY SHARE
)
INSERT INTO instantly_analytics_snapshots AS snapshot (
  campaign_id, total_leads, contacted, opened, replied, bounced, unsubscribed, raw_data
)
SELECT figures.*
FROM unnest(
  %(campaign_ids)s::uuid[], %(total_leads)s::bigint[], %(contacted)s::bigint[],
  %(opened)s::bigint[], %(replied)s::bigint[], %(bounced)s::bigint[], %(unsubscribed)s::bigint[],
  %(raw_data)s::json[]
) AS figures (campaign_id)
INNER JOIN campaign ON campaign.id = figures.campaign_id
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
  SELECT id, key, dense_rank() OVER (ORDER BY key) AS number
  FROM matching_campaigns(
    %(campaign_id)s::uuid, %(clerk_org_id)s, %(brand_id)s, %(app_id)s, %(run_ids)s::uuid[]
  ) AS campaign
  CROSS JOIN LATERAL group_of(campaign, %(group_by)s::text) AS key
),
-- Groups have numbers, which are compared faster than their keys: a step is its own, and -1 is all.
activity AS MATERIALIZED (
  SELECT CASE WHEN %(group_by)s = 'step' THEN step ELSE number END AS number, activity.*
  FROM activity_of(ARRAY(SELECT id FROM matching), %(excluded)s) AS activity
  JOIN matching ON matching.id = campaign_id
),
held AS MATERIALIZED (
  SELECT number, people
  FROM held_by(ARRAY(SELECT id FROM matching), %(excluded)s)
  JOIN matching ON matching.id = campaign_id
),
sums AS (
  SELECT
    coalesce(number, -1) AS number,
    sum(sent) AS sent,
    sum(opened) AS opened,
    sum(clicked) AS clicked,
    sum(replied) AS replied,
    sum(bounced) AS bounced,
    sum(auto_replied) AS auto_replied,
    sum(not_interested) AS not_interested,
    sum(out_of_office) AS out_of_office,
    sum(unsubscribed) AS unsubscribed
  FROM activity
  GROUP BY GROUPING SETS ((number), ())
),
-- Each person once in each group, where groups are asked for, and once in all.
facts AS (
  SELECT number, facts, count(*) AS people
  FROM (
    SELECT number, bit_or(person) & 255 AS facts
    FROM (SELECT number, unnest(people) AS person FROM activity WHERE %(group_by)s IS NOT NULL) AS people
    GROUP BY number, person & -256
  ) AS person
  GROUP BY number, facts
  UNION ALL
  SELECT -1, facts, count(*)
  FROM (
    SELECT bit_or(person) & 255 AS facts
    FROM (SELECT unnest(people) AS person FROM activity) AS people
    GROUP BY person & -256
  ) AS person
  GROUP BY facts
),
people AS (
  SELECT
    number,
    sum(people) FILTER (WHERE facts & fact('sent') = fact('sent')) AS recipients,
    sum(people) FILTER (WHERE facts & fact('seen') = fact('seen')) AS openers,
    sum(people) FILTER (WHERE facts & fact('contacted') = fact('contacted')) AS contacted,
    sum(people) FILTER (WHERE facts & fact('opened') = fact('opened')) AS opened,
    sum(people) FILTER (WHERE facts & fact('clicked') = fact('clicked')) AS clicked,
    sum(people) FILTER (WHERE facts & fact('replied') = fact('replied')) AS replied,
    sum(people) FILTER (WHERE facts & fact('bounced') = fact('bounced')) AS bounced,
    sum(people) FILTER (WHERE facts & fact('unsubscribed') = fact('unsubscribed')) AS unsubscribed
  FROM facts
  GROUP BY number
),
-- Ordered before unnest: GROUP BY then sorts a few rows, not one for each lead.
leads AS (
  SELECT -1 AS number, count(DISTINCT person) AS leads
  FROM held
  CROSS JOIN unnest(people) AS person
  UNION ALL
  SELECT number, sum(cardinality(people))
  FROM held
  WHERE %(group_by)s = 'campaignId'
  GROUP BY number
  UNION ALL
  SELECT number, count(DISTINCT person)
  FROM (SELECT number, people FROM held ORDER BY number) AS ordered
  CROSS JOIN unnest(people) AS person
  WHERE %(group_by)s NOT IN ('campaignId', 'step')
  GROUP BY number
  UNION ALL
  -- Those whom the campaigns hold and of whom the step has something.
  SELECT number, count(DISTINCT person & -256)
  FROM activity
  CROSS JOIN unnest(people) AS person
  WHERE %(group_by)s = 'step'
    AND person & -256 IN (SELECT unnest(people) FROM held)
  GROUP BY number
),
labels AS (
  SELECT
    coalesce(number, -1) AS number,
    count(*) FILTER (WHERE label = 'interested') AS interested,
    count(*) FILTER (WHERE label = 'meeting_booked') AS meeting_booked,
    count(*) FILTER (WHERE label = 'meeting_completed') AS meeting_completed,
    count(*) FILTER (WHERE label = 'closed') AS closed,
    count(*) FILTER (WHERE label = 'not_interested') AS not_interested,
    count(*) FILTER (WHERE label = 'wrong_person') AS wrong_person,
    count(*) FILTER (WHERE label = 'neutral') AS neutral,
    count(*) FILTER (WHERE label = 'out_of_office') AS out_of_office,
    count(*) FILTER (WHERE label = 'no_show') AS no_show,
    count(*) FILTER (WHERE label = 'lost') AS lost
  FROM activity
  CROSS JOIN unnest(labels) AS label
  GROUP BY GROUPING SETS ((number), ())
),
figures AS (
  SELECT
    number,
    coalesce(sent, 0) AS sent,
    stats_json(
      sent, openers::bigint, sums.clicked, sums.replied, sums.bounced, auto_replied,
      sums.not_interested, sums.out_of_office, sums.unsubscribed
    ) AS stats,
    coalesce(recipients, 0) AS recipients,
    people_json(
      leads, contacted, people.opened, people.clicked, people.replied, people.bounced,
      people.unsubscribed
    ) AS people,
    replies_json(
      interested, meeting_booked, meeting_completed, closed, labels.not_interested, wrong_person,
      neutral, labels.out_of_office, no_show, lost
    ) AS replies
  FROM sums
  FULL JOIN leads USING (number)
  LEFT JOIN people USING (number)
  LEFT JOIN labels USING (number)
  WHERE number = -1
    OR sent + sums.opened + sums.clicked + sums.replied + sums.bounced + auto_replied
      + sums.not_interested + sums.out_of_office + sums.unsubscribed > 0
    OR (leads > 0 AND %(group_by)s <> 'step')
),
-- Openers step by step: one DISTINCT over all took 17 times as long for 200 steps.
steps AS (
  SELECT
    step,
    sent,
    (
      SELECT count(DISTINCT person & -256)
      FROM (SELECT unnest(people) AS person FROM activity WHERE activity.step = sums.step) AS people
      WHERE person & fact('seen') = fact('seen')
    ) AS opened,
    clicked,
    replied,
    bounced
  FROM (
    SELECT
      step, sum(sent) AS sent, sum(clicked) AS clicked, sum(replied) AS replied,
      sum(bounced) AS bounced
    FROM activity
    WHERE step > 0
      AND sent + opened + clicked + replied + bounced > 0
    GROUP BY step
  ) AS sums
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
    figures.*,
    (
      SELECT coalesce(
        json_agg(step_json(step, sent, opened, clicked, replied, bounced) ORDER BY step), '[]'
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
  FROM figures
  WHERE number = -1
),
groups AS (
  SELECT
    CASE WHEN %(group_by)s = 'step' THEN number::text ELSE key END AS key,
    sent, stats, recipients, people, replies
  FROM figures
  LEFT JOIN (SELECT DISTINCT number, key FROM matching) AS keys USING (number)
  WHERE number <> -1
    AND %(group_by)s IS NOT NULL
)
SELECT CASE
  WHEN %(group_by)s::text IS NULL THEN json_build_object(
    'stats', stats, 'recipients', recipients, 'stepStats', steps, 'snapshots', snapshots,
    'people', people, 'replies', replies
  )
  ELSE json_build_object(
    'stats', stats, 'recipients', recipients, 'stepStats', steps, 'snapshots', snapshots,
    'people', people, 'replies', replies,
    'groups', (
      SELECT coalesce(json_agg(shown), '[]')
      FROM (
        SELECT
          key_json(key, %(group_by)s) AS key, stats, recipients, people, replies
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

-- name: select_event_stats
-- The answer of POST /stats as JSON where it is about a time, single days or senders: what the events that
-- happened then add up to. It reads these events, however many others there are.
WITH matching AS MATERIALIZED (
  SELECT id, group_of(campaign, %(group_by)s::text) AS key
  FROM matching_campaigns(
    %(campaign_id)s::uuid, %(clerk_org_id)s, %(brand_id)s, %(app_id)s, %(run_ids)s::uuid[]
  ) AS campaign
),
event AS MATERIALIZED (
  SELECT
    CASE %(group_by)s::text
      WHEN 'step' THEN step::text
      WHEN 'day' THEN day::text
      WHEN 'accountEmail' THEN sender
      ELSE key
    END AS key,
    step,
    event_type,
    events,
    people
  FROM events_between(
    ARRAY(SELECT id FROM matching), %(since)s, %(until)s, %(excluded)s, %(changes)s::timestamptz[],
    %(offsets)s::interval[], %(group_by)s = 'accountEmail'
  )
  JOIN matching ON id = campaign_id
),
sums AS (
  SELECT
    key,
    GROUPING(key) = 1 AS is_all,
    sum(events) FILTER (WHERE event_type = 'email_sent') AS sent,
    sum(events) FILTER (WHERE event_type = 'email_link_clicked') AS clicked,
    sum(events) FILTER (WHERE event_type = 'reply_received') AS replied,
    sum(events) FILTER (WHERE event_type = 'email_bounced') AS bounced,
    sum(events) FILTER (WHERE event_type = 'auto_reply_received') AS auto_replied,
    sum(events) FILTER (WHERE event_type = 'lead_not_interested') AS not_interested,
    sum(events) FILTER (WHERE event_type = 'lead_out_of_office') AS out_of_office,
    sum(events) FILTER (WHERE event_type = 'lead_unsubscribed') AS unsubscribed
  FROM event
  GROUP BY GROUPING SETS ((key), ())
),
people AS (
  SELECT
    key,
    GROUPING(key) = 1 AS is_all,
    count(DISTINCT person) FILTER (WHERE event_type = 'email_sent') AS recipients,
    count(DISTINCT person) FILTER (WHERE event_type = 'email_opened') AS openers
  FROM (SELECT key, event_type, unnest(people) AS person FROM event) AS people
  GROUP BY GROUPING SETS ((key), ())
),
figures AS (
  SELECT
    sums.key,
    sums.is_all,
    coalesce(sent, 0) AS sent,
    stats_json(
      sent, openers, clicked, replied, coalesce(bounced, 0), auto_replied, not_interested,
      out_of_office, unsubscribed
    ) AS stats,
    coalesce(recipients, 0) AS recipients
  FROM sums
  LEFT JOIN people
    ON people.is_all = sums.is_all
    AND people.key IS NOT DISTINCT FROM sums.key
),
steps AS (
  SELECT
    step,
    sum(events) FILTER (WHERE event_type = 'email_sent') AS sent,
    (
      SELECT count(DISTINCT person)
      FROM (
        SELECT unnest(people) AS person
        FROM event
        WHERE event.step = of_step.step
          AND event_type = 'email_opened'
      ) AS people
    ) AS opened,
    sum(events) FILTER (WHERE event_type = 'email_link_clicked') AS clicked,
    sum(events) FILTER (WHERE event_type = 'reply_received') AS replied,
    sum(events) FILTER (WHERE event_type = 'email_bounced') AS bounced
  FROM event AS of_step
  WHERE step > 0
    AND event_type IN (
      'email_sent', 'email_opened', 'email_link_clicked', 'reply_received', 'email_bounced'
    )
  GROUP BY step
),
parts AS (
  SELECT
    stats,
    recipients,
    (
      SELECT coalesce(
        json_agg(step_json(step, sent, opened, clicked, replied, bounced) ORDER BY step), '[]'
      )
      FROM steps
    ) AS steps
  FROM figures
  WHERE is_all
)
SELECT CASE
  WHEN %(group_by)s::text IS NULL THEN json_build_object(
    'stats', stats, 'recipients', recipients, 'stepStats', steps
  )
  ELSE json_build_object(
    'stats', stats, 'recipients', recipients, 'stepStats', steps,
    'groups', (
      SELECT coalesce(json_agg(shown), '[]')
      FROM (
        SELECT
          key_json(key, %(group_by)s) AS key, stats, recipients
        FROM figures
        WHERE NOT is_all
        ORDER BY sent DESC, length(figures.key), figures.key
        LIMIT 1000
      ) AS shown
    ),
    'groupsTotal', (SELECT count(*) FROM figures WHERE NOT is_all)
  )
END AS body
FROM parts;
