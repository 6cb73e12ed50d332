"""Sender accounts: list, synchronise, and warm up."""

import time
from typing import Any

from flask import Blueprint, Response
from flask.typing import ResponseReturnValue
from marshmallow import ValidationError
from psycopg.types.json import Json

from instantly.addresses import same_address
from instantly.clients.instantly import InstantlyClient, InstantlyError
from instantly.schemas.accounts import Warmup, WarmupAnalytics
from instantly.schemas.answers import ACCOUNTS, SWITCHED_WARMUP, SYNCED_ACCOUNTS, WARMUP_ANALYTICS
from instantly.schemas.fields import EmailAddress
from instantly.translation.accounts import account_row
from instantly.web.context import app_workspace, database, json_answer, waits_for_upstreams
from instantly.web.errors import ApiError, NotFound
from instantly.web.inputs import load_body, load_query
from instantly.web.openapi import documented

FOLLOW_JOB_SECONDS = 10.0
POLL_JOB_SECONDS = 0.5

bp = Blueprint("accounts", __name__, url_prefix="/accounts")


@bp.get("")
@documented(answers={200: ACCOUNTS})
def list_accounts() -> Response:
    """All accounts that were ever synchronised, by address."""
    return json_answer("select_accounts")


@bp.post("/sync")
@documented(answers={200: SYNCED_ACCOUNTS})
@waits_for_upstreams
def sync_accounts() -> ResponseReturnValue:
    """Takes over every account that Instantly lists, and marks the others removed."""
    row = store(list(app_workspace().list_accounts()), is_complete=True)
    return {"success": True, "synced": row["synced"], "removed": row["removed"]}


def store(accounts: list[dict[str, Any]], *, is_complete: bool) -> dict[str, Any]:
    """Upserts Instantly's accounts; a complete list removes the others."""
    row = database().fetch_one(
        "upsert_accounts",
        accounts=Json([account_row(account) for account in accounts]),
        is_complete=is_complete,
    )
    return row or {}


@bp.post("/<path:email>/warmup")
@documented(body=Warmup, answers=dict.fromkeys((200, 202), SWITCHED_WARMUP))
@waits_for_upstreams
def switch_warmup(email: str) -> ResponseReturnValue:
    """Switches an account's warmup and follows Instantly's job for up to 10 s."""
    enabled: bool = load_body(Warmup)["enabled"]
    workspace = app_workspace()
    email = known_account(workspace, email)
    job = follow(workspace, workspace.switch_warmup(email, enabled=enabled))
    shown = {"id": job["id"], "status": job["status"]}
    if job["status"] in ("failed", "cancelled"):
        raise ApiError(502, "Warmup job failed", shown)
    database().execute("update_account_warmup", email=email, enabled=enabled)
    body = {"success": True, "email": email, "warmupEnabled": enabled, "job": shown}
    return body, 200 if job["status"] == "success" else 202


def known_account(workspace: InstantlyClient, email: str) -> str:
    """The address as Instantly writes it; one that neither we nor Instantly know is 404."""
    if known := known_accounts().get(same_address(email)):
        return known
    try:
        account = workspace.get_account(EmailAddress().deserialize(email))
    except ValidationError as error:
        raise NotFound("Account not found") from error
    except InstantlyError as error:
        if error.status in (400, 404):
            raise NotFound("Account not found") from error
        raise
    store([account], is_complete=False)
    return str(account["email"])


def known_accounts() -> dict[str, str]:
    """Address → the address as Instantly writes it, of the accounts that it listed last."""
    rows = database().fetch_all("select_account_emails")
    return {same_address(row["email"]): row["email"] for row in rows}


def readable(email: str) -> str:
    """An address that only Instantly may know; raises ValidationError for what is none."""
    try:
        return EmailAddress().deserialize(email)
    except ValidationError as error:
        raise ValidationError({"emails": error.messages}) from None


def follow(workspace: InstantlyClient, job: dict[str, Any]) -> dict[str, Any]:
    """Waits for the job's end: success, failed or cancelled. Gives up after FOLLOW_JOB_SECONDS."""
    deadline = time.monotonic() + FOLLOW_JOB_SECONDS
    while job["status"] not in ("success", "failed", "cancelled"):
        if time.monotonic() + POLL_JOB_SECONDS > deadline:
            break
        time.sleep(POLL_JOB_SECONDS)
        job = workspace.get_background_job(job["id"])
    return job


@bp.get("/warmup-analytics")
@documented(query=WarmupAnalytics, answers={200: WARMUP_ANALYTICS})
@waits_for_upstreams
def get_warmup_analytics() -> ResponseReturnValue:
    """Instantly's warmup figures of all known accounts, or of those that are asked for."""
    asked = load_query(WarmupAnalytics)["emails"]
    known = known_accounts()
    if asked is None:
        emails = list(known.values())
    else:
        emails = list(dict.fromkeys(known.get(email) or readable(email) for email in asked))
    if not emails:
        return {"analytics": {"email_date_data": {}, "aggregate_data": {}}}
    return {"analytics": app_workspace().get_warmup_analytics(emails)}
