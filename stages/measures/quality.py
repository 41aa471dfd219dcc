"""The quality of a model's answers, with the uncertainty of a limited number of rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stages.core.params.evaluate import EvaluateParams
from stages.measures.counted import counted
from stages.measures.paired import interval, measured
from stages.tasks.contract import Judged

if TYPE_CHECKING:
    from stages.measures.opened import Opened


def measure(judged: Judged, model: Opened, params: EvaluateParams) -> dict[str, Any]:
    """The task's measures, the ends of the interval of each (`intervals`), the rows, and the task's own figures."""
    values, intervals = {}, {}
    for one in model.of_measures.of(judged.truths):
        rows = counted(model.of_measures, one, judged.truths, judged.answers, judged.units)
        ends = interval(
            rows, one, confidence=params.confidence, resamples=params.resamples, seed=judged.seed
        )  # fmt: skip
        values[one.name] = round(measured(rows, one), 6)
        intervals[one.name] = {"low": round(ends.low, 6), "high": round(ends.high, 6)}
    return {**values, "intervals": intervals, "rows": len(judged.truths), **model.of_measures.report(judged)}
