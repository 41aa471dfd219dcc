"""Comparison of two models on the same N test rows: which is better, by how much, and how certain that is.

Rows are compared in pairs, because two models share most of their mistakes: pairs are far more informative than two
separate intervals. Works on arrays alone; labels may be texts or numbers.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from scipy.sparse import csr_array
from scipy.stats import binomtest

from stages.core.params.values import Measure
from stages.measures.bands import Band, bands_of, by_bands, together
from stages.measures.score import Interval

CHUNK = 4_000_000  # counts drawn at once, 8 bytes each


def mcnemar(
    right_to_wrong: int, wrong_to_right: int, *, alternative: Literal["different", "worse"] = "different"
) -> float:
    """The p-value of a split this uneven of the rows that only one model has right, if both were equally good.

    Exact; 1.0 where there are no such rows. `worse` is one-sided: more rows right to wrong than chance would give.
    Source: McNemar 1947, doi:10.1007/BF02295996.
    """
    discordant = right_to_wrong + wrong_to_right
    if discordant == 0:
        return 1.0
    sides = {"different": "two-sided", "worse": "greater"}
    return float(binomtest(right_to_wrong, discordant, alternative=sides[alternative]).pvalue)


def measured(labels: np.ndarray, predicted: np.ndarray, *, measure: Measure) -> float:
    """The measure of one model on all rows, in [0, 1]; labels and answers are (N,).

    Macro-F1 is the mean over the labels that are true of a row or given to one, as metrics/quality has it.
    Raises ValueError where the lengths differ, and where there are no rows.
    """
    cells = _cells(labels, predicted)
    return float(_scores(cells, cells.counts_K[None], measure)[0, 0])


def bootstrap(
    labels: np.ndarray, predicted: np.ndarray, *, measure: Measure, confidence: float, resamples: int, seed: int
) -> Interval:
    """Percentile interval of one model's measure; labels and answers are (N,).

    Macro-F1 keeps the labels of the full data in every resample; one that a resample has no row of counts as zero.
    Raises ValueError where the lengths differ, and where there are no rows.
    Source: Efron and Tibshirani 1993, chapter 13.
    """
    estimate_M, scores_RM = _resampled(_cells(labels, predicted), measure, resamples, seed)
    return _percentiles(estimate_M[0], scores_RM[:, 0], confidence)


def bootstrap_difference(
    labels: np.ndarray,
    before: np.ndarray,
    after: np.ndarray,
    *,
    measure: Measure,
    confidence: float,
    resamples: int,
    seed: int,
) -> Interval:
    """Percentile interval of measure(after) - measure(before), rows drawn in pairs; all are (N,). See `bootstrap`.

    Each model has its own labels in macro-F1: the true ones, and those that it gives itself.
    """
    estimate_M, scores_RM = _resampled(_cells(labels, before, after), measure, resamples, seed)
    return _percentiles(estimate_M[1] - estimate_M[0], scores_RM[:, 1] - scores_RM[:, 0], confidence)


def interval(
    labels: np.ndarray, predicted: np.ndarray, *, measure: Measure, confidence: float, resamples: int, seed: int
) -> Interval:
    """Interval of one model's measure that holds for few rows too; labels and answers are (N,).

    Accuracy has Wilson's. Macro-F1 has the bootstrap's, but never a narrower one, to either side, than the mean over
    the labels of the share of their rows that are right: of few rows, or of rows all answered rightly, a bootstrap
    knows too little. See `by_bands`.
    Source: Wilson 1927, doi:10.1080/01621459.1927.10502953.
    """
    right_N = np.asarray(labels) == np.asarray(predicted)

    def wilson(rows_N: np.ndarray) -> Interval:
        right, rows = int(right_N[rows_N].sum()), int(rows_N.sum())
        ends = binomtest(right, rows).proportion_ci(confidence, method="wilson")
        return Interval(float(ends.low), float(ends.high), right / rows)

    if measure == "accuracy":
        return wilson(np.ones(len(right_N), dtype=bool))
    drawn = bootstrap(labels, predicted, measure=measure, confidence=confidence, resamples=resamples, seed=seed)
    return _widened(drawn, by_bands(labels, wilson), least=0.0)


def difference_interval(
    labels: np.ndarray,
    before: np.ndarray,
    after: np.ndarray,
    *,
    measure: Measure,
    confidence: float,
    resamples: int,
    seed: int,
) -> Interval:
    """Interval of measure(after) - measure(before), rows in pairs, that holds for few rows too; all are (N,).

    Accuracy has `score_interval`. Macro-F1 has the bootstrap's, but never a narrower one, to either side, than the mean
    over the labels of what each lost or won (`by_bands`): a label of one or two rows counts as much as any other, and
    a bootstrap that only ever draws those rows takes what they do for certain.
    """
    if measure == "accuracy":
        return Band.of(labels, before, after).interval(confidence)
    drawn = bootstrap_difference(
        labels, before, after, measure=measure, confidence=confidence, resamples=resamples, seed=seed
    )
    parts = [(band.weight, band.interval(confidence)) for band in bands_of(labels, before, after)]
    return _widened(drawn, together(parts), least=-1.0)


def _widened(drawn: Interval, other: Interval, *, least: float) -> Interval:
    below, above = other.estimate - other.low, other.high - other.estimate
    low, high = min(drawn.low, drawn.estimate - below), max(drawn.high, drawn.estimate + above)
    return Interval(max(low, least), min(high, 1.0), drawn.estimate)


class _Cells(NamedTuple):
    """The K distinct combinations of true label and answers, with their counts; C labels, M models."""

    labels_K: np.ndarray
    answers_MK: np.ndarray
    counts_K: np.ndarray
    names: int  # C


def _cells(labels: np.ndarray, *predictions: np.ndarray) -> _Cells:
    columns = [np.asarray(column) for column in (labels, *predictions)]
    rows = len(columns[0])
    if not rows or any(column.shape != (rows,) for column in columns):
        found = ", ".join(str(column.shape) for column in columns)
        raise ValueError(f"labels and answers have the shapes {found}: they need one length, 1 or more.")
    names, codes = np.unique(np.concatenate(columns), return_inverse=True)
    shape = (len(names),) * len(columns)
    cells_K, counts_K = np.unique(
        np.ravel_multi_index(tuple(codes.reshape(len(columns), rows)), shape), return_counts=True
    )
    labels_K, *answers_MK = np.unravel_index(cells_K, shape)
    return _Cells(labels_K, np.stack(answers_MK), counts_K, len(names))


def _resampled(cells: _Cells, measure: Measure, resamples: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The measure of each model on all rows, (M,), and on each resample, (R, M).

    Drawing N rows is drawing how many come from each of the K cells, so the cost does not grow with N.
    """
    draw, rows = np.random.default_rng(seed), int(cells.counts_K.sum())
    shares_K, step = cells.counts_K / rows, max(1, CHUNK // len(cells.counts_K))
    parts = [
        _scores(cells, draw.multinomial(rows, shares_K, size=min(step, resamples - start)), measure)
        for start in range(0, resamples, step)
    ]
    return _scores(cells, cells.counts_K[None], measure)[0], np.concatenate(parts)


def _scores(cells: _Cells, counts_RK: np.ndarray, measure: Measure) -> np.ndarray:
    """(R, M): the measure of each model for each of R sets of cell counts."""
    score = {"accuracy": _accuracy, "macro_f1": _macro_f1}[measure]
    return np.column_stack([score(cells, answers_K, counts_RK) for answers_K in cells.answers_MK])


def _accuracy(cells: _Cells, answers_K: np.ndarray, counts_RK: np.ndarray) -> np.ndarray:
    return counts_RK @ (answers_K == cells.labels_K) / counts_RK.sum(1)


def _macro_f1(cells: _Cells, answers_K: np.ndarray, counts_RK: np.ndarray) -> np.ndarray:
    """2 * hits / (rows that have the label + rows that are given it), a mean over the labels of the full data."""
    right_K, counts_KR = answers_K == cells.labels_K, counts_RK.T
    true_CK, given_CK = _one_hot(cells.labels_K, cells.names), _one_hot(answers_K, cells.names)
    hits_CR = _one_hot(cells.labels_K, cells.names, right_K) @ counts_KR
    either_CR = (true_CK + given_CK) @ counts_KR
    f1_CR = 2 * hits_CR / np.maximum(either_CR, 1)  # no row: no hit, so zero
    return f1_CR.sum(0) / len(np.union1d(cells.labels_K, answers_K))


def _one_hot(codes_K: np.ndarray, names: int, kept_K: np.ndarray | bool = True) -> csr_array:
    columns = np.flatnonzero(np.broadcast_to(kept_K, codes_K.shape))
    return csr_array((np.ones(len(columns)), (codes_K[columns], columns)), shape=(names, len(codes_K)))


def _percentiles(estimate: float, values_R: np.ndarray, confidence: float) -> Interval:
    low, high = np.quantile(values_R, ((1 - confidence) / 2, (1 + confidence) / 2))
    return Interval(float(low), float(high), float(estimate))
