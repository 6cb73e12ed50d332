-- The outward form of rows: what a campaign, an account and a time look like in answers. A new field
-- is a line here. `python -m instantly.migrate` puts these in place each time it runs.

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
