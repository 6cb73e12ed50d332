"""Why a campaign of the stand-in does or does not send. Its player knows no hours and no limits."""

from instantly.sandbox.player import ACTIVE, senders_of, steps_of
from instantly.sandbox.state import Json, Workspace, now

# A campaign that is off → its word.
WORDS = {
    0: "campaign_draft",
    2: "campaign_paused",
    3: "campaign_completed",
    4: "campaign_running_subsequences",
    -1: "campaign_accounts_unhealthy",
    -2: "campaign_bounce_protect",
    -99: "campaign_account_suspended",
}


def sending_status(workspace: Workspace, campaign: Json) -> Json:
    """`diagnostics` while the campaign is on, else only the summary [Instantly's starter kit]."""
    word = word_of(workspace, campaign)
    message = word and f"{word.replace('_', ' ').capitalize()}."
    diagnostics = {
        "campaign_id": campaign["id"],
        "last_updated": now(),
        "status": word,
        "issue_tracking": {"current_status_code": word},
    }
    return {
        "diagnostics": diagnostics if word and campaign["status"] == ACTIVE else None,
        "summary": {"status": word, "status_message": message} if word else None,
    }


def word_of(workspace: Workspace, campaign: Json) -> str | None:
    """None where Instantly has no word for it: a campaign without a sequence."""
    if campaign["status"] != ACTIVE:
        return WORDS[campaign["status"]]
    if not senders_of(workspace, campaign):
        return "no_accounts_available"
    if not workspace.addresses[campaign["id"]]:
        return "waiting_for_leads"
    return "healthy" if steps_of(campaign) else None
