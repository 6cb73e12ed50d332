"""Instantly's sending accounts, and the jobs that switch their warmup."""

import secrets
from datetime import date, timedelta

from instantly.sandbox.state import (
    DEFAULT_PAGE_SIZE,
    Call,
    Job,
    Json,
    Workspace,
    not_found,
    now,
)

DAYS_OF_ANALYTICS = 3


class Accounts:
    """The operations on accounts.

    A warmup job is done at its poll number `job_polls`, and then comes to `job_outcome`.
    """

    job_polls = 3
    job_outcome = "success"

    def list_accounts(self, workspace: Workspace, call: Call) -> Json:
        """Newest first and shortened; the cursor is `<timestamp_created>&<email>`."""
        places = {
            f"{account['timestamp_created']}&{account['email']}": account
            for account in workspace.accounts.values()
        }
        cursor = call.query.get("starting_after")
        rest = sorted((place for place in places if not cursor or place < cursor), reverse=True)
        picked = rest[: call.query.get("limit", DEFAULT_PAGE_SIZE)]
        if not picked:
            return {"items": []}
        accounts = (places[place] for place in picked)
        items = [{**a, "warmup": {"limit": a["warmup"]["limit"]}} for a in accounts]
        return {"items": items, "next_starting_after": picked[-1]}

    def get_account(self, workspace: Workspace, call: Call) -> Json:
        return workspace.accounts.get(call.parameter) or not_found()

    def enable_warmup(self, workspace: Workspace, call: Call) -> Json:
        return start_job(workspace, call.body.get("emails", []), warmup_status=1)

    def disable_warmup(self, workspace: Workspace, call: Call) -> Json:
        return start_job(workspace, call.body.get("emails", []), warmup_status=0)

    def get_background_job(self, workspace: Workspace, call: Call) -> Json:
        """Each poll moves the job on: in-progress, and at the last one what it comes to."""
        job = workspace.jobs.get(call.parameter) or not_found()
        if job.polls < self.job_polls:
            job.polls += 1
            job.view.update(
                status="in-progress", progress=100 * job.polls // self.job_polls, updated_at=now()
            )
            if job.polls == self.job_polls:
                job.view["status"] = self.job_outcome
                if self.job_outcome == "success":
                    switch_warmup(workspace, job)
        return job.view

    def get_warmup_analytics(self, workspace: Workspace, call: Call) -> Json:
        """Figures of the last days; accounts without warmup are left out."""
        emails = [
            email
            for email in call.body["emails"]
            if workspace.accounts.get(email, {}).get("warmup_status") == 1
        ]
        days = [str(date.today() - timedelta(days=age)) for age in range(DAYS_OF_ANALYTICS)]
        a_day = {"sent": 10, "landed_inbox": 9, "landed_spam": 1, "received": 8}
        in_all = {name: DAYS_OF_ANALYTICS * figure for name, figure in a_day.items()}
        health = {"health_score": 90, "health_score_label": "90%"}
        return {
            "email_date_data": {email: dict.fromkeys(days, a_day) for email in emails},
            "aggregate_data": {email: {**in_all, **health} for email in emails},
        }


def start_job(workspace: Workspace, emails: list[str], warmup_status: int) -> Json:
    view: Json = {
        "id": secrets.token_hex(12),
        "workspace_id": workspace.id,
        "type": "update-warmup-accounts",
        "status": "pending",
        "progress": 0,
        "created_at": now(),
        "updated_at": now(),
    }
    workspace.jobs[view["id"]] = Job(view, emails, warmup_status)
    return view


def switch_warmup(workspace: Workspace, job: Job) -> None:
    for email in job.emails:
        if email in workspace.accounts:
            workspace.accounts[email].update(
                warmup_status=job.warmup_status,
                timestamp_updated=now(),
                timestamp_warmup_start=now() if job.warmup_status else None,
            )
