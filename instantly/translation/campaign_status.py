"""A campaign's status at Instantly in our words, and what keeps an active one from sending."""

from typing import Any

# The numbers of the official document; all but the negative ones can be asked for.
STATUSES = {
    0: "draft",
    1: "active",
    2: "paused",
    3: "completed",
    4: "running_subsequences",
    -1: "accounts_unhealthy",
    -2: "bounce_protect",
    -99: "account_suspended",
}

NO_SENDERS = "The campaign has no sender accounts: nothing is sent until it gets some in Instantly."
NO_SEQUENCE = "The campaign has no e-mail to send: write its sequence in Instantly."
NO_LEADS = "The campaign has no leads that we know of: add leads, or reconcile it with Instantly."


def trouble_of(campaign: dict[str, Any]) -> str | None:
    """What keeps the campaign from sending, of which Instantly makes negative statuses."""
    status = campaign.get("status") or 0
    return STATUSES.get(status) if status < 0 else None


def warnings_of(campaign: dict[str, Any]) -> list[str]:
    """What Instantly's campaign lacks in order to send.

    Only what the answer says counts: by the document the lists may be left out of it. But one that
    holds something would not be left out beside one that is empty.
    """
    warnings = []
    if campaign.get("email_list") == [] and not campaign.get("email_tag_list"):
        warnings.append(NO_SENDERS)
    match campaign.get("sequences"):
        case [] | [{"steps": []}, *_]:  # only the first sequence is used
            warnings.append(NO_SEQUENCE)
    return warnings
