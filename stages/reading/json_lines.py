"""Lines of JSON: the object in each, and its wanted values; or the fault of either."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from stages.reading.lines import Fault, Line
from stages.reading.values import Wanted, column_of, no_column, value_at

_ONE_OBJECT = "Each line must be one object: {...}"


def object_in(line: Line) -> dict[str, Any] | Fault:
    """The object in a line."""
    if line.fault:
        return line.fault
    try:
        found = json.loads(line.text)
        if "\\u" in line.text:
            json.dumps(found, ensure_ascii=False).encode()  # refuses halves of surrogate pairs
    except (ValueError, RecursionError) as error:
        return Fault("not_json", f"not JSON: {error}. {_ONE_OBJECT}")
    if not isinstance(found, dict):
        kind = {"list": "an array", "str": "a text", "NoneType": "null"}.get(type(found).__name__, "a number")
        return Fault("not_an_object", f"{kind}, expected an object. {_ONE_OBJECT}")
    return found


def values_of(found: Mapping[str, Any], wanted: Sequence[Wanted]) -> list[Any] | Fault:
    """The wanted values of an object, in their order."""
    values = []
    for one in wanted:
        column = column_of(one.column, found)
        try:
            if column is None:
                raise KeyError(one.column)
            values.append(value_at(one.column, column, found[column]))
        except KeyError:
            return Fault("missing_column", no_column(one, list(found)))
    return values


def refuse_array(line: Line, shown: str) -> None:
    """Raise ValueError where the first line of a file in .json begins an array: that is no object a line."""
    if line.text.lstrip().startswith("["):
        raise ValueError(
            f"{shown}, line {line.number}: the file is one JSON array, expected an object a line. Write it so,"
            " with jq: `jq -c '.[]'`, and end its name in .jsonl."
        )
