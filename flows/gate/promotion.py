"""The decision on a release: the candidate against the released model on the same test rows, and against fixed limits.

A check is `inconclusive`, which is no pass, where there are too few test rows to tell. A loss must be shown to be
within the margin.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from flows.gate.limits import within
from flows.gate.rules import Rules
from flows.gate.same_rows import Common, common_rows, plain, points
from flows.gate.slice_losses import slices
from flows.gate.too_few import what_it_takes
from flows.review.evidence import Anchor, Check, Decision, Outcome, Results, number
from flows.review.markdown import value
from flows.review.model_results import ranked_otherwise
from stages.measures.paired import difference_interval, measured
from stages.measures.score import Interval, independent_difference

SEED = 0
RESAMPLES = 2000
ENOUGH = 0.5  # of the candidate's rows that the anchor must have answered for a comparison in pairs


def decide(candidate: Results, released: Results | str | None, rules: Rules, anchor: Anchor | None = None) -> Decision:
    """The decision: `fail` where a check fails, else `inconclusive` where one is, else `pass`.

    `released` says in words why its results are not known, where that is so. For the first release, None, there are
    only the limits.
    """
    checks = (
        *_against(candidate, released, rules),
        *([_against_anchor(candidate, anchor, rules)] if anchor else []),
        *within(candidate, rules),
    )
    outcomes = {check.outcome for check in checks}
    outcome: Outcome = "fail" if "fail" in outcomes else "inconclusive" if "inconclusive" in outcomes else "pass"
    return Decision(outcome, checks)


def _against(candidate: Results, released: Results | str | None, rules: Rules) -> Iterator[Check]:
    if released is None:
        yield Check("quality", "pass", "nothing is released yet; only the limits are checked.")
        return
    if isinstance(released, str):
        yield Check("quality", "inconclusive", released)
        return
    common = common_rows(candidate, released, rules)
    if isinstance(common, str):
        yield Check("quality", "inconclusive", f"{common} Evaluate both models on the same test rows.")
        return
    yield _of_same_rows("quality", common, rules, rules.limits.margin)
    yield slices(common, rules)


def _against_anchor(candidate: Results, anchor: Anchor, rules: Rules) -> Check:
    """The check against the anchor: in pairs if it answered most of the candidate's rows, else each on its own rows."""
    if anchor.results is None:
        return Check("anchor", "inconclusive", anchor.unknown)
    common = common_rows(candidate, anchor.results, rules)
    if apart := _apart(candidate, anchor.results, rules):
        return Check("anchor", "inconclusive", f"since {anchor.version}, {apart} {LATER}")
    if isinstance(common, str):
        check = _of_other_rows(candidate, anchor.results, rules, common.removesuffix("."))
    elif common.rows < ENOUGH * common.all_rows:
        check = _of_other_rows(candidate, anchor.results, rules, "few test rows are the same")
    else:
        check = _of_same_rows("anchor", common, rules, rules.limits.anchor_margin)
    return Check("anchor", check.outcome, f"since {anchor.version}, {check.reason}")


def _apart(candidate: Results, anchor: Results, rules: Rules) -> str:
    """Why not even the intervals of the two can be compared, in a sentence; empty where they can."""
    if candidate.task != anchor.task:
        return f"the two models are of two tasks, {anchor.task} and {candidate.task}."
    if rules.task.ranked(candidate.truths.tolist()) and not len(anchor.row_ids):
        return "the test rows are ranked among each other, and which they were then is not known."
    return ranked_otherwise(rules.task, anchor, candidate)


def _of_same_rows(name: str, common: Common, rules: Rules, margin: float) -> Check:
    gained = _gained(common, rules)
    before, after = (measured(side, rules.measure) for side in (common.before, common.after))
    rows = f"{common.rows:,} rows"
    if common.rows < common.all_rows:
        rows = f"{rows} of {common.all_rows:,}, the others are new"
    ground = f"({100 * rules.limits.confidence:.6g}% confidence, {rows})"
    check = _judged(name, _change(before, after, rules), gained, ground, rules, margin)
    if check.outcome == "inconclusive":
        return Check(name, check.outcome, f"{check.reason} {what_it_takes(common, rules, gained, margin)}")
    return check


def _change(before: float, after: float, rules: Rules) -> str:
    title, unit = rules.measure.title, rules.measure.unit
    if unit != "share":
        return f"{title} {value(before, unit)} -> {value(after, unit)}: {value(after - before, unit, signed=True)}"
    return f"{title} {before:.1%} -> {after:.1%}: {points(after - before)} points"


def _judged(name: str, found: str, gained: Interval, ground: str, rules: Rules, margin: float) -> Check:
    """The check of a loss: `pass` where it is shown to be within the margin, else `fail` where it is certain.

    It is `inconclusive` otherwise. `gained`: the difference, above 0 where the candidate is better.
    """
    is_share, upward = rules.measure.unit == "share", rules.measure.better == "higher"
    accepted = plain(100 * margin if is_share else margin)
    worst, best = (_outward(rules, end, away) for end, away in ((gained.low, math.floor), (gained.high, math.ceil)))
    bound = f"{found}, at {'least' if upward else 'most'} {worst} {ground}; a loss of {accepted} is accepted."
    if gained.low > -margin:
        return Check(name, "pass", bound)
    if gained.high < 0:
        low, high = (worst, best) if upward else (best, worst)
        ends = f"between {low} and {high}{' points' if is_share else ''}"
        verdict = f"surely worse, and not shown to be within the accepted loss of {accepted}."
        return Check(name, "fail", f"{found}, {ends} {ground}: {verdict}")
    return Check(name, "inconclusive", bound)


def _outward(rules: Rules, gain: float, away: Callable[[float], int]) -> str:
    """A difference of the measure from its gain, rounded away from the estimate: a share in points."""
    if rules.measure.unit == "share":
        return f"{rules.gain(away(1000 * gain) / 10) + 0.0:+.1f}"  # never -0.0
    return f"{rules.gain(away(10_000 * gain) / 10_000) + 0.0:+.6g}"


def _of_other_rows(candidate: Results, anchor: Results, rules: Rules, why: str) -> Check:
    """The check of a measure, each model on its own rows: by its interval, or, where a model has none, by the values.

    `why` states the obstacle to a comparison in pairs, in words.
    """
    before, after = (number(results.quality, rules.measure.name) for results in (anchor, candidate))
    if before is None or after is None:
        whose = "that release" if before is None else "the candidate"
        return Check("anchor", "inconclusive", f"{rules.measure.title} of {whose} is not known. {LATER}")
    found, margin = _change(before, after, rules), rules.limits.anchor_margin
    ends = [_own_interval(results, rules) for results in (anchor, candidate)]
    if ends[0] is not None and ends[1] is not None:
        gained = rules.gained(independent_difference(ends[0], ends[1]))
        check = _judged("anchor", found, gained, f"(by the interval of each: {why})", rules, margin)
        more = f" Too few rows to tell. {LATER}" if check.outcome == "inconclusive" else ""
        return Check("anchor", check.outcome, check.reason + more)
    outcome: Outcome = "pass" if rules.gain(after - before) > -margin else "fail"
    accepted = plain(100 * margin if rules.measure.unit == "share" else margin)
    ground = f"by the two numbers alone: {why}, and no interval is known"
    return Check("anchor", outcome, f"{found} ({ground}); a loss of {accepted} is accepted.")


LATER = "Name a later release in params.yaml, promotion.anchor, or null."


def _own_interval(results: Results, rules: Rules) -> Interval | None:
    """The interval that `evaluate` wrote: two-sided, at evaluate.confidence."""
    low, high = (number(results.quality, "intervals", rules.measure.name, end) for end in ("low", "high"))
    estimate = number(results.quality, rules.measure.name)
    return None if low is None or high is None or estimate is None else Interval(low, high, estimate)


def _gained(common: Common, rules: Rules) -> Interval:
    """Interval of what the measure gained; both ends are one-sided at `promotion.confidence`."""
    difference = difference_interval(
        common.before, common.after, rules.measure, confidence=rules.two_sided, resamples=RESAMPLES, seed=SEED
    )
    return rules.gained(difference)
