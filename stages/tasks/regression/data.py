"""Numbers as data has them.

target          becomes
3.50, +3.5      3.5
−3              -3         with the minus sign of typesetters
٣               3          digits of any script
(empty), null   None       no number; NaN of a typed file likewise
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator

from stages.core.contracts import RawRow, RejectedRow
from stages.tasks.contract import TaskData
from stages.tasks.shared.cells import SHOWN, each_row

POINT = "Write it with a point and nothing between thousands, such as 1234.5"
EMPTY = "Leave the cell empty where there is no number"
DATE = "It is a date. Name a column of numbers in ingest.columns.label"
_DIGITS = r"[-+]?\d+(?:[.,]\d+)?"
_STEPS = {  # the next step, by what is there
    r"[-+]?\d{1,3}([,. '’_\u00a0\u202f]\d{3})+([.,]\d+)?|[-+]?\d*[,٫]\d+": POINT,
    r"n/?a|n\.a\.|nan|null|none|nil|unknown|missing|[-–—?.]+": EMPTY,
    r"[-+]?inf(inity)?|[-+]?\d+(\.\d+)?e\+?\d{3,}": f"It is too large to be learned. {EMPTY}",
    rf"{_DIGITS}\s*/\s*{_DIGITS}": "Write the fraction as one number, such as 0.8 for 4/5",
    r"\d{4}-\d\d-\d\d.*|\d{1,2}[./]\d{1,2}[./]\d{2,4}": DATE,
    r"[\[{].*": "Write one number a row",
    rf"{_DIGITS}\s*[^\d\s].*|[^\d\s]+\s*{_DIGITS}": "Write the number alone, in the same unit in every row",
    r"true|false": "Write 1 and 0",
}
_TYPESET = str.maketrans({"−": "-"})


def read(rows: Iterable[RawRow | RejectedRow]) -> Iterator[RawRow | RejectedRow]:
    """The rows with their numbers written one way: 3.50 and 3.5 are the same; those with another target rejected."""
    return each_row(rows, _with_number)


def _with_number(row: RawRow) -> RawRow:
    if row.label is None or not row.label.strip():
        return row._replace(label=None)
    if (number := _number(row.label)) is None:
        raise ValueError(f"the target {row.label[:SHOWN]!r} is no finite number. {_step(row.label)}")
    return row._replace(label=f"{number:.12g}")


def _number(cell: str) -> float | None:
    """The number of a cell; None where it is none, or not finite."""
    try:
        number = float(cell.replace("_", "x").translate(_TYPESET)) + 0.0  # 1_000 is Python's own; -0 is 0
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _step(cell: str) -> str:
    """What to do about a cell that is no number."""
    shown = cell.strip().lower()
    return next((step for found, step in _STEPS.items() if re.fullmatch(found, shown)), f"{POINT}. {EMPTY}")


DATA = TaskData(read=read, kinds=lambda _: ("number",), exclusive=False)
