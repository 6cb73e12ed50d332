-- name: upsert_campaign_lock
-- Takes the lock if it is free or its holder dead; answers nothing otherwise.
INSERT INTO instantly_campaign_locks AS lock (campaign_id, scope, holder, alive_until)
VALUES (
  %(campaign_id)s, %(scope)s, %(holder)s,
  clock_timestamp() + make_interval(secs => %(seconds)s)
)
ON CONFLICT (campaign_id, scope) DO UPDATE
SET holder = excluded.holder, alive_until = excluded.alive_until
WHERE lock.alive_until < clock_timestamp()
RETURNING holder;

-- name: update_campaign_lock
-- Says that the holders live.
UPDATE instantly_campaign_locks
SET alive_until = clock_timestamp() + make_interval(secs => %(seconds)s)
WHERE holder = ANY (%(holders)s::uuid[]);

-- name: select_campaign_lock
-- Whether the lock is still the holder's.
SELECT holder
FROM instantly_campaign_locks
WHERE campaign_id = %(campaign_id)s
  AND scope = %(scope)s
  AND holder = %(holder)s;

-- name: delete_campaign_lock
-- Gives the lock back, if it is still the holder's.
DELETE FROM instantly_campaign_locks
WHERE campaign_id = %(campaign_id)s
  AND scope = %(scope)s
  AND holder = %(holder)s;
