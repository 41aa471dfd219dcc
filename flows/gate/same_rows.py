"""Two models on the rows that both answered, and how the gate puts numbers into words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from flows.gate.rules import Rules
from flows.review.evidence import Results
from flows.review.model_results import in_both, ranked_otherwise
from stages.measures.counted import Counted, counted
from stages.measures.paired import mean_difference_interval
from stages.measures.score import Interval, difference_of_scores, score_interval
from stages.tasks.contract import Measure, TaskMeasures


class Common(NamedTuple):
    """The N rows that both models answered."""

    before: Counted
    after: Counted
    slices: Mapping[str, np.ndarray]
    all_rows: int  # of the candidate

    @property
    def rows(self) -> int:
        return len(self.after.scores_N)

    @property
    def turned_share(self) -> float:
        """The share of the rows whose score differs."""
        return float((self.before.scores_N != self.after.scores_N).mean())


def common_rows(candidate: Results, released: Results, rules: Rules) -> Common | str:
    """The rows that both models answered, or, in words, the reason why they cannot be compared."""
    rows = len(candidate.row_ids)
    if not rows or not len(released.row_ids):
        return "one of the models has no predictions."
    if candidate.task != released.task:
        return f"the two models are of two tasks, {released.task} and {candidate.task}."
    old, new = in_both(released, candidate)
    if not len(new):
        return "the two models have no test row in common."
    now, then = candidate.of_rows(new), released.of_rows(old)
    if ranked := ranked_otherwise(rules.task, released, candidate):
        return ranked
    if changed := int((now.truths != then.truths).sum()):
        return f"{changed:,} of {len(new):,} test rows have another true {rules.task.kind} than before."
    return Common(*both_counted(rules.task, rules.measure, then, now), now.slices, rows)


def both_counted(task: TaskMeasures, measure: Measure, before: Results, after: Results) -> tuple[Counted, Counted]:
    """What the statistics take of two models' answers to the same rows, in one order."""
    truths, units = after.truths.tolist(), after.units.tolist()
    return (
        counted(task, measure, truths, before.answers.tolist(), units),
        counted(task, measure, truths, after.answers.tolist(), units),
    )


def mean_difference(before: Counted, after: Counted, confidence: float) -> Interval:
    """Interval of the mean score of the same rows, after - before, that holds for few rows too."""
    found = difference_of_scores(before.scores_N, after.scores_N, before.units_N, confidence)
    if _is_binary(before.scores_N) and _is_binary(after.scores_N):
        return score_interval(found.lost, found.won, found.rows, confidence=confidence)
    drawn = mean_difference_interval(before.scores_N, after.scores_N, before.units_N, confidence=confidence)
    # Of few rows that all kept their score, Student's interval would be certain.
    unchanged = score_interval(0, 0, found.rows, confidence=confidence)
    if drawn is None:
        return Interval(unchanged.low, unchanged.high, float((after.scores_N - before.scores_N).mean()))
    return Interval(min(drawn.low, unchanged.low), max(drawn.high, unchanged.high), drawn.estimate)


def _is_binary(scores_N: np.ndarray) -> bool:
    return bool(np.isin(scores_N, (0, 1)).all())


def points(share: float) -> str:
    """A difference, signed, in points."""
    return f"{round(100 * share, 1) + 0.0:+.1f}"  # never -0.0


def plain(value: float) -> str:
    """The number with one decimal, and with more only where it has them: 2.0, 0.25."""
    return f"{value:.1f}" if math.isclose(value, round(value, 1)) else f"{value:.6g}"
