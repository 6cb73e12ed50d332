"""Sends leads to Instantly in chunks, and knows what became of each."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

from instantly.addresses import same_address, stored_address
from instantly.billing.run import BilledRun, report_left_over
from instantly.clients.instantly import (
    MAX_LEADS_A_CALL,
    AddedLeads,
    InstantlyClient,
    InstantlyError,
    chunks,
)
from instantly.readings import moment_or_none
from instantly.storage.leases import Busy, Lease
from instantly.web.context import services

CHUNKS_AT_ONCE = 4
# Between the end of a call and that of the lock.
MARGIN_SECONDS = 1.0
# How far Instantly's clock may be behind ours.
CLOCK_TOLERANCE = timedelta(seconds=60)

Lead = dict[str, Any]
Sent = tuple[list[Lead], list[dict[str, str]]]


class Upload:
    """`held`: the leads that Instantly holds now, each with its `instantly_lead_id`.

    `rejected`: address and reason of those that it refused. `flags` are add_leads'.
    """

    def __init__(
        self,
        workspace: InstantlyClient,
        campaign: dict[str, Any],
        run: BilledRun,
        lock: Lease,
        flags: Sequence[str],
    ) -> None:
        self.held: list[Lead] = []
        self.rejected: list[dict[str, Any]] = []
        self._flags = flags
        self._left_in_plan: list[int] = []
        """of each call, where Instantly says so"""
        self._workspace = workspace
        self._instantly_campaign_id: str = campaign["instantly_campaign_id"]
        self._run = run
        self._lock = lock
        self._leases = services().leases
        self._started = datetime.now(UTC)
        self._created: list[str] = []
        """lead ids"""
        self._doubtful: list[str] = []
        """addresses of calls whose answers were lost"""
        self._failure: Exception | None = None

    @property
    def remaining_in_plan(self) -> int | None:
        """How many leads the workspace may still hold, by the last of the calls to be answered."""
        return min(self._left_in_plan, default=None)

    def send(self, leads: Sequence[Lead]) -> None:
        """Several chunks at once. What they create is taken out of Instantly again on failure."""
        self._run.on_failure(self, self._take_back)
        with ThreadPoolExecutor(CHUNKS_AT_ONCE) as executor:
            # All that are under way have ended when the block has: only then can they be undone.
            sent = list(executor.map(self._send_unless_failed, chunks(leads, MAX_LEADS_A_CALL)))
        if self._failure:
            raise self._failure
        for held, rejected in sent:
            self.held += held
            self.rejected += rejected

    def _send_unless_failed(self, chunk: Sequence[Lead]) -> Sent:
        """After a failure no other chunk begins."""
        if self._failure is None:
            try:
                return self._send(chunk)
            except Exception as error:
                self._failure = self._failure or error
        return [], []

    def _send(self, chunk: Sequence[Lead]) -> Sent:
        """Those that Instantly holds now, and those that it refused."""
        emails = [lead["email"] for lead in chunk]
        try:
            answer = self._workspace.add_leads(self._instantly_campaign_id, chunk, self._flags)
        except Exception as error:
            if isinstance(error, InstantlyError) and error.status == 413 and len(chunk) > 1:
                # How many bytes a call may have is documented nowhere.
                halves = [self._send(half) for half in chunks(chunk, (len(chunk) + 1) // 2)]
                return [lead for held, _ in halves for lead in held], [
                    lead for _, rejected in halves for lead in rejected
                ]
            if not isinstance(error, InstantlyError) or error.may_have_acted:
                self._doubtful.extend(emails)
            raise
        self._created.extend(answer.created.values())
        if answer.remaining_in_plan is not None:
            self._left_in_plan.append(answer.remaining_in_plan)
        if answer.in_doubt:
            # A try whose answer was lost may have created what this one calls duplicates.
            self._doubtful.extend(emails)
        lead_ids = {
            same_address(emails[index]): lead_id for index, lead_id in answer.created.items()
        }
        missing = [email for email in emails if same_address(email) not in lead_ids]
        # Instantly names only what it created: it may hold the others already (a lost answer, a
        # crash), and then they are adopted.
        for lead in self._workspace.find_leads(self._instantly_campaign_id, missing):
            lead_ids[same_address(lead["email"])] = lead["id"]
        refused = [email for email in emails if same_address(email) not in lead_ids]
        reason = refusal_reason(answer, len(refused))
        held = [
            {
                **lead,
                "email": stored_address(lead["email"]),
                "instantly_lead_id": lead_ids[same_address(lead["email"])],
            }
            for lead in chunk
            if same_address(lead["email"]) in lead_ids
        ]
        return held, [{"email": email, "reason": reason} for email in refused]

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
        try:
            self._delete(list(dict.fromkeys(self._created)))
            workspace = self._workspace_while_locked()
            found = workspace.find_leads(self._instantly_campaign_id, self._doubtful)
            self._delete([lead["id"] for lead in found if self._is_new(lead)])
        except Busy:
            report_left_over(self)

    def _delete(self, lead_ids: list[str]) -> None:
        for chunk in chunks(lead_ids, MAX_LEADS_A_CALL):
            workspace = self._workspace_while_locked()
            if workspace.delete_leads(self._instantly_campaign_id, chunk):
                raise InstantlyError("some leads were not deleted")

    def _workspace_while_locked(self) -> InstantlyClient:
        """For one call, which ends before the lock can be somebody else's; Busy once it can."""
        until = self._leases.held_until(self._lock) - MARGIN_SECONDS
        if time.monotonic() > until:
            raise Busy
        return self._workspace.until(until)


def refusal_reason(answer: AddedLeads, refused: int) -> str:
    """Refusals are counted by reason, but not named: certain only when one explains them all."""
    match list(answer.refusals.items()):
        case [(reason, count)] if count == refused:
            return reason
        case [] if answer.remaining_in_plan == 0:
            return "plan_full"
    return "unknown"
