-- Which events a page has: of a campaign, or of an organisation that follows them.

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
