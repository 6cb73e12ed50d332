-- Who asked to be forgotten. What is kept of an address is a keyed hash: enough to know it again, and
-- nothing to read.

-- The key of HMAC-SHA256, random and of this database alone, as its two pads:
-- sha256(outer_pad || sha256(inner_pad || address)).
CREATE TABLE instantly_erasure_key (
  is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only),
  inner_pad bytea NOT NULL,
  outer_pad bytea NOT NULL
);

INSERT INTO instantly_erasure_key (inner_pad, outer_pad)
SELECT
  string_agg(set_byte('\x00', 0, get_byte(bytes, place) # 54), '' ORDER BY place),
  string_agg(set_byte('\x00', 0, get_byte(bytes, place) # 92), '' ORDER BY place)
FROM (
  SELECT decode(replace(string_agg(gen_random_uuid()::text, ''), '-', ''), 'hex') AS bytes
  FROM generate_series(1, 4)
) AS key
CROSS JOIN generate_series(0, 63) AS place;

CREATE TABLE instantly_erased (
  clerk_org_id text NOT NULL,
  hash bytea NOT NULL,
  -- What stands in the place of the address in events and statistics: people stay as many as they were.
  pseudonym text NOT NULL,
  erased_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (clerk_org_id, hash)
);

-- The leads that campaigns held of such people, for the statistics.
CREATE TABLE instantly_erased_leads (
  campaign_id uuid NOT NULL REFERENCES instantly_campaigns ON DELETE CASCADE,
  pseudonym text NOT NULL,
  PRIMARY KEY (campaign_id, pseudonym)
);
