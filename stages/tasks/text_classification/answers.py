"""The score of a model's answers, and the agreement of two models. An answer is the label with the largest output."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.metrics import accuracy_score, f1_score

from stages.tasks.contract import TaskAnswers


def score(labels_N: Sequence[int], outputs_NC: np.ndarray) -> dict[str, float]:
    """`accuracy` and `macro_f1`, each in [0, 1], of the labels with the largest outputs (logits or probabilities).

    The macro-average is over the labels present.
    """
    predicted, present = outputs_NC.argmax(1).tolist(), sorted({*labels_N})
    return {
        "accuracy": float(accuracy_score(labels_N, predicted)),
        "macro_f1": float(f1_score(labels_N, predicted, labels=present, average="macro", zero_division=0)),
    }


def agreement(one_NC: np.ndarray, other_NC: np.ndarray) -> float:
    """The share of the rows to which two models give the same label."""
    return float((one_NC.argmax(1) == other_NC.argmax(1)).mean())


ANSWERS = TaskAnswers(score=score, agreement=agreement)
