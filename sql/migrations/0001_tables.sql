-- The five tables of the service, and the outward form of their rows.

CREATE TABLE instantly_campaigns (
  id uuid PRIMARY KEY,
  -- The order of arrival: what lists are paged by.
  position bigint GENERATED ALWAYS AS IDENTITY,
  instantly_campaign_id uuid NOT NULL UNIQUE,
  org_id text NOT NULL,
  clerk_org_id text NOT NULL,
  brand_id text NOT NULL,
  app_id text NOT NULL,
  name text NOT NULL,
  status text NOT NULL DEFAULT 'draft' CHECK (status IN (
    'draft', 'active', 'paused', 'completed', 'running_subsequences',
    'accounts_unhealthy', 'bounce_protect', 'account_suspended'
  )),
  run_id uuid NOT NULL,
  parent_run_id uuid,
  metadata json CHECK (json_typeof(metadata) = 'object'),
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE INDEX instantly_campaigns_by_org ON instantly_campaigns (org_id, position);
CREATE INDEX instantly_campaigns_by_clerk_org ON instantly_campaigns (clerk_org_id);
CREATE INDEX instantly_campaigns_by_brand ON instantly_campaigns (brand_id);
CREATE INDEX instantly_campaigns_by_app ON instantly_campaigns (app_id);
CREATE INDEX instantly_campaigns_by_run ON instantly_campaigns (run_id);
CREATE INDEX instantly_campaigns_by_parent_run ON instantly_campaigns (parent_run_id);

CREATE TABLE instantly_leads (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  position bigint GENERATED ALWAYS AS IDENTITY,
  campaign_id uuid NOT NULL REFERENCES instantly_campaigns ON DELETE CASCADE,
  instantly_lead_id text NOT NULL,
  email text NOT NULL,
  first_name text,
  last_name text,
  company_name text,
  -- json and not jsonb: kept as it is, shown as it is, never searched.
  custom_variables json NOT NULL DEFAULT '{}' CHECK (json_typeof(custom_variables) = 'object'),
  status text NOT NULL DEFAULT 'active' CHECK (status IN (
    'active', 'contacted', 'opened', 'clicked', 'replied', 'interested', 'neutral',
    'not_interested', 'meeting_booked', 'meeting_completed', 'closed', 'lost', 'out_of_office',
    'wrong_person', 'no_show', 'bounced', 'unsubscribed', 'skipped', 'completed'
  )),
  -- When the event happened that set the present interest label.
  labelled_at timestamptz,
  org_id text NOT NULL,
  run_id uuid NOT NULL,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE UNIQUE INDEX instantly_leads_by_email ON instantly_leads (campaign_id, lower(email));
CREATE INDEX instantly_leads_by_campaign ON instantly_leads (campaign_id, position);

CREATE TABLE instantly_accounts (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  email text NOT NULL,
  status text NOT NULL CHECK (status IN (
    'active', 'paused', 'maintenance', 'connection_error', 'soft_bounce_error', 'sending_error',
    'removed'
  )),
  warmup_enabled boolean NOT NULL,
  warmup_status text NOT NULL,
  warmup_score double precision,
  daily_send_limit integer,
  provider_code integer,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE UNIQUE INDEX instantly_accounts_by_email ON instantly_accounts (lower(email));

CREATE TABLE instantly_events (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  campaign_id uuid NOT NULL REFERENCES instantly_campaigns ON DELETE CASCADE,
  event_type text NOT NULL,
  lead_email text,
  account_email text,
  step bigint CHECK (step > 0),
  variant bigint CHECK (variant > 0),
  occurred_at timestamptz NOT NULL,
  received_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  -- Instantly gives its deliveries no id: this is the hash of the whole payload.
  fingerprint bytea NOT NULL UNIQUE,
  payload jsonb NOT NULL
);

CREATE INDEX instantly_events_by_campaign ON instantly_events (campaign_id);

-- What the events of one lead and one step add up to: the statistics read this and never the events,
-- whose number has no bound. Written by the statement that records an event.
-- '' stands for no lead, 0 for no step: NULLs are never equal to each other.
CREATE TABLE instantly_lead_activity (
  campaign_id uuid NOT NULL REFERENCES instantly_campaigns ON DELETE CASCADE,
  lead_email text NOT NULL,
  step bigint NOT NULL,
  sent integer NOT NULL,
  opened integer NOT NULL,
  clicked integer NOT NULL,
  replied integer NOT NULL,
  bounced integer NOT NULL,
  auto_replied integer NOT NULL,
  not_interested integer NOT NULL,
  out_of_office integer NOT NULL,
  unsubscribed integer NOT NULL,
  -- To tell leads apart in thousands: numbers are sorted several times as fast as addresses.
  lead_hash bigint GENERATED ALWAYS AS (hashtextextended(lead_email, 0)) STORED,
  PRIMARY KEY (campaign_id, lead_email, step)
);

CREATE TABLE instantly_analytics_snapshots (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  campaign_id uuid NOT NULL REFERENCES instantly_campaigns ON DELETE CASCADE,
  total_leads bigint NOT NULL,
  contacted bigint NOT NULL,
  opened bigint NOT NULL,
  replied bigint NOT NULL,
  bounced bigint NOT NULL,
  unsubscribed bigint NOT NULL,
  raw_data jsonb,
  snapshot_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE INDEX instantly_analytics_snapshots_latest
  ON instantly_analytics_snapshots (campaign_id, snapshot_at DESC);

-- Times as the API writes them: 2026-02-25T12:00:00.000Z.
CREATE FUNCTION api_time(moment timestamptz) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE AS $$
  SELECT to_char(moment AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
$$;

CREATE FUNCTION campaign_json(campaign instantly_campaigns) RETURNS json
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

CREATE FUNCTION account_json(account instantly_accounts) RETURNS json
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
