"""What the measures of numbers are counted from, and the score by which an epoch is chosen.

N rows, S = 6 counts: 1, the truth x, the answer y, x * x, y * y, x * y; of x and y less a number near to them, so that
no digits are lost.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

ROUNDING = 1e-12  # of the sums of squares: less than that is none


def counts(truths_N: np.ndarray, answers_N: np.ndarray, *, around: float) -> np.ndarray:
    """(N, 6): what each row adds; `around`: the number that both are taken from."""
    x, y = truths_N - around, answers_N - around
    return np.column_stack([np.ones(len(x)), x, y, x * x, y * y, x * y])


def pearson(sums_RS: np.ndarray) -> np.ndarray:
    """The correlation, (R,) in [-1, 1]; 0 where one side is constant."""
    rows, x, y, xx, yy, xy = np.asarray(sums_RS).T
    of_x, of_y = (np.where(part > ROUNDING * rows * square, part, 0.0) for part, square in
                  ((rows * xx - x * x, xx), (rows * yy - y * y, yy)))  # fmt: skip
    spread = np.sqrt(of_x) * np.sqrt(of_y)
    found = np.divide(rows * xy - x * y, spread, out=np.zeros_like(spread), where=spread > 0)
    return np.clip(found, -1.0, 1.0)


def r2(sums_RS: np.ndarray) -> np.ndarray:
    """1 - squared errors / squares around the mean, (R,); 0 where the truths are constant."""
    rows, x, _, xx, yy, xy = np.asarray(sums_RS).T
    around_mean, errors = xx - x * x / rows, xx - 2 * xy + yy
    return 1 - np.divide(errors, around_mean, out=np.ones_like(errors), where=around_mean > ROUNDING * xx)


def score(truths: Sequence[float], answers: Sequence[float]) -> dict[str, float]:
    """Pearson's correlation and r2 of all rows together."""
    x, y = np.asarray(truths, dtype=np.float64), np.asarray(answers, dtype=np.float64)
    sums = counts(x, y, around=float(x.mean())).sum(0, keepdims=True)
    return {"pearson": float(pearson(sums)[0]), "r2": float(r2(sums)[0])}
