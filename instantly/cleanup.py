"""python -m instantly.cleanup: ends the runs of dead processes, and names what may be left over."""

import sys

from instantly.clients.runs import RunsServiceClient, RunsServiceError
from instantly.storage.commands import command_database
from instantly.storage.statements import Database

LEFT_OVER = {
    "campaign-create": "Instantly may hold a draft (which never sends), or no cost may be logged",
    "leads-add": "Instantly may hold leads that a repeat will adopt, or no cost may be logged",
}


def clean_up(database: Database, runs: RunsServiceClient) -> list[str]:
    """Ends each dead run, as `failed` unless its end is known; returns a line for each.

    A run that runs-service cannot be told of now is tried again next time.
    """
    lines = []
    for run in database.fetch_all("update_dead_runs"):
        outcome = run["outcome"]
        line = f"run {run['run_id']} ({run['task_name']}, {run['started_at']}), {run['subject']}: "
        try:
            runs.end_run(
                run["run_id"], outcome, None if outcome == "completed" else "its process died"
            )
        except RunsServiceError as error:
            if error.status != 404:
                lines.append(line + f"could not be ended: {error.message}")
                continue
        run_id = run["run_id"]
        database.execute("delete_open_run", run_id=run_id, name=f"run:{run_id}")
        left_over = "" if outcome == "completed" else f"; {LEFT_OVER[run['task_name']]}"
        lines.append(line + f"ended as {outcome}{left_over}")
    database.execute("delete_dead_leases")
    return lines


def main() -> None:
    with command_database() as (settings, database):
        runs = RunsServiceClient(
            settings.runs_service_url, settings.runs_service_api_key, settings.trusted_certificates
        )
        lines = clean_up(database, runs)
    sys.stdout.write("\n".join(lines or ["nothing to clean up"]) + "\n")


if __name__ == "__main__":
    main()
