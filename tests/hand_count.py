"""What POST /stats is to answer, counted over payloads and held leads, without a database.

Not a test. It shares no table with the service.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any

from helpers import STATS

Payload = dict[str, Any]
EXCLUDED = ("ours.example", "internal.example")
COUNTED_AS = {
    "email_sent": "emailsSent",
    "link_clicked": "emailsClicked",
    "email_link_clicked": "emailsClicked",
    "reply_received": "emailsReplied",
    "email_bounced": "emailsBounced",
    "auto_reply_received": "repliesAutoReply",
    "lead_not_interested": "repliesNotInterested",
    "lead_out_of_office": "repliesOutOfOffice",
    "lead_unsubscribed": "repliesUnsubscribe",
}
# An event of a person, and all that it says of that person.
FACTS = {
    "email_sent": ["contacted"],
    "email_opened": ["opened", "contacted"],
    "link_clicked": ["clicked", "opened", "contacted"],
    "email_link_clicked": ["clicked", "opened", "contacted"],
    "reply_received": ["replied", "opened", "contacted"],
    "email_bounced": ["bounced", "contacted"],
    "lead_unsubscribed": ["unsubscribed"],
    "campaign_completed_for_lead_without_reply": ["contacted"],
}
PEOPLE = tuple("leads contacted delivered opened clicked replied bounced unsubscribed".split())
LABELS = {
    "lead_interested": "interested",
    "lead_meeting_booked": "meetingBooked",
    "lead_meeting_completed": "meetingCompleted",
    "lead_closed": "closed",
    "lead_won": "closed",
    "lead_not_interested": "notInterested",
    "lead_wrong_person": "wrongPerson",
    "lead_neutral": "neutral",
    "lead_out_of_office": "outOfOffice",
    "lead_no_show": "noShow",
    "lead_lost": "lost",
}
NO_ONE = {"people": dict.fromkeys(PEOPLE, 0), "replies": dict.fromkeys(LABELS.values(), 0)}


def lead_of(payload: Payload) -> str:
    return str(payload.get("lead_email") or "").strip().lower()


def is_excluded(address: str) -> bool:
    domain = address.rpartition("@")[2]
    return any(domain == name or domain.endswith("." + name) for name in EXCLUDED)


def counts_at_all(payload: Payload) -> bool:
    lead = lead_of(payload)
    return not lead or (
        lead != str(payload.get("email_account") or "").strip().lower() and not is_excluded(lead)
    )


def step_row(
    step: int, sent: int, opened: int, replied: int, bounced: int, clicked: int = 0
) -> Any:
    return {
        "step": step,
        "emailsSent": sent,
        "emailsOpened": opened,
        "emailsClicked": clicked,
        "emailsReplied": replied,
        "emailsBounced": bounced,
    }


def events_by_hand(payloads: Iterable[Payload]) -> dict[str, Any]:
    """The figures of events, over distinct payloads."""
    counts: Counter[str | None] = Counter()
    opened, recipients = set(), set()
    steps: Any = defaultdict(lambda: (Counter(), set()))
    for payload in filter(counts_at_all, payloads):
        lead, event_type, step = lead_of(payload), payload["event_type"], payload.get("step")
        step = int(step) if isinstance(step, str) and step.isdecimal() else step
        for_the_step = [steps[step]] if type(step) is int and step > 0 else []
        for events, leads in [(counts, opened), *for_the_step]:
            events[COUNTED_AS.get(event_type)] += 1
            if lead and event_type == "email_opened":
                leads.add(lead)
        if lead and event_type == "email_sent":
            recipients.add(lead)
    delivered = max(0, counts["emailsSent"] - counts["emailsBounced"])
    distinct = {"emailsOpened": len(opened), "emailsDelivered": delivered}
    names = ("emailsReplied", "emailsBounced", "emailsClicked")
    rows = [
        step_row(step, events["emailsSent"], len(leads), *(events[name] for name in names))
        for step, (events, leads) in sorted(steps.items())
    ]
    return {
        "stats": {name: counts[name] for name in STATS} | distinct,
        "recipients": len(recipients),
        # Whether a step that has nothing but zeros is listed is nobody's promise.
        "stepStats": [row for row in rows if any(list(row.values())[1:])],
    }


def people_by_hand(payloads: Iterable[Payload], held: Iterable[str]) -> dict[str, Any]:
    """The figures of people and their labels, over distinct payloads in the order of arrival."""
    facts: dict[str, set[str]] = defaultdict(set)
    labels: dict[tuple[str, str], tuple[str, str]] = {}
    for payload in filter(counts_at_all, payloads):
        lead, event_type = lead_of(payload), payload["event_type"]
        if lead:
            facts[lead].update(FACTS.get(event_type, ()))
            of_lead = (payload["campaign_id"].lower(), lead)
            at = payload["timestamp"]
            if event_type in LABELS and labels.get(of_lead, ("",))[0] <= at:
                labels[of_lead] = (at, LABELS[event_type])
    for _, lead in labels:
        facts[lead].add("contacted")
    people = Counter(fact for each in facts.values() for fact in each)
    people["delivered"] = people["contacted"] - people["bounced"]
    people["leads"] = len({lead for lead in map(str.lower, held) if not is_excluded(lead)})
    replies = Counter(label for _, label in labels.values())
    return {
        "people": {name: people[name] for name in PEOPLE},
        "replies": {name: replies[name] for name in NO_ONE["replies"]},
    }
