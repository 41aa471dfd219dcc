"""Sets of labels as vectors: for each label 1 where it holds, and 0 where not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from stages.tasks.contract import Space, TargetError, TaskEncoding
from stages.tasks.shared.label_sets import from_text


def space(targets: Sequence[str]) -> Space:
    """`labels`: those of the training rows, sorted. Raises ValueError where no row has one."""
    labels = sorted({label for target in set(targets) for label in from_text(target)})
    if not labels:
        raise ValueError("no training row has a label: there is nothing to learn. Add rows with labels.")
    return {"labels": labels}


def targets(
    targets_N: Sequence[str | None], _encodings: Sequence[Any], at: Sequence[int], space: Space
) -> list[list[float]]:
    """The vector of each window's row, (C,); NaN throughout without a target.

    Raises TargetError for a label that is not of the space.
    """
    place = {label: number for number, label in enumerate(space["labels"])}
    vectors = [_vector(row, target, place) for row, target in enumerate(targets_N)]
    return [vectors[row] for row in at]


def _vector(row: int, target: str | None, place: dict[str, int]) -> list[float]:
    if target is None:
        return [math.nan] * len(place)
    vector = [0.0] * len(place)
    for label in from_text(target):
        if label not in place:
            raise TargetError(
                row,
                f"no training row has the label '{label}'. Allowed: {', '.join(place)}. Give it training rows, or take"
                " it out of the targets.",
            )
        vector[place[label]] = 1.0
    return vector


ENCODING = TaskEncoding(space=space, targets=targets, feature="vector_float32")
