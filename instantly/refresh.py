"""python -m instantly.refresh: what a schedule does for every organisation.

Its figures, the deliveries of the last days that failed, a reconcile of each campaign that is
behind, and those webhooks of ours that were switched off. What fails does not stop the rest.
"""

import os
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from flask import current_app

from instantly.application import create_app
from instantly.config import ConfigurationError, Settings
from instantly.deliveries import recover_deliveries, resume_webhooks
from instantly.figures import refresh_figures
from instantly.reconciliation import reconcile
from instantly.translation.events import RECORDED
from instantly.web.context import database, organization_workspace, services

# The command works as if this were asked for each organisation; key-service is told so.
METHOD, PATH = "POST", "/analytics/refresh"
DAYS_OF_DELIVERIES = 3
RESULTS = REFRESHED, RECOVERED, RECONCILED, RESUMED = (
    "campaigns refreshed",
    "deliveries recovered",
    "campaigns reconciled",
    "webhooks resumed",
)


class Turn:
    """What was done for an organisation, and what failed."""

    def __init__(self) -> None:
        self.results: Counter[str] = Counter()
        self.failures: list[str] = []

    @contextmanager
    def attempt(self, what: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            # In the words of the API, in which there are no secrets.
            answer = current_app.make_response(current_app.handle_user_exception(error))
            self.failures.append(f"{what}: {answer.get_json()['error']}")


def refresh(clerk_org_id: str, turn: Turn) -> None:
    workspace = organization_workspace(clerk_org_id)
    campaigns = database().fetch_all("select_organization_rows", clerk_org_id=clerk_org_id)
    behind: set[str] = set()
    with turn.attempt("figures"):
        figures = refresh_figures(workspace, campaigns)
        behind = {each["campaignId"] for each in figures["behind"]}
        turn.results[REFRESHED] += figures["campaigns"]
    with turn.attempt("deliveries"):
        today = datetime.now(UTC).date()
        first_day = today - timedelta(days=DAYS_OF_DELIVERIES)
        turn.results[RECOVERED] += recover_deliveries(workspace, first_day, today)[RECORDED]
    for campaign in campaigns:
        if campaign["id"] in behind:
            with turn.attempt(f"campaign {campaign['id']}"):
                reconcile(workspace, campaign)
                turn.results[RECONCILED] += 1
    with turn.attempt("webhooks"):
        turn.results[RESUMED] += len(resume_webhooks(workspace))


def refresh_all() -> bool:
    """Says a line for each organisation and one for all; whether nothing failed."""
    total, organizations, failed = Turn(), [], 0
    with total.attempt("the list of organisations"):
        organizations = database().fetch_all("select_organizations")
    for organization in organizations:
        turn = Turn()
        with turn.attempt("nothing was done"):
            refresh(organization["clerk_org_id"], turn)
        say(f"{organization['clerk_org_id']!a}: {told(turn)}")
        total.results.update(turn.results)
        failed += bool(turn.failures)
    outcome = "failed" if failed or total.failures else "done"
    say(f"{outcome}: {len(organizations)} organisations, {failed} of them failed, {told(total)}")
    return outcome == "done"


def told(turn: Turn) -> str:
    results = ", ".join(f"{turn.results[name]} {name}" for name in RESULTS)
    return "; ".join([results, *turn.failures])


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> None:
    try:
        app = create_app(Settings.from_environment(os.environ))
    except ConfigurationError as error:
        sys.exit(str(error))
    with app.test_request_context(PATH, method=METHOD):
        is_done = refresh_all()
        services().leases.close()
        database().close()
    sys.exit(0 if is_done else 1)


if __name__ == "__main__":
    main()
