"""Text alone: a row's target is the size of its text, by which its likelihood is measured.

text                 target
"Ada wrote it."      13 3        bytes in UTF-8, and what stands between blanks
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from stages.core.contracts import RawRow, RejectedRow
from stages.tasks.contract import TaskData
from stages.tasks.shared.cells import each_row
from stages.tasks.text_generation.scores import size


def read(rows: Iterable[RawRow | RejectedRow]) -> Iterator[RawRow | RejectedRow]:
    """The rows with the sizes of their texts; what a source gives as a target is not read."""
    return each_row(rows, lambda row: row._replace(label=None if row.text is None else size(row.text)))


def carried(_target: str, _before: str, after: str) -> str | None:
    """The size of the cleaned text."""
    return size(after)


DATA = TaskData(read=read, kinds=lambda _: ("text",), carried=carried, exclusive=False, writes="text")
