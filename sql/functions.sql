-- What statements share: the strength of a status, whether a lease or a run still stands, whom an
-- organisation erased, the outward form of rows and pages (a new field of an answer is a line here), and
-- the events of a page.
-- `python -m instantly.migrate` puts these functions in place each time it runs.

-- How strong a lead's status is. A lead takes a stronger status and never goes back; the interest labels
-- are equally strong, and the latest one counts. A table and no CASE, which costs each delivery 6 % more.
CREATE OR REPLACE FUNCTION status_strength(status text) RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT ('{
    "active": 0,
    "contacted": 1,
    "opened": 2,
    "clicked": 3,
    "completed": 4,
    "replied": 5,
    "interested": 6, "neutral": 6, "not_interested": 6, "meeting_booked": 6, "meeting_completed": 6,
    "closed": 6, "lost": 6, "out_of_office": 6, "wrong_person": 6, "no_show": 6, "skipped": 6,
    "bounced": 7,
    "unsubscribed": 8
  }'::jsonb ->> status)::integer
$$;

-- Whether a lead takes another status: a stronger one, and of two labels the later one.
CREATE OR REPLACE FUNCTION gives_way(
  status text, labelled_at timestamptz, to_status text, happened_at timestamptz
) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT status_strength(status) < status_strength(to_status)
    OR (status_strength(status) = 6 AND status_strength(to_status) = 6
        AND coalesce(labelled_at, '-infinity') <= happened_at)
$$;

-- What an event does to its lead. Being volatile, it sees leads that were stored while the statement that
-- calls it waited for the campaign's row: whoever stores leads locks that row against deliveries.
CREATE OR REPLACE FUNCTION raise_lead(
  of_campaign uuid, address text, to_status text, happened_at timestamptz
) RETURNS void
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  UPDATE instantly_leads AS lead
  SET
    status = to_status,
    labelled_at = CASE
      WHEN status_strength(to_status) = 6 THEN happened_at ELSE lead.labelled_at
    END,
    updated_at = clock_timestamp()
  WHERE campaign_id = of_campaign
    AND lower(email) = address
    AND gives_way(lead.status, lead.labelled_at, to_status, happened_at);
END
$$;

-- What came to be known of leads before they were stored: from their events (`statuses`: what an event
-- says of its lead), from what the events add up to, and from what Instantly proved. Being volatile, it
-- sees what was recorded until the campaign's row was locked, and the leads that its caller has just stored.
CREATE OR REPLACE FUNCTION raise_new_leads(
  of_campaign uuid, lead_ids uuid[], statuses jsonb
) RETURNS void
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  UPDATE instantly_leads AS lead
  SET
    status = known.status,
    labelled_at = CASE
      WHEN status_strength(known.status) = 6 THEN known.happened_at ELSE lead.labelled_at
    END
  FROM (
    SELECT DISTINCT ON (lead.id) lead.id, fact.status, fact.happened_at
    FROM instantly_leads AS lead
    CROSS JOIN LATERAL (
      SELECT activity.*
      FROM instantly_lead_activity AS activity
      WHERE activity.campaign_id = of_campaign
        AND activity.lead_email = lower(lead.email)
      OFFSET 0
    ) AS activity
    CROSS JOIN LATERAL (
      SELECT unnest(activity.proved) AS status, NULL::timestamptz AS happened_at, 0::bigint AS id
      UNION ALL SELECT 'contacted', NULL, 0 WHERE activity.sent > 0
      UNION ALL SELECT 'opened', NULL, 0 WHERE activity.opened > 0
      UNION ALL SELECT 'clicked', NULL, 0 WHERE activity.clicked > 0
      UNION ALL SELECT 'replied', NULL, 0 WHERE activity.replied > 0
      UNION ALL SELECT 'bounced', NULL, 0 WHERE activity.bounced > 0
      UNION ALL SELECT 'unsubscribed', NULL, 0 WHERE activity.unsubscribed > 0
      UNION ALL
      SELECT statuses ->> event_type, occurred_at, event.id
      FROM instantly_events AS event
      WHERE event.campaign_id = of_campaign
        AND hashtextextended(event.lead_email, 0) = hashtextextended(activity.lead_email, 0)
        AND event.lead_email = activity.lead_email
        AND statuses ? event_type
    ) AS fact
    WHERE lead.id = ANY (lead_ids)
    ORDER BY
      lead.id, status_strength(fact.status) DESC, fact.happened_at DESC NULLS LAST, fact.id DESC
  ) AS known
  WHERE lead.id = known.id
    AND gives_way(lead.status, lead.labelled_at, known.status, known.happened_at);
END
$$;

-- Whether the lease is still the holder's. It stays so until this transaction has ended: whoever would
-- take it over waits.
CREATE OR REPLACE FUNCTION holds_lease(of_name text, by_holder uuid) RETURNS boolean
LANGUAGE sql VOLATILE AS $$
  SELECT EXISTS (
    SELECT
    FROM instantly_leases
    WHERE name = of_name
      AND holder = by_holder
    FOR UPDATE
  )
$$;

-- Whether the run has no end yet. It stays so until this transaction has ended: whoever would end it
-- waits.
CREATE OR REPLACE FUNCTION is_open(of_run uuid) RETURNS boolean
LANGUAGE sql VOLATILE AS $$
  SELECT EXISTS (
    SELECT
    FROM instantly_open_runs
    WHERE run_id = of_run
      AND outcome IS NULL
    FOR UPDATE
  )
$$;

-- How a person is known again who was erased: HMAC-SHA256 of the address (lower case).
CREATE OR REPLACE FUNCTION erasure_hash(address text, key instantly_erasure_key) RETURNS bytea
LANGUAGE sql STABLE PARALLEL SAFE AS $$
  SELECT sha256(key.outer_pad || sha256(key.inner_pad || convert_to(address, 'UTF8')))
$$;

-- Those of the addresses that were erased. Nothing is hashed for an organisation that erased nobody, and no
-- address twice: a join that hashed for each pair took seconds for a thousand.
CREATE OR REPLACE FUNCTION erased_among(of_organization text, addresses text[])
RETURNS TABLE (address text, pseudonym text)
LANGUAGE sql STABLE PARALLEL SAFE AS $$
  WITH asked AS MATERIALIZED (
    SELECT asked.address, erasure_hash(asked.address, key) AS hash
    FROM unnest(addresses) AS asked (address)
    CROSS JOIN (SELECT * FROM instantly_erasure_key LIMIT 1) AS key
    WHERE EXISTS (SELECT FROM instantly_erased WHERE clerk_org_id = of_organization)
  )
  SELECT asked.address, erased.pseudonym
  FROM asked
  JOIN instantly_erased AS erased
    ON erased.clerk_org_id = of_organization
    AND erased.hash = asked.hash
$$;

-- Under which address events count: the pseudonym of a person who was erased, else the address itself.
-- VOLATILE, and so as things are now: whoever waited for an erasure that locked the campaign sees it.
CREATE OR REPLACE FUNCTION counted_address(of_organization text, address text) RETURNS text
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  wanted bytea;
BEGIN
  IF EXISTS (SELECT FROM instantly_erased WHERE clerk_org_id = of_organization) THEN
    wanted := erasure_hash(address, key) FROM instantly_erasure_key AS key;
    RETURN coalesce(
      (SELECT pseudonym FROM instantly_erased WHERE clerk_org_id = of_organization AND hash = wanted),
      address
    );
  END IF;
  RETURN address;
END
$$;

-- Times as the API writes them: 2026-02-25T12:00:00.000Z.
CREATE OR REPLACE FUNCTION api_time(moment timestamptz) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE AS $$
  SELECT to_char(moment AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
$$;

CREATE OR REPLACE FUNCTION campaign_json(campaign instantly_campaigns) RETURNS json
LANGUAGE sql STABLE PARALLEL SAFE AS $$
  SELECT json_build_object(
    'id', campaign.id,
    'instantlyCampaignId', campaign.instantly_campaign_id,
    'name', campaign.name,
    'status', campaign.status,
    'orgId', campaign.org_id,
    'clerkOrgId', campaign.clerk_org_id,
    'brandId', campaign.brand_id,
    'appId', campaign.app_id,
    'runId', campaign.run_id,
    'parentRunId', campaign.parent_run_id,
    'metadata', campaign.metadata,
    'createdAt', api_time(campaign.created_at),
    'updatedAt', api_time(campaign.updated_at)
  )
$$;

CREATE OR REPLACE FUNCTION account_json(account instantly_accounts) RETURNS json
LANGUAGE sql STABLE PARALLEL SAFE AS $$
  SELECT json_build_object(
    'id', account.id,
    'email', account.email,
    'status', account.status,
    'warmupEnabled', account.warmup_enabled,
    'warmupStatus', account.warmup_status,
    'warmupScore', account.warmup_score,
    'dailySendLimit', account.daily_send_limit,
    'providerCode', account.provider_code,
    'createdAt', api_time(account.created_at),
    'updatedAt', api_time(account.updated_at)
  )
$$;

-- A page of a list: at most `size` items. Lists are paged by positions; a statement reads one more
-- than the page holds, which tells whether another page follows.
CREATE OR REPLACE FUNCTION page_json(
  name text, items json, positions bigint[], size bigint, total bigint
) RETURNS json
LANGUAGE sql STABLE PARALLEL SAFE AS $$
  SELECT json_build_object(
    name, coalesce(items, '[]'),
    'count', least(size, coalesce(cardinality(positions), 0)),
    'total', total,
    'nextCursor', CASE WHEN cardinality(positions) > size THEN positions[size]::text END
  )
$$;

-- The ids of a campaign's events, the newest first: of a type, of a lead, or all; those before an id.
-- It reads no more rows than it answers (of a type and a lead: than the lead has), whatever the planner's
-- statistics say. Each query asks for a range in the order of its own index, and the settings leave no
-- other way to that order: with an equality and its cost alone, the planner may filter another index or
-- sort all that there is.
CREATE OR REPLACE FUNCTION event_ids(
  of_campaign uuid, of_type text, of_lead text, before bigint, skipped bigint, size bigint
) RETURNS bigint[]
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET enable_seqscan = off SET enable_bitmapscan = off
SET enable_sort = off SET enable_incremental_sort = off
AS $$
DECLARE
  last_id bigint := coalesce(before, 9223372036854775807);
  hash bigint;
BEGIN
  IF of_type IS NULL AND of_lead IS NULL THEN
    RETURN ARRAY(
      SELECT id
      FROM instantly_events
      WHERE campaign_id >= of_campaign
        AND (campaign_id, id) < (of_campaign, last_id)
      ORDER BY campaign_id DESC, id DESC
      OFFSET skipped
      LIMIT size
    );
  ELSIF of_lead IS NULL THEN
    hash := hashtextextended(of_type, 0);
    RETURN ARRAY(
      SELECT id
      FROM instantly_events
      WHERE campaign_id = of_campaign
        AND hashtextextended(event_type, 0) >= hash
        AND (hashtextextended(event_type, 0), id) < (hash, last_id)
        AND event_type = of_type
      ORDER BY hashtextextended(event_type, 0) DESC, id DESC
      OFFSET skipped
      LIMIT size
    );
  END IF;
  hash := hashtextextended(of_lead, 0);
  RETURN ARRAY(
    SELECT id
    FROM instantly_events
    WHERE campaign_id = of_campaign
      AND hashtextextended(lead_email, 0) >= hash
      AND (hashtextextended(lead_email, 0), id) < (hash, last_id)
      AND lead_email = of_lead
      AND (of_type IS NULL OR event_type = of_type)
    ORDER BY hashtextextended(lead_email, 0) DESC, id DESC
    OFFSET skipped
    LIMIT size
  );
END
$$;

-- Up to which id it is certain which events there are. Events after it wait for the oldest transaction
-- that is recording some. The order of the two readings matters: who draws an id after the first one draws
-- a greater one; who drew one before holds a lock in the second, or has ended, which the next statement
-- sees and this one does not.
CREATE OR REPLACE FUNCTION certain_event_id() RETURNS bigint
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  last_drawn bigint := last_value FROM instantly_events_id_seq;
BEGIN
  RETURN least(last_drawn, (
    SELECT min(~(classid::bigint << 32 | objid::bigint))
    FROM pg_locks
    WHERE locktype = 'advisory'
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND objsubid = 1
      -- The sign of a key: negative ones are those of announce_events.
      AND classid::bigint >> 31 = 1
  ));
END
$$;

-- The ids of a campaign's events after an id, up to another one: the oldest ones, or the oldest ones of
-- each of these types. For feed_ids: PostgreSQL puts it into its query, where the settings hold.
CREATE OR REPLACE FUNCTION event_ids_after(
  of_campaign uuid, of_types text[], after bigint, until bigint, size bigint
) RETURNS SETOF bigint
LANGUAGE sql STABLE PARALLEL SAFE AS $$
  (
    SELECT id
    FROM instantly_events
    WHERE of_types IS NULL
      AND (campaign_id, id) > (of_campaign, after)
      AND (campaign_id, id) <= (of_campaign, until)
    ORDER BY campaign_id, id
    LIMIT size
  )
  UNION ALL
  SELECT event.id
  FROM unnest(of_types) AS type
  CROSS JOIN hashtextextended(type, 0) AS hash
  CROSS JOIN LATERAL (
    SELECT id
    FROM instantly_events
    WHERE (campaign_id, hashtextextended(event_type, 0), id) > (of_campaign, hash, after)
      AND (campaign_id, hashtextextended(event_type, 0), id) <= (of_campaign, hash, until)
      AND event_type = type
    ORDER BY campaign_id, hashtextextended(event_type, 0), id
    LIMIT size
  ) AS event
$$;

-- The ids of an organisation's events after an id, up to another one, the oldest first: of these types,
-- or all. First it reads a few of each campaign, which tell how far the page reaches at most, then all up
-- to there. So the cost grows with the campaigns and the size of the page, not with anybody's events, and
-- needs no index of its own. The settings are those of event_ids, for the same reasons.
CREATE OR REPLACE FUNCTION feed_ids(
  of_organization text, of_types text[], after bigint, until bigint, size bigint
) RETURNS bigint[]
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET enable_seqscan = off SET enable_bitmapscan = off
SET enable_sort = off SET enable_incremental_sort = off
AS $$
DECLARE
  lists bigint := count(*) * coalesce(cardinality(of_types), 1)
    FROM instantly_campaigns
    WHERE clerk_org_id = of_organization;
  few bigint := 1 + 4 * size / greatest(lists, 1);
BEGIN
  RETURN ARRAY(
    WITH first AS MATERIALIZED (
      SELECT campaign.id AS campaign_id, event_id
      FROM instantly_campaigns AS campaign
      CROSS JOIN event_ids_after(campaign.id, of_types, after, until, few) AS event_id
      WHERE clerk_org_id = of_organization
      ORDER BY event_id
      LIMIT size
    ),
    reach AS MATERIALIZED (
      SELECT CASE WHEN count(*) = size THEN max(event_id) ELSE until END AS last_id
      FROM first
    )
    SELECT event_id
    FROM reach
    CROSS JOIN (SELECT DISTINCT campaign_id FROM first) AS campaign
    CROSS JOIN event_ids_after(campaign_id, of_types, after, last_id, size) AS event_id
    ORDER BY event_id
    LIMIT size
  );
END
$$;

-- How many of these events, from the first on, have payloads of so many bytes in all; one at least.
CREATE OR REPLACE FUNCTION events_that_fit(ids bigint[], max_bytes bigint) RETURNS bigint
LANGUAGE plpgsql STABLE PARALLEL SAFE
AS $$
DECLARE
  bytes bigint := 0;
BEGIN
  FOR number IN 1..cardinality(ids) LOOP
    bytes := bytes + octet_length(payload::text) FROM instantly_events WHERE id = ids[number];
    IF bytes > max_bytes THEN
      RETURN greatest(number - 1, 1);
    END IF;
  END LOOP;
  RETURN cardinality(ids);
END
$$;

-- With the payload as it was delivered, if that is asked for: nothing here may parse it.
CREATE OR REPLACE FUNCTION event_json(event instantly_events, with_payload boolean) RETURNS json
LANGUAGE sql STABLE PARALLEL SAFE AS $$
  SELECT CASE
    WHEN with_payload THEN json_build_object(
      'id', event.id::text,
      'campaignId', event.campaign_id,
      'eventType', event.event_type,
      'leadEmail', event.lead_email,
      'accountEmail', event.account_email,
      'step', event.step,
      'variant', event.variant,
      'occurredAt', api_time(event.occurred_at),
      'receivedAt', api_time(event.received_at),
      'payload', event.payload
    )
    ELSE json_build_object(
      'id', event.id::text,
      'campaignId', event.campaign_id,
      'eventType', event.event_type,
      'leadEmail', event.lead_email,
      'accountEmail', event.account_email,
      'step', event.step,
      'variant', event.variant,
      'occurredAt', api_time(event.occurred_at),
      'receivedAt', api_time(event.received_at)
    )
  END
$$;

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
