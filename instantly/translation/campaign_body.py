"""A campaign as our callers describe it → the body of Instantly's POST /campaigns."""

from typing import Any

from instantly.translation.email_html import email_html

# 0 is Sunday [production use; the official document does not say].
DAYS = {"sun": "0", "mon": "1", "tue": "2", "wed": "3", "thu": "4", "fri": "5", "sat": "6"}


def campaign_body(campaign: dict[str, Any]) -> dict[str, Any]:
    """Takes what the CreateCampaign schema loads."""
    body: dict[str, Any] = {
        "name": campaign["name"],
        "campaign_schedule": campaign_schedule(campaign["schedule"]),
        **campaign["settings"],
    }
    if campaign["account_ids"]:
        body["email_list"] = campaign["account_ids"]
    if campaign["sequence"]:
        # Only the first sequence of the list is used.
        body["sequences"] = [{"steps": sequence_steps(campaign["sequence"])}]
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
