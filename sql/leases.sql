-- name: upsert_lease
-- Takes the lease if it is free or its holder dead; answers nothing otherwise.
INSERT INTO instantly_leases AS lease (name, holder, seconds, alive_until)
VALUES (
  %(name)s, %(holder)s, %(seconds)s::integer,
  clock_timestamp() + make_interval(secs => %(seconds)s::integer)
)
ON CONFLICT (name) DO UPDATE
SET holder = excluded.holder, seconds = excluded.seconds, alive_until = excluded.alive_until
WHERE lease.alive_until < clock_timestamp()
RETURNING name;

-- name: update_leases
-- Says that the holders live; answers which leases were renewed. One that a statement of its holder
-- has locked waits for the next time: to wait for it here could be a deadlock.
WITH free AS MATERIALIZED (
  SELECT name
  FROM instantly_leases
  WHERE holder = ANY (%(holders)s::uuid[])
  FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE instantly_leases AS lease
SET alive_until = clock_timestamp() + make_interval(secs => seconds)
FROM free
WHERE lease.name = free.name
RETURNING holder::text;

-- name: select_lease
-- Whether the lease is still the holder's.
SELECT name
FROM instantly_leases
WHERE name = %(name)s
  AND holder = %(holder)s;

-- name: delete_lease
-- Gives the lease back, if it is still the holder's.
DELETE FROM instantly_leases
WHERE name = %(name)s
  AND holder = %(holder)s;

-- name: delete_dead_leases
-- Removes what dead processes held.
DELETE FROM instantly_leases
WHERE alive_until < clock_timestamp();
