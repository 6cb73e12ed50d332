"""Plays an activated campaign: the mails, opens, clicks and replies that Instantly would report."""

import html
import random
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any
from uuid import UUID

if TYPE_CHECKING:
    from instantly.sandbox.instantly_api import Workspace

Json = dict[str, Any]

MAX_PLAYED_LEADS = 200
ACTIVE = 1
COMPLETED = 3
BOUNCED = -1
UNSUBSCRIBED = -2

BOUNCES = 0.06
OPENS = 0.6
OPENS_AGAIN = 0.25
CLICKS = 0.3
UNSUBSCRIBES = 0.04
ANSWERS_AUTOMATICALLY = 0.08
REPLIES = 0.15
IS_DELIVERED_TWICE = 0.05
LABELS_AFTER_A_REPLY = (("lead_interested",), ("lead_not_interested",), ())
ENDINGS = {"email_bounced", "lead_unsubscribed", "reply_received"}

# Event → (word in the lead's counters, word in its step and variant, counter in the analytics).
LEAD_REACTIONS = {
    "email_opened": ("open", "opened", "open_count"),
    "link_clicked": ("click", "clicked", "link_click_count"),
    "reply_received": ("reply", "replied", "reply_count"),
}
LEAD_ENDS = {
    "email_bounced": (BOUNCED, "bounced_count"),
    "lead_unsubscribed": (UNSUBSCRIBED, "unsubscribed_count"),
}
INTERESTS = {"lead_interested": 1, "lead_not_interested": -1}
# `step` is optional in all deliveries [docs]; those about the lead, not one of its mails, lack it.
WITHOUT_A_STEP = {"lead_unsubscribed", *INTERESTS}
REPLY_TEXTS = {
    "reply_received": "Thanks, that sounds worth a talk. Could you send more?",
    "auto_reply_received": "I am out of the office until Monday.",
}


@dataclass(frozen=True)
class Beat:
    """One event in the story of a lead; steps and variants count from 1."""

    event_type: str
    lead_id: str
    sender: str
    step: int
    variant: int
    mail: Json
    """subject and body of the variant"""
    email_id: str
    is_first: bool
    """whether it is the first of its type for the lead"""
    is_repeated: bool
    """whether it is delivered twice"""


def story(lead: Json, campaign: Json, senders: list[str], seed: int) -> Iterator[Beat]:
    """What happens to a lead, in order. The same seed and names tell the same story."""
    chance = random.Random(f"{seed}|{campaign['name']}|{lead['email'].lower()}")  # noqa: S311
    sender = chance.choice(senders)
    seen: set[str] = set()
    for step, details in enumerate(steps_of(campaign), start=1):
        variant = chance.randint(1, len(details["variants"]))
        mail = details["variants"][variant - 1]
        email_id = str(UUID(int=chance.getrandbits(128), version=4))
        for event_type in ("email_sent", *reactions(step, chance)):
            is_first = event_type not in seen
            is_repeated = chance.random() < IS_DELIVERED_TWICE
            seen.add(event_type)
            yield Beat(
                event_type=event_type,
                lead_id=lead["id"],
                sender=sender,
                step=step,
                variant=variant,
                mail=mail,
                email_id=email_id,
                is_first=is_first,
                is_repeated=is_repeated,
            )
        if seen & ENDINGS:
            return


def reactions(step: int, chance: random.Random) -> list[str]:
    """The events that follow the mail of a step."""

    def happens(probability: float) -> bool:
        return chance.random() < probability

    if step == 1 and happens(BOUNCES):
        return ["email_bounced"]
    events = []
    if happens(OPENS):
        events += ["email_opened"] * (2 if happens(OPENS_AGAIN) else 1)
        if happens(CLICKS):
            events.append("link_clicked")
    if happens(UNSUBSCRIBES):
        return [*events, "lead_unsubscribed"]
    if happens(ANSWERS_AUTOMATICALLY):
        events.append("auto_reply_received")
    if happens(REPLIES):
        events += ["reply_received", *chance.choice(LABELS_AFTER_A_REPLY)]
    return events


def steps_of(campaign: Json) -> list[Json]:
    """The steps that can be sent; only the first sequence is used [official OpenAPI document]."""
    sequences = campaign.get("sequences") or [{"steps": []}]
    return [step for step in sequences[0]["steps"] if step["variants"]]


def untracked(campaign: Json) -> set[str]:
    """The events that the campaign's options switch off."""
    options = {"open_tracking": "email_opened", "link_tracking": "link_clicked"}
    return {event for option, event in options.items() if campaign.get(option) is False}


def moment(at: datetime) -> str:
    """Instantly's form of a time: ISO 8601, UTC, milliseconds, Z."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass
class Performance:
    """How far a campaign has been played; `lock` of its workspace guards it."""

    beats: deque[Beat] = field(default_factory=deque)
    told: set[str] = field(default_factory=set)
    """ids of the leads whose stories are in `beats` or over"""
    latest: datetime | None = None
    is_running: bool = False

    def next_moment(self) -> str:
        """Now, but always later than the moment before."""
        present = datetime.now(UTC)
        if self.latest:
            present = max(present, self.latest + timedelta(milliseconds=1))
        self.latest = present
        return moment(present)


class Player:
    """Plays campaigns in threads of their own and hands every delivery to `deliver`.

    Only the first 200 leads of a campaign are played: more would take minutes and show nothing
    new. A paused campaign stops and goes on after its next activation; the last event is
    `campaign_completed`. `pause_seconds` is the time between two events.
    """

    def __init__(self, seed: int, deliver: "Callable[[Workspace, Json], None]") -> None:
        self.seed = seed
        self.pause_seconds = 0.02
        self._deliver = deliver
        self._performances: dict[str, Performance] = {}
        self._threads: list[threading.Thread] = []
        self._closed = threading.Event()

    def start(self, workspace: "Workspace", campaign: Json) -> None:
        """Play an active campaign, or go on with it; harmless when it is played already."""
        with workspace.lock:
            performance = self._performances.setdefault(campaign["id"], Performance())
            if performance.is_running or campaign["status"] != ACTIVE:
                return
            performance.is_running = True
            thread = threading.Thread(
                target=self._play, args=(workspace, campaign, performance), daemon=True
            )
            self._threads.append(thread)
        thread.start()

    def wait(self, timeout: float) -> bool:
        """Wait until nothing is played any more; False when it took longer."""
        deadline = time.monotonic() + timeout
        for thread in list(self._threads):
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def close(self) -> None:
        """Stop playing for good."""
        self._closed.set()

    def _play(self, workspace: "Workspace", campaign: Json, performance: Performance) -> None:
        while not self._closed.is_set():
            with workspace.lock:
                deliveries = self._next(workspace, campaign, performance)
                if deliveries is None:
                    performance.is_running = False
                    return
            for payload in deliveries:
                self._deliver(workspace, payload)
            self._closed.wait(self.pause_seconds)

    def _next(
        self, workspace: "Workspace", campaign: Json, performance: Performance
    ) -> list[Json] | None:
        """Let the next thing happen and return its deliveries; None when there is nothing to do."""
        if campaign["status"] != ACTIVE or campaign["id"] not in workspace.campaigns:
            return None
        if not performance.beats:
            self._tell_more(workspace, campaign, performance)
        if not performance.beats:
            return self._complete(workspace, campaign, performance) if performance.told else None
        beat = performance.beats.popleft()
        lead = workspace.leads.get(beat.lead_id)
        if lead is None:  # deleted meanwhile
            return []
        at = performance.next_moment()
        self._change(workspace, campaign, lead, beat, at)
        payload = self._payload(workspace, campaign, lead, beat, at)
        return [payload, payload] if beat.is_repeated else [payload]

    def _tell_more(self, workspace: "Workspace", campaign: Json, performance: Performance) -> None:
        """Add the stories of leads that are new, step by step as the mails would go out."""
        senders = campaign.get("email_list") or sorted(workspace.accounts)
        if not senders or not steps_of(campaign):
            return
        silent = untracked(campaign)
        leads = workspace.alive(workspace.lead_indexes[campaign["id"]].after(""))
        new = (lead for lead in leads if lead["id"] not in performance.told)
        beats: list[Beat] = []
        for lead in islice(new, MAX_PLAYED_LEADS - len(performance.told)):
            performance.told.add(lead["id"])
            told = story(lead, campaign, senders, self.seed)
            beats.extend(beat for beat in told if beat.event_type not in silent)
        performance.beats.extend(sorted(beats, key=lambda beat: beat.step))

    def _complete(
        self, workspace: "Workspace", campaign: Json, performance: Performance
    ) -> list[Json]:
        campaign["status"] = COMPLETED
        for lead in workspace.alive(performance.told):
            if lead["status"] == ACTIVE:
                lead["status"] = COMPLETED
                workspace.analytics[campaign["id"]]["completed_count"] += 1
        at = performance.next_moment()
        return [self._envelope(workspace, campaign, "campaign_completed", at)]

    def _change(
        self, workspace: "Workspace", campaign: Json, lead: Json, beat: Beat, at: str
    ) -> None:
        """Let the lead and the analytics know."""
        counts = workspace.analytics[campaign["id"]]
        lead["timestamp_updated"] = at
        if beat.event_type == "email_sent":
            counts["emails_sent_count"] += 1
            counts["contacted_count"] += beat.is_first
            counts["new_leads_contacted_count"] += beat.is_first
            lead.update(timestamp_last_contact=at, last_contacted_from=beat.sender)
            step_id = f"0_{beat.step - 1}_{beat.variant - 1}"
            executed = {"from": beat.sender, "stepID": step_id, "timestamp_executed": at}
            lead["status_summary"] = {"lastStep": executed}
        elif beat.event_type in LEAD_REACTIONS:
            word, past, counter = LEAD_REACTIONS[beat.event_type]
            counts[counter] += 1
            counts[f"{counter}_unique"] += lead[f"email_{word}_count"] == 0
            lead[f"email_{word}_count"] += 1
            lead[f"email_{past}_step"] = beat.step
            lead[f"email_{past}_variant"] = beat.variant
            lead[f"timestamp_last_{word}"] = at
        elif beat.event_type == "auto_reply_received":
            counts["reply_count_automatic"] += 1
        elif beat.event_type in LEAD_ENDS:
            lead["status"], counter = LEAD_ENDS[beat.event_type]
            counts[counter] += 1
        elif beat.event_type in INTERESTS:
            lead["lt_interest_status"] = INTERESTS[beat.event_type]
            lead["timestamp_last_interest_change"] = at
            counts["total_opportunities"] += beat.event_type == "lead_interested"

    def _envelope(self, workspace: "Workspace", campaign: Json, event_type: str, at: str) -> Json:
        return {
            "timestamp": at,
            "event_type": event_type,
            "workspace": workspace.id,
            "campaign_id": campaign["id"],
            "campaign_name": campaign["name"],
        }

    def _payload(
        self, workspace: "Workspace", campaign: Json, lead: Json, beat: Beat, at: str
    ) -> Json:
        """The delivery: what Instantly says about the event, merged with the lead's own data.

        Which of the two wins where names collide is documented nowhere; here it is the event.
        """
        event = self._envelope(workspace, campaign, beat.event_type, at)
        event.update(lead_email=lead["email"], email_account=beat.sender)
        if beat.event_type not in WITHOUT_A_STEP:
            event.update(
                step=beat.step,
                variant=beat.variant,
                is_first=beat.is_first,
                email_id=beat.email_id,
            )
        subject = merged(beat.mail["subject"], lead["payload"])
        if beat.event_type == "email_sent":
            body = merged(beat.mail["body"], lead["payload"])
            event.update(email_subject=subject, email_text=plain_text(body), email_html=body)
        if beat.event_type in REPLY_TEXTS:
            reply = REPLY_TEXTS[beat.event_type]
            thread = f"thread:{beat.email_id}&selected_wks={workspace.id}"
            event.update(
                unibox_url=f"https://app.instantly.ai/app/unibox?thread_search={thread}",
                reply_subject=f"Re: {subject}",
                reply_text_snippet=reply,
                reply_text=reply,
                reply_html=f"<p>{reply}</p>",
            )
        return {**lead["payload"], "email": lead["email"], **event}


def merged(template: str, values: Json) -> str:
    """Fill in {{firstName}} and the like; what is unknown renders empty."""
    return re.sub(r"\{\{\s*(\w+)\s*\}\}", lambda tag: str(values.get(tag[1], "")), template)


def plain_text(body: str) -> str:
    """HTML as text: line breaks kept, other tags dropped."""
    lines = re.sub(r"<br\s*/?>|</p>", "\n", body)
    return html.unescape(re.sub(r"<[^>]+>", "", lines)).strip()
