"""Bodies and queries about sender accounts."""

from typing import Any

from marshmallow import ValidationError, fields

from instantly.schemas.fields import (
    Boolean,
    CamelCaseSchema,
    queried_address,
    refuse_unstorable,
)


class Warmup(CamelCaseSchema):
    enabled = Boolean(required=True)


class EmailList(fields.Field[list[str]]):
    """Addresses with commas between them, as a query holds them."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> list[str]:
        refuse_unstorable(value)
        addresses = [queried_address(part) for part in value.rstrip(", ").split(",")]
        if not all(addresses):
            raise ValidationError("Not a list of addresses.")
        return addresses


class WarmupAnalytics(CamelCaseSchema):
    emails = EmailList(load_default=None, allow_none=False, metadata={"type": "string"})
