"""Targets: yes, no, and what means the same."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from stages.core.contracts import RawRow, RejectedRow
from stages.tasks.contract import TaskData

WORDS = {"yes": "yes", "y": "yes", "no": "no", "n": "no"}


def read(rows: Iterable[RawRow | RejectedRow]) -> Iterator[RawRow | RejectedRow]:
    """The rows with yes or no; those with another word as `bad_target`."""
    for row in rows:
        if isinstance(row, RejectedRow) or row.label is None:
            yield row
        elif row.label in WORDS:
            yield row._replace(label=WORDS[row.label])
        else:
            yield RejectedRow(row.origin, "bad_target", f"'{row.label}' is neither yes nor no", row.text or "")


DATA = TaskData(read=read, kinds=lambda target: (target,))
