"""The short way of a lead, past its schema, makes of it what the schema makes of it."""

import random
from typing import Any

from instantly.schemas.leads import NewLead, usual_lead

USUAL = ["", " Ada", "Jürgen 🚚", None]
ODD = [
    *("a\x00b", "\ud800", "\ud83d\ude9a", "\\u0000", "\u2028", "x" * 400, True, 0, 10**30, 1.5),
    *(float("nan"), [], ["a"], {}, {"a": None}),
]
ADDRESSES = [
    *("a@x.example", "A.b+c@sub.x.example", " a@x.example", "a@x.example\n", "a@x", "a@@x.example"),
    *(
        "a@-x.example",
        "jürgen@x.example",
        "a@grün.example",
        '"a b"@x.example',
        "a@[127.0.0.1]",
        "@",
    ),
    *("a" * 310 + "@x.example", "a" * 311 + "@x.example", "a@x.example\x00", "\ud800@x.example"),
]
NAMES = "firstName lastName companyName jobTitle phone website personalization".split()
ODD_NAMES = ["first_name", "Email", "id", "", "\x00", "\ud800"]


def odd_lead(chance: random.Random) -> dict[str, Any]:
    """Usual in most respects, so that those count that are not."""

    def one_of(usual: list[Any], odd: list[Any], share: float = 0.1) -> Any:
        return chance.choice(odd if chance.random() < share else usual)

    lead = {one_of(NAMES, ODD_NAMES): one_of(USUAL, ODD) for _ in range(chance.randrange(4))}
    if chance.random() < 0.5:
        variables = {one_of(NAMES, ODD_NAMES): one_of(USUAL, ODD) for _ in range(2)}
        lead["customVariables"] = one_of([variables], ODD)
    if chance.random() < 0.95:
        lead["email"] = one_of(ADDRESSES[:2], [*ADDRESSES, *ODD], 0.5)
    return lead


def test_thousands_of_odd_leads_go_the_short_way_as_the_schema_has_them() -> None:
    chance, schema = random.Random(320), NewLead()
    leads = [*ODD, *(odd_lead(chance) for _ in range(5000))]
    short = [(lead, loaded) for lead in leads if (loaded := usual_lead(lead)) is not None]
    for lead, loaded in short:
        # What must not go this way is refused by load.
        assert loaded == schema.load(lead)
    assert 1000 < len(short) < 4000
