"""What a campaign is warned of, and of what it is not."""

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from world import campaign_request

from instantly.schemas.campaigns import CreateCampaign
from instantly.schemas.fields import instance_of
from instantly.translation.campaign_warnings import campaign_warnings

NOW = datetime(2027, 3, 1, 6, tzinfo=UTC)
STEP = {"subject": "Hello", "bodyHtml": "<p>Hi</p>"}
NO_HEADER = {"insertUnsubscribeHeader": False}
TRACKING = {"linkTracking": True}


def warnings(**changes: Any) -> list[str]:
    return campaign_warnings(instance_of(CreateCampaign).load(campaign_request(**changes)), NOW)


def warnings_about(body: str, **settings: Any) -> list[str]:
    return warnings(sequence=[{**STEP, "bodyHtml": body}], settings=settings)


# Bodies, and what the one warning about each says, in this order.
WARNED = [
    # Placeholders
    *(
        (f"{{{{{name}}}}}", rf"does not fill in {{{{{name}}}}}\. {advice}")
        for name, advice in {
            "accountSignature": "Write the signature itself",
            "account_signature": "Write the signature itself",
            "unsubscribe_url": "Write {unsubscribe_link}",
            "unsubscribeUrl": "Write {unsubscribe_link}",
            "first_name": "Write {{firstName}}",
            "LAST_NAME": "Write {{lastName}}",
            "company_name": "Write {{companyName}}",
            "job_title": "Write {{jobTitle}}",
            "sending_account_first_name": "Write {{sendingAccountFirstName}}",
        }.items()
    ),
    ("{{ first_name | there }}", "{{first_name}}.*{{firstName}}"),
    ("{{RANDOM | Hi {{first_name}} | Hey}} {{first_name}}", "{{firstName}}"),
    ('<a href="https://widgets.example/{{first_name}}">it</a>', "{{firstName}}"),
    # Braces
    *(
        (text, f"braces do not match near '{re.escape(text)}'")
        for text in (
            "{{firstName}",
            "{firstName}}",
            "{{firstName",
            "firstName}}",
            "{unsubscribe_link",
            "{{a} and {b}}",
            "{{RANDOM | a | {{b} }}",
            "}} {{",
        )
    ),
    ('<a href="{{website}">it</a>', "braces do not match near '{{website}'"),
    # Line breaks
    (r"Hi,\n\nBest", r"literal \\n "),
    (r"<p>My list:\n- one</p>", r"literal \\n "),
]
FINE = [
    "Hi {{firstName}}, {{ lastName }} {{companyName|there}} {{sendingAccountFirstName}}",
    "{{myVariable}} {{amz_product | your products}} {{Bullet 1}} {{email}} {{firstname}}",
    "{{RANDOM | Hi {{firstName}} | Hey}} {Hi|Hey} {{{{RANDOM | a | b}}}}",
    '{% if firstName %}{{firstName}}{% endif %} {#"now" | date: "%A"#}',
    '<a href="{unsubscribe_link}">out</a> {unsubscribe_link} {{unsubscribe_link}}',
    "<style>@media x{p{color:red}} b{</style><!-- {{first_name} --><p>Hi</p>",
    r"It is in C:\new and {\"a\": {\"b\": 1}}",
    "https://widgets.example",
]


@pytest.mark.parametrize(("body", "said"), WARNED)
def test_what_instantly_would_send_as_it_stands_is_told(body, said):
    (warning,) = warnings_about(body)
    assert re.match(rf"Step 1, body: .*{said}", warning)


@pytest.mark.parametrize("body", FINE)
def test_an_ordinary_text_is_not_warned_of(body):
    assert warnings_about(body) == []


def test_every_text_of_a_sequence_is_looked_at_and_told_by_its_place():
    odd = {"subject": "{{first_name}}", "bodyHtml": r"{{a} \n {{last_name}}"}
    sequence = [STEP, {"variants": [STEP, odd], "daysSinceLastStep": 1}]
    places = [warning.partition(":")[0] for warning in warnings(sequence=sequence)]
    assert places == [f"Step 2, variant 2, {text}" for text in ("subject", *["body"] * 3)]


@pytest.mark.parametrize(
    ("body", "url"),
    [
        ("See https://widgets.example/a?b=1&c=2, please", "https://widgets.example/a?b=1&c=2"),
        ("<p>HTTP://widgets.example</p>", "HTTP://widgets.example"),
        ("<p>www.widgets.example</p>", "www.widgets.example"),
        ("<p><a name=x>http://widgets.example</a></p>", "http://widgets.example"),
        ("<p><a href=x>it</a> http://widgets.example</p>", "http://widgets.example"),
    ],
)
def test_a_url_that_is_no_link_is_told_where_links_are_tracked(body, url):
    (warning,) = warnings_about(body, **TRACKING)
    assert warning.startswith("Step 1, body: link tracking is on")
    assert f" {url}" in warning
    assert "<a href=" in warning
    assert warnings_about(body) == warnings_about(body, linkTracking=False) == []


@pytest.mark.parametrize(
    "body",
    [
        "<p><a href='https://widgets.example'><b>https://widgets.example</b></a></p>",
        "<p><img src='https://widgets.example/x.png'>Hi</p>",
        "<style>@import url(https://widgets.example)</style><p>widgets.example</p>",
    ],
)
def test_other_urls_are_not(body):
    assert warnings_about(body, **TRACKING) == []


OUT = "Out: {unsubscribe_link}"


@pytest.mark.parametrize(
    ("bodies", "places"),
    [
        ([], []),
        (["Hi"], ["Step 1, variant 1"]),
        ([OUT], []),
        (["<a href='{unsubscribe_link}'>out</a>"], []),
        ([OUT, "Hi", "{{unsubscribe_me}}"], ["Step 1, variant 2", "Step 1, variant 3"]),
    ],
)
def test_without_header_and_link_nobody_can_unsubscribe(bodies, places):
    variants = [{**STEP, "bodyHtml": body} for body in bodies]
    sequence = [{"variants": variants}, {**STEP, "daysSinceLastStep": 1}] if bodies else None
    told = warnings(sequence=sequence, settings=NO_HEADER)
    assert [warning.partition(": nobody can unsubscribe.")[0] for warning in told] == places
    assert warnings(sequence=sequence) == []


@pytest.mark.parametrize("subject", ["", " "])
def test_only_a_follow_up_may_have_an_empty_subject(subject):
    follow_up = {**STEP, "subject": subject, "daysSinceLastStep": 1}
    assert warnings(sequence=[STEP, follow_up]) == []
    (warning,) = warnings(sequence=[{"variants": [STEP, {**STEP, "subject": subject}]}, follow_up])
    assert warning.startswith("Step 1, variant 2: the subject is empty")


@pytest.mark.parametrize(
    ("end", "timezone", "is_past"),
    [
        ("2027-02-27", "America/Chicago", True),
        ("2027-02-28", "UTC", True),
        # It is still that day there.
        ("2027-02-28", "Etc/GMT+12", False),
        ("2027-03-01", "Europe/London", False),
    ],
)
def test_an_end_in_the_past_is_told(end, timezone, is_past):
    told = warnings(schedule={"endDate": end, "timezone": timezone})
    assert [warning.startswith(f"schedule.endDate: {end} is past") for warning in told] == [
        *[True] * is_past
    ]


@pytest.mark.parametrize("name", [" ", "\t\n", "\xa0\u2003"])
def test_a_name_of_blanks_alone_is_told(name):
    (warning,) = warnings(name=name)
    assert warning.startswith("name: ")


def test_a_zone_that_is_sent_as_the_closest_is_told():
    (warning,) = warnings(schedule={"timezone": "America/Los_Angeles"})
    assert re.match(r"schedule\.timezone: .*America/Los_Angeles.*America/Dawson.* 1 hour", warning)
