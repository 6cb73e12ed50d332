"""JSON as text: what we take for JSON, and what Postgres can keep of it."""

import json
import math
import re
from typing import Any, NoReturn

MAX_DIGITS = 1000
CANONICAL_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"))

UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
# NUL and half surrogate pairs reach a JSON text only as escapes.
UNSTORABLE_ESCAPES = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")
# In JSON text of plain ASCII: an escaped backslash, a whole pair, or what cannot be stored.
JSON_ESCAPE = re.compile(r"\\\\|\\ud[89ab]..\\ud[c-f]..|(?P<bad>\\u0000|\\ud[89a-f]..)")


def parse_json(data: bytes) -> Any:
    """JSON in UTF-8, without the NaN and Infinity that Python adds to the standard.

    Raises ValueError, or RecursionError where it is nested too deep.
    """
    return json.loads(
        data.decode("utf-8"), parse_constant=refuse_constant, parse_float=finite_float
    )


def refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


def finite_float(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(text)
    return number


def parse_json_leniently(data: bytes) -> Any:
    """Likewise, but numbers that Python or Postgres cannot hold become text."""
    return json.loads(
        data.decode("utf-8"),
        parse_constant=str,
        parse_float=lambda text: text if math.isinf(float(text)) else float(text),
        parse_int=lambda text: int(text) if len(text) <= MAX_DIGITS else text,
    )


def canonical_json(value: Any) -> str:
    """The same for the same value, whatever the order of its keys. Plain ASCII."""
    return CANONICAL_ENCODER.encode(value)


def storable_json(canonical: str) -> str:
    """JSON text with NUL characters and half surrogate pairs as the text of their escapes."""
    if "\\u0000" not in canonical and "\\ud" not in canonical:
        return canonical
    return JSON_ESCAPE.sub(lambda match: "\\" + match[0] if match["bad"] else match[0], canonical)


def storable_text(text: str) -> str:
    """Likewise for a plain text."""
    return UNSTORABLE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
