"""Sets of labels as data has them.

target                         becomes
["sports", "politics"]         ["politics","sports"]      a list of texts, or of the Hub's ClassLabels
sports; politics               the same                   a cell of a table; | does as well
sports                         ["sports"]
[]                             []                         no label holds
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from stages.core.contracts import TARGET, RawRow, RejectedRow, as_label
from stages.tasks.contract import TaskData
from stages.tasks.shared.cells import SHOWN, each_row, list_of, shown
from stages.tasks.shared.label_sets import as_text, from_text

ALLOWED = 'Allowed: a list of texts, such as ["sports", "politics"]; or a cell with ; or | between; [] for no label'
_BETWEEN = re.compile("[;|]")


def read(rows: Iterable[RawRow | RejectedRow]) -> Iterator[RawRow | RejectedRow]:
    """The rows with their labels as one canonical text; those whose target is no set of labels as `bad_target`."""
    return each_row(rows, _with_labels)


def _with_labels(row: RawRow) -> RawRow:
    return row if row.label is None else row._replace(label=as_text(_labels(row.label)))


def _labels(target: str) -> list[str]:
    """The labels of a JSON list or of a cell, as all labels are written. Raises ValueError with what is wrong."""
    if not target.lstrip().startswith(("[", "{")):
        found = [label for part in _BETWEEN.split(target) if (label := as_label(part))]
        if not found:
            raise ValueError(f"the target {target[:SHOWN]!r} has no label between its separators. {ALLOWED}")
        return found

    return [_label(member) for member in list_of(target, allowed=ALLOWED)]


def _label(member: object) -> str:
    label = as_label(member) if isinstance(member, str) else None
    if label is None:
        raise ValueError(f"{shown(member)} in the target is no label: a text that is not blank. {ALLOWED}")
    return label


DATA = TaskData(read=read, kinds=from_text, exclusive=False, structured=frozenset({TARGET}))
