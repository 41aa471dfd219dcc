"""Thresholds of labels, fitted to validation rows: how likely a label must be so that it is given.

F1 is rarely best at a half, and of each label at another place. But of a label with few rows nothing shows where, and
the best place on some rows is a worse one on others. So a label is counted together with rows of an average label:

    own counts + strength x those of an average label ── best place ──> the label's threshold

The larger the strength, the nearer to one threshold for all labels. Cross-validation chooses it, and whether any is
better than a half. N rows, C labels, G places.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from stages.tasks.shared.probabilities import sigmoid

DIGITS = 6
PLACES = np.round(sigmoid(np.arange(-6, 6.0625, 0.125)), DIGITS)
"""(G,) The thresholds that are tried, even in log odds, with a half in the middle."""
HALF = len(PLACES) // 2
FOLDS = 5
FEWEST = 5  # rows that have a label; one with fewer keeps the common threshold
STRENGTHS = (math.inf, 300.0, 100.0, 30.0, 10.0, 3.0, 1.0)
"""Rows with an average label that are counted to each label's own; infinite: all labels have the common threshold."""
ROUNDING = 1e-9  # values that differ by no more are equal

Score = Callable[[np.ndarray], float]
"""score(given_NC): the measure of such answers to these rows; higher is better."""


class Counts(NamedTuple):
    """What follows of each label from each place, over some rows."""

    found_CG: np.ndarray
    """The rows that have the label and are given it."""
    given_CG: np.ndarray
    true_C: np.ndarray
    """The rows that have it."""


def counted(holds_NC: np.ndarray, values_NC: np.ndarray) -> Counts:
    """The counts of these rows; a label is given where its probability is above the place."""
    labels, ends = values_NC.shape[1], len(PLACES) + 1
    # The number of places under a probability: from that many on, counted from below, the label is given.
    under_NC = np.searchsorted(PLACES, values_NC, side="left") + ends * np.arange(labels)

    def at_least(under: np.ndarray) -> np.ndarray:
        by_number = np.bincount(under, minlength=labels * ends).reshape(labels, ends)
        return by_number[:, ::-1].cumsum(1)[:, ::-1][:, 1:].astype(np.float64)

    return Counts(at_least(under_NC[holds_NC]), at_least(under_NC.ravel()), holds_NC.sum(0).astype(np.float64))


def places(counts: Counts, strength: float, *, each_counts_the_same: bool) -> np.ndarray:
    """(C,) the place of each label's threshold, a number of PLACES.

    `each_counts_the_same`: what is to be best is the mean over the labels of their F1; else the F1 of all together, to
    which a label adds the most where 2 found - F1 x given is largest.
    """
    found_G, given_G = _average(counts, each_counts_the_same=each_counts_the_same)
    f1_G = _f1(*counts).mean(0) if each_counts_the_same else 2 * found_G / (given_G + 1)
    common = int(_best(f1_G[None], HALF)[0])
    if math.isinf(strength):
        return np.full(len(counts.true_C), common)
    found_CG, given_CG = counts.found_CG + strength * found_G, counts.given_CG + strength * given_G
    true_C = counts.true_C + strength
    value_CG = (
        _f1(found_CG, given_CG, true_C) if each_counts_the_same
        else (2 * found_CG - f1_G[common] * given_CG) / true_C[:, None]
    )  # fmt: skip
    return np.where(counts.true_C < FEWEST, common, _best(value_CG, common))


def _average(counts: Counts, *, each_counts_the_same: bool) -> tuple[np.ndarray, np.ndarray]:
    """(G,) each: found and given, for each row that has an average label."""
    found_CG, given_CG, true_C = counts
    if not each_counts_the_same:
        positives = max(true_C.sum(), 1.0)
        return found_CG.sum(0) / positives, given_CG.sum(0) / positives
    weights_C1 = (true_C > 0)[:, None] / np.maximum(true_C, 1.0)[:, None] / max(float((true_C > 0).sum()), 1.0)
    return (found_CG * weights_C1).sum(0), (given_CG * weights_C1).sum(0)


def _f1(found_CG: np.ndarray, given_CG: np.ndarray, true_C: np.ndarray) -> np.ndarray:
    """(C, G): 0 where nothing is true and nothing given."""
    return 2 * found_CG / np.maximum(given_CG + true_C[:, None], 1.0)


def _best(value_CG: np.ndarray, nearest: int) -> np.ndarray:
    """(C,): the place with the largest value; of equal ones that nearest to `nearest`."""
    away_G = np.abs(np.arange(value_CG.shape[1]) - nearest)
    is_best_CG = value_CG >= value_CG.max(1, keepdims=True) - ROUNDING
    return np.where(is_best_CG, away_G, value_CG.shape[1]).argmin(1)


def fitted(holds_NC: np.ndarray, values_NC: np.ndarray, score: Score, *, each_counts_the_same: bool) -> np.ndarray:
    """(C,): the threshold of each label, above which its probability is to be.

    The rows of each fold are answered by thresholds of the others; chosen is the strength whose answers have the best
    score. Of equal ones it is the largest, and a half for all labels goes before any.
    """
    fold_N = np.arange(len(values_NC)) % FOLDS
    each = [counted(holds_NC[fold_N == fold], values_NC[fold_N == fold]) for fold in range(FOLDS)]
    whole = Counts(*(np.sum(part, axis=0) for part in zip(*each, strict=True)))
    rest = [Counts(*(all_ - own for all_, own in zip(whole, one, strict=True))) for one in each]
    best, chosen = score(values_NC > PLACES[HALF]), None
    for strength in STRENGTHS:
        of_folds = np.array([places(one, strength, each_counts_the_same=each_counts_the_same) for one in rest])
        if (found := score(values_NC > PLACES[of_folds[fold_N]])) > best + ROUNDING:
            best, chosen = found, strength
    if chosen is None:
        return np.full(values_NC.shape[1], PLACES[HALF])
    return PLACES[places(whole, chosen, each_counts_the_same=each_counts_the_same)]
