"""The answers of a regressor: numbers in the unit of the data."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from stages.tasks.contract import Outputs, Space, TaskAnswers
from stages.tasks.regression import scores


def numbers(outputs: Outputs, space: Space) -> np.ndarray:
    """(N,) float64: each row's number."""
    return outputs.values[:, 0].astype(np.float64) * space["deviation"] + space["mean"]


def answers(outputs: Outputs, space: Space) -> list[str]:
    """Each number, to six digits of what the training rows deviate by."""
    decimals = 5 - math.floor(math.log10(space["deviation"]))
    return [f"{round(number, decimals) + 0.0:.12g}" for number in numbers(outputs, space).tolist()]


def losses(truths: Sequence[str], outputs: Outputs, space: Space) -> np.ndarray:
    """(N,): squared errors, in the unit of the data squared."""
    return np.square(numbers(outputs, space) - np.array([float(truth) for truth in truths]))


def score(truths: Sequence[str], given: Sequence[str], _space: Space) -> dict[str, float]:
    """Each measure, as `scores.score` gives it."""
    return scores.score([float(truth) for truth in truths], [float(answer) for answer in given])


def divergence(exact: Outputs, other: Outputs) -> float:
    """The mean squared difference, in squared deviations."""
    return float(np.square(exact.values.astype(np.float64) - other.values).mean())


def agreement(one: Outputs, other: Outputs) -> float:
    """The share of rows with nearly the same number: to a tenth of what the training rows deviate by."""
    apart_N = np.abs(one.values[:, 0].astype(np.float64) - other.values[:, 0])
    return float((apart_N <= scores.NEARLY).mean())


def record(outputs: Outputs, row: int, _text: str, space: Space) -> dict[str, Any]:
    """The number."""
    return {"number": float(answers(outputs.of_rows([row]), space)[0])}


def shown(record: Mapping[str, Any]) -> str:
    """The number, as text."""
    return "null" if record["number"] is None else f"{record['number']:.12g}"


ANSWERS = TaskAnswers(
    activate=lambda values: values, size=lambda _: 1, answers=answers, confidence=None, losses=losses, score=score,
    divergence=divergence, agreement=agreement, record=record, shown=shown, nothing={"number": None},
)  # fmt: skip
