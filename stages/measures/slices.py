"""The weaknesses of a model: its quality on parts of the test rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from stages.core.params.evaluate import EvaluateParams
from stages.measures.counted import codes
from stages.measures.score import wilson
from stages.tasks.contract import Judged

if TYPE_CHECKING:
    from stages.measures.opened import Opened

LENGTH = "length"
PARTS = ("short", "middle", "long")
LARGEST = 100  # values of a column that become slices, the commonest first
SMALLEST_WORST = 30  # rows of a slice to be the worst one: with fewer its score is too uncertain


def measure(judged: Judged, _model: Opened, params: EvaluateParams) -> dict[str, Any]:
    """`slices`: column -> value -> rows, the mean of their scores, and its interval; `worst_slice`, by that mean."""
    units_N = np.asarray(judged.units)
    slices: dict[str, dict[str, Any]] = {}
    for column in params.slices:
        value_N = values_of(judged, column)
        values, counts = np.unique(value_N, return_counts=True)
        commonest = values[np.argsort(-counts, kind="stable")][:LARGEST]
        slices[column] = {
            str(value): _mean(judged.scores_N[at], codes(units_N[at]), params.confidence)
            for value in commonest
            for at in [value_N == value]
        }
    named = [
        (entry["score"], f"{column}: {value}", entry["rows"])
        for column, part in slices.items()
        for value, entry in part.items()
    ]
    enough = [entry for entry in named if entry[2] >= SMALLEST_WORST] or named
    if not enough:
        return {"slices": slices}
    score, name, rows = min(enough)
    return {"slices": slices, "worst_slice": {"name": name, "rows": rows, "score": score}}


def values_of(judged: Judged, column: str) -> np.ndarray:
    """(N,) texts: the value of each row. Raises ValueError for a column that the rows do not have."""
    if column == LENGTH and column not in judged.columns:
        lengths = np.array([len(text if isinstance(text, str) else "".join(text)) for text in judged.texts])
        return np.array(PARTS)[np.searchsorted(np.quantile(lengths, (1 / 3, 2 / 3)), lengths)]
    if column not in judged.columns:
        allowed = ", ".join([LENGTH, *judged.columns])
        raise ValueError(
            f"params.yaml: evaluate names the column '{column}'. Allowed: {allowed}; more by ingest.keep_columns."
        )
    return np.array(["(none)" if value is None else value for value in judged.columns[column]])


def _mean(scores: np.ndarray, units: np.ndarray, confidence: float) -> dict[str, float]:
    interval = wilson(scores, units, confidence)
    return {
        "rows": len(scores),
        "score": round(interval.estimate, 6),
        "low": round(interval.low, 6),
        "high": round(interval.high, 6),
    }
