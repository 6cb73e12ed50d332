"""What Instantly's API V2 takes and answers, read from `data/`.

The facts are those of the official OpenAPI document (https://api.instantly.ai/openapi/api_v2.json,
August 2026) for the operations that are used or played here; a test compares the two wherever the
document is at hand. They are JSON schemas with one addition: `$ref` names a definition of the same
file, and what stands beside it is added. An open body or query declares only what the stand-in
acts upon.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

Schema = dict[str, Any]

DATA = Path(__file__).with_name("data")


@dataclass(frozen=True)
class Operation:
    """One operation; `name` is the method of the stand-in that plays it."""

    name: str
    method: str
    path: str
    answer: Schema
    query: Mapping[str, Schema] = field(default_factory=dict)
    body: Schema | None = None

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """Matches the decoded path; the group is the placeholder's value.

        Only an address may hold a slash (quoted on the wire).
        """
        pattern = re.escape(self.path).replace(r"\{id\}", "([^/]+)")
        return re.compile(pattern.replace(r"\{email\}", "([^/]+|.*@.*)"))

    def parameter(self, path: str) -> str | None:
        """The value in the path's placeholder, "" without a placeholder; None: another path."""
        match = self.pattern.fullmatch(path)
        return "".join(match.groups()) if match else None

    @property
    def identified_by_uuid(self) -> bool:
        """Job ids are no UUIDs, those of campaigns and webhooks are [seen in production]."""
        return "{id}" in self.path and "background-jobs" not in self.path


def load_operations() -> tuple[Operation, ...]:
    """All operations; a path without a placeholder comes before one that would match it too."""
    operations = []
    for path in sorted(DATA.glob("*.json")):
        facts = json.loads(path.read_text(encoding="utf-8"))
        for name, operation in facts["operations"].items():
            operations.append(Operation(name, **resolved(operation, facts["definitions"])))
    return tuple(sorted(operations, key=lambda operation: "{" in operation.path))


def resolved(value: Any, definitions: Schema) -> Any:
    """A part of the data with the definitions in the place of their names."""
    if isinstance(value, list):
        return [resolved(item, definitions) for item in value]
    if not isinstance(value, dict):
        return value
    named = resolved(definitions[value["$ref"]], definitions) if "$ref" in value else {}
    own = {name: resolved(item, definitions) for name, item in value.items() if name != "$ref"}
    return {**named, **own}


OPERATIONS = load_operations()


def find_operation(method: str, path: str) -> Operation | None:
    """The operation behind a method and a decoded path."""
    for operation in OPERATIONS:
        if operation.method == method and operation.parameter(path) is not None:
            return operation
    return None
