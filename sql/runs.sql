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

-- name: select_dead_runs
-- The runs whose processes have fallen silent.
SELECT run_id::text, task_name, subject, outcome, api_time(started_at) AS started_at
FROM instantly_open_runs
LEFT JOIN instantly_leases ON name = 'run:' || run_id
WHERE alive_until IS NULL
  OR alive_until < clock_timestamp()
ORDER BY started_at;
