-- name: select_answer
-- The answer that is kept under a key, for a day.
SELECT request_hash, status, body, is_final
FROM instantly_idempotency_keys
WHERE key = %(key)s
  AND method = %(method)s
  AND path = %(path)s
  AND created_at >= clock_timestamp() - interval '24 hours';

-- name: upsert_answer
-- Keeps an answer, if the key is still its holder's; answers nothing otherwise. Until it is final, the
-- act may still be undone. Removes some of the answers that are older than a day.
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
INSERT INTO instantly_idempotency_keys AS answer (
  key, method, path, holder, request_hash, status, body, is_final
)
SELECT
  %(key)s, %(method)s, %(path)s, %(holder)s, %(request_hash)s, %(status)s, %(body)s, %(is_final)s
WHERE holds_lease(%(name)s, %(holder)s)
ON CONFLICT (key, method, path) DO UPDATE
SET
  holder = excluded.holder,
  is_final = excluded.is_final,
  request_hash = excluded.request_hash,
  status = excluded.status,
  -- What was stored with the act may have been changed by an erasure since.
  body = CASE
    WHEN answer.holder = excluded.holder AND answer.status = excluded.status THEN answer.body
    ELSE excluded.body
  END,
  created_at = clock_timestamp()
RETURNING key;

-- name: delete_answer
-- Forgets the answer that the holder kept of an act which is taken back.
DELETE FROM instantly_idempotency_keys
WHERE key = %(key)s
  AND method = %(method)s
  AND path = %(path)s
  AND holder = %(holder)s;
