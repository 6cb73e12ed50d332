-- name: insert_open_run
-- Remembers a run until runs-service knows its end.
INSERT INTO instantly_open_runs (run_id, task_name, subject, alive_until)
VALUES (
  %(run_id)s, %(task_name)s, %(subject)s,
  clock_timestamp() + make_interval(secs => %(seconds)s)
);

-- name: update_open_run
-- Says that the runs' process lives.
UPDATE instantly_open_runs
SET alive_until = clock_timestamp() + make_interval(secs => %(seconds)s)
WHERE run_id = ANY (%(holders)s::uuid[]);

-- name: update_open_run_outcome
-- The act has ended; runs-service is told next.
UPDATE instantly_open_runs
SET outcome = %(outcome)s
WHERE run_id = %(run_id)s;

-- name: delete_open_run
-- runs-service knows the end of the run.
DELETE FROM instantly_open_runs
WHERE run_id = %(run_id)s;

-- name: select_dead_runs
-- The runs whose processes have fallen silent.
SELECT run_id::text, task_name, subject, outcome, api_time(started_at) AS started_at
FROM instantly_open_runs
WHERE alive_until < clock_timestamp()
ORDER BY started_at;
