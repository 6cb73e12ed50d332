-- name: insert_open_run
-- Remembers a run until runs-service knows its end, with the lease of the process that does the act.
WITH lease AS (
  INSERT INTO instantly_leases (name, holder, seconds, alive_until)
  VALUES (
    %(name)s, %(holder)s, %(seconds)s::integer,
    clock_timestamp() + make_interval(secs => %(seconds)s::integer)
  )
)
INSERT INTO instantly_open_runs (run_id, task_name, subject)
VALUES (%(run_id)s, %(task_name)s, %(subject)s);

-- name: select_open_run
-- The run, as long as it has no end.
SELECT run_id
FROM instantly_open_runs
WHERE run_id = %(run_id)s
  AND outcome IS NULL;

-- name: update_open_run_outcome
-- The act has ended; runs-service is told next.
UPDATE instantly_open_runs
SET outcome = %(outcome)s
WHERE run_id = %(run_id)s;

-- name: delete_open_run
-- runs-service knows the end of the run.
WITH lease AS (
  DELETE FROM instantly_leases
  WHERE name = %(name)s
)
DELETE FROM instantly_open_runs
WHERE run_id = %(run_id)s;

-- name: update_dead_runs
-- Ends the runs whose processes have fallen silent, as failed where nothing else is known: should such
-- a process live after all, it stores nothing any more.
WITH dead AS (
  UPDATE instantly_open_runs AS run
  SET outcome = coalesce(outcome, 'failed')
  WHERE NOT EXISTS (
    SELECT
    FROM instantly_leases
    WHERE name = 'run:' || run.run_id
      AND alive_until >= clock_timestamp()
  )
  RETURNING *
)
SELECT run_id::text, task_name, subject, outcome, api_time(started_at) AS started_at
FROM dead
ORDER BY dead.started_at;
