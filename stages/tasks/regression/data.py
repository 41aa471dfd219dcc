"""Numbers as data has them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from stages.core.contracts import RawRow, RejectedRow
from stages.tasks.contract import TaskData
from stages.tasks.shared.cells import SHOWN, each_row


def read(rows: Iterable[RawRow | RejectedRow]) -> Iterator[RawRow | RejectedRow]:
    """The rows with their numbers written one way: 3.50 and 3.5 are the same; those with another target rejected."""
    return each_row(rows, _with_number)


def _with_number(row: RawRow) -> RawRow:
    if row.label is None or not row.label.strip():
        return row._replace(label=None)
    try:
        number = float(row.label.replace("_", "x")) + 0.0  # 1_000 is Python's own; -0 is 0
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"the target {row.label[:SHOWN]!r} is no finite number. Write it with a point, such as 3.8")
    return row._replace(label=f"{number:.12g}")


DATA = TaskData(read=read, kinds=lambda _: ("number",), exclusive=False)
