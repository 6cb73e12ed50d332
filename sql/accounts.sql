-- name: select_accounts
-- The answer of GET /accounts as JSON.
SELECT json_build_object(
  'accounts', coalesce(json_agg(account_json(account) ORDER BY lower(email)), '[]')
) AS body
FROM instantly_accounts AS account;

-- name: upsert_accounts
-- The accounts as Instantly lists them; where the list is complete, the others are marked removed.
WITH listed AS (
  SELECT DISTINCT ON (lower(email)) *
  FROM json_to_recordset(%(accounts)s::json) AS listed (
    email text, status text, warmup_enabled boolean, warmup_status text,
    warmup_score double precision, daily_send_limit integer, provider_code integer
  )
),
upserted AS (
  INSERT INTO instantly_accounts AS account (
    email, status, warmup_enabled, warmup_status, warmup_score, daily_send_limit, provider_code
  )
  SELECT
    email, status, warmup_enabled, warmup_status, warmup_score, daily_send_limit, provider_code
  FROM listed
  -- Always in one order: two syncs at once must not wait for each other.
  ORDER BY lower(email)
  ON CONFLICT (lower(email)) DO UPDATE
  SET
    status = excluded.status,
    warmup_enabled = excluded.warmup_enabled,
    warmup_status = excluded.warmup_status,
    warmup_score = excluded.warmup_score,
    daily_send_limit = excluded.daily_send_limit,
    provider_code = excluded.provider_code,
    updated_at = clock_timestamp()
),
removed AS (
  UPDATE instantly_accounts
  SET status = 'removed', updated_at = clock_timestamp()
  WHERE %(is_complete)s::boolean
    AND status <> 'removed'
    AND lower(email) NOT IN (SELECT lower(email) FROM listed)
  RETURNING 1
)
SELECT
  (SELECT count(*) FROM listed) AS synced,
  (SELECT count(*) FROM removed) AS removed;

-- name: select_account_emails
-- The addresses that Instantly listed last.
SELECT email
FROM instantly_accounts
WHERE status <> 'removed'
ORDER BY lower(email);

-- name: update_account_warmup
-- What Instantly accepted for one account.
UPDATE instantly_accounts
SET
  warmup_enabled = %(enabled)s,
  warmup_status = CASE WHEN %(enabled)s THEN 'active' ELSE 'paused' END,
  updated_at = clock_timestamp()
WHERE lower(email) = lower(%(email)s);
