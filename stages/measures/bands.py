"""Groups of rows with similar numbers of test rows, put together: what rare groups contribute to a mean over groups.

A mean of each label's own score is near enough to one: a label of one row counts in it as much as one of a hundred.
The groups are called strata here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq

from stages.measures.score import Interval, difference_of_scores, score_interval, z_of


class Band(NamedTuple):
    """Strata with similar numbers of test rows."""

    strata: int
    most: int  # rows of its commonest stratum
    weight: float  # its share of all strata, so of their mean
    rows: float  # as many as they count for: fewer where rows of a unit are alike
    lost: float  # rows right before, wrong after, counted likewise
    won: float

    @classmethod
    def of(
        cls, strata_N: np.ndarray, before_N: np.ndarray, after_N: np.ndarray, units_N: np.ndarray, weight: float = 1.0
    ) -> Band:
        """The band of these rows, of the scores, 0 or 1, before and after."""
        counts_C = np.unique(strata_N, return_counts=True)[1]
        found = difference_of_scores(before_N, after_N, units_N)
        return cls(len(counts_C), int(counts_C.max(initial=0)), weight, found.rows, found.lost, found.won)

    def interval(self, confidence: float) -> Interval:
        return score_interval(self.lost, self.won, self.rows, confidence=confidence)

    def reach(self, times: float, confidence: float) -> float:
        """How far below zero the interval reaches with `times` as many rows, if no more of them are lost than won."""
        turned = times * (self.lost + self.won) / 2
        return -self.weight * score_interval(turned, turned, times * self.rows, confidence=confidence).low


def bands_of(strata_N: np.ndarray, before_N: np.ndarray, after_N: np.ndarray, units_N: np.ndarray) -> list[Band]:
    """The losses and wins of each band of strata; bands with the fewest rows a stratum come first."""
    return [Band.of(strata_N[at], before_N[at], after_N[at], units_N[at], weight) for at, weight in _bands(strata_N)]


def by_bands(strata_N: np.ndarray, interval_of: Callable[[np.ndarray], Interval]) -> Interval:
    """Interval of the mean over the strata of a share of their rows; `interval_of` gets the rows of a band, (N,) bool.

    Strata are in one band where their rows are 1, 2 to 3, 4 to 7, 8 to 15, ...: alone, each would have too few rows to
    say anything; all in one, the rare ones would hide behind the common ones.
    """
    return together([(weight, interval_of(at)) for at, weight in _bands(strata_N)])


def _bands(strata_N: np.ndarray) -> Iterator[tuple[np.ndarray, float]]:
    """The rows of each band, (N,) bool, and its share of the strata."""
    _, codes_N, counts_C = np.unique(strata_N, return_inverse=True, return_counts=True)
    band_C = np.frexp(counts_C)[1]  # the exponent: the same from 2 ** k to 2 ** (k + 1) - 1
    for band in np.unique(band_C):
        yield band_C[codes_N] == band, float((band_C == band).mean())


def together(parts: Sequence[tuple[float, Interval]]) -> Interval:
    """Interval of the weighted sum of figures of independent rows; from the weights and intervals of the parts.

    Source: Zou and Donner 2008, doi:10.1002/sim.3095.
    """
    estimate = sum(weight * part.estimate for weight, part in parts)
    below = math.hypot(*(weight * (part.estimate - part.low) for weight, part in parts))
    above = math.hypot(*(weight * (part.high - part.estimate) for weight, part in parts))
    return Interval(estimate - below, estimate + above, estimate)


def times_needed(bands: Sequence[Band], *, margin: float, confidence: float, power: float = 0.8) -> float:
    """How many times as many rows of the same kinds show, one-sided, that an equal model loses less than `margin`.

    Of the mean over the strata, where answers turn as often as they did here; it succeeds in a share `power` of test
    sets. `rows_needed` is the same for a share of all rows.
    """
    turned = [(band.lost + band.won) / band.rows for band in bands]

    def excess(logarithm: float) -> float:
        times = math.exp(logarithm)
        reach = math.hypot(*(band.reach(times, 2 * confidence - 1) for band in bands))
        spread = math.hypot(*(b.weight * math.sqrt(t / (times * b.rows)) for b, t in zip(bands, turned, strict=True)))
        return reach + max(z_of(power), 0.0) * spread - margin

    return math.exp(brentq(excess, -30.0, 30.0, xtol=1e-6))
