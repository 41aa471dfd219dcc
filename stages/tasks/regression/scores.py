"""What the measures of numbers are counted from, and the score by which an epoch is chosen.

N rows, S = 7 + 3 N counts: 1, the truth x, the answer y, x * x, y * y, x * y, |x - y|; of x and y less a number near to
them, so that no digits are lost. Then those of stages/tasks/shared/rank_correlation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from stages.tasks.shared import rank_correlation

if TYPE_CHECKING:
    from scipy.sparse import csr_array

SUMS = 7  # counts without those of ranks
NEARLY = 0.1  # deviations: of answers that differ by no more
ROUNDING = 1e-12  # of the sums of squares: less than that is none


def counts(truths_N: np.ndarray, answers_N: np.ndarray) -> csr_array:
    """(N, S): what each row adds."""
    from scipy.sparse import csr_array, hstack  # not where a model is only opened

    around = float(truths_N.mean())
    x, y = truths_N - around, answers_N - around
    own = np.column_stack([np.ones(len(x)), x, y, x * x, y * y, x * y, np.abs(x - y)])
    return csr_array(hstack([csr_array(own), rank_correlation.counts(truths_N, answers_N)]))


def _sums(sums_RS: np.ndarray) -> np.ndarray:
    """(7, R)."""
    return np.asarray(sums_RS)[:, :SUMS].T


def pearson(sums_RS: np.ndarray) -> np.ndarray:
    """The correlation, (R,) in [-1, 1]; 0 where one side is constant."""
    rows, x, y, xx, yy, xy, _ = _sums(sums_RS)
    of_x, of_y = (np.where(part > ROUNDING * rows * square, part, 0.0) for part, square in
                  ((rows * xx - x * x, xx), (rows * yy - y * y, yy)))  # fmt: skip
    spread = np.sqrt(of_x) * np.sqrt(of_y)
    found = np.divide(rows * xy - x * y, spread, out=np.zeros_like(spread), where=spread > 0)
    return np.clip(found, -1.0, 1.0)


def r2(sums_RS: np.ndarray) -> np.ndarray:
    """1 - squared errors / squares around the mean, (R,); 0 where the truths are constant."""
    rows, x, _, xx, yy, xy, _ = _sums(sums_RS)
    around_mean, errors = xx - x * x / rows, xx - 2 * xy + yy
    return 1 - np.divide(errors, around_mean, out=np.ones_like(errors), where=around_mean > ROUNDING * xx)


def spearman(sums_RS: np.ndarray) -> np.ndarray:
    """The correlation of ranks, (R,) in [-1, 1]; 0 where one side is constant."""
    return rank_correlation.spearman(np.asarray(sums_RS)[:, SUMS:])


def mae(sums_RS: np.ndarray) -> np.ndarray:
    """The mean absolute error, (R,), in the unit of the data."""
    sums = _sums(sums_RS)
    return sums[SUMS - 1] / np.maximum(sums[0], 1)


def score(truths: Sequence[float], answers: Sequence[float]) -> dict[str, float]:
    """Each measure of all rows together; the error with its sign turned, so that higher is better."""
    found = counts(np.asarray(truths, dtype=np.float64), np.asarray(answers, dtype=np.float64))
    sums = np.asarray(found.sum(0)).reshape(1, -1)
    correlations = {"pearson": pearson, "spearman": spearman, "r2": r2}
    return {**{name: float(of(sums)[0]) for name, of in correlations.items()}, "mae": -float(mae(sums)[0])}
