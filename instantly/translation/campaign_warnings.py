"""What Instantly takes in a campaign although its author can hardly mean it, in sentences.

Each says where something is wrong and what to do. What Instantly does not fill in is known from
production use.
"""

import re
import time
from collections.abc import Iterator
from datetime import datetime
from html.parser import HTMLParser
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from instantly.translation.email_html import email_html

# The fields of a lead and of its sender that have two words in their name.
MERGE_TAGS = {
    tag.lower(): tag
    for tag in (
        "firstName lastName companyName jobTitle sendingAccountName sendingAccountFirstName"
    ).split()
}
PLACEHOLDER = re.compile(r"\{\{([^{}|]{1,50})(?=[|}])")
BRACES = re.compile(r"\{+|\}+")
UNSUBSCRIBE_LINK = re.compile(r"\{\s*unsubscribe_link\s*\}")
# But not in the path C:\new.
LITERAL_LINE_BREAK = re.compile(r"(?<!\b[A-Za-z]:)\\n")
URL = re.compile(r"(?:https?://|\bwww\.)[^\s<>\"']+", re.IGNORECASE)
CHARACTERS_AROUND = 20
MAX_URL_CHARACTERS = 80


class Email(NamedTuple):
    """One variant of one step."""

    step: int
    place: str
    subject: str
    body: "Body"


class Body(HTMLParser):
    """A body as its reader sees it."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.values: list[str] = []
        """of all attributes"""
        self._texts: list[str] = []
        self._texts_outside_links: list[str] = []
        self._is_link = self._is_hidden = False
        self.feed(html)
        self.close()
        self.text = "".join(self._texts)
        self.text_outside_links = "".join(self._texts_outside_links)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.values += [value for _, value in attrs if value]
        if tag == "a":
            self._is_link = any(name == "href" for name, _ in attrs)
        self._is_hidden = tag in ("style", "script")

    def handle_endtag(self, tag: str) -> None:
        self._is_hidden = False
        if tag == "a":
            self._is_link = False

    def handle_data(self, data: str) -> None:
        if not self._is_hidden:
            self._texts.append(data)
            self._texts_outside_links.append(" " if self._is_link else data)


def campaign_warnings(campaign: dict[str, Any], now: datetime) -> list[str]:
    """Takes what the CreateCampaign or the ChangeCampaign schema loads.

    Of what is not there nothing is said.
    """
    emails = list(emails_of(campaign.get("sequence", [])))
    settings = campaign.get("settings", {})
    return [
        *about_name(campaign.get("name")),
        *about_schedule(campaign.get("schedule", {}), now),
        *(sentence for email in emails for sentence in about_email(email)),
        *about_links(emails, settings),
        *about_unsubscribing(emails, settings),
    ]


def emails_of(sequence: list[dict[str, Any]]) -> Iterator[Email]:
    for number, step in enumerate(sequence, 1):
        for variant_number, variant in enumerate(step.get("variants", [step]), 1):
            time.sleep(0)  # other requests go on
            place = f"Step {number}" + (f", variant {variant_number}" if "variants" in step else "")
            body = Body(email_html(variant["body_html"]))
            yield Email(number, place, variant["subject"], body)


def about_name(name: str | None) -> Iterator[str]:
    if name is not None and not name.strip():
        yield "name: it is blank, so nobody can find the campaign in Instantly. Give it a name."


def about_schedule(schedule: dict[str, Any], now: datetime) -> Iterator[str]:
    if schedule.get("timezone_warning"):
        yield schedule["timezone_warning"]
    end = schedule.get("end_date")
    if end and end < now.astimezone(ZoneInfo(schedule["timezone"])).date():
        yield f"schedule.endDate: {end} is past, so nothing is ever sent. Choose a later day."


def about_email(email: Email) -> Iterator[str]:
    if email.step == 1 and not email.subject.strip():
        yield (
            f"{email.place}: the subject is empty, which only a follow-up's may be, to continue the"
            " thread. Write one."
        )
    yield from about_text(f"{email.place}, subject", email.subject)
    yield from about_text(f"{email.place}, body", email.body.text, *email.body.values)


def about_text(place: str, *parts: str) -> Iterator[str]:
    """`parts` are the text itself, and the attributes in it."""
    advised: dict[str, str] = {}
    for name in (name.strip() for part in parts for name in PLACEHOLDER.findall(part)):
        if advice := advice_on(name):
            advised.setdefault(advice, name)
    for advice, name in advised.items():
        yield f"{place}: Instantly does not fill in {{{{{name}}}}}. {advice}"
    if near := next(filter(None, map(unmatched_brace, parts)), None):
        yield (
            f"{place}: braces do not match near {near!r}, so nothing is filled in there. Write as"
            " many on both sides."
        )
    if LITERAL_LINE_BREAK.search(parts[0]):
        yield (
            f"{place}: a literal \\n (backslash and n) is sent as it stands. Send a line break in a"
            " body, and nothing in a subject."
        )


def advice_on(name: str) -> str | None:
    """What to write in place of a placeholder that stays empty, or is sent as it stands."""
    plain = name.replace("_", "").lower()
    if plain == "accountsignature":
        return "Write the signature itself: only Instantly's own editor knows it."
    if plain == "unsubscribeurl":
        return "Write {unsubscribe_link}."
    if "_" in name and plain in MERGE_TAGS:
        return f"Write {{{{{MERGE_TAGS[plain]}}}}}."
    return None


def unmatched_brace(text: str) -> str | None:
    """The text around braces that no others match; those that open together close together."""
    opened: list[re.Match[str]] = []
    for braces in BRACES.finditer(text):
        if braces[0][0] == "{":
            opened.append(braces)
            continue
        left = len(braces[0])
        while left and opened and len(opened[-1][0]) <= left:
            left -= len(opened.pop()[0])
        if left:
            return around(text, braces)
    return around(text, opened[-1]) if opened else None


def around(text: str, found: re.Match[str]) -> str:
    start = found.start()
    near = text[max(0, start - CHARACTERS_AROUND) : start + CHARACTERS_AROUND]
    return " ".join(near.split())


def about_links(emails: list[Email], settings: dict[str, Any]) -> Iterator[str]:
    for email in emails:
        url = URL.search(email.body.text_outside_links)
        if url and settings.get("link_tracking"):
            yield (
                f"{email.place}, body: link tracking is on, but {url[0][:MAX_URL_CHARACTERS]} is"
                ' no link, so no click on it is counted. Put it into <a href="…">.'
            )


def about_unsubscribing(emails: list[Email], settings: dict[str, Any]) -> Iterator[str]:
    """By the header, which all e-mails have then, or by a link in the first."""
    if settings.get("insert_unsubscribe_header", True):
        return
    for email in emails:
        parts = (email.body.text, *email.body.values)
        if email.step == 1 and not any(map(UNSUBSCRIBE_LINK.search, parts)):
            yield (
                f"{email.place}: nobody can unsubscribe. Set insertUnsubscribeHeader to true, or"
                " write {unsubscribe_link} into the body."
            )
