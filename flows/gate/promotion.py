"""The decision on a release: the candidate against the released model on the same test rows, and against fixed limits.

A check is `inconclusive`, which is no pass, where there are too few test rows to tell. A loss must be shown to be
within the margin.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from flows.gate.limits import within
from flows.gate.same_rows import SHOWN, Pairs, pairs_of, plain, points
from flows.gate.slice_losses import slices
from flows.review.evidence import Anchor, Check, Decision, Outcome, Results, number
from stages.core.params.promotion import PromotionParams
from stages.measures.bands import Band, bands_of, times_needed, together
from stages.measures.paired import difference_interval, measured
from stages.measures.score import Interval, independent_difference, rows_needed

SEED = 0
RESAMPLES = 2000
ENOUGH = 0.5  # of the candidate's rows that the anchor must have answered for a comparison in pairs


def decide(
    candidate: Results, released: Results | None, limits: PromotionParams, anchor: Anchor | None = None
) -> Decision:
    """The decision: `fail` where a check fails, else `inconclusive` where one is, else `pass`.

    For the first release there are only the limits.
    """
    checks = (
        *_against(candidate, released, limits),
        *([_against_anchor(candidate, anchor, limits)] if anchor else []),
        *within(candidate, limits),
    )
    outcomes = {check.outcome for check in checks}
    outcome: Outcome = "fail" if "fail" in outcomes else "inconclusive" if "inconclusive" in outcomes else "pass"
    return Decision(outcome, checks)


def _against(candidate: Results, released: Results | None, limits: PromotionParams) -> Iterator[Check]:
    if released is None:
        yield Check("quality", "pass", "nothing is released yet; only the limits are checked.")
        return
    pairs = pairs_of(candidate, released)
    if isinstance(pairs, str):
        yield Check("quality", "inconclusive", f"{pairs} Evaluate both models on the same test rows.")
        return
    yield _of_same_rows("quality", pairs, limits, limits.margin)
    yield slices(pairs, limits)


def _against_anchor(candidate: Results, anchor: Anchor, limits: PromotionParams) -> Check:
    """The check against the anchor: in pairs if it answered most of the candidate's rows, else each on its own rows."""
    if anchor.results is None:
        return Check("anchor", "inconclusive", anchor.unknown)
    pairs = pairs_of(candidate, anchor.results)
    if isinstance(pairs, str):
        check = _of_other_rows(candidate, anchor.results, limits, pairs.removesuffix("."))
    elif len(pairs.labels) < ENOUGH * pairs.all_rows:
        check = _of_other_rows(candidate, anchor.results, limits, "few test rows are the same")
    else:
        check = _of_same_rows("anchor", pairs, limits, limits.anchor_margin)
    return Check("anchor", check.outcome, f"since {anchor.version}, {check.reason}")


def _of_same_rows(name: str, pairs: Pairs, limits: PromotionParams, margin: float) -> Check:
    difference = _difference(pairs, limits)
    before, after = (measured(pairs.labels, side, measure=limits.measure) for side in (pairs.before, pairs.after))
    rows = f"{len(pairs.labels):,} rows"
    if len(pairs.labels) < pairs.all_rows:
        rows = f"{rows} of {pairs.all_rows:,}, the others are new"
    ground = f"({100 * limits.confidence:.6g}% confidence, {rows})"
    check = _judged(name, _change(before, after, limits), difference, ground, margin)
    if check.outcome == "inconclusive":
        return Check(name, check.outcome, f"{check.reason} {_what_it_takes(pairs, limits, difference, margin)}")
    return check


def _change(before: float, after: float, limits: PromotionParams) -> str:
    return f"{SHOWN[limits.measure]} {before:.1%} -> {after:.1%}: {points(after - before)} points"


def _judged(name: str, found: str, difference: Interval, ground: str, margin: float) -> Check:
    """The check of a loss: `pass` where it is shown to be within the margin, else `fail` where it is certain.

    It is `inconclusive` otherwise.
    """
    accepted, low = plain(100 * margin), f"{math.floor(1000 * difference.low) / 10:+.1f}"
    at_least = f"{found}, at least {low} {ground}; a loss of {accepted} is accepted."
    if difference.low > -margin:
        return Check(name, "pass", at_least)
    if difference.high < 0:
        ends = f"between {low} and {math.ceil(1000 * difference.high) / 10:+.1f} points"
        verdict = f"surely worse, and not shown to be within the accepted loss of {accepted}."
        return Check(name, "fail", f"{found}, {ends} {ground}: {verdict}")
    return Check(name, "inconclusive", at_least)


def _of_other_rows(candidate: Results, anchor: Results, limits: PromotionParams, why: str) -> Check:
    """The check of a measure, each model on its own rows: by its interval, or, where a model has none, by the values.

    `why` states the obstacle to a comparison in pairs, in words.
    """
    before, after = (number(results.quality, limits.measure) for results in (anchor, candidate))
    if before is None or after is None:
        whose = "that release" if before is None else "the candidate"
        return Check("anchor", "inconclusive", f"{SHOWN[limits.measure]} of {whose} is not known. {LATER}")
    found, margin = _change(before, after, limits), limits.anchor_margin
    ends = [_own_interval(results, limits) for results in (anchor, candidate)]
    if ends[0] is not None and ends[1] is not None:
        difference = independent_difference(ends[0], ends[1])
        check = _judged("anchor", found, difference, f"(by the interval of each: {why})", margin)
        more = f" Too few rows to tell. {LATER}" if check.outcome == "inconclusive" else ""
        return Check("anchor", check.outcome, check.reason + more)
    outcome: Outcome = "pass" if after - before > -margin else "fail"
    ground = f"by the two numbers alone: {why}, and no interval is known"
    return Check("anchor", outcome, f"{found} ({ground}); a loss of {plain(100 * margin)} is accepted.")


LATER = "Name a later release in params.yaml, promotion.anchor, or null."


def _own_interval(results: Results, limits: PromotionParams) -> Interval | None:
    """The interval that `evaluate` wrote: two-sided, at evaluate.confidence."""
    low, high = (number(results.quality, "intervals", limits.measure, end) for end in ("low", "high"))
    estimate = number(results.quality, limits.measure)
    return None if low is None or high is None or estimate is None else Interval(low, high, estimate)


def _difference(pairs: Pairs, limits: PromotionParams) -> Interval:
    """Interval of the difference of the measure; both ends are one-sided at `limits.confidence`."""
    return difference_interval(
        pairs.labels, pairs.before, pairs.after,
        measure=limits.measure, confidence=2 * limits.confidence - 1, resamples=RESAMPLES, seed=SEED,
    )  # fmt: skip


def _what_it_takes(pairs: Pairs, limits: PromotionParams, difference: Interval, margin: float) -> str:
    """A sentence on how many rows an equal model would need to pass.

    The number is scaled up where the measure varies more than the shares of its labels.
    """
    rows, turned = len(pairs.labels), int((pairs.lost | pairs.won).sum())
    if limits.measure == "accuracy":
        bands, needed = [], rows_needed(turned / rows, margin=margin, confidence=limits.confidence)
    else:
        bands = bands_of(pairs.labels, pairs.before, pairs.after)
        shares = together([(band.weight, band.interval(2 * limits.confidence - 1)) for band in bands])
        wider = max(1.0, (difference.high - difference.low) / (shares.high - shares.low))
        needed = math.ceil(rows * times_needed(bands, margin=margin / wider, confidence=limits.confidence))
    if needed <= rows:
        return f"An equal model shows it with {needed:,} rows 8 times in 10, so this one may be a little worse."
    where = f"if {turned / rows:.1%} of the answers turn right or wrong, as here"
    if not turned:
        where = "even if no answer turns right or wrong, as here, and more if some do"
    told = f"Too few rows to tell: an equal model shows it with about {needed:,}, {where}."
    return f"{told}{_rare_labels(bands, limits)}"


def _rare_labels(bands: list[Band], limits: PromotionParams) -> str:
    """A sentence on labels with too few rows, where most of the uncertainty comes from them."""
    if not bands:
        return ""
    widest = max(bands, key=lambda band: band.reach(1.0, 2 * limits.confidence - 1))
    if widest.rows == max(band.rows for band in bands):
        return ""
    few = (
        f"label{'' if widest.labels == 1 else 's'} with at most {widest.most} test row{'' if widest.most == 1 else 's'}"
    )
    return (
        f" Most of the doubt is of {widest.labels} {few}: add rows of them, or set clean.rare_labels, or "
        "promotion.measure: accuracy."
    )
