"""What the gate judges by: the limits of params.yaml, the task's measures, and the one that counts."""

from __future__ import annotations

from typing import NamedTuple

from flows.review.task import task_measures
from stages.core.params.file import Params
from stages.core.params.promotion import PromotionParams
from stages.measures.score import Interval
from stages.tasks.contract import Measure, TaskMeasures


class Rules(NamedTuple):
    """The limits, and the measure that must not get worse."""

    limits: PromotionParams
    task: TaskMeasures
    measure: Measure

    @property
    def two_sided(self) -> float:
        """The confidence of an interval whose lower end holds, one-sided, at `promotion.confidence`."""
        return 2 * self.limits.confidence - 1

    def gain(self, difference: float) -> float:
        """A difference of the measure, after - before, with the sign that makes more of it better."""
        return difference if self.measure.better == "higher" else -difference

    def gained(self, difference: Interval) -> Interval:
        """The same of an interval: its low end is the worst that may have become of the measure."""
        low, high = sorted((self.gain(difference.low), self.gain(difference.high)))
        return Interval(low, high, self.gain(difference.estimate))


def rules_of(params: Params) -> Rules:
    """The rules of these parameters. Raises ValueError where the task, or its measure, is not known."""
    task = task_measures(params.task.name)
    return Rules(params.promotion, task, task.measure(params.task.measure))
