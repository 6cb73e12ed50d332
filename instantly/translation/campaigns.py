"""A campaign at Instantly: its status, its body, and what keeps an active one from sending."""

from typing import Any

from instantly.readings import number_or_none
from instantly.translation.email_html import email_html

# The numbers of the official document; all but the negative ones can be asked for.
STATUSES: dict[float | None, str] = {
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
NOTHING_IS_SENT = {
    "draft": "The campaign is a draft: nothing is sent until it is activated.",
    "paused": "The campaign is paused: nothing is sent until it is activated.",
    "completed": "The campaign is completed: nothing is sent until it is activated.",
}


def warnings_of_status(status: str) -> list[str]:
    """Whether leads that are added now will wait."""
    return [NOTHING_IS_SENT[status]] if status in NOTHING_IS_SENT else []


def status_named(number: Any) -> str | None:
    """The status behind Instantly's number, if it is one of its own."""
    return STATUSES.get(number_or_none(number))


def trouble_of(campaign: dict[str, Any]) -> str | None:
    """What keeps the campaign from sending, of which Instantly makes negative statuses."""
    status = number_or_none(campaign.get("status")) or 0
    return STATUSES.get(status, "accounts_unhealthy") if status < 0 else None


def tells_what_it_lacks(campaign: dict[str, Any]) -> bool:
    """Whether Instantly's answer holds both lists: its document lets it leave them out."""
    return all(isinstance(campaign.get(name), list) for name in ("email_list", "sequences"))


def warnings_of(campaign: dict[str, Any]) -> list[str]:
    """What Instantly's campaign lacks in order to send.

    Warns only of lists that are in the answer and empty.
    """
    warnings = []
    if campaign.get("email_list") == [] and not campaign.get("email_tag_list"):
        warnings.append(NO_SENDERS)
    match campaign.get("sequences"):
        case [] | [{"steps": []}, *_]:  # only the first sequence is used
            warnings.append(NO_SEQUENCE)
    return warnings


# 0 is Sunday [production use; the official document does not say].
DAYS = {"sun": "0", "mon": "1", "tue": "2", "wed": "3", "thu": "4", "fri": "5", "sat": "6"}


def campaign_body(campaign: dict[str, Any]) -> dict[str, Any]:
    """What is given of a campaign, as Instantly takes it.

    Takes what the CreateCampaign or the ChangeCampaign schema loads.
    """
    body: dict[str, Any] = {**campaign.get("settings", {})}
    if "name" in campaign:
        body["name"] = campaign["name"]
    if "account_ids" in campaign:
        body["email_list"] = campaign["account_ids"]
    if "sequence" in campaign:
        # Only the first sequence of the list is used.
        body["sequences"] = [{"steps": sequence_steps(campaign["sequence"])}]
    if "schedule" in campaign:
        body["campaign_schedule"] = campaign_schedule(campaign["schedule"])
    return body


def changed_body(changes: dict[str, Any]) -> dict[str, Any]:
    """The same of a campaign that Instantly holds: a schedule takes the place of the whole one."""
    body = campaign_body(changes)
    if schedule := body.get("campaign_schedule"):
        body["campaign_schedule"] = {"start_date": None, "end_date": None, **schedule}
    return body


def campaign_schedule(schedule: dict[str, Any]) -> dict[str, Any]:
    body: dict[str, Any] = {
        "schedules": [
            {
                "name": "Default",
                "timing": {"from": schedule["from_"], "to": schedule["to"]},
                "days": {number: day in schedule["days"] for day, number in DAYS.items()},
                "timezone": schedule["timezone"],
            }
        ]
    }
    for name in ("start_date", "end_date"):
        if name in schedule:
            body[name] = schedule[name].isoformat()
    return body


def sequence_steps(sequence: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Our wait stands before a step, Instantly's `delay` (days) after it: shifted by one."""
    delays = [step["days_since_last_step"] for step in sequence[1:]]
    return [
        {
            "type": "email",
            "delay": delay,
            "variants": [
                {"subject": variant["subject"], "body": email_html(variant["body_html"])}
                for variant in step.get("variants", [step])
            ],
        }
        for step, delay in zip(sequence, [*delays, 0], strict=True)
    ]
