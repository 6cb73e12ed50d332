"""What the schemas are made of."""

import re
from functools import cache, cached_property
from typing import Any

from marshmallow import (
    EXCLUDE,
    Schema,
    ValidationError,
    fields,
    pre_load,
    validate,
    validates_schema,
)

from instantly.addresses import UNCLEAR_CASE, clean_address, is_readable, same_address
from instantly.json_text import storable_text
from instantly.limits import MAX_BIGINT, MAX_EMAIL_CHARACTERS, MAX_INTEGER

# Postgres refuses index entries of more than a third of a page.
MAX_ID_CHARACTERS = 255
MAX_DEPTH = 100
UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
UNSTORABLE_MESSAGE = "May not contain NUL characters or half surrogate pairs."


def camel_case(name: str) -> str:
    head, *tail = name.split("_")
    return head + "".join(part.capitalize() for part in tail)


@cache
def instance_of(schema: type[Schema]) -> Schema:
    """One for all requests and threads: each that is made copies all of its fields."""
    return schema()


class CamelCaseSchema(Schema):
    """Unknown fields are ignored."""

    class Meta:
        unknown = EXCLUDE

    def on_bind_field(self, field_name: str, field_obj: fields.Field[Any]) -> None:
        field_obj.data_key = camel_case(field_obj.data_key or field_name)


class ForgivingSchema(CamelCaseSchema):
    """An optional field may be null, or "" if it is no text: that is like leaving it out."""

    @cached_property
    def _nothing(self) -> dict[str | None, tuple[Any, ...]]:
        """What an optional field may hold instead of nothing, by the caller's name for it."""
        return {
            field.data_key: (None,) if isinstance(field, Text) else (None, "")
            for field in self.fields.values()
            if not field.required
        }

    @pre_load
    def leave_out_nothing(self, body: Any, **_: Any) -> Any:
        if not isinstance(body, dict):
            return body
        nothing = self._nothing
        return {key: value for key, value in body.items() if value not in nothing.get(key, ())}


def refuse_unstorable(value: Any) -> None:
    """Raises ValidationError for a JSON value that Postgres cannot keep."""
    if messages := unstorable_messages(value):
        raise ValidationError(messages)


def unstorable_messages(value: Any, depth: int = 1) -> Any:
    """What is wrong with the texts and keys in a JSON value, nested as it is; empty if nothing."""
    if isinstance(value, str):
        return [UNSTORABLE_MESSAGE] if UNSTORABLE.search(value) else []
    if not isinstance(value, (dict, list)):
        return []
    if depth > MAX_DEPTH:
        raise ValidationError(f"Nested deeper than {MAX_DEPTH} levels.")
    items = value.items() if isinstance(value, dict) else enumerate(value)
    return {
        storable_text(str(key)): messages
        for key, inner in items
        if (messages := unstorable_messages(key) or unstorable_messages(inner, depth + 1))
    }


class Text(fields.String):
    """Text that Postgres can keep."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> str:
        text: str = super()._deserialize(value, *args, **kwargs)
        refuse_unstorable(text)
        return text


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
    """An address, as it is stored, sent and shown."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(validate=validate.Length(max=MAX_EMAIL_CHARACTERS), **kwargs)

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> str:
        address: str = super()._deserialize(value, *args, **kwargs)
        refuse_unstorable(address)
        cleaned = clean_address(address)
        is_unclear = UNCLEAR_CASE.search(address) or address.rstrip().endswith(".")
        if is_unclear or not is_readable(cleaned):
            raise self.make_error("invalid")
        return cleaned


class AskedAddress(Text):
    """An address to be looked up, as it was asked for: one that cannot be read is unknown."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> str:
        address = super()._deserialize(value, *args, **kwargs).strip()
        if not address:
            raise self.make_error("required")
        return address


def queried_address(text: str) -> str:
    """The address that stands in a query: no address holds a blank, so it was sent as a plus."""
    return same_address(text.strip().replace(" ", "+"))


class EmailAddresses(fields.List[Any]):
    """Addresses, each once: the first spelling stays."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(EmailAddress(), **kwargs)

    def _deserialize(self, *args: Any, **kwargs: Any) -> list[Any]:
        addresses: list[Any] = super()._deserialize(*args, **kwargs)
        first: dict[str, str] = {}
        for address in addresses:
            first.setdefault(same_address(address), address)
        return list(first.values())


def required_text(max_characters: int | None = None) -> Text:
    return Text(required=True, validate=validate.Length(min=1, max=max_characters))


def organization_id() -> Text:
    """With an example that the sandbox knows."""
    return Text(
        required=True,
        validate=validate.Length(min=1, max=MAX_ID_CHARACTERS),
        metadata={"example": "org_acme"},
    )


def whole_number_field(low: int) -> Integer:
    return Integer(validate=validate.Range(min=low, max=MAX_INTEGER))


def page_limit() -> QueryInteger:
    return QueryInteger(load_default=100, validate=validate.Range(min=1, max=1000))


class Page(CamelCaseSchema):
    """A page of a list: `cursor` comes from the page before."""

    limit = page_limit()
    skip = QueryInteger(
        load_default=None, allow_none=False, validate=validate.Range(min=0, max=MAX_BIGINT)
    )
    cursor = QueryInteger(
        load_default=None, allow_none=False, validate=validate.Range(min=0, max=MAX_BIGINT)
    )

    @validates_schema
    def one_way_to_go_on(self, page: dict[str, Any], **_: Any) -> None:
        if page["skip"] is not None and page["cursor"] is not None:
            raise ValidationError("Not together with skip.", "cursor")
