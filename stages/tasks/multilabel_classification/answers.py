"""The answers of a multi-label classifier: the labels whose probability is above their threshold. N rows, C labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from stages.tasks.contract import Outputs, Space, TaskAnswers
from stages.tasks.multilabel_classification import scores
from stages.tasks.shared.label_sets import as_text, from_text, held
from stages.tasks.shared.probabilities import SMALLEST, kl_divergence, log_odds, sigmoid

NODES = 32  # of the rule, which is exact for polynomials up to degree 63


def answers(outputs: Outputs, space: Space) -> list[str]:
    """The labels given to each row, as canonical texts."""
    labels = space["labels"]
    return [as_text(labels[at] for at in np.flatnonzero(row)) for row in scores.given(outputs.values, space)]


def confidence(outputs: Outputs, answers: Sequence[str], space: Space) -> np.ndarray:
    """(N,): the row's score that is to be expected, if each label holds by itself with its probability.

    The score is the share of labels in both sets among those in either: of an answer with k labels, of which x hold,
    while y others hold, x / (k + y). Where it has none, it is the probability that none holds.
    """
    given_NC, values_NC = _held(answers, space), outputs.values.astype(np.float64)
    expected_N = np.where(given_NC, values_NC, 0.0).sum(1) * _inverse_union(given_NC.sum(1), given_NC, values_NC)
    return np.where(given_NC.any(1), np.minimum(expected_N, 1.0), (1 - values_NC).prod(1))


def _inverse_union(given_N: np.ndarray, given_NC: np.ndarray, values_NC: np.ndarray) -> np.ndarray:
    """(N,): the mean of 1 / (k + y), where y of the labels that are not given hold, each with its probability.

    1 / (k + y) is the integral of t ** (k + y - 1) from 0 to 1, and the mean of t ** y is a product over the labels, so
    it is the integral of a polynomial, which Gauss's rule gives exactly (of 64 labels; of more but for rounding).
    """
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    found_N = np.zeros(len(given_N))
    for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
        of_others_N = np.where(given_NC, 1.0, 1 - values_NC * (1 - node)).prod(1)
        found_N += weight * node ** (given_N - 1.0) * of_others_N
    return found_N


def losses(truths: Sequence[str], outputs: Outputs, space: Space) -> np.ndarray:
    """(N,): minus the logarithm of the probability of what is true of a label, the mean over the labels, in nats.

    Raises ValueError for a label that is not of the space.
    """
    values_NC = outputs.values.astype(np.float64)
    of_truth_NC = np.where(_held(truths, space), values_NC, 1 - values_NC)
    return np.abs(np.log(np.maximum(of_truth_NC, SMALLEST))).mean(1)  # no logarithm is above 0


def _held(sets: Sequence[str], space: Space) -> np.ndarray:
    """(N, C) bool. Raises ValueError, with the first five, for labels that are not of the space."""
    sets_N = [from_text(text) for text in sets]
    if unknown := sorted({label for labels in sets_N for label in labels} - {*space["labels"]}):
        raise ValueError(f"rows have labels that no training row has: {', '.join(unknown[:5])}. Add rows of them.")
    return held(sets_N, space["labels"])


def score(truths: Sequence[str], answers: Sequence[str], space: Space) -> dict[str, float]:
    """Micro-F1, and the other measures, each in [0, 1]."""
    return scores.score(_held(truths, space), _held(answers, space))


def fitted(truths: Sequence[str], outputs: Outputs, space: Space, measure: str) -> Space:
    """The space with `thresholds`, by label. Raises ValueError for a label that is not of the space."""
    return scores.fitted(_held(truths, space), outputs.values, space, measure)


def divergence(exact: Outputs, other: Outputs) -> float:
    """KL(exact || other), the sum over the labels, each a choice of two; the mean over the rows, in nats."""
    exact_NC, other_NC = exact.values.astype(np.float64), other.values.astype(np.float64)
    return kl_divergence(exact_NC, other_NC) + kl_divergence(1 - exact_NC, 1 - other_NC)


def record(outputs: Outputs, row: int, _text: str, space: Space) -> dict[str, Any]:
    """The labels given, the likeliest first, each with its probability; and the probability of every label."""
    by_label = dict(zip(space["labels"], outputs.values[row].tolist(), strict=True))
    given = from_text(answers(outputs.of_rows([row]), space)[0])
    ordered = sorted(given, key=lambda label: -by_label[label])
    return {
        "labels": [{"label": label, "probability": by_label[label]} for label in ordered],
        "probabilities": by_label,
    }


def shown(record: Mapping[str, Any]) -> str:
    """The labels and, behind a tab, their probabilities, with semicolons between; `-` where there is none."""
    if record["labels"] is None:
        return "null\tnull"
    labels, probabilities = ([one[key] for one in record["labels"]] for key in ("label", "probability"))
    return f"{'; '.join(labels) or '-'}\t{'; '.join(f'{value:.4f}' for value in probabilities) or '-'}"


def columns(outputs: Outputs, space: Space) -> dict[str, np.ndarray]:
    """The probability of each label, `p_LABEL`."""
    return {f"p_{label}": values for label, values in zip(space["labels"], outputs.values.T, strict=True)}


ANSWERS = TaskAnswers(
    activate=sigmoid, logits=log_odds, size=lambda space: len(space["labels"]), answers=answers, confidence=confidence,
    losses=losses, score=score, divergence=divergence, record=record, shown=shown,
    nothing={"labels": None, "probabilities": None}, columns=columns, fitted=fitted,
)  # fmt: skip
