"""Comparison of two models on the same N test rows: which is better, by how much, and how certain that is.

Rows are compared in pairs, because two models share most of their mistakes: pairs are far more informative than two
separate intervals. A measure is a function of the sums of what each row adds, so a resample of units has its own:

    rows  counts (N, S)  ── added up ──>  units (U, S)  ── drawn U times ──>  sums (R, S)  ── value ──>  (R,)
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from scipy.sparse import csr_array, hstack
from scipy.stats import binomtest, t

from stages.measures.bands import bands_of, by_bands, together
from stages.measures.counted import Counted
from stages.measures.score import Interval, difference_of_scores, score_interval, wilson

if TYPE_CHECKING:
    from stages.tasks.contract import Measure

CHUNK = 4_000_000  # counts drawn at once, 8 bytes each
EXACT_FLIPS = 12  # units whose score differs, up to which every way to flip their signs is tried: 4,096
FLIPS = 9_999  # ways that are tried where there are more
Alternative = Literal["different", "worse"]


def sign_test(worse: int, better: int, *, alternative: Alternative = "different") -> float:
    """The p-value of a split this uneven of the units that turned, if both models were equally good.

    Exact; 1.0 where none turned. `worse` is one-sided: more units worse than chance would give. Of rows that are right
    or wrong it is McNemar's exact test. Source: McNemar 1947, doi:10.1007/BF02295996.
    """
    turned = worse + better
    if turned == 0:
        return 1.0
    sides = {"different": "two-sided", "worse": "greater"}
    return float(binomtest(worse, turned, alternative=sides[alternative]).pvalue)


class Turned(NamedTuple):
    """The rows whose score fell or rose, and how likely so uneven a change is if both models are equally good."""

    worse: int
    better: int
    p_value: float


def turned(
    before_N: np.ndarray, after_N: np.ndarray, units_N: np.ndarray, *, alternative: Alternative = "different"
) -> Turned:
    """The rows whose score changed. The test is of units: of each, the sum of its rows' changes.

    Scores that are 0 or 1 have the exact sign test, those in between a sign-flip permutation test.
    """
    change_N = after_N - before_N
    change_U = np.bincount(units_N, weights=change_N)
    change_U = change_U[change_U != 0]
    if np.isin(before_N, (0, 1)).all() and np.isin(after_N, (0, 1)).all():
        p_value = sign_test(int((change_U < 0).sum()), int((change_U > 0).sum()), alternative=alternative)
    else:
        p_value = permutation_test(change_U, alternative=alternative)
    return Turned(int((change_N < 0).sum()), int((change_N > 0).sum()), p_value)


def permutation_test(change_U: np.ndarray, *, alternative: Alternative = "different") -> float:
    """The p-value of a sum of changes this far from 0, if each could as well have had the other sign.

    Exact for few units, else of random signs, always the same ones; 1.0 where there are no changes.
    Source: Good 2005, Permutation, Parametric and Bootstrap Tests of Hypotheses, chapter 3.
    """
    units = len(change_U)
    if units == 0:
        return 1.0
    is_exact = units <= EXACT_FLIPS
    if is_exact:
        signs_FU = 1 - 2 * (np.arange(2**units)[:, None] >> np.arange(units) & 1)
        sums_F = signs_FU @ change_U
    else:
        draw, step = np.random.default_rng(0), max(1, CHUNK // units)
        parts = [min(step, FLIPS - start) for start in range(0, FLIPS, step)]
        sums_F = np.concatenate([draw.choice((-1.0, 1.0), size=(size, units)) @ change_U for size in parts])
    found, slack = change_U.sum(), 1e-9 * np.abs(change_U).sum()  # sums in another order differ by rounding
    as_far = sums_F <= found + slack if alternative == "worse" else np.abs(sums_F) >= abs(found) - slack
    return float(as_far.mean()) if is_exact else float((as_far.sum() + 1) / (len(sums_F) + 1))


def measured(rows: Counted, measure: Measure) -> float:
    """The measure of one model on all rows."""
    return float(measure.value(np.asarray(rows.counts.sum(axis=0)).reshape(1, -1))[0])


def bootstrap(rows: Counted, measure: Measure, *, confidence: float, resamples: int, seed: int) -> Interval:
    """Percentile interval of one model's measure; units are drawn.

    Source: Efron and Tibshirani 1993, chapter 13; of units, Davison and Hinkley 1997, section 3.8.
    """
    (values_R,) = _resampled((rows,), measure, resamples, seed)
    return _percentiles(measured(rows, measure), values_R, confidence)


def bootstrap_difference(
    before: Counted, after: Counted, measure: Measure, *, confidence: float, resamples: int, seed: int
) -> Interval:
    """Percentile interval of measure(after) - measure(before); units are drawn for both at once. See `bootstrap`."""
    before_R, after_R = _resampled((before, after), measure, resamples, seed)
    return _percentiles(measured(after, measure) - measured(before, measure), after_R - before_R, confidence)


def interval(rows: Counted, measure: Measure, *, confidence: float, resamples: int, seed: int) -> Interval:
    """Interval of one model's measure that holds for few rows too.

    A binary measure has Wilson's. Another has the bootstrap's, but of few rows, or of rows all answered rightly, a
    bootstrap knows too little. So where the measure is near to a mean over strata, the interval is never narrower, to
    either side, than that mean of the share of right rows (`by_bands`); elsewhere than what so few units leave open
    (`_left_open`).
    """

    def of_rows(at_N: np.ndarray) -> Interval:
        part = rows.of(at_N)
        return wilson(part.scores_N, part.units_N, confidence)

    if measure.binary:
        return wilson(rows.scores_N, rows.units_N, confidence)
    drawn = bootstrap(rows, measure, confidence=confidence, resamples=resamples, seed=seed)
    if rows.strata_N is None:
        whole = _left_open(drawn, rows.units_N, confidence, _extent(measure, drawn.estimate))
    else:
        whole = by_bands(rows.strata_N, of_rows)
    return _widened(drawn, whole, measure.least, measure.most)


def difference_interval(
    before: Counted, after: Counted, measure: Measure, *, confidence: float, resamples: int, seed: int
) -> Interval:
    """Interval of measure(after) - measure(before), rows in pairs, that holds for few rows too.

    A binary measure has `score_interval`. Another has the bootstrap's; where it is near to a mean over strata, never a
    narrower one, to either side, than that mean of what each lost or won: a label of one or two rows counts as much as
    any other, and a bootstrap that only ever draws those rows takes what they do for certain. See `interval`.
    """
    if measure.binary:
        found = difference_of_scores(before.scores_N, after.scores_N, before.units_N, confidence)
        return score_interval(found.lost, found.won, found.rows, confidence=confidence)
    drawn = bootstrap_difference(before, after, measure, confidence=confidence, resamples=resamples, seed=seed)
    if before.strata_N is None:
        extent = _extent(measure, measured(before, measure), measured(after, measure))
        whole = _left_open(drawn, before.units_N, confidence, extent)
    else:
        bands = bands_of(before.strata_N, before.scores_N, after.scores_N, before.units_N)
        whole = together([(band.weight, band.interval(confidence)) for band in bands])
    widest = measure.most - measure.least
    return _widened(drawn, whole, -widest, widest)


def mean_difference_interval(
    before_N: np.ndarray, after_N: np.ndarray, units_N: np.ndarray, *, confidence: float
) -> Interval | None:
    """Student's interval of the mean of the rows' own numbers, such as losses, after - before; None of one unit."""
    change_N, units = after_N - before_N, int(units_N.max()) + 1
    if units < 2:
        return None
    mean = float(change_N.mean())
    apart_U = np.bincount(units_N, weights=change_N - mean)
    error = float(np.sqrt(np.square(apart_U).sum() * units / (units - 1))) / len(change_N)
    half = float(t.ppf((1 + confidence) / 2, units - 1)) * error
    return Interval(mean - half, mean + half, mean)


def _extent(measure: Measure, *values: float) -> float:
    """How much of the measure a share of 1 is: 1, or where it has no upper bound, as an error has none, its value.

    So an interval of errors in metres is that of the same errors in kilometres; where all errors are 0, it is 0.
    """
    return 1.0 if math.isfinite(measure.most) else max(map(abs, values))


def _left_open(drawn: Interval, units_N: np.ndarray, confidence: float, extent: float) -> Interval:
    """The same estimate, as far to either side as a share may be of which none of so many units has turned."""
    reach = extent * score_interval(0, 0, int(units_N.max()) + 1, confidence=confidence).high
    return Interval(drawn.estimate - reach, drawn.estimate + reach, drawn.estimate)


def _widened(drawn: Interval, other: Interval, least: float, most: float) -> Interval:
    """No narrower to either side than the other, and between `least` and `most`."""
    below, above = other.estimate - other.low, other.high - other.estimate
    low, high = min(drawn.low, drawn.estimate - below), max(drawn.high, drawn.estimate + above)
    return Interval(max(low, least), min(high, most), drawn.estimate)


def _resampled(models: tuple[Counted, ...], measure: Measure, resamples: int, seed: int) -> list[np.ndarray]:
    """(R,): the measure of each model on each resample of units.

    Units that add the same are one cell. Drawing U units is drawing how many come from each of the K cells, so the cost
    does not grow with U.
    """
    cells, counts_K = _cells(models)
    units, widest = int(counts_K.sum()), max(one.shape[1] for one in cells)
    draw, step = np.random.default_rng(seed), max(1, CHUNK // max(len(counts_K), widest))
    found: list[list[np.ndarray]] = [[] for _ in models]
    for start in range(0, resamples, step):
        drawn_RK = draw.multinomial(units, counts_K / units, size=min(step, resamples - start)).astype(np.float64)
        for values, added_KS in zip(found, cells, strict=True):
            values.append(measure.value((added_KS.T @ drawn_RK.T).T))
    return [np.concatenate(values) for values in found]


def _cells(models: tuple[Counted, ...]) -> tuple[list[csr_array], np.ndarray]:
    """For each model what a unit of each cell adds, (K, S); and the units of each cell, (K,)."""
    units_N = models[0].units_N
    rows, units = len(units_N), int(units_N.max()) + 1
    adding = csr_array((np.ones(rows), (units_N, np.arange(rows))), shape=(units, rows))
    added = [csr_array(adding @ one.counts) for one in models]
    whole = csr_array(hstack(added))
    # Two random sums of a unit's counts stand for all of them: those of others are never the same in both.
    marks_U2 = whole @ np.random.default_rng(0).standard_normal((whole.shape[1], 2))
    _, first_K, counts_K = np.unique(marks_U2, axis=0, return_index=True, return_counts=True)
    return [csr_array(one[first_K]) for one in added], counts_K


def _percentiles(estimate: float, values_R: np.ndarray, confidence: float) -> Interval:
    low, high = np.quantile(values_R, ((1 - confidence) / 2, (1 + confidence) / 2))
    return Interval(float(low), float(high), float(estimate))
