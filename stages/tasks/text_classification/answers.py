"""The answers of a classifier: the label with the largest output, whose probability is its confidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from stages.tasks.contract import Outputs, Space, TaskAnswers
from stages.tasks.shared.probabilities import SMALLEST, kl_divergence, log_probabilities, softmax
from stages.tasks.text_classification.scores import score


def answers(outputs: Outputs, space: Space) -> list[str]:
    """The label with the largest output of each row (N, C)."""
    return [space["labels"][at] for at in outputs.values.argmax(1)]


def confidence(outputs: Outputs, answers: Sequence[str], space: Space) -> np.ndarray:
    """The probability of each answer, (N,)."""
    return outputs.values[np.arange(len(answers)), _places(answers, space)]


def losses(truths: Sequence[str], outputs: Outputs, space: Space) -> np.ndarray:
    """Minus the logarithm of the true label's probability, (N,), in nats. Raises ValueError for an unknown label."""
    values = outputs.values.astype(np.float64)
    values /= values.sum(1, keepdims=True)  # float32 sums to 1 but for rounding
    return -np.log(np.maximum(values[np.arange(len(truths)), _places(truths, space)], SMALLEST))


def _places(labels: Sequence[str], space: Space) -> list[int]:
    """The column of each label. Raises ValueError, with the first five, for labels that are not of the space."""
    place = {label: at for at, label in enumerate(space["labels"])}
    if unknown := sorted({*labels} - place.keys()):
        raise ValueError(f"rows have labels that no training row has: {', '.join(unknown[:5])}. Add rows of them.")
    return [place[label] for label in labels]


def divergence(exact: Outputs, other: Outputs) -> float:
    """KL(exact || other), the mean over the rows, in nats."""
    return kl_divergence(exact.values, other.values)


def record(outputs: Outputs, row: int, _text: str, space: Space) -> dict[str, Any]:
    """The label, its probability, and that of every label."""
    probabilities = outputs.values[row].tolist()
    best = int(outputs.values[row].argmax())
    by_label = dict(zip(space["labels"], probabilities, strict=True))
    return {"label": space["labels"][best], "probability": probabilities[best], "probabilities": by_label}


def shown(record: Mapping[str, Any]) -> str:
    """The label and its probability, a tab between."""
    if record["label"] is None:
        return "null\tnull"
    return f"{record['label']}\t{record['probability']:.4f}"


def columns(outputs: Outputs, space: Space) -> dict[str, np.ndarray]:
    """The probability of each label, `p_LABEL`."""
    return {f"p_{label}": values for label, values in zip(space["labels"], outputs.values.T, strict=True)}


NOTHING = {"label": None, "probability": None, "probabilities": None}
ANSWERS = TaskAnswers(
    activate=softmax, logits=log_probabilities, size=lambda space: len(space["labels"]), answers=answers,
    confidence=confidence, losses=losses, score=score, divergence=divergence,
    record=record, shown=shown, nothing=NOTHING, columns=columns,
)  # fmt: skip
