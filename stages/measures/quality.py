"""The quality of a model's answers, with the uncertainty of a limited number of rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

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
    own = {**_of_length(judged, model), **model.of_measures.report(judged)}
    return {**values, "intervals": intervals, "rows": len(judged.truths), **own}


def _of_length(judged: Judged, model: Opened) -> dict[str, float]:
    """`full_length`: the share of texts that have all tokens that may be written, so that most of these are cut off."""
    outputs = judged.outputs
    if model.generation is None or outputs.written is None or outputs.offsets is None:
        return {}
    full_N = np.diff(outputs.offsets) >= model.generation.max_new_tokens
    return {"full_length": round(float(full_N.mean()), 6)}
