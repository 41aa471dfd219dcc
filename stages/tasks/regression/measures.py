"""The measures of a regressor, from what each row adds; and how right an answer is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from stages.tasks.contract import Figure, Judged, Measure, Table, TaskMeasures
from stages.tasks.regression import scores as of_numbers


def _numbers(texts: Sequence[str]) -> np.ndarray:
    return np.array([float(text) for text in texts])


def counts(truths: Sequence[str], answers: Sequence[str]) -> csr_array:
    """(N, S) float64: what each row adds."""
    return of_numbers.counts(_numbers(truths), _numbers(answers))


def scores(truths: Sequence[str], answers: Sequence[str]) -> np.ndarray:
    """(N,): 1 for the number itself, 0 for one that is two deviations of these truths from it, or more."""
    x = _numbers(truths)
    return 1 - np.minimum(np.abs(x - _numbers(answers)) / (2 * (x.std() or 1.0)), 1.0)


def report(judged: Judged) -> dict[str, Any]:
    """The root of the mean squared error, in the unit of the data."""
    return {"rmse": round(float(np.sqrt(np.square(errors_of(judged)).mean())), 6)}


def errors_of(judged: Judged) -> np.ndarray:
    """(N,): the absolute error of each row."""
    return np.abs(_numbers(judged.truths) - _numbers(judged.answers))


def tables(judged: Judged) -> Mapping[str, Table]:
    """`numbers`: the truth and the answer of each row."""
    rows = list(zip(_numbers(judged.truths).tolist(), _numbers(judged.answers).tolist(), strict=True))
    return {"numbers": Table(("truth", "answer"), rows)}


MEASURES = TaskMeasures(
    measures=(
        Measure("pearson", "Pearson correlation", of_numbers.pearson, unit="", least=-1.0),
        Measure("spearman", "Spearman correlation", of_numbers.spearman, unit="", least=-1.0),
        Measure("mae", "mean absolute error", of_numbers.mae, unit="", better="lower", most=math.inf),
        Measure("r2", "R squared", of_numbers.r2, unit="", least=-math.inf),
    ),
    counts=counts,
    scores=scores,
    scaled=True,
    kinds=lambda _: ("number",),
    gist=lambda answer: f"{float(answer):.2g}",
    differ=lambda one, other, space: abs(float(one) - float(other)) > of_numbers.NEARLY * space["deviation"],
    report=report,
    figures=(Figure("rmse", "root mean squared error"),),
    per_row=lambda judged: {"error": errors_of(judged)},
    tables=tables,
)
