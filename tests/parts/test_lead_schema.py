"""A lead is read by its schema, or, as one of thousands, by the short way beside it."""

import json
import random
from typing import Any

import pytest
from marshmallow import ValidationError

from instantly.schemas.fields import instance_of
from instantly.schemas.leads import NewLead, usual_lead

EMAILS = [
    "ada@x.example",
    "Ada+1@X.example",
    "o'brien@sub.x.example",
    "a_b-c.d@xn--bcher-kva.example",
    " ada@x.example\n",
    "ada@b\u00fccher.example",
    "\u0130@x.example",
    "nobody",
    "",
    None,
    5,
    f"{'a' * 400}@x.example",
]
TEXTS = ["Ada", "", " ", "Köln 😀", "a\x00b", "\ud800", None, 5, 4915112345678, 1.5, True, [], {}]
VARIABLES = [*TEXTS, {"deep": 1}, ["list"]]
NAMES = [
    *instance_of(NewLead).fields,
    *(str(f.data_key) for f in instance_of(NewLead).fields.values()),
]


def odd_lead(choose: random.Random) -> Any:
    lead: dict[str, Any] = {"email": choose.choice(EMAILS[:4] if choose.random() < 0.8 else EMAILS)}
    for name in choose.sample(NAMES, choose.randrange(5)):
        lead[name] = choose.choice(TEXTS[: 4 if choose.random() < 0.7 else None])
    if choose.random() < 0.5:
        names = choose.sample(["city", "", "n", "step", "a\x00b", "\udfff"], choose.randrange(3))
        lead["customVariables"] = {name: choose.choice(VARIABLES) for name in names}
    return lead


@pytest.mark.parametrize("seed", range(4))
def test_the_short_way_makes_of_a_lead_what_its_schema_makes_of_it(seed):
    choose, short = random.Random(seed), 0
    for _ in range(1000):
        lead = odd_lead(choose)
        usual = usual_lead(lead)
        if usual is not None:
            short += 1
            try:
                loaded = instance_of(NewLead).load(lead)
            except ValidationError as error:
                pytest.fail(f"{lead!r}: {error}")
            # As text, since to Python 1 is 1.0 and true.
            usual, loaded = (json.dumps(each, sort_keys=True) for each in (usual, loaded))
            assert usual == loaded, lead
    assert 200 < short < 800
