-- Statistics: the facts of events and leads, added up, and their outward form.

-- The campaigns that the conditions of statistics match; what is NULL does not restrict.
CREATE OR REPLACE FUNCTION matching_campaigns(
  of_id uuid, of_clerk_org text, of_brand text, of_app text, of_runs uuid[]
) RETURNS SETOF instantly_campaigns
LANGUAGE sql STABLE PARALLEL SAFE AS $$
  SELECT *
  FROM instantly_campaigns
  WHERE (of_id IS NULL OR id = of_id)
    AND (of_clerk_org IS NULL OR clerk_org_id = of_clerk_org)
    AND (of_brand IS NULL OR brand_id = of_brand)
    AND (of_app IS NULL OR app_id = of_app)
    AND (of_runs IS NULL OR run_id = ANY (of_runs) OR parent_run_id = ANY (of_runs))
$$;

-- By what a campaign is grouped; NULL where something else than a property of campaigns groups.
CREATE OR REPLACE FUNCTION group_of(campaign instantly_campaigns, group_by text) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE AS $$
  SELECT CASE group_by
    WHEN 'campaignId' THEN campaign.id::text
    WHEN 'brandId' THEN campaign.brand_id
    WHEN 'appId' THEN campaign.app_id
    WHEN 'clerkOrgId' THEN campaign.clerk_org_id
  END
$$;

-- A fact about a person as bits, so that what is known from several places is one bit_or(). A later fact
-- implies the earlier: who opened was contacted, who clicked or replied had opened. `sent` and `seen` tell
-- what events say from what is proved in other ways.
CREATE OR REPLACE FUNCTION fact(name text) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT ('{
    "contacted": 1,
    "opened": 3,
    "clicked": 7,
    "replied": 11,
    "bounced": 17,
    "unsubscribed": 32,
    "sent": 65,
    "seen": 131
  }'::jsonb ->> name)::bigint
$$;

-- What is known of the leads of campaigns, by campaign and step: what the events add up to; the people, each
-- as a number that is the hash of the address but for its last eight bits, which are the facts; the labels.
-- The settings leave one way: the index, then each page once, whatever the planner's statistics say, and
-- what is aggregated stays in memory.
CREATE OR REPLACE FUNCTION activity_of(campaigns uuid[], excluded text[])
RETURNS TABLE (
  campaign_id uuid, step bigint, sent bigint, opened bigint, clicked bigint, replied bigint,
  bounced bigint, auto_replied bigint, not_interested bigint, out_of_office bigint,
  unsubscribed bigint, people bigint[], labels text[]
)
LANGUAGE plpgsql STABLE
SET enable_seqscan = off SET enable_indexscan = off SET enable_sort = off SET work_mem = '64MB'
AS $$
DECLARE
  excludes_none boolean := cardinality(excluded) = 0;
BEGIN
  RETURN QUERY
  SELECT
    activity.campaign_id,
    activity.step,
    sum(activity.sent),
    sum(activity.opened),
    sum(activity.clicked),
    sum(activity.replied),
    sum(activity.bounced),
    sum(activity.auto_replied),
    sum(activity.not_interested),
    sum(activity.out_of_office),
    sum(activity.unsubscribed),
    array_agg(
      lead_hash & -256
        | CASE WHEN activity.sent > 0 THEN fact('sent') ELSE 0 END
        | CASE WHEN activity.opened > 0 THEN fact('seen') ELSE 0 END
        | CASE WHEN activity.clicked > 0 THEN fact('clicked') ELSE 0 END
        | CASE WHEN activity.replied > 0 THEN fact('replied') ELSE 0 END
        | CASE WHEN activity.bounced > 0 THEN fact('bounced') ELSE 0 END
        | CASE WHEN activity.unsubscribed > 0 THEN fact('unsubscribed') ELSE 0 END
        | CASE WHEN label <> 'skipped' THEN fact('contacted') ELSE 0 END
        | CASE
            WHEN proved IS NULL THEN 0
            ELSE CASE WHEN 'contacted' = ANY (proved) THEN fact('contacted') ELSE 0 END
              | CASE WHEN 'opened' = ANY (proved) THEN fact('opened') ELSE 0 END
              | CASE WHEN 'clicked' = ANY (proved) THEN fact('clicked') ELSE 0 END
              | CASE WHEN 'replied' = ANY (proved) THEN fact('replied') ELSE 0 END
              | CASE WHEN 'bounced' = ANY (proved) THEN fact('bounced') ELSE 0 END
              | CASE WHEN 'unsubscribed' = ANY (proved) THEN fact('unsubscribed') ELSE 0 END
          END
    ) FILTER (WHERE lead_email <> ''),
    array_agg(label) FILTER (WHERE label IS NOT NULL)
  FROM instantly_lead_activity AS activity
  WHERE activity.campaign_id = ANY (campaigns)
    AND (excludes_none OR lead_email NOT LIKE ALL (excluded))
  GROUP BY activity.campaign_id, activity.step;
END
$$;

-- The people that the campaigns hold, without facts. They are read from an index alone. Those of whom
-- nothing but a pseudonym is left stand in a row of their own.
CREATE OR REPLACE FUNCTION held_by(campaigns uuid[], excluded text[])
RETURNS TABLE (campaign_id uuid, people bigint[])
LANGUAGE plpgsql STABLE
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off
AS $$
BEGIN
  RETURN QUERY
  SELECT lead.campaign_id, array_agg(hashtextextended(lower(email), 0) & -256)
  FROM instantly_leads AS lead
  WHERE lead.campaign_id = ANY (campaigns)
    AND lower(email) NOT LIKE ALL (excluded)
  GROUP BY lead.campaign_id;
  RETURN QUERY
  SELECT lead.campaign_id, array_agg(hashtextextended(pseudonym, 0) & -256)
  FROM instantly_erased_leads AS lead
  WHERE lead.campaign_id = ANY (campaigns)
    AND pseudonym NOT LIKE ALL (excluded)
  GROUP BY lead.campaign_id;
END
$$;

-- The events that count and happened in a time, by campaign, day, sender, step and type: how many, and which
-- people (hashes of their addresses) were written to or opened. In a time zone the first of the `offsets`
-- holds until the first of the `changes`, and so on; without them there are no days. The events are read
-- from an index alone.
CREATE OR REPLACE FUNCTION events_between(
  campaigns uuid[], since timestamptz, until timestamptz, excluded text[], changes timestamptz[],
  offsets interval[], by_sender boolean
)
RETURNS TABLE (
  campaign_id uuid, day date, sender text, step bigint, event_type text, events bigint,
  people bigint[]
)
LANGUAGE plpgsql STABLE
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off SET work_mem = '64MB'
AS $$
DECLARE
  excludes_none boolean := cardinality(excluded) = 0;
  has_days boolean := changes IS NOT NULL;
BEGIN
  RETURN QUERY
  SELECT
    event.campaign_id,
    CASE
      WHEN has_days
      THEN (occurred_at AT TIME ZONE 'UTC' + offsets[width_bucket(occurred_at, changes) + 1])::date
    END,
    CASE WHEN by_sender THEN account_email END,
    coalesce(event.step, 0),
    event.event_type,
    count(*),
    array_agg(hashtextextended(lead_email, 0)) FILTER (
      WHERE event.event_type IN ('email_sent', 'email_opened') AND lead_email IS NOT NULL
    )
  FROM instantly_events AS event
  WHERE event.campaign_id = ANY (campaigns)
    AND occurred_at >= coalesce(since, '-infinity')
    AND occurred_at < coalesce(until, 'infinity')
    -- What counts, as instantly_events_by_time has it.
    AND event.event_type IN (
      'email_sent', 'email_opened', 'email_link_clicked', 'reply_received', 'email_bounced',
      'auto_reply_received', 'lead_not_interested', 'lead_out_of_office', 'lead_unsubscribed'
    )
    AND lead_email IS DISTINCT FROM coalesce(account_email, '')
    AND (excludes_none OR coalesce(lead_email, '') NOT LIKE ALL (excluded))
  GROUP BY 1, 2, 3, 4, 5;
END
$$;

-- What counts there are, of all or of a group; where there is nothing, they are NULL.
CREATE OR REPLACE FUNCTION stats_json(
  sent numeric, opened bigint, clicked numeric, replied numeric, bounced numeric,
  auto_replied numeric, not_interested numeric, out_of_office numeric, unsubscribed numeric
) RETURNS json
LANGUAGE sql STABLE PARALLEL SAFE AS $$
  SELECT json_build_object(
    'emailsSent', coalesce(sent, 0),
    'emailsDelivered', greatest(sent - bounced, 0),
    'emailsOpened', coalesce(opened, 0),
    'emailsClicked', coalesce(clicked, 0),
    'emailsReplied', coalesce(replied, 0),
    'emailsBounced', coalesce(bounced, 0),
    'repliesAutoReply', coalesce(auto_replied, 0),
    'repliesNotInterested', coalesce(not_interested, 0),
    'repliesOutOfOffice', coalesce(out_of_office, 0),
    'repliesUnsubscribe', coalesce(unsubscribed, 0)
  )
$$;

CREATE OR REPLACE FUNCTION step_json(
  step bigint, sent numeric, opened bigint, clicked numeric, replied numeric, bounced numeric
) RETURNS json
LANGUAGE sql STABLE PARALLEL SAFE AS $$
  SELECT json_build_object(
    'step', step,
    'emailsSent', coalesce(sent, 0),
    'emailsOpened', coalesce(opened, 0),
    'emailsClicked', coalesce(clicked, 0),
    'emailsReplied', coalesce(replied, 0),
    'emailsBounced', coalesce(bounced, 0)
  )
$$;

-- What a group is called in the answer: a step by its number, or null where there is none.
CREATE OR REPLACE FUNCTION key_json(key text, group_by text) RETURNS json
LANGUAGE sql STABLE PARALLEL SAFE AS $$
  SELECT CASE
    WHEN group_by <> 'step' THEN to_json(key)
    WHEN key <> '0' THEN to_json(key::bigint)
  END
$$;

-- Those who were contacted and whose mail came back are not delivered to; the facts tell no other case.
CREATE OR REPLACE FUNCTION people_json(
  leads bigint, contacted numeric, opened numeric, clicked numeric, replied numeric, bounced numeric,
  unsubscribed numeric
) RETURNS json
LANGUAGE sql STABLE PARALLEL SAFE AS $$
  SELECT json_build_object(
    'leads', coalesce(leads, 0),
    'contacted', coalesce(contacted, 0),
    'delivered', coalesce(contacted, 0) - coalesce(bounced, 0),
    'opened', coalesce(opened, 0),
    'clicked', coalesce(clicked, 0),
    'replied', coalesce(replied, 0),
    'bounced', coalesce(bounced, 0),
    'unsubscribed', coalesce(unsubscribed, 0)
  )
$$;

CREATE OR REPLACE FUNCTION replies_json(
  interested bigint, meeting_booked bigint, meeting_completed bigint, closed bigint,
  not_interested bigint, wrong_person bigint, neutral bigint, out_of_office bigint, no_show bigint,
  lost bigint
) RETURNS json
LANGUAGE sql STABLE PARALLEL SAFE AS $$
  SELECT json_build_object(
    'interested', coalesce(interested, 0),
    'meetingBooked', coalesce(meeting_booked, 0),
    'meetingCompleted', coalesce(meeting_completed, 0),
    'closed', coalesce(closed, 0),
    'notInterested', coalesce(not_interested, 0),
    'wrongPerson', coalesce(wrong_person, 0),
    'neutral', coalesce(neutral, 0),
    'outOfOffice', coalesce(out_of_office, 0),
    'noShow', coalesce(no_show, 0),
    'lost', coalesce(lost, 0)
  )
$$;
