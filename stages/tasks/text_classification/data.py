"""The labels of a classifier: one for each text, in a form in which those that look the same are the same."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from stages.core.contracts import RawRow, RejectedRow, as_label
from stages.tasks.contract import TaskData


def read(rows: Iterable[RawRow | RejectedRow]) -> Iterator[RawRow | RejectedRow]:
    """The rows with their labels in canonical form; None for one that shows nothing."""
    for row in rows:
        yield row._replace(label=as_label(row.label)) if isinstance(row, RawRow) else row


def kinds(target: str) -> tuple[str, ...]:
    """The label itself."""
    return (target,)


DATA = TaskData(read=read, kinds=kinds, numbers=True)
