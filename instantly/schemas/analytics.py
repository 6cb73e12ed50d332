"""Bodies about figures."""

from typing import Any

from marshmallow import ValidationError, fields, validate, validates_schema

from instantly.schemas.fields import CamelCaseSchema, Text, organization_id

GROUPINGS = ("campaignId", "brandId", "appId", "clerkOrgId", "step")


class Refresh(CamelCaseSchema):
    """The organisation whose campaigns' figures are to be had."""

    clerk_org_id = organization_id()


class Stats(CamelCaseSchema):
    """Which campaigns to count; what is given must all hold."""

    run_ids = fields.List(fields.UUID(), validate=validate.Length(min=1, max=1000))
    clerk_org_id = Text()
    brand_id = Text()
    app_id = Text()
    campaign_id = fields.UUID()
    group_by = fields.String(validate=validate.OneOf(GROUPINGS))

    @validates_schema
    def something_is_given(self, stats: dict[str, Any], **_: Any) -> None:
        if not stats.keys() - {"group_by"}:
            names = ", ".join(
                field.data_key or "" for name, field in self.fields.items() if name != "group_by"
            )
            raise ValidationError(f"At least one of {names} is required.")
