-- The tables of the service.

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
  -- When the latest reconcile began that found the lead in Instantly.
  reconciled_at timestamptz,
  org_id text NOT NULL,
  -- NULL for a lead that was found in Instantly: nobody is billed for it.
  run_id uuid,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE UNIQUE INDEX instantly_leads_by_email ON instantly_leads (campaign_id, lower(email));
CREATE INDEX instantly_leads_by_campaign ON instantly_leads (campaign_id, position);
-- For what is known of an address over all campaigns.
CREATE INDEX instantly_leads_by_address ON instantly_leads (lower(email));

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
  -- The text as it was delivered. Look into it in Python: ->> fails at NUL and half surrogate pairs.
  payload json NOT NULL
);

-- A campaign's events by pages: all, those of a type, of a lead, of both. By hashes, since the name of
-- an event may be longer than an index takes, and numbers are compared fast.
CREATE INDEX instantly_events_by_arrival ON instantly_events (campaign_id, id);
CREATE INDEX instantly_events_by_type
  ON instantly_events (campaign_id, hashtextextended(event_type, 0), id);
CREATE INDEX instantly_events_by_lead
  ON instantly_events (campaign_id, hashtextextended(lead_email, 0), id);
CREATE INDEX instantly_events_by_lead_and_type ON instantly_events (
  campaign_id, hashtextextended(lead_email, hashtextextended(event_type, 0)), id
);

-- What is known of one lead and one step: statistics read this and never the events, whose number has
-- no bound. The statement that records an event counts it here.
-- '' stands for no lead, 0 for no step: NULLs are never equal to each other.
CREATE TABLE instantly_lead_activity (
  campaign_id uuid NOT NULL REFERENCES instantly_campaigns ON DELETE CASCADE,
  lead_email text NOT NULL,
  step bigint NOT NULL,
  sent integer NOT NULL DEFAULT 0,
  opened integer NOT NULL DEFAULT 0,
  clicked integer NOT NULL DEFAULT 0,
  replied integer NOT NULL DEFAULT 0,
  bounced integer NOT NULL DEFAULT 0,
  auto_replied integer NOT NULL DEFAULT 0,
  not_interested integer NOT NULL DEFAULT 0,
  out_of_office integer NOT NULL DEFAULT 0,
  unsubscribed integer NOT NULL DEFAULT 0,
  -- When the latest event happened that names this lead and this step, also one that counts nowhere;
  -- NULL without any.
  last_event_at timestamptz,
  -- What Instantly's own fields say of the lead, without an event (contacted, opened, …), at step 0.
  proved text[],
  -- To tell leads apart in thousands: numbers are sorted several times as fast as addresses.
  lead_hash bigint GENERATED ALWAYS AS (hashtextextended(lead_email, 0)) STORED,
  PRIMARY KEY (campaign_id, lead_email, step)
);

-- For what is known of an address over all campaigns.
CREATE INDEX instantly_lead_activity_by_address ON instantly_lead_activity (lead_email);

CREATE TABLE instantly_analytics_snapshots (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  campaign_id uuid NOT NULL REFERENCES instantly_campaigns ON DELETE CASCADE,
  total_leads bigint NOT NULL,
  contacted bigint NOT NULL,
  opened bigint NOT NULL,
  replied bigint NOT NULL,
  bounced bigint NOT NULL,
  unsubscribed bigint NOT NULL,
  raw_data json,
  snapshot_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE INDEX instantly_analytics_snapshots_latest
  ON instantly_analytics_snapshots (campaign_id, snapshot_at DESC);

-- Something is one holder's alone until that holder falls silent: a lock, an idempotency key, a run
-- under way.
CREATE TABLE instantly_leases (
  -- What is held: leads:<campaign id>, status:<campaign id>, webhooks:<hash>, key:<hash>, run:<run id>.
  name text PRIMARY KEY,
  holder uuid NOT NULL,
  -- How long the holder may be silent.
  seconds integer NOT NULL,
  alive_until timestamptz NOT NULL
);

-- Runs whose end runs-service does not know yet.
CREATE TABLE instantly_open_runs (
  run_id uuid PRIMARY KEY,
  task_name text NOT NULL,
  -- What the run is about, for whoever has to clean up.
  subject text NOT NULL,
  -- Set when the act has ended, before runs-service is told.
  outcome text CHECK (outcome IN ('completed', 'failed')),
  started_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- The answers that repeats get.
CREATE TABLE instantly_idempotency_keys (
  key text NOT NULL,
  method text NOT NULL,
  path text NOT NULL,
  request_hash bytea NOT NULL,
  holder uuid NOT NULL,
  status smallint NOT NULL,
  body text NOT NULL,
  -- Until the answer is final, the act may still be undone.
  is_final boolean NOT NULL DEFAULT false,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (key, method, path)
);

CREATE INDEX instantly_idempotency_keys_by_age ON instantly_idempotency_keys (created_at);
