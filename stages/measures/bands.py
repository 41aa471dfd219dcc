"""Labels with similar numbers of test rows, grouped: the contribution of rare labels to a mean over all labels.

Macro-F1 is such a mean, near enough: a label of one row counts in it as much as one of a hundred.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq

from stages.measures.score import Interval, score_interval, z_of


class Band(NamedTuple):
    """A group of labels with similar numbers of test rows."""

    labels: int
    most: int  # rows of its commonest label
    weight: float  # its share of all labels, so of their mean
    rows: int
    lost: int  # rows right before, wrong after
    won: int

    @classmethod
    def of(cls, labels: np.ndarray, before: np.ndarray, after: np.ndarray, weight: float = 1.0) -> Band:
        counts_C = np.unique(labels, return_counts=True)[1]
        was_right, is_right = before == labels, after == labels
        lost, won = int((was_right & ~is_right).sum()), int((~was_right & is_right).sum())
        return cls(len(counts_C), int(counts_C.max(initial=0)), weight, len(labels), lost, won)

    def interval(self, confidence: float) -> Interval:
        return score_interval(self.lost, self.won, self.rows, confidence=confidence)

    def reach(self, times: float, confidence: float) -> float:
        """How far below zero the interval reaches with `times` as many rows, if no more of them are lost than won."""
        turned = times * (self.lost + self.won) / 2
        return -self.weight * score_interval(turned, turned, times * self.rows, confidence=confidence).low


def bands_of(labels: np.ndarray, before: np.ndarray, after: np.ndarray) -> list[Band]:
    """The losses and wins of each band of labels; bands with the fewest rows a label come first."""
    return [Band.of(labels[at], before[at], after[at], weight) for at, weight in _bands(labels)]


def by_bands(labels: np.ndarray, interval_of: Callable[[np.ndarray], Interval]) -> Interval:
    """Interval of the mean over the labels of a share of their rows; `interval_of` gets the rows of a band, (N,) bool.

    Labels are in one band where their rows are 1, 2 to 3, 4 to 7, 8 to 15, ...: alone, each would have too few rows to
    say anything; all in one, the rare ones would hide behind the common ones.
    """
    return together([(weight, interval_of(at)) for at, weight in _bands(labels)])


def _bands(labels: np.ndarray) -> Iterator[tuple[np.ndarray, float]]:
    """The rows of each band, (N,) bool, and its share of the labels."""
    _, codes_N, counts_C = np.unique(labels, return_inverse=True, return_counts=True)
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

    Of the mean over the labels, where answers turn as often as they did here; it succeeds in a share `power` of test
    sets. `rows_needed` is the same for accuracy.
    """
    turned = [(band.lost + band.won) / band.rows for band in bands]

    def excess(logarithm: float) -> float:
        times = math.exp(logarithm)
        reach = math.hypot(*(band.reach(times, 2 * confidence - 1) for band in bands))
        spread = math.hypot(*(b.weight * math.sqrt(t / (times * b.rows)) for b, t in zip(bands, turned, strict=True)))
        return reach + max(z_of(power), 0.0) * spread - margin

    return math.exp(brentq(excess, -30.0, 30.0, xtol=1e-6))
