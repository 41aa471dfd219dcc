"""Shares of rows that are right, of one model and of two on the same rows, from the counts alone; valid for few rows.

Rows of one unit are not independent. They count for fewer: for as many as would give, drawn alone, the variance that
the units show.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq
from scipy.stats import norm, t


class Interval(NamedTuple):
    """Fractions, not percent; two-sided."""

    low: float
    high: float
    estimate: float


class Effective(NamedTuple):
    """Rows, and those lost and won among them, each as many as it counts for."""

    rows: float
    lost: float
    won: float


def wilson(scores_N: np.ndarray, units_N: np.ndarray, confidence: float) -> Interval:
    """Interval of the mean of scores: of those that are 0 or 1, the share of right rows.

    Of scores in between it is too wide rather than too narrow.
    Source: Wilson 1927, doi:10.1080/01621459.1927.10502953; of as many rows as they count for: Korn and
    Graubard 1998, Survey Methodology 24, 193-201.
    """
    share = float(scores_N.mean())
    rows = effective_rows(scores_N, units_N, confidence)
    square = z_of((1 + confidence) / 2) ** 2
    middle = (share + square / (2 * rows)) / (1 + square / rows)
    half = math.sqrt(square * (share * (1 - share) / rows + square / (4 * rows**2))) / (1 + square / rows)
    low, high = (0.0 if share == 0 else middle - half), (1.0 if share == 1 else middle + half)
    return Interval(max(low, 0.0), min(high, 1.0), share)


def difference_of_scores(
    before_N: np.ndarray, after_N: np.ndarray, units_N: np.ndarray, confidence: float | None = None
) -> Effective:
    """The rows, those lost and those won, of scores that are 0 or 1; what `score_interval` takes."""
    change_N = after_N - before_N
    rows = effective_rows(change_N, units_N, confidence)
    lost, won = (rows * (float(turned_N.sum()) / len(change_N)) for turned_N in (change_N < 0, change_N > 0))
    return Effective(rows, lost, won)


def effective_rows(values_N: np.ndarray, units_N: np.ndarray, confidence: float | None = None) -> float:
    """As many rows as the N rows count for in the variance of the mean of their values: N where each is a unit.

    Never more than N. Where all values are the same nothing shows how alike the rows of a unit are: the units count.
    With a `confidence`, the fewer units there are, the less their variance is trusted, by Student's t.
    """
    units_N = np.unique(units_N, return_inverse=True)[1].ravel()
    rows, units = len(values_N), int(units_N.max()) + 1
    if units == rows:
        return float(rows)
    by_unit_U, rows_U = (np.bincount(units_N, weights=weights) for weights in (values_N, None))
    alone = float(values_N.var())
    if units == 1 or np.ptp(values_N) == 0:
        return float(units)
    together = float(np.square(by_unit_U - values_N.mean() * rows_U).sum()) * units / (units - 1) / rows
    trusted = 1.0 if confidence is None else z_of((1 + confidence) / 2) / float(t.ppf((1 + confidence) / 2, units - 1))
    return rows * min(1.0, alone / max(together, 1e-300) * trusted**2)


def score_interval(right_to_wrong: float, wrong_to_right: float, rows: float, *, confidence: float) -> Interval:
    """Interval of the share of right rows after - before, which holds for few rows and where no answer differs.

    Counts need not be whole: what is expected of so many rows has an interval too. Its ends are the differences whose
    score statistic is as large as `confidence` allows.
    Raises ValueError for counts that cannot be.
    Source: Tango 1998, doi:10.1002/(SICI)1097-0258(19980430)17:8<891::AID-SIM780>3.0.CO;2-B.
    """
    lost, won = right_to_wrong, wrong_to_right
    if rows <= 0 or min(lost, won) < 0 or lost + won > rows * (1 + 1e-12):
        raise ValueError(f"{lost} rows right to wrong and {won} wrong to right of {rows} rows: that cannot be.")
    z, estimate = z_of((1 + confidence) / 2), (won - lost) / rows

    def statistic(difference: float) -> float:
        if difference == estimate:
            return 0.0  # with no discordant row this is 0 / 0
        variance = restricted_variance(lost / rows, won / rows, difference)
        return (estimate - difference) * math.sqrt(rows) / math.sqrt(max(variance, 1e-18))

    low = -1.0 if lost == rows else brentq(lambda at: statistic(at) - z, -1.0, estimate, xtol=1e-14)
    high = 1.0 if won == rows else brentq(lambda at: statistic(at) + z, estimate, 1.0, xtol=1e-14)
    return Interval(float(low), float(high), estimate)


def restricted_variance(lost: float, won: float, difference: float) -> float:
    """The variance of one row's difference (-1, 0 or 1), at the likeliest shares whose difference is `difference`.

    `lost` and `won` are the shares found. The likelihood's only root in range, from Tango 1998, section 3.
    """
    b = (2 - won + lost) * difference - won - lost
    c = -lost * difference * (1 - difference)
    root = math.sqrt(max(b * b - 8 * c, 0.0))
    # The usual form loses all digits where b is large and positive.
    share_lost = -2 * c / (b + root) if b > 0 else (root - b) / 4
    return 2 * share_lost + difference * (1 - difference)


def rows_needed(discordant_share: float, *, margin: float, confidence: float, power: float = 0.8) -> int:
    """Rows with which `score_interval` shows, one-sided, that an equal model loses less than `margin`.

    For a model that is as good and differs in `discordant_share` of the rows; it succeeds in a share `power` of
    test sets. Never less than it takes where no answer differs.
    Raises ValueError for shares out of range.
    Source: Nam 1997, doi:10.2307/2533508.
    """
    if not (0 <= discordant_share <= 1 and 0 < margin < 1 and 0.5 < confidence < 1 and 0 < power < 1):
        found = f"{discordant_share=}, {margin=}, {confidence=}, {power=}"
        raise ValueError(f"{found}. Allowed: 0 to 1, and confidence more than 0.5.")
    half = discordant_share / 2
    at_margin = z_of(confidence) * math.sqrt(restricted_variance(half, half, -margin))
    at_zero = max(z_of(power), 0.0) * math.sqrt(discordant_share)
    return math.floor(((at_margin + at_zero) / margin) ** 2) + 1  # the bound must be inside, not on the margin


def z_of(quantile: float) -> float:
    """The standard normal distribution's quantile."""
    return float(norm.ppf(quantile))


def independent_difference(before: Interval, after: Interval) -> Interval:
    """Interval of after - before, from two independent sets of rows.

    Source: Zou and Donner 2008, doi:10.1002/sim.3095.
    """
    estimate = after.estimate - before.estimate
    low = estimate - math.hypot(after.estimate - after.low, before.high - before.estimate)
    return Interval(low, estimate + math.hypot(after.high - after.estimate, before.estimate - before.low), estimate)
