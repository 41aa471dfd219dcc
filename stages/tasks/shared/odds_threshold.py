"""The odds from which on an answer is given rather than none, fitted to rows. N rows."""

from __future__ import annotations

import numpy as np

DIGITS = 4  # of the threshold
ROUNDING = 1e-9  # sums of gains that differ by no more are equal


def best_threshold(odds_N: np.ndarray, gains_N: np.ndarray) -> float:
    """The threshold that keeps the rows whose gains, over no answer, sum up to the most.

    `odds_N`: logarithms. Of equally good thresholds it is the one nearest to 0, where an answer is as likely as none.
    """
    if len(odds_N) == 0:
        return 0.0
    order = np.argsort(-odds_N, kind="stable")
    sorted_N = odds_N[order]
    between_N = (sorted_N[:-1] + sorted_N[1:]) / 2
    cuts = np.concatenate([sorted_N[:1] + 1, between_N, sorted_N[-1:] - 1])  # the k-th keeps the first k rows
    parts_rows = np.concatenate([[True], sorted_N[:-1] > sorted_N[1:], [True]])
    gained = np.concatenate([[0.0], np.cumsum(gains_N[order])])
    is_best = parts_rows & (gained >= gained[parts_rows].max() - ROUNDING)
    if is_best[(odds_N >= 0).sum()]:
        return 0.0
    best = cuts[is_best]
    return round(float(best[np.abs(best).argmin()]), DIGITS)
