"""Plays an activated campaign: the mails, opens, clicks and replies that Instantly would report."""

import re
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from html import unescape
from random import Random

from instantly.sandbox.state import Json, Workspace, moment

MAX_PLAYED_LEADS = 200
ACTIVE = 1
COMPLETED = 3
BOUNCED = -1
# What follows a mail: the first lead's story, the second lead's, and so on, in turns.
STORIES = (
    ("email_opened", "link_clicked", "reply_received"),
    ("email_opened",),
    (),
    ("email_bounced",),
)
# Event → its counter in the analytics.
COUNTERS = {
    "email_sent": "emails_sent_count",
    "email_opened": "open_count",
    "link_clicked": "link_click_count",
    "reply_received": "reply_count",
    "email_bounced": "bounced_count",
}
# Event → its word in the lead's own counters.
REACTIONS = {"email_opened": "open", "link_clicked": "click", "reply_received": "reply"}
# Event → the campaign's option that switches it off.
SWITCHES = {"email_opened": "open_tracking", "link_clicked": "link_tracking"}
REPLY = "Thanks, that sounds worth a talk. Could you send more?"


class Player:
    """Plays each campaign in a thread of its own and hands every delivery to `deliver`.

    The leads hold how far they were played, so a paused campaign goes on where it stopped. Only
    the first 200 leads are played: more would take minutes and show nothing new. `playing` holds
    the ids of the campaigns that are being played, `pause_seconds` is the time between events.
    `lost_share` of the deliveries are lost without a trace, always the same ones.
    """

    def __init__(self, deliver: Callable[[Workspace, Json], None]) -> None:
        self.pause_seconds = 0.02
        self.lost_share = 0.0
        self.playing: set[str] = set()
        self._deliver = deliver
        self._dice = Random(0)  # noqa: S311  (nothing is kept secret by it)

    def start(self, workspace: Workspace, campaign_id: str) -> None:
        """Play a campaign until there is nothing to play; harmless while it is played already."""
        with workspace.lock:
            if campaign_id in self.playing:
                return
            self.playing.add(campaign_id)
        threading.Thread(target=self._play, args=(workspace, campaign_id), daemon=True).start()

    def _play(self, workspace: Workspace, campaign_id: str) -> None:
        while True:
            with workspace.lock:
                payloads = play_next(workspace, campaign_id)
                if not payloads:
                    self.playing.remove(campaign_id)
                    return
            for payload in payloads:
                if self._dice.random() >= self.lost_share:
                    self._deliver(workspace, payload)
                time.sleep(self.pause_seconds)


def play_next(workspace: Workspace, campaign_id: str) -> list[Json]:
    """Send the next mail, or end the campaign; the deliveries of what happened."""
    campaign = workspace.campaigns.get(campaign_id)
    if campaign is None or campaign["status"] != ACTIVE:
        return []
    leads = workspace.leads_of(campaign_id)[:MAX_PLAYED_LEADS]
    if not (leads and steps_of(campaign) and senders_of(workspace, campaign)):
        return []
    waiting = [number for number, lead in enumerate(leads) if lead["status"] == ACTIVE]
    if not waiting:
        campaign["status"] = COMPLETED
        return [envelope(workspace, campaign, "campaign_completed", datetime.now(UTC))]
    number = min(waiting, key=lambda number: steps_sent(leads[number]))
    return play_step(workspace, campaign, leads[number], number)


def steps_of(campaign: Json) -> list[Json]:
    """The steps that can be sent; only the first sequence is used [official OpenAPI document]."""
    sequences = campaign["sequences"] or [{"steps": []}]
    return [step for step in sequences[0]["steps"] if step["variants"]]


def senders_of(workspace: Workspace, campaign: Json) -> list[str]:
    """The accounts that are named; all of them where they are named by tags."""
    tagged = sorted(workspace.accounts) if campaign["email_tag_list"] else []
    return campaign["email_list"] or tagged


def steps_sent(lead: Json) -> int:
    last_step = lead["status_summary"].get("lastStep")
    return int(last_step["stepID"].split("_")[1]) + 1 if last_step else 0


def play_step(workspace: Workspace, campaign: Json, lead: Json, number: int) -> list[Json]:
    """Send a lead its next mail; the deliveries of that and of what follows."""
    steps = steps_of(campaign)
    step = min(steps_sent(lead) + 1, len(steps))
    variants = steps[step - 1]["variants"]
    senders = senders_of(workspace, campaign)
    mail = {
        "lead_email": lead["email"],
        "email_account": senders[number % len(senders)],
        "step": step,
        "variant": number % len(variants) + 1,
        "email_id": workspace.ids.uuid(),
    }
    texts = texts_of(variants[number % len(variants)], lead["payload"])
    counts = workspace.analytics[campaign["id"]]
    payloads = []
    for order, event_type in enumerate(story_of(campaign, number, is_last=step == len(steps))):
        at = datetime.now(UTC) + timedelta(milliseconds=order)
        event = {**envelope(workspace, campaign, event_type, at), **mail}
        event["is_first"] = count(event, lead, counts)
        own_data = {**lead["payload"], "email": lead["email"]}
        payloads.append({**own_data, **event, **texts.get(event_type, {})})
    if step == len(steps) and lead["status"] == ACTIVE:
        lead["status"] = COMPLETED
        counts["completed_count"] += 1
    # Instantly repeats deliveries now and then [docs]: here those of clicks.
    return [p for p in payloads for _ in range(1 + (p["event_type"] == "link_clicked"))]


def story_of(campaign: Json, number: int, *, is_last: bool) -> list[str]:
    """The events of a mail. A reply comes to the last one only: it would end the story."""
    return [
        event_type
        for event_type in ("email_sent", *STORIES[number % len(STORIES)])
        if campaign.get(SWITCHES.get(event_type, "")) is not False
        and (is_last or event_type != "reply_received")
    ]


def envelope(workspace: Workspace, campaign: Json, event_type: str, at: datetime) -> Json:
    """What every delivery holds."""
    return {
        "timestamp": moment(at),
        "event_type": event_type,
        "workspace": workspace.id,
        "campaign_id": campaign["id"],
        "campaign_name": campaign["name"],
    }


def texts_of(variant: Json, values: Json) -> dict[str, Json]:
    """Event → the texts of its delivery: those of the mail, or of a reply to it."""
    subject, body = merged(variant["subject"], values), merged(variant["body"], values)
    return {
        "email_sent": {"email_subject": subject, "email_text": plain(body), "email_html": body},
        "reply_received": {
            "reply_subject": f"Re: {subject}",
            "reply_text_snippet": REPLY,
            "reply_text": REPLY,
        },
    }


def plain(body: str) -> str:
    """A mail's HTML as text, good enough for a sandbox."""
    lines = re.sub(r"<br ?/?>|</(p|div)>", "\n", body)
    return unescape(re.sub(r"<[^>]*>", "", lines)).strip()


def merged(template: str, values: Json) -> str:
    """Fill in {{firstName}} and the like; what is unknown renders empty."""
    return re.sub(r"\{\{\s*(\w+)\s*\}\}", lambda tag: str(values.get(tag[1], "")), template)


def count(event: Json, lead: Json, counts: Counter[str]) -> bool:
    """Let the lead and the analytics know; whether it is the first event of its type."""
    event_type, at = event["event_type"], event["timestamp"]
    counts[COUNTERS[event_type]] += 1
    lead["timestamp_updated"] = at
    is_first = True
    if event_type == "email_sent":
        is_first = event["step"] == 1
        counts.update(contacted_count=is_first, new_leads_contacted_count=is_first)
        step_id = f"0_{event['step'] - 1}_{event['variant'] - 1}"
        executed = {"from": event["email_account"], "stepID": step_id, "timestamp_executed": at}
        lead.update(timestamp_last_contact=at, last_step_timestamp_executed=at)
        lead["status_summary"] = {"lastStep": executed}
    elif event_type == "email_bounced":
        lead["status"] = BOUNCED
    else:
        word = REACTIONS[event_type]
        is_first = lead[f"email_{word}_count"] == 0
        counts[f"{COUNTERS[event_type]}_unique"] += is_first
        lead[f"email_{word}_count"] += 1
        lead[f"timestamp_last_{word}"] = at
    return is_first
