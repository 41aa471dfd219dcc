"""Images and their texts: what an image's text is, and which rows are not independent.

The target of a row says which text its image has: "pair 9f86d081884c7d65", the digest of the text.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from stages.core.contracts import IMAGE, TARGET, RawRow, RejectedRow, as_label
from stages.tasks.contract import TaskData
from stages.tasks.shared.cells import each_row
from stages.tasks.shared.matched_texts import pair_of


def read(rows: Iterable[RawRow | RejectedRow]) -> Iterator[RawRow | RejectedRow]:
    """The rows with their targets. Rows of one image are a group where the source has none."""
    return each_row(rows, _with_target, told_by=lambda row: row.text_pair)


def _with_target(row: RawRow) -> RawRow:
    text = as_label(row.text_pair)
    return row._replace(label=text and pair_of(text), group=row.group or row.text)


DATA = TaskData(
    read=read,
    kinds=lambda _: ("pair",),
    exclusive=False,
    structured=frozenset({IMAGE, TARGET}),  # a text in the target's place is not worth a warning
)
