"""The pure tables: what an event is called, what it says of a lead, and how a payload is read."""

from datetime import UTC, datetime
from typing import Any

import pytest

from instantly.json_text import canonical_json, storable_text
from instantly.readings import moment_or_none
from instantly.translation.events import (
    CAMPAIGN_STATUS,
    COUNTED_AS,
    LABELS,
    LEAD_STATUS,
    RECORDED_NAMES,
    Event,
    address_or_none,
    fingerprint,
    positive_or_none,
    uuid_or_none,
)
from instantly.translation.leads import PROVED_BY_FIELDS

CAMPAIGN_ID = "2458e540-24e4-46e5-b2cf-6caac4b9c637"
# The contract's order (§8), weakest first; None stands for the labels.
ORDER = [
    "active",
    "contacted",
    "opened",
    "clicked",
    "completed",
    "replied",
    None,
    "bounced",
    "unsubscribed",
]
CONTRACT_LABELS = set(
    "interested neutral not_interested meeting_booked meeting_completed closed lost"
    " out_of_office wrong_person no_show skipped".split()
)
CONTRACT_STATUSES = CONTRACT_LABELS | {status for status in ORDER if status is not None}


def payload(**changes: Any) -> dict[str, Any]:
    return {"event_type": "email_sent", "campaign_id": CAMPAIGN_ID, **changes}


def test_the_strengths_are_those_of_the_contract_weakest_first(db):
    assert LABELS == CONTRACT_LABELS
    asked = [*CONTRACT_STATUSES, "unheard of", None]
    rows = db.all("SELECT s, status_strength(s) AS strength FROM unnest(%s::text[]) AS s", asked)
    strengths = {row["s"]: row["strength"] for row in rows}
    assert (strengths.pop("unheard of"), strengths.pop(None)) == (None, None)
    assert strengths == {
        status: ORDER.index(None if status in LABELS else status) for status in CONTRACT_STATUSES
    }
    # What a reconcile can prove stands in the same order.
    assert sorted(PROVED_BY_FIELDS, key=strengths.__getitem__) == list(PROVED_BY_FIELDS)


# What each event says of its lead, but for those that are called "lead_" and the label.
SAYS = {
    "email_sent": "contacted",
    "email_opened": "opened",
    "email_link_clicked": "clicked",
    "reply_received": "replied",
    "email_bounced": "bounced",
    "lead_won": "closed",
    "lead_unsubscribed": "unsubscribed",
    "campaign_completed_for_lead_without_reply": "completed",
}


def test_an_event_says_this_of_its_lead_and_only_the_last_one_of_its_campaign():
    labels = {f"lead_{label}": label for label in CONTRACT_LABELS}
    assert LEAD_STATUS == labels | SAYS
    assert CAMPAIGN_STATUS == {"campaign_completed": "completed"}


def test_an_event_counts_as_this():
    assert COUNTED_AS == {
        "email_sent": "sent",
        "email_opened": "opened",
        "email_link_clicked": "clicked",
        "reply_received": "replied",
        "email_bounced": "bounced",
        "auto_reply_received": "auto_replied",
        "lead_not_interested": "not_interested",
        "lead_out_of_office": "out_of_office",
        "lead_unsubscribed": "unsubscribed",
    }
    assert Event.from_payload(payload(event_type="link_clicked")).counted_as == "clicked"
    assert Event.from_payload(payload(event_type="account_error")).counted_as is None


def test_what_the_statistics_count_is_known_under_its_recorded_name():
    assert not COUNTED_AS.keys() & RECORDED_NAMES.keys()
    assert not LEAD_STATUS.keys() & RECORDED_NAMES.keys()


@pytest.mark.parametrize(
    ("lead", "account", "counts"),
    [
        ("a@x.example", "b@x.example", True),
        ("A@X.Example", " a@x.example ", False),
        ("a@x.example", None, True),
        (None, "a@x.example", True),
        (None, None, True),
    ],
)
def test_the_sending_account_is_no_lead(lead, account, counts):
    event = Event.from_payload(payload(lead_email=lead, email_account=account))
    assert (event.counted_as is not None) is counts


@pytest.mark.parametrize(
    ("delivered", "recorded"),
    [
        ("link_clicked", "email_link_clicked"),
        ("Später melden ☎️ / « prioritaire »", "Später melden ☎️ / « prioritaire »"),
        ("EMAIL_SENT", "EMAIL_SENT"),
        (" email_sent", " email_sent"),
        ("a\x00b", "a\\u0000b"),
    ],
)
def test_a_name_is_recorded_as_it_is_but_for_clicks(delivered, recorded):
    assert Event.from_payload(payload(event_type=delivered)).event_type == recorded


# Texts that PostgreSQL cannot keep, and what is kept instead.
ESCAPED = {
    "a\x00b": "a\\u0000b",
    "\x00" * 1000: "\\u0000" * 1000,
    "a\ud800b": "a\\ud800b",
    "\udc00\ud800": "\\udc00\\ud800",
    "\ud83d🚚\udc00": "\\ud83d🚚\\udc00",
    "\\\x00": "\\\\u0000",
    "\\\ud800": "\\\\ud800",
}
AS_THEY_ARE = [
    "a\\u0000b",
    "\\\\u0000",
    "\\ud800",
    "\\ud83d\\ude9a",
    "\U0010ffff\ufffe\uffff",
    '"\\/\b\f\n\r\t',
    "e\u0301 \u200f\u05e9",
    "\x01\x1f\x7f\x85\u2028\u2029\ufeff",
]


@pytest.mark.parametrize(
    ("sent", "kept"),
    [*ESCAPED.items(), *zip(AS_THEY_ARE, AS_THEY_ARE, strict=True)],
    ids=lambda text: ascii(text)[:30],
)
def test_text_that_postgres_cannot_keep_becomes_the_text_of_its_escape(sent, kept):
    assert storable_text(sent) == kept


def test_a_payload_is_readable_when_it_names_its_event():
    for name in ("email_sent", " "):
        assert Event.from_payload({"event_type": name}) == Event(
            event_type=name,
            campaign_id=None,
            lead_email=None,
            account_email=None,
            step=None,
            variant=None,
            occurred_at=None,
        )
    for unreadable in ({}, *({"event_type": name} for name in ("", None, 1, ["a"], False))):
        assert Event.from_payload(unreadable) is None


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        ("2026-08-18T07:12:44.318Z", datetime(2026, 8, 18, 7, 12, 44, 318000, UTC)),
        ("2026-08-18T10:11:12+02:00", datetime(2026, 8, 18, 8, 11, 12, 0, UTC)),
        ("2026-08-18T10:11:12-0530", datetime(2026, 8, 18, 15, 41, 12, 0, UTC)),
        ("2026-08-18T10:11:12", datetime(2026, 8, 18, 10, 11, 12, 0, UTC)),
        ("2026-08-18 10:11:12Z", datetime(2026, 8, 18, 10, 11, 12, 0, UTC)),
        ("2026-08-18T07:12:44.318123456Z", datetime(2026, 8, 18, 7, 12, 44, 318123, UTC)),
        ("2026-08-18", datetime(2026, 8, 18, tzinfo=UTC)),
        ("0001-01-01T00:00:00Z", datetime(1, 1, 1, tzinfo=UTC)),
        ("9999-12-31T23:59:59Z", datetime(9999, 12, 31, 23, 59, 59, 0, UTC)),
    ],
)
def test_a_timestamp_is_read_as_utc(value, moment):
    assert moment_or_none(value) == moment


NO_TIMES = [
    # Moments in zones where Python's calendar ends.
    "0001-01-01T00:00:00+02:00",
    "9999-12-31T23:59:59-02:00",
    "2026-02-30T00:00:00Z",
    "2026-08-18T25:00:00Z",
    "2026-08-18T07:12:60Z",
    "2026-08-18T07:12:44+25:00",
    "0000-01-01T00:00:00Z",
    "10000-01-01T00:00:00Z",
    "-2026-08-18T00:00:00Z",
    "yesterday",
    "",
    " ",
    "\x00",
    "\ud800",
    "x" * 100_000,
    # No seconds and no milliseconds of our time, however Python would read the digits.
    "17111111",
    10**30,
    -1,
    1.5,
    "1",
    True,
    None,
    [],
    {},
]


@pytest.mark.parametrize("value", NO_TIMES, ids=lambda value: ascii(value)[:30])
def test_what_is_no_time_is_none(value):
    assert moment_or_none(value) is None


def test_a_step_or_variant_is_a_positive_integer_or_null():
    for number in (1, 2, 99999999999, 2**63 - 1):
        assert positive_or_none(number) == number
    assert positive_or_none("12") == 12
    texts = ("-1", "1.5", "", "one")
    for value in (2**63, 10**30, 0, -1, 1.5, 1.0, *texts, True, False, None, [1], {"step": 1}):
        assert positive_or_none(value) is None
    event = Event.from_payload(payload(step=1, variant=2))
    assert (event.step, event.variant) == (1, 2)


@pytest.mark.parametrize(
    ("value", "address"),
    [
        ("jonas@x.example", "jonas@x.example"),
        ("Nina.Weiss@ALPENCARGO.example", "nina.weiss@alpencargo.example"),
        ("  a@x.example\n", "a@x.example"),
        ("PETRA.VOSS@GRÜN.example", "petra.voss@grün.example"),
        ("petra.voß@grün-transport.example", "petra.voß@grün-transport.example"),
        ("a\x00@x.example", "a\\u0000@x.example"),
        ("a\udc00@x.example", "a\\udc00@x.example"),
        ("no address", "no address"),
        ("a" * 320, "a" * 320),
        ("a" * 321, None),
        *((value, None) for value in ("", "   ", None, 5, True, ["a@x.example"], {"email": "a"})),
    ],
)
def test_an_address_is_read_trimmed_and_in_lower_case(value, address):
    assert address_or_none(value) == address
    event = Event.from_payload(payload(lead_email=value, email_account=value))
    assert (event.lead_email, event.account_email) == (address, address)


def test_a_campaign_id_is_a_uuid_or_nothing():
    assert uuid_or_none(CAMPAIGN_ID) == uuid_or_none(CAMPAIGN_ID.upper()) == CAMPAIGN_ID
    texts = (
        CAMPAIGN_ID[:-1],
        "campaign",
        "",
        "\x00",
        "\ud800",
        f"{CAMPAIGN_ID}\x00",
        "x" * 100_000,
    )
    for value in (*texts, None, 7, 1.5, True, 10**40, [CAMPAIGN_ID], {"id": CAMPAIGN_ID}):
        assert uuid_or_none(value) is None


def test_the_order_of_keys_at_any_depth_makes_no_other_event():
    one = {"a": 1, "b": {"c": [1, {"d": 2, "e": 3}], "f": "ü"}}
    other = {"b": {"f": "ü", "c": [1, {"e": 3, "d": 2}]}, "a": 1}
    assert fingerprint(canonical_json(one)) == fingerprint(canonical_json(other))


def test_another_value_is_another_event():
    events = [
        {"a": [1, 2]},
        {"a": [2, 1]},
        {"a": [1, 2], "b": None},
        {"a": [1, "2"]},
        {"A": [1, 2]},
        {"a": [True, 2]},
        {},
        {"a": "\x00"},
        {"a": "\\u0000"},
    ]
    assert len({fingerprint(canonical_json(event)) for event in events}) == len(events)


def test_the_schema_of_the_table_and_the_code_name_the_same_statuses(db):
    rows = db.all(
        "SELECT pg_get_constraintdef(oid) AS definition FROM pg_constraint"
        " WHERE conname = 'instantly_leads_status_check'"
    )
    named = set(rows[0]["definition"].split("'")[1::2])
    assert named == CONTRACT_STATUSES
