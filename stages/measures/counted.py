"""What the statistics take of one model's answers: sums of counts, scores, and the units that rows belong to.

Rows of one unit, such as the sentences of a document, are not independent: they are drawn and flipped together.
N rows, S counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from stages.tasks.contract import Measure, TaskMeasures


class Counted(NamedTuple):
    """One model's answers to N rows, for one measure."""

    counts: csr_array
    """(N, S): what each row adds to the sums."""
    scores_N: np.ndarray
    """How right each answer is, in [0, 1]."""
    units_N: np.ndarray
    """The number of the unit that each row belongs to, from 0."""
    strata_N: np.ndarray | None = None
    """The number of the row's group, for a measure that is near to a mean over groups."""

    def of(self, rows: np.ndarray) -> Counted:
        """The same of some rows: their numbers, or (N,) bool."""
        strata_N = None if self.strata_N is None else self.strata_N[rows]
        return Counted(self.counts[rows], self.scores_N[rows], codes(self.units_N[rows]), strata_N)


def counted(
    task: TaskMeasures, measure: Measure, truths: Sequence[str], answers: Sequence[str], units: Sequence[str]
) -> Counted:
    """The record of N answers. Raises ValueError where the lengths differ, and where there are no rows."""
    lengths = [len(column) for column in (truths, answers, units)]
    if not lengths[0] or len({*lengths}) > 1:
        raise ValueError(
            f"truths, answers and units have the lengths {', '.join(map(str, lengths))}: they need one length, of 1 or"
            " more."
        )
    strata_N = None if measure.strata is None else codes(np.asarray(measure.strata(truths), dtype=str))
    return Counted(task.counts(truths, answers), task.scores(truths, answers), codes(np.asarray(units)), strata_N)


def codes(names_N: np.ndarray) -> np.ndarray:
    """A number from 0 for each distinct name, in their order."""
    return np.unique(names_N, return_inverse=True)[1].ravel()
