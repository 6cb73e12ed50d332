"""Bodies about webhooks."""

from typing import Any

from marshmallow import EXCLUDE, Schema, ValidationError, fields, validates_schema

from instantly.schemas.fields import CamelCaseSchema, organization_id, required_text


class Recovery(CamelCaseSchema):
    """The days (both inclusive, UTC) whose failed deliveries are to be recorded."""

    clerk_org_id = organization_id()
    from_ = fields.Date(required=True, format="iso", data_key="from")
    to = fields.Date(required=True, format="iso")

    @validates_schema
    def starts_before_it_ends(self, recovery: dict[str, Any], **_: Any) -> None:
        if recovery["to"] < recovery["from_"]:
            raise ValidationError("Must not be before from.", "to")


class Registration(CamelCaseSchema):
    """The organisation whose workspace is to deliver to us."""

    clerk_org_id = organization_id()


class WebhookHealth(CamelCaseSchema):
    clerk_org_id = organization_id()


class Delivery(Schema):
    """Instantly's, for the documentation only: a delivery is read as leniently as can be."""

    class Meta:
        unknown = EXCLUDE

    event_type = required_text()
