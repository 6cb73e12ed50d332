"""What the routes accept: camelCase on the wire, snake_case (Instantly's own names) inside."""

import re
from datetime import UTC, date, datetime
from functools import cache
from typing import Any, ClassVar

from marshmallow import (
    EXCLUDE,
    RAISE,
    Schema,
    ValidationError,
    fields,
    post_load,
    validate,
    validates_schema,
)

from instantly.clients.instantly import MAX_EMAIL_CHARACTERS
from instantly.timezones import NoEqualTimezone, UnknownTimezone, instantly_timezone

MAX_LEADS = 10_000
MAX_STEPS = 50
MAX_INTEGER = 2**31 - 1
MAX_BIGINT = 2**63 - 1
# Postgres refuses index entries of more than a third of a page.
MAX_ID_CHARACTERS = 255
MAX_METADATA_DEPTH = 100
DAYS = {"sun": "0", "mon": "1", "tue": "2", "wed": "3", "thu": "4", "fri": "5", "sat": "6"}


def camel_case(name: str) -> str:
    head, *tail = name.split("_")
    return head + "".join(part.capitalize() for part in tail)


@cache
def instance(schema: type[Schema]) -> Schema:
    """One for all requests and threads: each that is made copies all of its fields."""
    return schema()


class CamelCaseSchema(Schema):
    """Unknown fields are ignored."""

    class Meta:
        unknown = EXCLUDE

    def on_bind_field(self, field_name: str, field_obj: fields.Field[Any]) -> None:
        field_obj.data_key = camel_case(field_obj.data_key or field_name)


class Boolean(fields.Boolean):
    """true or false, and not "yes" or 1."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> bool:
        if not isinstance(value, bool):
            raise self.make_error("invalid", input=value)
        return value


class Integer(fields.Integer):
    """A JSON integer, and not "5", 5.0 or true."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool):
            raise self.make_error("invalid", input=value)
        return value


class QueryInteger(fields.Integer):
    """Decimal digits, and nothing else that Python would take for a number."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> int:
        if not re.fullmatch(r"-?[0-9]{1,20}", value):
            raise self.make_error("invalid", input=value)
        return int(value)


class EmailAddress(fields.Email):
    """An address, trimmed."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(validate=validate.Length(max=MAX_EMAIL_CHARACTERS), **kwargs)

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> str:
        address: str = super()._deserialize(value, *args, **kwargs)
        return address.strip()


class CustomVariables(fields.Dict):
    """Text, numbers, booleans and null by name: Instantly takes no objects or lists in a lead."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        variables: dict[str, Any] = super()._deserialize(value, *args, **kwargs)  # type: ignore[no-untyped-call]
        errors = {
            name: ["Must be text, a number, a boolean or null."]
            for name, variable in variables.items()
            if isinstance(variable, (dict, list))
        }
        if errors:
            raise ValidationError(errors)
        return variables


class Metadata(fields.Dict):
    """Any object that Postgres can keep."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        metadata: dict[str, Any] = super()._deserialize(value, *args, **kwargs)  # type: ignore[no-untyped-call]
        level: list[Any] = [metadata]
        for _ in range(MAX_METADATA_DEPTH):
            level = [
                inner
                for outer in level
                for inner in (outer.values() if isinstance(outer, dict) else outer)
                if isinstance(inner, (dict, list))
            ]
            if not level:
                return metadata
        raise ValidationError(f"Nested deeper than {MAX_METADATA_DEPTH} levels.")


def required_text(max_characters: int | None = None) -> fields.String:
    return fields.String(required=True, validate=validate.Length(min=1, max=max_characters))


def whole_number(low: int) -> Integer:
    return Integer(validate=validate.Range(min=low, max=MAX_INTEGER))


NOT_BLANK = validate.Regexp(r"^\s*\S", error="May not be blank.")


class Variant(CamelCaseSchema):
    subject = fields.String(required=True)
    body_html = fields.String(required=True, validate=NOT_BLANK)


class Step(CamelCaseSchema):
    """One e-mail of a sequence: a subject and a body, or variants of them to be tested."""

    subject = fields.String()
    body_html = fields.String(validate=NOT_BLANK)
    variants = fields.List(fields.Nested(Variant), validate=validate.Length(min=1))
    days_since_last_step = whole_number(0)

    @validates_schema
    def either_one_text_or_variants(self, step: dict[str, Any], **_: Any) -> None:
        texts = {"subject", "body_html"} & step.keys()
        if "variants" in step and texts:
            raise ValidationError("Not together with subject and bodyHtml.", "variants")
        if "variants" not in step and len(texts) < 2:
            missing = {"subject", "body_html"} - texts
            message = ["Missing data for required field."]
            raise ValidationError({camel_case(name): message for name in sorted(missing)})


# The length keeps out the line break that $ lets pass.
TIME_OF_DAY = [
    validate.Regexp(r"^([01][0-9]|2[0-3]):[0-5][0-9]$", error="Must be HH:MM, 24 hours."),
    validate.Length(equal=5),
]


class Schedule(CamelCaseSchema):
    """When Instantly may send. `timezone` becomes one of Instantly's own list."""

    timezone = fields.String(load_default="America/Chicago")
    from_ = fields.String(data_key="from", load_default="08:00", validate=TIME_OF_DAY)
    to = fields.String(load_default="17:00", validate=TIME_OF_DAY)
    days = fields.List(
        fields.String(validate=validate.OneOf(DAYS)),
        load_default=lambda: ["mon", "tue", "wed", "thu", "fri"],
        validate=validate.Length(min=1),
    )
    start_date = fields.Date(format="iso")
    end_date = fields.Date(format="iso")

    @validates_schema
    def starts_before_it_ends(self, schedule: dict[str, Any], **_: Any) -> None:
        if schedule["from_"] >= schedule["to"]:
            raise ValidationError("Must be after from.", "to")
        start, end = schedule.get("start_date"), schedule.get("end_date")
        if start and end and end < start:
            raise ValidationError("Must not be before startDate.", "endDate")

    @post_load
    def translate_timezone(self, schedule: dict[str, Any], **_: Any) -> dict[str, Any]:
        today: date = datetime.now(UTC).date()
        try:
            schedule["timezone"] = instantly_timezone(schedule["timezone"], today)
        except UnknownTimezone:
            raise ValidationError("Not a valid time zone.", "timezone") from None
        except NoEqualTimezone as error:
            message = f"Instantly has no time zone with the same clock; closest: {error.closest}."
            raise ValidationError(message, "timezone") from None
        return schedule


class CampaignSettings(CamelCaseSchema):
    """Instantly's campaign options, a closed set. The defaults protect the recipient."""

    class Meta:
        unknown = RAISE

    daily_limit = whole_number(1)
    daily_max_leads = whole_number(1)
    email_gap = whole_number(0)
    random_wait_max = whole_number(0)
    stop_on_reply = Boolean(load_default=True)
    stop_on_auto_reply = Boolean()
    stop_for_company = Boolean()
    open_tracking = Boolean()
    link_tracking = Boolean()
    text_only = Boolean()
    insert_unsubscribe_header = Boolean(load_default=True)
    prioritize_new_leads = Boolean()
    match_lead_esp = Boolean()
    allow_risky_contacts = Boolean()
    disable_bounce_protect = Boolean()
    cc_list = fields.List(EmailAddress())
    bcc_list = fields.List(EmailAddress())


class CreateCampaign(CamelCaseSchema):
    org_id = required_text(MAX_ID_CHARACTERS)
    clerk_org_id = required_text(MAX_ID_CHARACTERS)
    brand_id = required_text(MAX_ID_CHARACTERS)
    app_id = required_text(MAX_ID_CHARACTERS)
    name = required_text()
    run_id = fields.UUID(load_default=None, allow_none=True)
    account_ids = fields.List(EmailAddress(), load_default=list)
    metadata = Metadata(load_default=None, allow_none=True)
    sequence = fields.List(
        fields.Nested(Step), load_default=list, validate=validate.Length(min=1, max=MAX_STEPS)
    )
    schedule = fields.Nested(Schedule, load_default=lambda: instance(Schedule).load({}))
    settings = fields.Nested(
        CampaignSettings, load_default=lambda: instance(CampaignSettings).load({})
    )

    @validates_schema
    def waits_stand_before_their_steps(self, campaign: dict[str, Any], **_: Any) -> None:
        for index, step in enumerate(campaign["sequence"]):
            days = step.get("days_since_last_step")
            if index == 0 and days:
                message = "Nothing comes before the first step: must be 0 or absent."
            elif index > 0 and days is None:
                message = "Missing data for required field."
            else:
                continue
            raise ValidationError({"sequence": {index: {"daysSinceLastStep": [message]}}})


class CampaignStatus(CamelCaseSchema):
    ALLOWED: ClassVar = ["active", "paused", "completed"]

    status = fields.String(required=True)


class Lead(CamelCaseSchema):
    """A lead as Instantly's leads/add takes it."""

    email = EmailAddress(required=True)
    first_name = fields.String(allow_none=True)
    last_name = fields.String(allow_none=True)
    company_name = fields.String(allow_none=True)
    job_title = fields.String(allow_none=True)
    phone = fields.String(allow_none=True)
    website = fields.String(allow_none=True)
    personalization = fields.String(allow_none=True)
    custom_variables = CustomVariables(keys=fields.String())


class AddLeads(CamelCaseSchema):
    org_id = required_text(MAX_ID_CHARACTERS)
    run_id = fields.UUID(load_default=None, allow_none=True)
    leads = fields.List(
        fields.Nested(Lead), required=True, validate=validate.Length(min=1, max=MAX_LEADS)
    )


class DeleteLeads(CamelCaseSchema):
    emails = fields.List(
        EmailAddress(), required=True, validate=validate.Length(min=1, max=MAX_LEADS)
    )


class Page(CamelCaseSchema):
    """A page of a list: `cursor` comes from the page before."""

    limit = QueryInteger(load_default=100, validate=validate.Range(min=1, max=1000))
    skip = QueryInteger(load_default=None, validate=validate.Range(min=0, max=MAX_BIGINT))
    cursor = QueryInteger(load_default=None, validate=validate.Range(min=0, max=MAX_BIGINT))

    @validates_schema
    def one_way_to_go_on(self, page: dict[str, Any], **_: Any) -> None:
        if page["skip"] is not None and page["cursor"] is not None:
            raise ValidationError("Not together with skip.", "cursor")


class Warmup(CamelCaseSchema):
    enabled = Boolean(required=True)


class EmailList(fields.Field[list[str]]):
    """Addresses with commas between them, as a query holds them."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> list[str]:
        address = EmailAddress()
        return [address.deserialize(part) for part in value.split(",")]


class WarmupAnalytics(CamelCaseSchema):
    emails = EmailList(load_default=None)


class Stats(CamelCaseSchema):
    """Which campaigns to count; what is given must all hold."""

    run_ids = fields.List(fields.UUID(), validate=validate.Length(min=1, max=1000))
    clerk_org_id = fields.String()
    brand_id = fields.String()
    app_id = fields.String()
    campaign_id = fields.UUID()

    @validates_schema
    def something_is_given(self, stats: dict[str, Any], **_: Any) -> None:
        if not stats:
            names = ", ".join(field.data_key or "" for field in self.fields.values())
            raise ValidationError(f"At least one of {names} is required.")


class Recovery(CamelCaseSchema):
    """The days (both inclusive, UTC) whose failed deliveries are to be recorded."""

    clerk_org_id = required_text(MAX_ID_CHARACTERS)
    from_ = fields.Date(required=True, format="iso", data_key="from")
    to = fields.Date(required=True, format="iso")

    @validates_schema
    def starts_before_it_ends(self, recovery: dict[str, Any], **_: Any) -> None:
        if recovery["to"] < recovery["from_"]:
            raise ValidationError("Must not be before from.", "to")
