"""Sets of labels as data has them.

target                         becomes
["sports", "politics"]         ["politics","sports"]      a list of texts, or of the Hub's ClassLabels
sports; politics               the same                   a cell of a table; | does as well
sports                         ["sports"]
[]                             []                         no label holds
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator

from stages.core.contracts import TARGET, RawRow, RejectedRow, as_label
from stages.tasks.contract import TaskData
from stages.tasks.shared.label_sets import as_text, from_text

EXCERPT = 200  # characters of a row that is rejected
ALLOWED = 'Allowed: a list of texts, such as ["sports", "politics"]; or a cell with ; or | between; [] for no label'
_BETWEEN = re.compile("[;|]")


def read(rows: Iterable[RawRow | RejectedRow]) -> Iterator[RawRow | RejectedRow]:
    """The rows with their labels as one canonical text; those whose target is no set of labels as `bad_target`."""
    for row in rows:
        if isinstance(row, RejectedRow) or row.label is None:
            yield row
            continue
        try:
            target = as_text(_labels(row.label))
        except ValueError as error:
            yield RejectedRow(row.origin, "bad_target", str(error), (row.text or "")[:EXCERPT])
        else:
            yield row._replace(label=target)


def _labels(target: str) -> list[str]:
    """The labels of a JSON list or of a cell, as all labels are written. Raises ValueError with what is wrong."""
    if not target.lstrip().startswith(("[", "{")):
        found = [label for part in _BETWEEN.split(target) if (label := as_label(part))]
        if not found:
            raise ValueError(f"the target {target[:60]!r} has no label between its separators. {ALLOWED}")
        return found

    try:
        members = json.loads(target)
    except json.JSONDecodeError as error:
        hint = "its texts must be in double quotes" if '"' not in target else f"{error.msg}, at character {error.pos}"
        raise ValueError(f"the target {target[:60]!r} is no JSON: {hint}. {ALLOWED}") from None
    except RecursionError:
        raise ValueError(f"the target {target[:60]!r} has lists in lists. {ALLOWED}") from None
    if not isinstance(members, list):
        raise ValueError(f"the target {target[:60]!r} is no list. {ALLOWED}")
    return [_label(member) for member in members]


def _label(member: object) -> str:
    label = as_label(member) if isinstance(member, str) else None
    if label is None:
        shown = json.dumps(member, ensure_ascii=False)[:60]
        raise ValueError(f"{shown} in the target is no label: a text that is not blank. {ALLOWED}")
    return label


DATA = TaskData(read=read, kinds=from_text, exclusive=False, structured=frozenset({TARGET}))
