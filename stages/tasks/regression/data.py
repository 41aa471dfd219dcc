"""Numbers as data has them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from stages.core.contracts import RawRow, RejectedRow
from stages.tasks.contract import TaskData

EXCERPT = 200  # characters of a row that is rejected


def read(rows: Iterable[RawRow | RejectedRow]) -> Iterator[RawRow | RejectedRow]:
    """The rows with their numbers written one way: 3.50 and 3.5 are the same; those with another target rejected."""
    for row in rows:
        if isinstance(row, RejectedRow) or row.label is None or not row.label.strip():
            yield row if isinstance(row, RejectedRow) else row._replace(label=None)
            continue
        try:
            number = float(row.label.replace("_", "x")) + 0.0  # 1_000 is Python's own; -0 is 0
        except ValueError:
            number = math.nan
        if math.isfinite(number):
            yield row._replace(label=f"{number:.12g}")
        else:
            detail = f"the target {row.label[:60]!r} is no finite number. Write it with a point, such as 3.8"
            yield RejectedRow(row.origin, "bad_target", detail, (row.text or "")[:EXCERPT])


DATA = TaskData(read=read, kinds=lambda _: ("number",), exclusive=False)
