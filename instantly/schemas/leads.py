"""Bodies about leads."""

import time
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import Any

from marshmallow import ValidationError, fields, validate

from instantly.json_text import storable_text
from instantly.limits import MAX_EMAIL_CHARACTERS
from instantly.schemas.fields import (
    AskedAddress,
    Boolean,
    CamelCaseSchema,
    EmailAddress,
    ForgivingSchema,
    Text,
    instance_of,
    organization_id,
    refuse_unstorable,
)

MAX_LEADS = 10_000
MAX_ASKED_ADDRESSES = 1000
# Checked in one go.
LEADS_AT_A_TIME = 500
# Why an upload may leave an address out, the strongest reason first.
REFUSABLE = ("unsubscribed", "bounced", "replied", "contacted", "held")
# Instantly merges a lead's own data into its deliveries, where these would hide what is ours.
RESERVED_NAMES = frozenset(
    "event_type campaign_id lead_email timestamp email_account step variant workspace"
    " email_id".split()
)


class CustomVariables(fields.Dict):
    """Text, numbers, booleans and null by name: Instantly takes no objects or lists in a lead."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        variables: dict[str, Any] = super()._deserialize(value, *args, **kwargs)  # type: ignore[no-untyped-call]
        errors = {
            name: ["Must be text, a number, a boolean or null."]
            for name, variable in variables.items()
            if isinstance(variable, (dict, list))
        }
        for name in RESERVED_NAMES & variables.keys():
            errors[name] = ["Is the name of a field of Instantly's deliveries."]
        if errors:
            raise ValidationError(errors)
        refuse_unstorable(variables)
        return variables


class LeadText(Text):
    """Text, or a number in its place: a spreadsheet makes one of a telephone number."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> str:
        if isinstance(value, int | float) and not isinstance(value, bool):
            value = written_out(value)
        return super()._deserialize(value, *args, **kwargs)


def written_out(number: float) -> str:
    """All digits of a number, without an exponent and without an empty fraction."""
    return f"{Decimal(str(number)):f}".removesuffix(".0")


class NewLead(ForgivingSchema):
    """A lead as Instantly's leads/add takes it."""

    email = EmailAddress(required=True)
    first_name = LeadText(allow_none=True)
    last_name = LeadText(allow_none=True)
    company_name = LeadText(allow_none=True)
    job_title = LeadText(allow_none=True)
    phone = LeadText(allow_none=True)
    website = LeadText(allow_none=True)
    personalization = LeadText(allow_none=True)
    custom_variables = CustomVariables(
        keys=fields.String(),
        metadata={"additionalProperties": {"type": ["string", "number", "boolean", "null"]}},
    )


@dataclass(frozen=True)
class MalformedLead:
    """A lead that the schema refuses, and its place in the request."""

    index: int
    email: str | None
    messages: Any


class Leads(fields.List[Any]):
    """Leads by the thousand: the schema itself is only asked about those that look unusual.

    One that it refuses is a MalformedLead in their list, or fails the request.
    """

    def __init__(self) -> None:
        many = validate.Length(min=1, max=MAX_LEADS)
        super().__init__(fields.Nested(NewLead), required=True, validate=many)

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> list[Any]:
        if not isinstance(value, list):
            raise self.make_error("invalid")
        leads: list[Any] = []
        malformed = {}
        for index, lead in enumerate(value):
            try:
                leads.append(usual_lead(lead) or instance_of(NewLead).load(lead))
            except ValidationError as error:
                email = lead.get("email") if isinstance(lead, dict) else None
                text = email if isinstance(email, str) else None
                malformed[index] = MalformedLead(index, text, error.messages)
                leads.append(malformed[index])
            if index % LEADS_AT_A_TIME == 0:
                time.sleep(0)  # other requests go on
        if malformed and data.get("invalid") != "reject":
            raise ValidationError({index: lead.messages for index, lead in malformed.items()})
        return leads


def usual_lead(lead: Any) -> dict[str, Any] | None:
    """What the schema would make of the lead; None for one that it must look at itself."""
    email = lead.get("email") if isinstance(lead, dict) else None
    if not isinstance(email, str) or not is_address(email):
        return None
    names = usual_names()
    loaded = {
        names[key]: value for key, value in lead.items() if key in names and value is not None
    }
    variables = loaded.pop("custom_variables", {})
    if not isinstance(variables, dict) or not all(isinstance(v, str) for v in loaded.values()):
        return None
    if any(isinstance(variable, dict | list) for variable in variables.values()):
        return None
    if not RESERVED_NAMES.isdisjoint(variables):
        return None
    texts = "".join(map(str, (*loaded.values(), *variables, *variables.values())))
    if storable_text(texts) != texts:
        return None
    is_given = lead.get("customVariables") is not None
    return {**loaded, "custom_variables": variables} if is_given else loaded


def is_address(text: str) -> bool:
    """Whether it is an address as it stands."""
    user, _, domain = text.rpartition("@")
    return (
        len(text) <= MAX_EMAIL_CHARACTERS
        and text.isascii()
        and validate.Email.USER_REGEX.match(user) is not None
        and validate.Email.DOMAIN_REGEX.match(domain) is not None
    )


@cache
def usual_names() -> dict[str, str]:
    """A lead's fields: the caller's name → Instantly's."""
    return {str(field.data_key): name for name, field in instance_of(NewLead).fields.items()}


class AddLeads(ForgivingSchema):
    org_id = organization_id()
    parent_run_id = fields.UUID(
        data_key="runId", load_default=None, allow_none=True, metadata={"example": None}
    )
    leads = Leads()
    refuse = fields.List(
        Text(validate=validate.OneOf(REFUSABLE)),
        load_default=["unsubscribed", "bounced"],
        metadata={
            "description": "An address of which one of these is true in any campaign of the"
            " organisation is not sent, and stands in `rejected` with the first word of the list"
            f" {', '.join(REFUSABLE)} that is true and named here. `held`: by another campaign."
            " What this campaign holds already is a duplicate."
        },
    )
    skip_if_in_workspace = Boolean(
        load_default=False,
        metadata={"description": "Instantly skips what it holds anywhere in the workspace."},
    )
    skip_if_in_campaign = Boolean(
        load_default=False,
        metadata={"description": "Instantly skips what any campaign of the workspace holds."},
    )
    invalid = Text(
        load_default="fail",
        validate=validate.OneOf(["fail", "reject"]),
        metadata={
            "description": "What becomes of malformed leads: they fail the request, or stand in"
            " `rejected` while the others are uploaded."
        },
    )


class DeleteLeads(CamelCaseSchema):
    emails = fields.List(
        AskedAddress(), required=True, validate=validate.Length(min=1, max=MAX_LEADS)
    )


class AskedAddresses(CamelCaseSchema):
    """The addresses that an organisation asks about, and the campaigns that count."""

    clerk_org_id = organization_id()
    emails = fields.List(
        AskedAddress(), required=True, validate=validate.Length(min=1, max=MAX_ASKED_ADDRESSES)
    )
    brand_id = Text()
    campaign_id = fields.UUID()


class ErasedPeople(CamelCaseSchema):
    clerk_org_id = organization_id()
    emails = fields.List(
        AskedAddress(), required=True, validate=validate.Length(min=1, max=MAX_ASKED_ADDRESSES)
    )
