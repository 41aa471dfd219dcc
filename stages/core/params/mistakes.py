"""A mistake in params.yaml in words: the key, the value found, the values allowed, the nearest guess."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args, get_origin

from stages.core.params.values import FORMS, Section
from stages.core.yaml_text import parse

RENAMED = {
    "ingest.text_column": "ingest.columns.text",
    "ingest.text_pair_column": "ingest.columns.text_pair",
    "ingest.label_column": "ingest.columns.label",
    "promotion.measure": "task.measure",
}
"""Parameters of earlier versions, and what they are called now."""
CHOOSES = {"finetune.select_by": "best", "distill.select_by": "best"}
"""Parameters that named a measure in earlier versions, and the value that now stands for task.measure."""


def explained(mistakes: Sequence[Mapping[str, Any]], file: type[Section]) -> list[str]:
    """A line for each of pydantic's mistakes, in their order; `file` is the model of all of params.yaml.

    A parameter that is missing only because it stands there under an earlier name is told once, with that name.
    """
    keys = {_key(_location(mistake)) for mistake in mistakes}
    moved = [now for was, now in RENAMED.items() if was in keys]
    return [
        explain(mistake, file)
        for mistake in mistakes
        if mistake["type"] != "missing" or not any(_is_within(now, _key(_location(mistake))) for now in moved)
    ]


def _is_within(key: str, section: str) -> bool:
    return f"{key}.".startswith(f"{section}.")


def _location(mistake: Mapping[str, Any]) -> list[Any]:
    return [part for part in mistake["loc"] if part not in ("function-after", *FORMS)]


def _key(location: Sequence[Any]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).lstrip(".")


def explain(mistake: Mapping[str, Any], file: type[Section]) -> str:
    """One pydantic mistake in words: the key, the value found, the values allowed, the nearest guess.

    `file` is the model of all of params.yaml.
    """
    kind, context, found = mistake["type"], mistake.get("ctx", {}), mistake["input"]
    location = _location(mistake)
    key = _key(location)
    if (earlier := _of_an_earlier_version(key, kind, found)) is not None:
        return earlier
    if kind == "extra_forbidden":
        allowed = _keys_beside(file, location)
        return f"{key} is not a parameter. Allowed here: {', '.join(allowed)}.{_guess(str(location[-1]), allowed)}"
    if kind == "missing":
        return (
            f"{key} is missing. It has no default: `winnow init --renew .` adds the lines of Winnow's own params.yaml."
        )
    if kind == "value_error":
        return f"{key}: {context['error']}."
    if kind == "literal_error":
        allowed = _literals(file, location)
        return f"{key} is {shown(found)}. Allowed: {', '.join(allowed)}.{_guess(str(found), allowed)}"
    if kind == "string_pattern_mismatch":
        return f"{key} is {shown(found)}. Allowed: text that matches {context['pattern']}."
    return f"{key} is {shown(found)}. Allowed: {_allowed(kind, context, mistake['msg'])}.{_unquoted(kind, found)}"


def _of_an_earlier_version(key: str, kind: str, found: Any) -> str | None:
    """The line for what was right in an earlier version: the name, or the form, that it has now."""
    if kind == "extra_forbidden" and key in RENAMED:
        return f"{key} is called {RENAMED[key]} now. Write {shown(found)} there, and take this line out."
    if key == "task" and isinstance(found, str):
        return f"task is {shown(found)}. It has two lines now: task: {{name: {found}, measure: ...}}."
    if kind == "literal_error" and key in CHOOSES:
        best = CHOOSES[key]
        return f"{key} is {shown(found)}. Allowed: {best}, last. With {best}, task.measure names the measure."
    return None


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
    "dict_type": "lines of 'name: text', or {}",
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
            fields = _section(annotation).model_fields
            annotation = next(f for name, f in fields.items() if part in (name, f.alias)).annotation
    return annotation


def _literals(file: type[Section], location: list[Any]) -> list[str]:
    return list(dict.fromkeys(map(str, _literals_of(_field(file, location)))))


def _literals_of(annotation: Any) -> list[Any]:
    """The values of a Literal, also of one among other types."""
    if get_origin(annotation) is Literal:
        return list(get_args(annotation))
    return [value for part in get_args(annotation) for value in _literals_of(part)]


def _keys_beside(file: type[Section], location: list[Any]) -> list[str]:
    return [field.alias or name for name, field in _section(_field(file, location[:-1])).model_fields.items()]


def _section(annotation: Any) -> Any:
    """The section of an annotation that also allows null, or the annotation itself."""
    parts = [part for part in get_args(annotation) if isinstance(part, type) and issubclass(part, Section)]
    return parts[0] if parts else annotation


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
