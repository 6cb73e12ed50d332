"""Sender accounts and their warmup."""

import logging
from collections.abc import Iterator, Sequence
from typing import Any

from instantly.addresses import same_address
from instantly.clients.instantly.base import (
    MAX_PAGE_SIZE,
    InstantlyError,
    Workspace,
    chunks,
    expect,
    expect_one_of,
    is_email,
    is_path_segment,
    is_text,
)

MAX_ACCOUNTS_A_CALL = 100

logger = logging.getLogger(__name__)


class Accounts(Workspace):
    def list_accounts(self) -> Iterator[dict[str, Any]]:
        """GET /accounts → every account that has an address, which is its key: it has no id."""
        for account in self._pages("GET", "/accounts", params={"limit": MAX_PAGE_SIZE}):
            if is_email(account.get("email")):
                yield account
            else:
                logger.warning("an account without an address is left out")

    def get_account(self, email: str) -> dict[str, Any]:
        """GET /accounts/{email} → the account; an unknown one raises with status 404."""
        account = self._call("GET", "/accounts/{id}", email, email=is_email)
        if same_address(account["email"]) != same_address(email):
            raise InstantlyError("the answer is another account")
        return account

    def switch_warmup(self, email: str, *, enabled: bool) -> dict[str, Any]:
        """POST /accounts/warmup/enable or /disable → a background job: id, status."""
        path = f"/accounts/warmup/{'enable' if enabled else 'disable'}"
        body = {"emails": [email]}
        return self._call("POST", path, body=body, id=is_path_segment, status=is_text)

    def get_background_job(self, job_id: str) -> dict[str, Any]:
        """GET /background-jobs/{id} → the job; its id is no UUID."""
        path = "/background-jobs/{id}"
        return self._call("GET", path, job_id, id=is_path_segment, status=is_text)

    def get_warmup_analytics(self, emails: Sequence[str]) -> dict[str, Any]:
        """POST /accounts/warmup-analytics, 100 addresses a call → both of its parts, merged."""
        merged: dict[str, Any] = {"email_date_data": {}, "aggregate_data": {}}
        for part in chunks(emails, MAX_ACCOUNTS_A_CALL):
            path = "/accounts/warmup-analytics"
            answer = self._call("POST", path, body={"emails": part})
            expect_one_of(answer, *merged)
            for name, collected in merged.items():
                collected.update(expect(answer.get(name) or {}))
        return merged
