"""What the shapes of answers are made of: JSON Schema, and their names in the document."""

from typing import Any

Shape = dict[str, Any]

TEXT: Shape = {"type": "string"}
UUID: Shape = {"type": "string", "format": "uuid"}
TIME: Shape = {
    "type": "string",
    "format": "date-time",
    "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$",
}
COUNT: Shape = {"type": "integer", "minimum": 0}
INTEGER: Shape = {"type": "integer"}
STEP: Shape = {"type": "integer", "minimum": 1}
BOOLEAN: Shape = {"type": "boolean"}
OBJECT: Shape = {"type": "object"}
SUCCESS: Shape = {"type": "boolean", "const": True}

# The shapes that have a name.
SHAPES: dict[str, Shape] = {}


def one_of(*values: str) -> Shape:
    return {"type": "string", "enum": list(dict.fromkeys(values))}


def nullable(shape: Shape) -> Shape:
    if shape.keys() & {"enum", "$ref"}:
        return {"anyOf": [shape, {"type": "null"}]}
    return {**shape, "type": [shape["type"], "null"]}


def array(items: Shape) -> Shape:
    return {"type": "array", "items": items}


def each(shape: Shape, *names: str) -> dict[str, Shape]:
    """Properties that are alike."""
    return dict.fromkeys(names, shape)


def named(name: str, shape: Shape) -> Shape:
    """A reference to the shape, which has this name in the document and in generated clients."""
    if name in SHAPES:
        raise ValueError(f"two shapes are called {name}")
    SHAPES[name] = shape
    return {"$ref": f"#/components/schemas/{name}"}


def object_of(name: str, /, *optional: str, **properties: Shape) -> Shape:
    """An object of this name. Every property is always there, but for the optional ones."""
    required = [each for each in properties if each not in optional]
    return named(name, {"type": "object", "properties": properties, "required": required})
