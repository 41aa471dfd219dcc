"""Numbers, standardised by the training rows."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Any

from stages.tasks.contract import Space, TaskEncoding


def space(targets: Sequence[str]) -> Space:
    """`mean` and `deviation` of the training rows' numbers. Raises ValueError where all are the same."""
    numbers = [float(target) for target in targets]
    deviation = statistics.pstdev(numbers)
    if deviation == 0:
        raise ValueError(f"all training rows have the number {targets[0]}: there is nothing to learn. Add other rows.")
    return {"mean": statistics.fmean(numbers), "deviation": deviation}


def targets(targets_N: Sequence[str | None], _encodings: Sequence[Any], at: Sequence[int], space: Space) -> list[float]:
    """The number of each window's row in deviations from the mean; NaN without one."""
    mean, deviation = space["mean"], space["deviation"]
    numbers = [math.nan if target is None else (float(target) - mean) / deviation for target in targets_N]
    return [numbers[row] for row in at]


ENCODING = TaskEncoding(space=space, targets=targets, feature="float32")
