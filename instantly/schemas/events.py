"""What can be asked about events."""

from typing import Any

from marshmallow import fields, validate

from instantly.limits import MAX_BIGINT, MAX_EMAIL_CHARACTERS
from instantly.schemas.fields import (
    CamelCaseSchema,
    Page,
    QueryInteger,
    Text,
    organization_id,
    page_limit,
    queried_address,
)
from instantly.translation.events import recorded_name

MAX_EVENT_TYPES = 50


class EventType(Text):
    """The name of an event, by which it is recorded."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> str:
        return recorded_name(super()._deserialize(value, *args, **kwargs))


class EventTypes(fields.List[Any]):
    """Names of events, each once: two names may be recorded as one."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(EventType(validate=validate.Length(min=1)), **kwargs)

    def _deserialize(self, *args: Any, **kwargs: Any) -> list[Any]:
        return list(dict.fromkeys(super()._deserialize(*args, **kwargs)))


class LeadEmail(Text):
    """An address as events hold it."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> str:
        return queried_address(super()._deserialize(value, *args, **kwargs))


class Switch(fields.Boolean):
    """true or false in a query, and not "yes" or 1."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> bool:
        if value not in ("true", "false"):
            raise self.make_error("invalid", input=value)
        return bool(value == "true")


class EventPage(Page):
    """A page of events: those of a type, of a lead, or all."""

    event_type = EventType(load_default=None, allow_none=False, validate=validate.Length(min=1))
    lead_email = LeadEmail(
        load_default=None,
        allow_none=False,
        validate=validate.Length(min=1, max=MAX_EMAIL_CHARACTERS),
    )
    payload = Switch(load_default=False)


class FeedPage(CamelCaseSchema):
    """A page of the feed: `after` is the `nextCursor` of the page before."""

    clerk_org_id = organization_id()
    after = QueryInteger(load_default=0, validate=validate.Range(min=0, max=MAX_BIGINT))
    limit = page_limit()
    # Each is looked up in each campaign.
    event_types = EventTypes(
        load_default=None,
        allow_none=False,
        data_key="eventType",
        validate=validate.Length(max=MAX_EVENT_TYPES),
    )
    payload = Switch(load_default=False)
