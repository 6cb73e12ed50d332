"""Sends leads to Instantly, chunk by chunk, and knows what became of each."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from instantly.billing import BilledRun
from instantly.clients.instantly import (
    MAX_LEADS_A_CALL,
    AddedLeads,
    InstantlyError,
    Workspace,
    chunks,
)
from instantly.events import moment_or_none
from instantly.locks import is_locked_by

# How far Instantly's clock may be behind ours.
CLOCK_TOLERANCE = timedelta(seconds=60)

Lead = dict[str, Any]


class Upload:
    """`held`: the leads that Instantly holds now, each with its `instantly_lead_id`.

    `rejected`: address and reason of those that it refused.
    """

    def __init__(
        self, workspace: Workspace, campaign: dict[str, Any], run: BilledRun, lock_holder: str
    ) -> None:
        self.held: list[Lead] = []
        self.rejected: list[dict[str, str]] = []
        self._workspace = workspace
        self._campaign_id: str = campaign["id"]
        self._instantly_campaign_id: str = campaign["instantlyCampaignId"]
        self._run = run
        self._lock_holder = lock_holder
        self._started = datetime.now(UTC)
        self._created: list[str] = []
        """lead ids"""
        self._doubtful: list[str] = []
        """addresses of calls whose answers were lost"""

    def send(self, leads: Sequence[Lead]) -> None:
        """Chunk by chunk. The leads that it creates are taken out of Instantly again on failure."""
        self._run.on_failure(self, self._take_back)
        for chunk in chunks(leads, MAX_LEADS_A_CALL):
            self._send(chunk)

    def _send(self, chunk: Sequence[Lead]) -> None:
        emails = [lead["email"] for lead in chunk]
        try:
            answer = self._workspace.add_leads(self._instantly_campaign_id, chunk)
        except InstantlyError as error:
            if error.status is None or error.status >= 500 or self._workspace.was_repeated():
                # Whether it acted is not known.
                self._doubtful += emails
            raise
        if self._workspace.was_repeated():
            # A try whose answer was lost may have created what this one calls duplicates.
            self._doubtful += emails
        self._created += answer.created.values()
        lead_ids = {emails[index].lower(): lead_id for index, lead_id in answer.created.items()}
        missing = [email for email in emails if email.lower() not in lead_ids]
        # Instantly names only what it created: it may hold the others already (a lost answer, a
        # crash), and then they are adopted.
        for lead in self._workspace.find_leads(self._instantly_campaign_id, missing):
            lead_ids[lead["email"].lower()] = lead["id"]
        refused = [email for email in emails if email.lower() not in lead_ids]
        reason = refusal_reason(answer, len(refused))
        self.rejected += [{"email": email, "reason": reason} for email in refused]
        self.held += [
            {**lead, "instantly_lead_id": lead_ids[lead["email"].lower()]}
            for lead in chunk
            if lead["email"].lower() in lead_ids
        ]

    def _is_new(self, lead: Lead) -> bool:
        """Whether a lead was created since this upload began."""
        created = moment_or_none(lead.get("timestamp_created"))
        return created is not None and created >= self._started - CLOCK_TOLERANCE

    def __str__(self) -> str:
        return (
            f"campaign {self._instantly_campaign_id} in Instantly: delete leads {self._created}"
            f" and what a lost call made of {len(self._doubtful)} others"
        )

    def _take_back(self) -> None:
        """Not without the lock: whoever has it now may have adopted the leads. Then they stay."""
        if not is_locked_by(self._campaign_id, "leads", self._lock_holder):
            raise RuntimeError("the lock was lost")
        found = self._workspace.find_leads(self._instantly_campaign_id, self._doubtful)
        new = [lead["id"] for lead in found if self._is_new(lead)]
        lead_ids = list(dict.fromkeys(self._created + new))
        self._workspace.delete_leads(self._instantly_campaign_id, lead_ids)


def refusal_reason(answer: AddedLeads, refused: int) -> str:
    """Refusals are counted by reason, but not named: certain only when one explains them all."""
    match list(answer.refusals.items()):
        case [(reason, count)] if count == refused:
            return reason
    return "unknown"
