"""The labels of a classifier as numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from stages.core.contracts import NO_LABEL
from stages.tasks.contract import Space, TargetError, TaskEncoding


def space(targets: Sequence[str]) -> Space:
    """`labels`: those of the training rows, sorted."""
    return {"labels": sorted(set(targets))}


def targets(targets_N: Sequence[str | None], _encodings: Sequence[Any], at: Sequence[int], space: Space) -> list[int]:
    """The number of the label of each window's row, NO_LABEL without one. Raises TargetError for an unknown label."""
    numbers: dict[str | None, int] = {None: NO_LABEL} | {label: at for at, label in enumerate(space["labels"])}
    for row, label in enumerate(targets_N):
        if label not in numbers:
            raise TargetError(
                row,
                f"no training row has the label '{label}'. Allowed: {', '.join(space['labels'])}."
                " Give it training rows, or take it out.",
            )
    return [numbers[targets_N[row]] for row in at]


ENCODING = TaskEncoding(space=space, targets=targets)
