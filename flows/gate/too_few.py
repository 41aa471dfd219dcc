"""How many test rows it takes to show that an equal model is one, in words."""

from __future__ import annotations

import math

from flows.gate.rules import Rules
from flows.gate.same_rows import Common
from flows.review.markdown import plural
from stages.measures.bands import Band, bands_of, times_needed, together
from stages.measures.score import Interval, difference_of_scores, rows_needed, z_of

POWER = 0.8  # the share of test sets in which that many rows show it
TURN = "turn right or wrong", "turns right or wrong"  # many answers, one: of scores that are 0 or 1
CHANGE = "get better or worse", "gets better or worse"


def what_it_takes(common: Common, rules: Rules, gained: Interval, margin: float) -> str:
    """A sentence on how many rows an equal model would need to pass; `gained`: what the measure gained."""
    rows, share, bands = common.rows, common.turned_share, _bands(common, rules)
    needed = max(1, math.ceil(round(rows * _times_needed(common, rules, bands, gained, margin), 6)))
    if needed <= rows:
        return f"An equal model shows it with {needed:,} rows 8 times in 10, so this one may be a little worse."
    many, one = TURN if rules.measure.binary or bands else CHANGE
    where = f"if {share:.1%} of the answers {many}, as here"
    if not share:
        where = f"even if no answer {one}, as here, and more if some do"
    told = f"Too few rows to tell: an equal model shows it with about {needed:,}, {where}."
    return told + _few_rows(bands, rules)


def _bands(common: Common, rules: Rules) -> list[Band]:
    """The bands of the strata of the measure; none where it has no strata."""
    strata_N = None if rules.measure.binary else common.before.strata_N
    if strata_N is None:
        return []
    return bands_of(strata_N, common.before.scores_N, common.after.scores_N, common.before.units_N)


def _times_needed(common: Common, rules: Rules, bands: list[Band], gained: Interval, margin: float) -> float:
    """How many times the rows with which an equal model shows it in a share POWER of test sets."""
    confidence = rules.limits.confidence
    if rules.measure.binary:
        found = difference_of_scores(common.before.scores_N, common.after.scores_N, common.before.units_N)
        share = (found.lost + found.won) / found.rows
        return rows_needed(share, margin=margin, confidence=confidence, power=POWER) / found.rows
    if not bands:
        # The width falls with the root of the rows; an equal model is as far below zero as POWER allows.
        reach = (gained.estimate - gained.low) * (1 + z_of(POWER) / z_of(confidence))
        return (reach / margin) ** 2
    shares = together([(band.weight, band.interval(rules.two_sided)) for band in bands])
    # Scaled up where the measure varies more than the shares of its strata.
    wider = max(1.0, (gained.high - gained.low) / (shares.high - shares.low))
    return times_needed(bands, margin=margin / wider, confidence=confidence, power=POWER)


def _few_rows(bands: list[Band], rules: Rules) -> str:
    """A sentence on strata with too few rows, where most of the uncertainty comes from them."""
    if not bands:
        return ""
    widest = max(bands, key=lambda band: band.reach(1.0, rules.two_sided))
    if widest.rows == max(band.rows for band in bands):
        return ""
    name = rules.task.kind if widest.strata == 1 else plural(rules.task.kind)
    rows = "test row" if widest.most == 1 else "test rows"
    shares = [f"or task.measure: {one.name}" for one in rules.task.measures if one.binary]
    advice = ", ".join(["add rows of them", "or set clean.rare_labels", *shares])
    return f" Most of the doubt is of {widest.strata} {name} with at most {widest.most} {rows}: {advice}."
