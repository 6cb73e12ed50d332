"""Bodies about figures."""

from datetime import date
from typing import Any

from marshmallow import ValidationError, fields, validate, validates_schema

from instantly.schemas.fields import CamelCaseSchema, Text, organization_id
from instantly.translation.days import MAX_DAYS, ONE_DAY
from instantly.translation.timezones import UnknownTimezone, canonical_name

GROUPINGS = ("campaignId", "brandId", "appId", "clerkOrgId", "step", "day", "accountEmail")
CONDITIONS = ("run_ids", "clerk_org_id", "brand_id", "app_id", "campaign_id")


class Refresh(CamelCaseSchema):
    """The organisation whose campaigns' figures are to be had."""

    clerk_org_id = organization_id()


class Timezone(fields.String):
    """An IANA name in any case, legacy ones too; loads as it is spelt."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        try:
            return canonical_name(super()._deserialize(value, attr, data, **kwargs))
        except UnknownTimezone:
            raise ValidationError("Not an IANA time zone.") from None


class Stats(CamelCaseSchema):
    """Which campaigns to count; what is given must all hold.

    `from` and `to` are days in `timezone`, both included.
    """

    run_ids = fields.List(fields.UUID(), validate=validate.Length(min=1, max=1000))
    clerk_org_id = Text()
    brand_id = Text()
    app_id = Text()
    campaign_id = fields.UUID()
    from_ = fields.Date(format="iso", data_key="from")
    to = fields.Date(format="iso")
    timezone = Timezone(load_default="UTC")
    group_by = fields.String(validate=validate.OneOf(GROUPINGS))

    @validates_schema
    def something_is_given(self, stats: dict[str, Any], **_: Any) -> None:
        if not stats.keys() & set(CONDITIONS):
            names = ", ".join(self.fields[name].data_key or "" for name in CONDITIONS)
            raise ValidationError(f"At least one of {names} is required.")

    @validates_schema
    def is_a_range(self, stats: dict[str, Any], **_: Any) -> None:
        first, last = stats.get("from_", date.min), stats.get("to", date.max)
        if last < first:
            raise ValidationError("Must not be before from.", "to")
        is_bounded = {"from_", "to"} <= stats.keys()
        if stats.get("group_by") == "day" and is_bounded and last - first >= MAX_DAYS * ONE_DAY:
            raise ValidationError(f"At most {MAX_DAYS} days can be shown one by one.", "to")
