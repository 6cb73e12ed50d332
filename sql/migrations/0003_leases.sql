-- One kind of lease for locks, idempotency keys and runs under way, in place of three.

CREATE TABLE instantly_leases (
  -- What is held: leads:<campaign id>, status:<campaign id>, key:<hash>, run:<run id>.
  name text PRIMARY KEY,
  holder uuid NOT NULL,
  -- How long the holder may be silent.
  seconds integer NOT NULL,
  alive_until timestamptz NOT NULL
);

DROP TABLE instantly_campaign_locks;

ALTER TABLE instantly_open_runs DROP COLUMN alive_until;

-- A row is an answer now. What was claimed without one is free again.
DELETE FROM instantly_idempotency_keys WHERE status IS NULL;

DROP INDEX instantly_idempotency_keys_by_holder;

ALTER TABLE instantly_idempotency_keys
  DROP COLUMN alive_until,
  ALTER COLUMN status SET NOT NULL,
  ALTER COLUMN body SET NOT NULL;
