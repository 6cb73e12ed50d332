"""What Instantly holds of a campaign → the words of POST /campaigns.

None stands for what an answer does not say, and for what has no word here.
"""

from typing import Any

from instantly.readings import moment_or_none, number_or_none
from instantly.translation.campaigns import DAYS

# How many of Instantly's units of a wait are a day.
UNITS_A_DAY = {"days": 1, "hours": 24, "minutes": 24 * 60}
NO_TEXT: dict[str, Any] = {"subject": None, "bodyHtml": None}


def configuration_of(campaign: dict[str, Any]) -> dict[str, Any]:
    """All but the settings."""
    senders = campaign.get("email_list")
    return {
        "name": text_or_none(campaign.get("name")),
        "accountIds": list(filter(text_or_none, senders)) if isinstance(senders, list) else None,
        "sequence": sequence_of(campaign.get("sequences")),
        "schedule": schedule_of(campaign.get("campaign_schedule")),
    }


def sequence_of(sequences: Any) -> list[dict[str, Any]] | None:
    """Their wait stands after a step, ours before it: shifted by one."""
    match sequences:
        case []:
            return []
        case [{"steps": [*steps]}, *_]:  # only the first sequence is used
            waits = [0, *map(whole_days_after, steps)]
            return [step_of(step, wait) for step, wait in zip(steps, waits, strict=False)]
    return None


def step_of(step: Any, wait: int | None) -> dict[str, Any]:
    """A variant that is switched off is not sent, and not shown."""
    variants = step.get("variants") if isinstance(step, dict) else None
    texts = [
        {
            "subject": text_or_none(variant.get("subject")),
            "bodyHtml": text_or_none(variant.get("body")),
        }
        for variant in (variants if isinstance(variants, list) else [])
        if isinstance(variant, dict) and variant.get("v_disabled") is not True
    ]
    shown: dict[str, Any] = {"variants": texts} if len(texts) > 1 else (texts or [NO_TEXT])[0]
    return {**shown, "daysSinceLastStep": wait}


def whole_days_after(step: Any) -> int | None:
    if not isinstance(step, dict):
        return None
    delay = number_or_none(step.get("delay"))
    units = UNITS_A_DAY.get(str(step.get("delay_unit") or "days"))
    if delay is None or units is None or delay < 0 or delay % units:
        return None
    return int(delay // units)


def schedule_of(schedule: Any) -> dict[str, Any] | None:
    """The first of a campaign's schedules: there is a word for one."""
    match schedule:
        case {"schedules": [dict() as first, *_]}:
            timing = first.get("timing")
            hours = timing if isinstance(timing, dict) else {}
            return {
                "timezone": text_or_none(first.get("timezone")),
                "from": text_or_none(hours.get("from")),
                "to": text_or_none(hours.get("to")),
                "days": days_of(first.get("days")),
                "startDate": day_or_none(schedule.get("start_date")),
                "endDate": day_or_none(schedule.get("end_date")),
            }
    return None


def days_of(numbers: Any) -> list[str] | None:
    if not isinstance(numbers, dict):
        return None
    return [day for day, number in DAYS.items() if numbers.get(number) is True]


def day_or_none(value: Any) -> str | None:
    """Instantly's own example of a day is a time."""
    moment = moment_or_none(value)
    return moment.date().isoformat() if moment else None


def text_or_none(value: Any) -> str | None:
    return value if isinstance(value, str) else None
