"""Yes where the number is above a half."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from stages.tasks.toy_task.scores import right

from stages.tasks.contract import Outputs, Space, TaskAnswers


def answers(outputs: Outputs, _space: Space) -> list[str]:
    """Yes or no."""
    return ["yes" if value > 0.5 else "no" for value in outputs.values[:, 0]]


def confidence(outputs: Outputs, given: Sequence[str], _space: Space) -> np.ndarray:
    """The probability of what is given."""
    yes_N = outputs.values[:, 0].astype(np.float64)
    return np.where(np.array(given) == "yes", yes_N, 1 - yes_N)


def losses(truths: Sequence[str], outputs: Outputs, space: Space) -> np.ndarray:
    """In nats."""
    return -np.log(np.maximum(confidence(outputs, truths, space), 1e-12))


def record(outputs: Outputs, row: int, _text: str, space: Space) -> dict[str, Any]:
    """The answer."""
    return {"answer": answers(outputs.of_rows([row]), space)[0]}


def shown(record: Mapping[str, Any]) -> str:
    """The same."""
    return record["answer"] or "null"


ANSWERS = TaskAnswers(
    activate=lambda values: 1 / (1 + np.exp(-values)), size=lambda _: 1, answers=answers, confidence=confidence,
    losses=losses, score=lambda truths, given, _: {"right": right(truths, given)},
    divergence=lambda one, other: float(np.abs(one.values - other.values).mean()),
    record=record, shown=shown, nothing={"answer": None},
)  # fmt: skip
