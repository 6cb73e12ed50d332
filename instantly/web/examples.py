"""An example of what a JSON Schema describes: the least that is valid."""

from collections.abc import Mapping
from typing import Any

FORMATS = {
    "uuid": "11111111-1111-4111-8111-111111111111",
    "email": "ada@example.com",
    "date": "2026-01-01",
    "date-time": "2026-01-01T12:00:00.000Z",
}
# The sandbox knows this organization. Any other text is the name of its property.
NAMED = {
    "orgId": "org_acme",
    "clerkOrgId": "org_acme",
    "brandId": "brand_1",
    "appId": "app_1",
    "name": "Autumn outreach",
    "event_type": "email_opened",
}


def example_of(schema: dict[str, Any], named: Mapping[str, dict[str, Any]], name: str = "") -> Any:
    """`named` are the document's schemas, `name` is the property that holds the value."""
    if "$ref" in schema:
        return example_of(named[schema["$ref"].rpartition("/")[2]], named, name)
    if "enum" in schema:
        return schema["enum"][0]
    match schema.get("type"):
        case "object":
            properties = schema.get("properties", {})
            # Where nothing is required, something is: one of them.
            chosen = schema.get("required") or list(properties)[:1]
            return {
                key: example_of(inner, named, key)
                for key, inner in properties.items()
                if key in chosen
            }
        case "array":
            return [example_of(schema["items"], named, name)]
        case "boolean":
            return True
        case "integer":
            return schema.get("minimum", 0)
        case _:
            return FORMATS.get(schema.get("format", "")) or NAMED.get(name, name)
