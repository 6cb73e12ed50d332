-- name: upsert_idempotency_key
-- Claims a key that is new, older than a day, or left by a dead process before its act was stored;
-- answers nothing otherwise. Removes some of the keys that are older than a day.
-- (Chosen first and once: inside the DELETE the choice may be made again for every row.)
WITH expired AS MATERIALIZED (
  SELECT key, method, path
  FROM instantly_idempotency_keys
  WHERE created_at < clock_timestamp() - interval '24 hours'
    AND (key, method, path) <> (%(key)s, %(method)s, %(path)s)
  ORDER BY created_at
  LIMIT 100
  FOR UPDATE SKIP LOCKED
),
removed AS (
  DELETE FROM instantly_idempotency_keys AS old
  USING expired
  WHERE old.key = expired.key
    AND old.method = expired.method
    AND old.path = expired.path
)
INSERT INTO instantly_idempotency_keys AS claim (
  key, method, path, request_hash, holder, alive_until
)
VALUES (
  %(key)s, %(method)s, %(path)s, %(request_hash)s, %(holder)s,
  clock_timestamp() + make_interval(secs => %(seconds)s)
)
ON CONFLICT (key, method, path) DO UPDATE
SET
  request_hash = excluded.request_hash,
  holder = excluded.holder,
  alive_until = excluded.alive_until,
  status = NULL,
  body = NULL,
  is_final = false,
  created_at = clock_timestamp()
WHERE claim.created_at < clock_timestamp() - interval '24 hours'
  OR (claim.status IS NULL AND claim.alive_until < clock_timestamp())
RETURNING holder;

-- name: select_idempotency_key
-- What is known of a key that could not be claimed.
SELECT
  request_hash,
  status,
  body,
  is_final OR (status IS NOT NULL AND alive_until < clock_timestamp()) AS is_answered
FROM instantly_idempotency_keys
WHERE key = %(key)s
  AND method = %(method)s
  AND path = %(path)s;

-- name: update_idempotency_key
-- Says that the holders live.
UPDATE instantly_idempotency_keys
SET alive_until = clock_timestamp() + make_interval(secs => %(seconds)s)
WHERE NOT is_final
  AND holder = ANY (%(holders)s::uuid[]);

-- name: update_idempotency_answer
-- Keeps the answer with the act itself; final when nothing can go wrong any more.
UPDATE instantly_idempotency_keys
SET status = %(status)s, body = %(body)s, is_final = %(is_final)s
WHERE key = %(key)s
  AND method = %(method)s
  AND path = %(path)s
  AND holder = %(holder)s;

-- name: delete_idempotency_key
-- Frees the key: nothing was done.
DELETE FROM instantly_idempotency_keys
WHERE key = %(key)s
  AND method = %(method)s
  AND path = %(path)s
  AND holder = %(holder)s;
