"""The accuracy of two models on the same rows, from the counts alone; valid for few rows.

It has the interval of their difference, and the number of rows that is needed.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from scipy.optimize import brentq
from scipy.stats import norm


class Interval(NamedTuple):
    """Fractions, not percent; two-sided."""

    low: float
    high: float
    estimate: float


def score_interval(right_to_wrong: float, wrong_to_right: float, rows: float, *, confidence: float) -> Interval:
    """Interval of accuracy after - before, which holds for few rows and where no answer differs.

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
    """Rows with which `score_interval` shows, one-sided, that an equal model loses less than `margin` of accuracy.

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
