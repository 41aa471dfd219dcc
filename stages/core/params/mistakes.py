"""A mistake in params.yaml in words: the key, the value found, the values allowed, the nearest guess."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, Literal, get_args, get_origin

from stages.core.params.values import FORMS, Section
from stages.core.yaml_text import parse


def explain(mistake: Mapping[str, Any], file: type[Section]) -> str:
    """One pydantic mistake in words: the key, the value found, the values allowed, the nearest guess.

    `file` is the model of all of params.yaml.
    """
    kind, context, found = mistake["type"], mistake.get("ctx", {}), mistake["input"]
    location = [part for part in mistake["loc"] if part not in ("function-after", *FORMS)]
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).lstrip(".")
    if kind == "extra_forbidden":
        allowed = _keys_beside(file, location)
        return f"{key} is not a parameter. Allowed here: {', '.join(allowed)}.{_guess(str(location[-1]), allowed)}"
    if kind == "missing":
        return f"{key} is missing. It has no default: take the line from the params.yaml of the repository."
    if kind == "value_error":
        return f"{key}: {context['error']}."
    if kind == "literal_error":
        allowed = _literals(file, location)
        return f"{key} is {shown(found)}. Allowed: {', '.join(allowed)}.{_guess(str(found), allowed)}"
    if kind == "string_pattern_mismatch":
        return f"{key} is {shown(found)}. Allowed: text that matches {context['pattern']}."
    return f"{key} is {shown(found)}. Allowed: {_allowed(kind, context, mistake['msg'])}.{_unquoted(kind, found)}"


def _unquoted(kind: str, found: Any) -> str:
    """The advice for a number in quotes; else empty."""
    return " Leave out the quotes." if kind in ("int_type", "float_type") and _is_number(found) else ""


_BOUNDS = {
    "greater_than_equal": ("ge", "{} or more"),
    "greater_than": ("gt", "more than {}"),
    "less_than_equal": ("le", "{} or less"),
    "less_than": ("lt", "less than {}"),
    "too_short": ("min_length", "at least {} entries"),
    "string_too_short": ("min_length", "a text of at least {} characters"),
}
_TYPES = {
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "a text",
    "list_type": "a list",
    "model_type": "a section of 'key: value' lines",
    "finite_number": "a finite number",
}


def _allowed(kind: str, context: Mapping[str, Any], message: str) -> str:
    if kind in _BOUNDS:
        name, words = _BOUNDS[kind]
        return words.format(context[name])
    return _TYPES.get(kind, message)


def _field(file: type[Section], location: list[Any]) -> Any:
    """The annotation of the parameter at `location`."""
    annotation: Any = file
    for part in location:
        if isinstance(part, int):
            annotation = get_args(annotation)[0]
        else:
            fields = annotation.model_fields
            annotation = next(f for name, f in fields.items() if part in (name, f.alias)).annotation
    return annotation


def _literals(file: type[Section], location: list[Any]) -> list[str]:
    return list(map(str, _literals_of(_field(file, location))))


def _literals_of(annotation: Any) -> list[Any]:
    """The values of a Literal, also of one among other types."""
    if get_origin(annotation) is Literal:
        return list(get_args(annotation))
    return [value for part in get_args(annotation) for value in _literals_of(part)]


def _keys_beside(file: type[Section], location: list[Any]) -> list[str]:
    return [field.alias or name for name, field in _field(file, location[:-1]).model_fields.items()]


def _guess(found: str, allowed: list[str]) -> str:
    near = difflib.get_close_matches(found, allowed, n=1)
    return f" Did you mean '{near[0]}'?" if near else ""


def _is_number(text: Any) -> bool:
    try:
        return isinstance(text, str) and isinstance(parse(text, "the value"), int | float)
    except ValueError:
        return False


def shown(value: Any) -> str:
    if value is None:
        return "null"
    text = f"'{value}'" if isinstance(value, str) else str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
