"""Differences of unlike numbers, in columns of one unit each: points, no unit, percent of before. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from flows.review.evidence import MetricChange, Unit


class Column(NamedTuple):
    """Numbers whose differences are in one unit."""

    key: str
    title: str
    heading: str  # of the column
    is_relative: bool = False  # a share of the number before, as these numbers have several units


SHARES = Column("shares", "Shares", "Difference, points")
NUMBERS = Column("numbers", "Numbers without a unit", "Difference")
OTHERS = Column("others", "Losses, times, memory and size", "Change, %", is_relative=True)
COLUMNS = (SHARES, NUMBERS, OTHERS)


def column_of(unit: Unit) -> Column:
    return {"share": SHARES, "": NUMBERS}.get(unit, OTHERS)


def by_column(changes: Sequence[MetricChange]) -> dict[Column, list[MetricChange]]:
    """The changes of each column that has some, in their order."""
    found = {column: [change for change in changes if column_of(change.unit) == column] for column in COLUMNS}
    return {column: own for column, own in found.items() if own}


def difference(change: MetricChange) -> float | None:
    """The difference in the unit of its column; None where it is not known, or is a share of nothing."""
    return _scaled(change, change.difference)


def ends(change: MetricChange) -> tuple[float, float] | None:
    """The ends of the difference's interval, in the same unit; None where there is no such interval."""
    if change.confidence is None or change.difference is None:
        return None  # times have a rule of thumb, without a confidence
    low, high = (_scaled(change, end) for end in (change.low, change.high))
    return None if low is None or high is None else (low, high)


def _scaled(change: MetricChange, difference: float | None) -> float | None:
    column = column_of(change.unit)
    if difference is None or not math.isfinite(difference):
        return None
    if not column.is_relative:
        return 100 * difference if column == SHARES else difference
    return 100 * difference / change.before if change.before and change.before > 0 else None


def written(number: float | None, unit: Unit) -> str:
    """Such a difference, signed, without its unit, which stands above; "-" for None."""
    if number is None:
        return "-"
    text = f"{number:+.3g}" if column_of(unit) == NUMBERS else f"{number:+,.{0 if abs(number) >= 100 else 1}f}"
    return "0" if float(text.replace(",", "")) == 0 else text
