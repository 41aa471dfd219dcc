"""The weaknesses of a model: its quality on parts of the test rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.stats import binomtest

from stages.core.contracts import Answers
from stages.core.params.evaluate import EvaluateParams

LENGTH = "length"
PARTS = ("short", "middle", "long")
LARGEST = 100  # values of a column that become slices, the commonest first
SMALLEST_WORST = 30  # rows of a slice to be the worst one: with fewer its accuracy is too uncertain


def measure(answers: Answers, params: EvaluateParams) -> dict[str, Any]:
    """`slices`: column -> value -> rows, accuracy and its Wilson interval; `worst_slice`, by accuracy."""
    right_N = answers.truth_N == answers.predicted_N
    slices: dict[str, dict[str, Any]] = {}
    for column in params.slices:
        value_N = values_of(answers, column)
        values, counts = np.unique(value_N, return_counts=True)
        commonest = values[np.argsort(-counts, kind="stable")][:LARGEST]
        slices[column] = {str(v): _share(right_N[value_N == v], params.confidence) for v in commonest}
    named = [
        (entry["accuracy"], f"{column}: {value}", entry["rows"])
        for column, part in slices.items()
        for value, entry in part.items()
    ]
    judged = [entry for entry in named if entry[2] >= SMALLEST_WORST] or named
    if not judged:
        return {"slices": slices}
    accuracy, name, rows = min(judged)
    return {"slices": slices, "worst_slice": {"name": name, "rows": rows, "accuracy": accuracy}}


def values_of(answers: Answers, column: str) -> np.ndarray:
    """(N,) texts: the value of each row. Raises ValueError for a column that the rows do not have."""
    if column == LENGTH:
        lengths = np.array([len(text if isinstance(text, str) else "".join(text)) for text in answers.texts])
        return np.array(PARTS)[np.searchsorted(np.quantile(lengths, (1 / 3, 2 / 3)), lengths)]
    if column not in answers.columns:
        allowed = ", ".join([LENGTH, *answers.columns])
        raise ValueError(
            f"params.yaml: evaluate names the column '{column}'. Allowed: {allowed}; more by ingest.keep_columns."
        )
    return np.array(["(none)" if value is None else value for value in answers.columns[column]])


def _share(right: np.ndarray, confidence: float) -> dict[str, float]:
    interval = binomtest(int(right.sum()), len(right)).proportion_ci(confidence, method="wilson")
    return {
        "rows": len(right),
        "accuracy": round(float(right.mean()), 6),
        "low": round(float(interval.low), 6),
        "high": round(float(interval.high), 6),
    }
