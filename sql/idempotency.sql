-- name: select_answer
-- The answer that is kept under a key, for a day.
SELECT request_hash, status, body
FROM instantly_idempotency_keys
WHERE key = %(key)s
  AND method = %(method)s
  AND path = %(path)s
  AND created_at >= clock_timestamp() - interval '24 hours';

-- name: upsert_answer
-- Keeps an answer, if the key is still its holder's; answers nothing otherwise. Removes some of the
-- answers that are older than a day.
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
INSERT INTO instantly_idempotency_keys AS answer (key, method, path, request_hash, status, body)
SELECT %(key)s, %(method)s, %(path)s, %(request_hash)s, %(status)s, %(body)s
FROM instantly_leases
WHERE name = %(name)s
  AND holder = %(holder)s
ON CONFLICT (key, method, path) DO UPDATE
SET
  request_hash = excluded.request_hash,
  status = excluded.status,
  body = excluded.body,
  created_at = clock_timestamp()
RETURNING key;

-- name: delete_answer
-- Forgets an answer whose act is taken back, if the key is still its holder's.
DELETE FROM instantly_idempotency_keys
WHERE key = %(key)s
  AND method = %(method)s
  AND path = %(path)s
  AND EXISTS (
    SELECT
    FROM instantly_leases
    WHERE name = %(name)s
      AND holder = %(holder)s
  );
