"""JSON as text: what we take for JSON, its canonical form, and the texts that Postgres can keep."""

import json
import math
from typing import Any

# Of an integer: Python can be set up to make none of more than 640.
MAX_DIGITS = 640
CANONICAL_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"))


def parse_json(data: bytes, *, any_number: bool = False) -> Any:
    """Parses JSON in UTF-8, without the NaN and Infinity that Python adds to the standard.

    A number that Python cannot hold is refused, or with `any_number` becomes its text.
    Raises ValueError, or RecursionError where it is nested too deep.
    """
    return json.loads(
        data.decode("utf-8-sig"),  # a byte order mark may be ignored, says RFC 8259
        parse_constant=finite_float,
        parse_float=float_or_text if any_number else finite_float,
        parse_int=int_or_text if any_number else int,
    )


def finite_float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


def float_or_text(text: str) -> float | str:
    number = float(text)
    return number if math.isfinite(number) else text


def int_or_text(text: str) -> int | str:
    return int(text) if len(text) <= MAX_DIGITS else text


def canonical_json(value: Any) -> str:
    """The same for the same value, whatever the order of its keys. Plain ASCII."""
    return CANONICAL_ENCODER.encode(value)


def storable_text(text: str) -> str:
    """The text with the escapes of what Postgres cannot keep: NUL and half surrogate pairs."""
    return text.encode(errors="backslashreplace").decode().replace("\x00", "\\u0000")
