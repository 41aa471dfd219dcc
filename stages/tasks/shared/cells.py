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
    except json.JSONDecodeError as error:
        raise ValueError(f"the target {target[:SHOWN]!r} is no JSON{_hint(target, error)}. {allowed}") from None
    except RecursionError:
        raise ValueError(f"the target {target[:SHOWN]!r} has lists in lists. {allowed}") from None
    if not isinstance(found, list):
        raise ValueError(f"the target {target[:SHOWN]!r} is no list. {allowed}")
    return found


def _hint(target: str, error: json.JSONDecodeError) -> str:
    """What is wrong with a target that begins as a list does."""
    if not target.lstrip().startswith("["):
        return ""
    return f": {error.msg}, at character {error.pos}" if '"' in target else ": its texts must be in double quotes"


def shown(found: Any) -> str:
    """The beginning of a value, as JSON."""
    return json.dumps(found, ensure_ascii=False)[:SHOWN]
