"""May the candidate be released? Compared with the released model on the same test rows, and against fixed limits.

A check says `inconclusive` where the test rows cannot tell: that is no pass. A loss within the margin must be shown.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from flows import timing
from flows.evidence import Check, Decision, Outcome, Results, number
from stages.measures.paired import Interval, difference_interval, mcnemar, measured, rows_needed
from stages.params import Measure, PromotionParams

SEED = 0
RESAMPLES = 2000
SHOWN = {"accuracy": "accuracy", "macro_f1": "macro-F1"}


def decide(candidate: Results, released: Results | None, limits: PromotionParams) -> Decision:
    """`fail` where a check fails, else `inconclusive` where one is, else `pass`. The first release: only limits."""
    checks = (*_against(candidate, released, limits), *_within(candidate, limits))
    outcomes = {check.outcome for check in checks}
    outcome: Outcome = "fail" if "fail" in outcomes else "inconclusive" if "inconclusive" in outcomes else "pass"
    return Decision(outcome, checks)


class Pairs(NamedTuple):
    """The N rows that both models answered."""

    labels: np.ndarray
    before: np.ndarray
    after: np.ndarray
    slices: Mapping[str, np.ndarray]
    all_rows: int  # of the candidate

    @property
    def lost(self) -> np.ndarray:
        return (self.before == self.labels) & (self.after != self.labels)

    @property
    def won(self) -> np.ndarray:
        return (self.before != self.labels) & (self.after == self.labels)


def _against(candidate: Results, released: Results | None, limits: PromotionParams) -> Iterator[Check]:
    if released is None:
        yield Check("quality", "pass", "nothing is released yet; only the limits are checked.")
        return
    pairs = _pairs(candidate, released)
    if isinstance(pairs, str):
        yield Check("quality", "inconclusive", f"{pairs} Evaluate both models on the same test rows.")
        return
    yield _quality(pairs, limits)
    yield _slices(pairs, limits)


def _pairs(candidate: Results, released: Results) -> Pairs | str:
    """The rows in common, or in words why they cannot be compared."""
    rows = len(candidate.row_ids)
    if not rows or not len(released.row_ids):
        return "one of the models has no predictions."
    common, new, old = np.intersect1d(candidate.row_ids, released.row_ids, return_indices=True)
    if not len(common):
        return "the two models have no test row in common."
    labels = candidate.labels[new]
    if relabelled := int((labels != released.labels[old]).sum()):
        return f"{relabelled:,} of {len(common):,} test rows have another true label than before."
    slices = {name: mask[new] for name, mask in candidate.slices.items()}
    return Pairs(labels, released.predicted[old], candidate.predicted[new], slices, rows)


def _quality(pairs: Pairs, limits: PromotionParams) -> Check:
    difference, accuracy = _differences(pairs, limits)
    before, after = (measured(pairs.labels, side, measure=limits.measure) for side in (pairs.before, pairs.after))
    found = f"{SHOWN[limits.measure]} {before:.1%} -> {after:.1%}: {_points(difference.estimate)} points"
    rows = f"{len(pairs.labels):,} rows"
    if len(pairs.labels) < pairs.all_rows:
        rows = f"{rows} of {pairs.all_rows:,}, the others are new"
    ground = f"({100 * limits.confidence:.6g}% confidence, {rows})"
    margin, low = _plain(100 * limits.margin), f"{math.floor(1000 * difference.low) / 10:+.1f}"
    at_least = f"{found}, at least {low} {ground}; a loss of {margin} is accepted."
    if difference.low > -limits.margin:
        return Check("quality", "pass", at_least)
    if difference.high < 0:
        ends = f"between {low} and {math.ceil(1000 * difference.high) / 10:+.1f} points"
        verdict = f"surely worse, and not shown to be within the accepted loss of {margin}."
        return Check("quality", "fail", f"{found}, {ends} {ground}: {verdict}")
    return Check("quality", "inconclusive", f"{at_least} {_what_it_takes(pairs, limits, difference, accuracy)}")


def _differences(pairs: Pairs, limits: PromotionParams) -> tuple[Interval, Interval]:
    """Of the measure and of accuracy, both ends one-sided at `limits.confidence`."""

    def interval(measure: Measure) -> Interval:
        return difference_interval(
            pairs.labels, pairs.before, pairs.after,
            measure=measure, confidence=2 * limits.confidence - 1, resamples=RESAMPLES, seed=SEED,
        )  # fmt: skip

    accuracy = interval("accuracy")
    return (accuracy if limits.measure == "accuracy" else interval(limits.measure)), accuracy


def _what_it_takes(pairs: Pairs, limits: PromotionParams, difference: Interval, accuracy: Interval) -> str:
    """How many rows an equal model would need; scaled up where the measure varies more than accuracy."""
    rows, turned = len(pairs.labels), int((pairs.lost | pairs.won).sum())
    least = rows_needed(turned / rows, margin=limits.margin, confidence=limits.confidence)
    wider = (difference.high - difference.low) / (accuracy.high - accuracy.low)
    needed = math.ceil(least * wider**2)
    if needed <= rows:
        return f"An equal model shows it with {needed:,} rows 8 times in 10, so this one may be a little worse."
    where = f"if {turned / rows:.1%} of the answers turn right or wrong, as here"
    if not turned:
        where = "even if no answer turns right or wrong, as here, and more if some do"
    return f"Too few rows to tell: an equal model shows it with about {needed:,}, {where}."


class Slice(NamedTuple):
    name: str
    rows: int
    before: float
    after: float
    p_worse: float

    @property
    def change(self) -> float:
        return self.after - self.before

    def __str__(self) -> str:
        points = f"{self.before:.1%} -> {self.after:.1%}, {_points(self.change)} points"
        return f"{self.name} ({self.rows:,} rows): accuracy {points}"


def _slices(pairs: Pairs, limits: PromotionParams) -> Check:
    """A slice fails where it lost more than its margin and chance does not explain that it is worse.

    One-sided exact McNemar with Bonferroni's correction, so that many slices do not stop an equal model.
    """
    if not pairs.slices:
        return Check("slices", "pass", "none judged: the test rows have no slices.")
    judged = [_slice(name, pairs, mask) for name, mask in pairs.slices.items() if mask.sum() >= limits.min_slice_rows]
    small = len(pairs.slices) - len(judged)
    count = f"{len(judged)} judged; {small} too small, with fewer than {limits.min_slice_rows} rows."
    if not judged:
        return Check("slices", "pass", count)
    judged.sort(key=lambda part: part.change)
    chance = (1 - limits.confidence) / len(judged)
    failed = [part for part in judged if part.change < -limits.slice_margin and part.p_worse < chance]
    accepted = f"a loss of {_plain(100 * limits.slice_margin)} is accepted"
    if failed:
        return Check("slices", "fail", f"{'; '.join(map(str, failed))}; {accepted}. {count}")
    return Check("slices", "pass", f"no loss beyond chance and margin; lowest: {judged[0]}; {accepted}. {count}")


def _slice(name: str, pairs: Pairs, mask: np.ndarray) -> Slice:
    before, after = (float((side[mask] == pairs.labels[mask]).mean()) for side in (pairs.before, pairs.after))
    p_worse = mcnemar(int(pairs.lost[mask].sum()), int(pairs.won[mask].sum()), alternative="worse")
    return Slice(name, int(mask.sum()), before, after, p_worse)


def _within(candidate: Results, limits: PromotionParams) -> Iterator[Check]:
    """The checks of one model alone; a limit that is null is not checked."""
    quality, profile = candidate.quality, candidate.profile
    if limits.max_ece is not None:
        yield _at_most("calibration", "calibration error", number(quality, "ece"), limits.max_ece, "")
    if limits.max_identity_flip_rate is not None:
        yield _identity(quality, limits.max_identity_flip_rate, limits.min_slice_rows)
    gap = number(quality, "fairness", "groups", "accuracy_gap")
    if limits.max_group_gap is not None and gap is not None:  # without a group column there are no groups
        yield _at_most("groups", "accuracy gap between groups, in points", 100 * gap, 100 * limits.max_group_gap, "")
    if limits.max_latency_p50_ms is not None:
        yield _latency(profile, limits.max_latency_p50_ms)
    if limits.max_size_mb is not None:
        yield _at_most("size", "size of the model folder", number(profile, "size_mb"), limits.max_size_mb, " MB")


def _at_most(name: str, what: str, found: float | None, allowed: float, unit: str) -> Check:
    if found is None:
        return Check(name, "inconclusive", f"{what}: not measured; at most {_plain(allowed)}{unit} is allowed.")
    outcome: Outcome = "fail" if found > allowed else "pass"
    return Check(name, outcome, f"{what}: {found:.6g}{unit}; at most {_plain(allowed)}{unit} is allowed.")


def _latency(profile: Mapping[str, Any], allowed: float) -> Check:
    found = timing.spread(profile, "latency_p50_ms")
    check = _at_most("latency", "median latency of one row", found.value if found else None, allowed, " ms")
    if found is None:
        return check
    outcome, noise = timing.within(found, allowed)
    return Check(check.name, outcome, f"{check.reason}{noise}")


def _identity(quality: Mapping[str, Any], allowed: float, min_rows: int) -> Check:
    rows = number(quality, "fairness", "identity_swaps", "rows")
    rate = number(quality, "fairness", "identity_swaps", "flip_rate")
    what = "identity terms"
    at_most = f"at most {_plain(100 * allowed)}% is allowed"
    if rows is None:
        return Check(what, "inconclusive", f"answers with identity words swapped: not measured; {at_most}.")
    if rate is None:
        return Check(what, "pass", "no row has such words.")
    found = f"{100 * rate:.4g}% of {rows:,.0f} rows get another answer when their identity words are swapped; {at_most}"
    if rate <= allowed:
        return Check(what, "pass", f"{found}.")
    if rows < min_rows:
        return Check(what, "inconclusive", f"{found}, but fewer than {min_rows} rows have such words.")
    return Check(what, "fail", f"{found}.")


def _points(share: float) -> str:
    return f"{round(100 * share, 1) + 0.0:+.1f}"  # never -0.0


def _plain(value: float) -> str:
    """One decimal, and more only where the number has them: 2.0, 0.25."""
    return f"{value:.1f}" if math.isclose(value, round(value, 1)) else f"{value:.6g}"
