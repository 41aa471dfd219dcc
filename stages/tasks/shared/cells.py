"""Targets as cells of data have them: JSON, or what is set aside because it cannot be read."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from stages.core.contracts import RawRow, RejectedRow

EXCERPT = 200  # characters of a row that is set aside
SHOWN = 60  # of what is wrong with it


def each_row(
    rows: Iterable[RawRow | RejectedRow],
    changed: Callable[[RawRow], RawRow],
    *,
    told_by: Callable[[RawRow], str | None] = lambda row: row.text,
) -> Iterator[RawRow | RejectedRow]:
    """The rows, in order, as `changed` makes each; `bad_target` where it raises ValueError, with what that says.

    `told_by`: the text whose beginning tells a person which row it is.
    """
    for row in rows:
        if isinstance(row, RejectedRow):
            yield row
            continue
        try:
            found = changed(row)
        except ValueError as error:
            yield RejectedRow(row.origin, "bad_target", str(error), (told_by(row) or "")[:EXCERPT])
        else:
            yield found


def list_of(target: str, *, allowed: str) -> list[Any]:
    """The JSON list of a target. Raises ValueError, with what is `allowed`, where it is none."""
    try:
        found = json.loads(target)
    except ValueError:
        raise ValueError(f"the target {target[:SHOWN]!r} is no JSON. {allowed}") from None
    if not isinstance(found, list):
        raise ValueError(f"the target {target[:SHOWN]!r} is no list. {allowed}")
    return found


def shown(found: Any) -> str:
    """The beginning of a value, as JSON."""
    return json.dumps(found, ensure_ascii=False)[:SHOWN]
