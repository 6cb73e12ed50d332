-- What statements share: the strength of a status, whom an organisation erased, whether a lease or a run
-- still stands, up to where events are certain, the outward form of rows and pages (a new field of an
-- answer is a line here). `python -m instantly.migrate` puts these functions in place each time it runs, and
-- those of the files whose names end like this one's.

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

-- Of two labels the later one; without a time, the new one.
CREATE OR REPLACE FUNCTION later_label(
  label text, labelled_at timestamptz, to_label text, happened_at timestamptz
) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT CASE WHEN labelled_at > happened_at OR to_label IS NULL THEN label ELSE to_label END
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
-- Planned for these leads each time: a plan from when the tables were small reads them whole for each lead.
CREATE OR REPLACE FUNCTION raise_new_leads(
  of_campaign uuid, lead_ids uuid[], statuses jsonb
) RETURNS void
LANGUAGE plpgsql VOLATILE SET plan_cache_mode = force_custom_plan AS $$
BEGIN
  WITH known AS MATERIALIZED (
    SELECT DISTINCT ON (lead.id) lead.id, fact.status, fact.happened_at
    FROM unnest(lead_ids) AS new (id)
    CROSS JOIN LATERAL (
      SELECT *
      FROM instantly_leads
      WHERE instantly_leads.id = new.id
      OFFSET 0
    ) AS lead
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
    ORDER BY
      lead.id, status_strength(fact.status) DESC, fact.happened_at DESC NULLS LAST, fact.id DESC
  )
  UPDATE instantly_leads AS lead
  SET
    status = known.status,
    labelled_at = CASE
      WHEN status_strength(known.status) = 6 THEN known.happened_at ELSE lead.labelled_at
    END
  FROM known
  WHERE lead.id = known.id
    AND gives_way(lead.status, lead.labelled_at, known.status, known.happened_at);
END
$$;

-- How a person is known again who was erased: HMAC-SHA256 of the address (lower case).
CREATE OR REPLACE FUNCTION erasure_hash(address text, key instantly_erasure_key) RETURNS bytea
LANGUAGE sql STABLE PARALLEL SAFE AS $$
  SELECT sha256(key.outer_pad || sha256(key.inner_pad || convert_to(address, 'UTF8')))
$$;

-- Those of the addresses that were erased. Nothing is hashed for an organisation that erased nobody, and no
-- address twice: a join that hashed for each pair took seconds for a thousand. OFFSET keeps the planner to
-- the index, and to an idea of how many there are.
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
  CROSS JOIN LATERAL (
    SELECT erased.pseudonym
    FROM instantly_erased AS erased
    WHERE erased.clerk_org_id = of_organization
      AND erased.hash = asked.hash
    OFFSET 0
  ) AS erased
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
