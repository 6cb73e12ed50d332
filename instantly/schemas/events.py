"""What can be asked about events."""

from typing import Any

from marshmallow import fields, validate

from instantly.limits import MAX_EMAIL_CHARACTERS
from instantly.schemas.fields import Page, Text, queried_address
from instantly.translation.events import recorded_name


class EventType(Text):
    """The name of an event, by which it is recorded."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> str:
        return recorded_name(super()._deserialize(value, *args, **kwargs))


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
