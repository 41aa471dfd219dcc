"""Yes is 1.0, no 0.0."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from stages.tasks.contract import Space, TaskEncoding

NUMBERS = {"yes": 1.0, "no": 0.0, None: math.nan}


def targets(
    targets_N: Sequence[str | None], _encodings: Sequence[Any], at: Sequence[int], _space: Space
) -> list[float]:
    """The number of each window's row."""
    return [NUMBERS[targets_N[row]] for row in at]


ENCODING = TaskEncoding(space=lambda _: {}, targets=targets, feature="float32")
