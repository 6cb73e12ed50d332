"""Bodies and queries about sender accounts."""

from typing import Any

from marshmallow import fields

from instantly.schemas.fields import Boolean, CamelCaseSchema, EmailAddress


class Warmup(CamelCaseSchema):
    enabled = Boolean(required=True)


class EmailList(fields.Field[list[str]]):
    """Addresses with commas between them, as a query holds them."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> list[str]:
        address = EmailAddress()
        return [address.deserialize(part) for part in value.split(",")]


class WarmupAnalytics(CamelCaseSchema):
    emails = EmailList(load_default=None, allow_none=False, metadata={"type": "string"})
