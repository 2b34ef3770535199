"""Unit, range and type of parameters in words, and messages about values that break them.

Everything is read from the JSON schema of a pydantic model, so that a range stands once: in the model.
"""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from pydantic import BaseModel, ValidationError

Schema = dict[str, Any]

_RANGE_ERRORS = ("greater_than", "greater_than_equal", "less_than", "less_than_equal", "finite_number")
_TYPES = {
    "boolean": "true or false",
    "integer": "an integer",
    "number": "a number",
    "string": "a string",
    "object": "a mapping",
    "null": "null",
}
_LONGEST_VALUE = 100  # characters of a refused value that a message repeats
# Raised where a JSON file is damaged, or its value is not what the code that reads it expects.
DAMAGED = (OSError, ValueError, LookupError, TypeError, AttributeError)


def unit_and_range(schema: Schema) -> str:
    """Return unit and range of a number, or of the numbers in a list, as comments and help texts show them.

    Parameters
    ----------
    schema : dict
        JSON schema of a field. Its unit is in brackets at the end of its description.

    Returns
    -------
    text : str
        For example ``"s, 0.5 to 60"``, ``">= 1"`` or ``""``.
    """
    unit = re.search(r"\[([^\[\]]+)\]$", schema.get("description", ""))
    found = [_interval(number) for number in _numbers(schema)]
    return ", ".join(dict.fromkeys([*([unit[1]] if unit else []), *filter(None, found)]))


def expected(schema: Schema, definitions: Schema) -> str:
    """Return the type and range that a field accepts.

    Parameters
    ----------
    schema : dict
        JSON schema of a field.
    definitions : dict
        ``$defs`` of the model's JSON schema.

    Returns
    -------
    text : str
        For example ``"an integer >= 1, or null"``.
    """
    return _joined(_kind(each, definitions) for each in _alternatives(schema, definitions))


def messages(error: ValidationError, model: type[BaseModel], *, source: str) -> list[str]:
    """Return one sentence for each fault that pydantic found: ``source: where must be ...; got ...``.

    Parameters
    ----------
    error : pydantic.ValidationError
        Raised by ``model.model_validate``.
    model : type
    source : str
        The file that was read, such as ``"params.yaml"``.

    Returns
    -------
    list of str
        In the order of the model's fields.
    """
    root = model.model_json_schema()
    # A value that fits no type of a union has a fault for each of them, and the same sentence.
    return list(dict.fromkeys(f"{source}: {_sentence(dict(fault), root)}." for fault in error.errors()))


def describe_damage(error: Exception) -> str:
    """Return what one of `DAMAGED`, a validation error among them, reports about a file."""
    if isinstance(error, ValidationError):
        fault = error.errors(include_url=False)[0]
        return f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}"
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return f"no {error}" if isinstance(error, LookupError) else str(error)


def _sentence(fault: dict[str, Any], root: Schema) -> str:
    definitions, loc, kind = root.get("$defs", {}), fault["loc"], fault["type"]
    missing = kind == "missing"
    if missing and isinstance(loc[-1], int):  # a list that is too short
        missing, loc = False, loc[:-1]
    if kind == "extra_forbidden":
        where, schema = _locate(loc[:-1], root, definitions)
        known = ", ".join(name for each in _alternatives(schema, definitions) for name in each.get("properties", ()))
        prefix = f"{where}." if where else ""
        return f"{prefix}{loc[-1]} is not a parameter; {where or 'the file'} has {known}"
    where, schema = _locate(loc, root, definitions)
    if missing:
        return f"{where} is missing; must be {expected(schema, definitions)}"
    if kind == "value_error":
        text = str(fault["ctx"]["error"]).removesuffix(".")
        if not where or f"{loc[0]}." in text:  # a rule that concerns several parameters names them itself
            return text
        return f"{where} {text}" if text.startswith("must ") else f"{where}: {text}"
    wanted = expected(schema, definitions)
    if kind in _RANGE_ERRORS:
        wanted = _joined(filter(None, map(_range, _alternatives(schema, definitions)))) or wanted
    return f"{where} must be {wanted}; got {_shown(fault['input'])}"


def _locate(loc: tuple[int | str, ...], root: Schema, definitions: Schema) -> tuple[str, Schema]:
    """Return the dotted name and schema of a location, without the labels that pydantic gives the types of a union."""
    names, schema = [], root
    for part in loc:
        child = _child(schema, part, definitions)
        if child is not None:
            names.append(str(part))
            schema = child
    return ".".join(names), schema


def _child(schema: Schema, part: int | str, definitions: Schema) -> Schema | None:
    for each in _alternatives(schema, definitions):
        if isinstance(part, int):
            prefix = each.get("prefixItems", [])
            child = prefix[part] if part < len(prefix) else each.get("items")
        else:
            child = each.get("properties", {}).get(part) or each.get("additionalProperties")
        if isinstance(child, dict):
            return child
    return None


def _alternatives(schema: Schema, definitions: Schema) -> Iterator[Schema]:
    """Yield the schemas of a union, or the one schema, with references resolved."""
    if "$ref" in schema:
        yield from _alternatives(definitions[schema["$ref"].rsplit("/", 1)[-1]], definitions)
    elif union := schema.get("anyOf") or schema.get("oneOf"):
        for each in union:
            yield from _alternatives(each, definitions)
    else:
        yield schema


def _joined(kinds: Iterable[str]) -> str:
    """Join alternatives, with null as the last one."""
    *others, last = sorted(dict.fromkeys(kinds), key="null".__eq__) or [""]
    return f"{', '.join(others)}, or {last}" if others else last


def _kind(schema: Schema, definitions: Schema) -> str:
    if "enum" in schema:
        return f"one of {', '.join(map(_plain, schema['enum']))}"
    if "const" in schema:
        return _plain(schema["const"])
    if schema.get("format") == "path":
        return "a path"
    if schema.get("type") != "array":
        return " ".join(filter(None, (_TYPES.get(schema.get("type", ""), "a value"), _between(schema))))
    items = schema.get("prefixItems") or ([schema["items"]] if "items" in schema else [])
    each = " or ".join(dict.fromkeys(expected(item, definitions) for item in items))
    least, most = schema.get("minItems", 0), schema.get("maxItems")
    count = f" of {most}" if least == most else f" of at least {least}" if least else ""
    return f"a list{count}" + (f", each {each}" if each else "")


def _range(schema: Schema) -> str:
    return "null" if schema.get("type") == "null" else _between(schema)


def _between(schema: Schema) -> str:
    if "minimum" in schema and "maximum" in schema:
        return f"between {_number(schema['minimum'])} and {_number(schema['maximum'])}"
    return _bounds(schema)


def _interval(schema: Schema) -> str:
    if "minimum" in schema and "maximum" in schema:
        return f"{_number(schema['minimum'])} to {_number(schema['maximum'])}"
    return _bounds(schema)


def _bounds(schema: Schema) -> str:
    signs = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
    return " and ".join(f"{sign} {_number(schema[key])}" for key, sign in signs.items() if key in schema)


def _numbers(schema: Schema) -> Iterator[Schema]:
    """Yield the schemas of numbers in a field: its own, those of its union, or of its elements."""
    if schema.get("type") in ("integer", "number"):
        yield schema
    items = schema.get("items")
    for each in (*schema.get("anyOf", ()), *schema.get("prefixItems", ()), *([items] if items else ())):
        yield from _numbers(each)


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:g}"


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _shown(value: object) -> str:
    """A value as YAML and JSON have it, cut where it is long; aliases of YAML may make it endless."""
    text = ""
    try:
        for part in json.JSONEncoder(ensure_ascii=False, default=str).iterencode(value):
            text += part
            if len(text) > _LONGEST_VALUE:
                return f"{text[:_LONGEST_VALUE]} …"
    except (ValueError, TypeError, RecursionError):  # it contains itself, or has a key that JSON does not have
        return f"{text} …"
    return text
