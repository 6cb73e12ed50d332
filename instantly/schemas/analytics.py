"""Bodies about figures."""

from typing import Any

from marshmallow import ValidationError, fields, validate, validates_schema

from instantly.schemas.fields import CamelCaseSchema, Text


class Stats(CamelCaseSchema):
    """Which campaigns to count; what is given must all hold."""

    run_ids = fields.List(fields.UUID(), validate=validate.Length(min=1, max=1000))
    clerk_org_id = Text()
    brand_id = Text()
    app_id = Text()
    campaign_id = fields.UUID()

    @validates_schema
    def something_is_given(self, stats: dict[str, Any], **_: Any) -> None:
        if not stats:
            names = ", ".join(field.data_key or "" for field in self.fields.values())
            raise ValidationError(f"At least one of {names} is required.")
