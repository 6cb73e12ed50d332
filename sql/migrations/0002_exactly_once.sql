-- What makes an act happen once: locks, kept answers, and the runs that are under way.
-- Who holds a row says so every few seconds; one that has fallen silent is dead.

CREATE TABLE instantly_campaign_locks (
  campaign_id uuid NOT NULL REFERENCES instantly_campaigns ON DELETE CASCADE,
  scope text NOT NULL CHECK (scope IN ('leads', 'status')),
  holder uuid NOT NULL,
  alive_until timestamptz NOT NULL,
  PRIMARY KEY (campaign_id, scope)
);

CREATE TABLE instantly_open_runs (
  run_id uuid PRIMARY KEY,
  task_name text NOT NULL,
  -- What the run is about, for whoever has to clean up.
  subject text NOT NULL,
  -- Set when the act has ended, before runs-service is told.
  outcome text CHECK (outcome IN ('completed', 'failed')),
  started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  alive_until timestamptz NOT NULL
);

CREATE TABLE instantly_idempotency_keys (
  key text NOT NULL,
  method text NOT NULL,
  path text NOT NULL,
  request_hash bytea NOT NULL,
  holder uuid NOT NULL,
  alive_until timestamptz NOT NULL,
  -- The answer, from the moment on at which the act is stored; until it is final, a repeat gets it
  -- only when the holder is dead.
  status smallint,
  body text,
  is_final boolean NOT NULL DEFAULT false,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (key, method, path)
);

CREATE INDEX instantly_idempotency_keys_by_holder
  ON instantly_idempotency_keys (holder) WHERE NOT is_final;
CREATE INDEX instantly_idempotency_keys_by_age ON instantly_idempotency_keys (created_at);
