"""JSON as text: what we take for JSON, and what Postgres can keep of it."""

import json
import math
import re
from typing import Any

MAX_DIGITS = 1000
MAX_PLAIN = 1e21
CANONICAL_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"))

# In JSON text of plain ASCII: an escaped backslash, a whole pair, or what cannot be stored.
JSON_ESCAPE = re.compile(r"\\\\|\\ud[89ab]..\\ud[c-f]..|(?P<bad>\\u0000|\\ud[89a-f]..)")


def parse_json(data: bytes) -> Any:
    """Parses JSON in UTF-8, without the NaN and Infinity that Python adds to the standard.

    Raises ValueError, or RecursionError where it is nested too deep.
    """
    return json.loads(data.decode("utf-8"), parse_constant=finite_float, parse_float=finite_float)


def finite_float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


def parse_json_leniently(data: bytes) -> Any:
    """Parses JSON in UTF-8; numbers that Python or Postgres cannot hold become text.

    So do floats that Postgres would write out with all their zeros, sixty times as long as sent.
    """
    return json.loads(
        data.decode("utf-8"),
        parse_constant=str,
        parse_float=plain_float,
        parse_int=lambda text: int(text) if len(text) <= MAX_DIGITS else text,
    )


def plain_float(text: str) -> float | str:
    number = float(text)
    return number if number == 0 or 1 / MAX_PLAIN < abs(number) < MAX_PLAIN else text


def canonical_json(value: Any) -> str:
    """The same for the same value, whatever the order of its keys. Plain ASCII."""
    return CANONICAL_ENCODER.encode(value)


def storable_text(text: str) -> str:
    """The text with the escapes of what Postgres cannot keep: NUL and half surrogate pairs."""
    return text.encode(errors="backslashreplace").decode().replace("\x00", "\\u0000")


def storable_json(canonical: str) -> str:
    """The same for the texts inside canonical JSON."""
    if "\\u0000" not in canonical and "\\ud" not in canonical:
        return canonical
    return JSON_ESCAPE.sub(lambda match: "\\" + match[0] if match["bad"] else match[0], canonical)
