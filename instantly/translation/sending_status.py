"""Instantly's word for why a campaign does or does not send, as a person wants to hear it."""

from typing import Any

from instantly.translation.campaigns import STATUSES

# The words of the official document → whether mails go out, and what there is to do.
EXPLANATIONS: dict[str, tuple[bool, str]] = {
    "healthy": (True, "The campaign is sending: there is nothing to do."),
    "campaign_draft": (False, "The campaign has not been started: set its status to active."),
    "campaign_paused": (False, "The campaign is paused: set its status to active to go on."),
    "campaign_completed": (False, "Every lead has had the whole sequence: add leads to send more."),
    "campaign_running_subsequences": (
        True,
        "Only the subsequences are still sending: add leads for the sequence to go on.",
    ),
    "campaign_bounce_protect": (
        False,
        "Too many e-mails bounced: delete the bad leads, then set the status to active again.",
    ),
    "campaign_accounts_unhealthy": (
        False,
        "The senders are in trouble: reconnect them in Instantly, then activate it again.",
    ),
    "campaign_account_suspended": (
        False,
        "Instantly has suspended the account: ask its support what lifts that.",
    ),
    "out_of_schedule": (
        False,
        "It is outside the sending hours: wait for them, or change the schedule in Instantly.",
    ),
    "waiting_for_leads": (
        False,
        "No lead is left to write to: add leads, and it goes on by itself.",
    ),
    "daily_limit_met": (
        False,
        "Today's limit of e-mails is reached: wait for tomorrow, or raise it in Instantly.",
    ),
    "account_daily_limit_met": (
        False,
        "The senders have sent all they may today: wait for tomorrow, or add sender accounts.",
    ),
    "new_lead_limit_met": (
        False,
        "Today's limit of new leads is reached: wait for tomorrow, or raise it in Instantly.",
    ),
    "all_accounts_unhealthy": (
        False,
        "No sender account works: reconnect them in Instantly, or add others.",
    ),
    "waiting_for_esp_match": (
        False,
        "No sender is with the next leads' mail provider: wait, or connect one that is.",
    ),
    "domain_limit_reached": (
        False,
        "The next leads' companies have had enough for today: wait, or raise the limit there.",
    ),
    "follow_up_delay_not_met": (
        False,
        "All leads were written to and no follow-up is due yet: wait, or add leads.",
    ),
    "no_accounts_available": (
        False,
        "No sender account is free: add or reconnect some, or wait until they are.",
    ),
}
UNKNOWN = "Instantly gives a reason that this service does not know: look at the campaign there."
SILENT = "Instantly says nothing about the campaign's sending: look at the campaign there."


def sending_status(parts: dict[str, Any]) -> dict[str, Any]:
    """The answer about Instantly's `diagnostics` and `summary`, of which either may be None.

    The reason is in the first while the campaign is on, else in the second [Instantly's starter
    kit].
    """
    words = ((parts[name] or {}).get("status") for name in ("diagnostics", "summary"))
    reason = next(filter(None, words), None)
    general = (None, UNKNOWN if reason else SILENT)
    sending, explanation = EXPLANATIONS.get(reason or "", general)
    return {"sending": sending, "reason": reason, "explanation": explanation, **parts}


def campaign_status_of(reason: str | None) -> str | None:
    """The campaign's own status, where the word tells it."""
    return next((status for status in STATUSES.values() if reason == f"campaign_{status}"), None)
