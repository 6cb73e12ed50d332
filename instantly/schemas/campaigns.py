"""Bodies about campaigns."""

from contextlib import suppress
from datetime import UTC, date, datetime
from typing import Any, ClassVar

from marshmallow import RAISE, ValidationError, fields, post_load, validate, validates_schema

from instantly.readings import whole_or_none
from instantly.schemas.fields import (
    MAX_ID_CHARACTERS,
    Boolean,
    CamelCaseSchema,
    EmailAddresses,
    ForgivingSchema,
    Integer,
    Text,
    camel_case,
    instance_of,
    organization_id,
    refuse_unstorable,
    required_text,
    whole_number_field,
)
from instantly.translation.campaigns import DAYS
from instantly.translation.email_html import LINE_BREAK
from instantly.translation.timezones import UnknownTimezone, instantly_timezone

MAX_STEPS = 50
MAX_BODY_HTML_BYTES = 256 * 1024


class Metadata(fields.Dict):
    """Any object that Postgres can keep."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        metadata: dict[str, Any] = super()._deserialize(value, *args, **kwargs)  # type: ignore[no-untyped-call]
        refuse_unstorable(metadata)
        return metadata


def is_body(text: str) -> None:
    if not text.strip():
        raise ValidationError("May not be blank.")
    if len(text.encode()) > MAX_BODY_HTML_BYTES:
        raise ValidationError("May not be longer than 256 KiB.")


def is_one_line(text: str) -> None:
    if LINE_BREAK.search(text):
        raise ValidationError("May not contain line breaks.")


class Variant(CamelCaseSchema):
    subject = Text(required=True, validate=is_one_line)
    body_html = Text(required=True, validate=is_body)


class Step(ForgivingSchema):
    """One e-mail of a sequence: a subject and a body, or variants of them to be tested."""

    subject = Text(validate=is_one_line)
    body_html = Text(validate=is_body)
    variants = fields.List(fields.Nested(Variant), validate=validate.Length(min=1))
    days_since_last_step = whole_number_field(0)

    @validates_schema
    def either_one_text_or_variants(self, step: dict[str, Any], **_: Any) -> None:
        texts = {"subject", "body_html"} & step.keys()
        if "variants" in step and texts:
            raise ValidationError("Not together with subject and bodyHtml.", "variants")
        if "variants" not in step and len(texts) < 2:
            missing = {"subject", "body_html"} - texts
            message = ["Missing data for required field."]
            raise ValidationError({camel_case(name): message for name in sorted(missing)})


# Its end is written as JavaScript reads it, too: the pattern stands in the OpenAPI document.
TIME_OF_DAY = validate.Regexp(
    r"^([01][0-9]|2[0-3]):[0-5][0-9](?![\s\S])", error="Must be HH:MM, 24 hours."
)


class Schedule(ForgivingSchema):
    """When Instantly may send. `timezone` becomes one of Instantly's own list."""

    timezone = Text(load_default="America/Chicago")
    from_ = Text(data_key="from", load_default="08:00", validate=TIME_OF_DAY)
    to = Text(load_default="17:00", validate=TIME_OF_DAY)
    days = fields.List(
        Text(validate=validate.OneOf(DAYS)),
        load_default=lambda: ["mon", "tue", "wed", "thu", "fri"],
        metadata={"example": ["mon", "tue", "wed", "thu", "fri"]},
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
            zone = instantly_timezone(schedule["timezone"], today)
        except UnknownTimezone:
            raise ValidationError("Not a valid time zone.", "timezone") from None
        return {**schedule, "timezone": zone.name, "timezone_warning": zone.warning}


class CampaignSettings(ForgivingSchema):
    """Instantly's campaign options, a closed set."""

    class Meta:
        unknown = RAISE

    daily_limit = whole_number_field(1)
    daily_max_leads = whole_number_field(1)
    email_gap = whole_number_field(0)
    random_wait_max = whole_number_field(0)
    stop_on_reply = Boolean()
    stop_on_auto_reply = Boolean()
    stop_for_company = Boolean()
    open_tracking = Boolean()
    link_tracking = Boolean()
    text_only = Boolean()
    insert_unsubscribe_header = Boolean()
    prioritize_new_leads = Boolean()
    match_lead_esp = Boolean()
    allow_risky_contacts = Boolean()
    disable_bounce_protect = Boolean()
    cc_list = EmailAddresses()
    bcc_list = EmailAddresses()


class NewCampaignSettings(CampaignSettings):
    """The defaults protect the recipient."""

    stop_on_reply = Boolean(load_default=True)
    insert_unsubscribe_header = Boolean(load_default=True)


def settings_of(campaign: dict[str, Any]) -> dict[str, Any]:
    """Those of a campaign of Instantly's, by our names: what could be sent to us like that."""
    settings = {}
    for name, field in instance_of(CampaignSettings).fields.items():
        value = campaign.get(name)
        with suppress(ValidationError):
            settings[str(field.data_key)] = field.deserialize(
                whole_or_none(value) if isinstance(field, Integer) else value
            )
    return settings


class CampaignFields(ForgivingSchema):
    """What of a campaign is given when it is created, and can be changed later."""

    name = Text(validate=validate.Length(min=1))
    account_ids = EmailAddresses(metadata={"example": ["lena@try-northbeam.example"]})
    sequence = fields.List(
        fields.Nested(Step),
        validate=validate.Length(min=1, max=MAX_STEPS),
        metadata={"example": [{"subject": "Hello", "bodyHtml": "<p>Hi {{firstName}}</p>"}]},
    )
    schedule = fields.Nested(Schedule)
    settings = fields.Nested(CampaignSettings, metadata={"example": {"dailyLimit": 50}})

    @validates_schema
    def waits_stand_before_their_steps(self, campaign: dict[str, Any], **_: Any) -> None:
        for index, step in enumerate(campaign.get("sequence", [])):
            days = step.get("days_since_last_step")
            if index == 0 and days:
                message = "Nothing comes before the first step: must be 0 or absent."
            elif index > 0 and days is None:
                message = "Missing data for required field."
            else:
                continue
            raise ValidationError({"sequence": {index: {"daysSinceLastStep": [message]}}})


class CreateCampaign(CampaignFields):
    org_id = organization_id()
    clerk_org_id = organization_id()
    brand_id = required_text(MAX_ID_CHARACTERS)
    app_id = required_text(MAX_ID_CHARACTERS)
    name = required_text()
    parent_run_id = fields.UUID(
        data_key="runId", load_default=None, allow_none=True, metadata={"example": None}
    )
    metadata = Metadata(
        load_default=None,
        allow_none=True,
        metadata={"title": "Metadata", "example": {"team": "north"}},
    )
    schedule = fields.Nested(Schedule, load_default=lambda: instance_of(Schedule).load({}))
    settings = fields.Nested(
        NewCampaignSettings,
        load_default=lambda: instance_of(NewCampaignSettings).load({}),
        metadata={"example": {"dailyLimit": 50}},
    )


class ChangeCampaign(CampaignFields):
    """What is absent stays as it is."""

    @validates_schema
    def something_is_given(self, changes: dict[str, Any], **_: Any) -> None:
        if changes in ({}, {"settings": {}}):
            names = ", ".join(str(field.data_key) for field in self.fields.values())
            raise ValidationError(f"At least one of {names} is required.")


class Reconcile(CamelCaseSchema):
    """Nothing to choose: an empty object."""


class CampaignStatus(CamelCaseSchema):
    ALLOWED: ClassVar = ["active", "paused", "completed"]

    status = Text(required=True, metadata={"enum": ALLOWED})
