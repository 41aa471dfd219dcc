"""Pairs of texts as data has them: with a number that says how similar they are, or such that belong together.

target                      becomes
3.50                        3.5                        a number
the second text again       pair 9f86d081884c7d65      it belongs to the first text
doc-17                      pair 4bfbaa1e6f1ab0d5      the same, by a name of the second text
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from stages.core.contracts import TARGET, RawRow, RejectedRow, as_label
from stages.tasks.contract import TaskData
from stages.tasks.shared.cells import SHOWN, each_row
from stages.tasks.shared.matched_texts import digest, is_pair, pair_of


def read(rows: Iterable[RawRow | RejectedRow]) -> Iterator[RawRow | RejectedRow]:
    """The rows with their targets; those whose number is not finite as `bad_target`.

    Rows of one first text, which is the query, are a group where the source has none: they are not independent.
    """
    return each_row(rows, _with_target)


def _with_target(row: RawRow) -> RawRow:
    target, query = _target(as_label(row.label), as_label(row.text_pair)), as_label(row.text)
    return row._replace(label=target, group=row.group or (query and f"query {digest(query)}"))


def _target(label: str | None, second: str | None) -> str | None:
    """The canonical target of a cell. Raises ValueError for a number that is none, or not finite."""
    if label is None or label == second:
        return label and pair_of(label)
    try:
        number = float(label.replace("_", "x")) + 0.0  # 1_000 is Python's own; -0 is 0
    except ValueError:
        return pair_of(label)
    if not math.isfinite(number):
        raise ValueError(f"the target {label[:SHOWN]!r} is no finite number, and not the second text. Leave it empty")
    return f"{number:.12g}"


DATA = TaskData(
    read=read,
    kinds=lambda target: ("pair" if is_pair(target) else "number",),
    exclusive=False,
    structured=frozenset({TARGET}),  # a second text in the target's place is not worth a warning
    passages="same",
)
