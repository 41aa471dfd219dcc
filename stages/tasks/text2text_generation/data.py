"""Targets that are texts: a translation, a summary, an answer.

target                   becomes
"  Ein Hund.\r\n"        "Ein Hund."     letters composed, lines end in a line feed, no blanks at an end
""                       None            nothing to learn
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from stages.core.contracts import RawRow, RejectedRow
from stages.tasks.contract import TaskData
from stages.tasks.shared.cells import each_row
from stages.tasks.shared.written import canonical


def read(rows: Iterable[RawRow | RejectedRow]) -> Iterator[RawRow | RejectedRow]:
    """The rows with their targets in canonical form. No rule of cleaning changes a target, and none is cut."""
    return each_row(rows, lambda row: row._replace(label=canonical(row.label or "") or None))


DATA = TaskData(read=read, kinds=lambda _: ("text",), exclusive=False, writes="target")
