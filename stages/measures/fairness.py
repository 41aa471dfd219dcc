"""The equal treatment of people: by a column that names their group, and by swapping the words that do."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from stages.core.contracts import Answers, each
from stages.core.params.evaluate import EvaluateParams
from stages.measures.identity_words import pairs_of
from stages.measures.slices import values_of


def measure(answers: Answers, params: EvaluateParams) -> dict[str, Any]:
    """`fairness`: `identity_swaps`, and `groups` where `evaluate.group_column` names a column."""
    found: dict[str, Any] = {
        "identity_swaps": swap_rates(answers, pairs_of(params.identity_swaps), params.perturbed_rows)
    }
    if params.group_column is not None:
        found["groups"] = group_rates(answers, params.group_column)
    return {"fairness": found}


def swap_rates(answers: Answers, swaps: Sequence[Sequence[str]], most: int) -> dict[str, float | int | None]:
    """The change of answers when each identity word is swapped, for a number of `rows` with one, at most `most`.

    `flip_rate` is the share of answers that change, `mean_change` the change of the probability of the answer given
    first. Rates are None where no row holds such a word.
    """
    swap = swapper(swaps)
    swapped = [(i, other) for i, text in enumerate(answers.texts) if (other := each(swap, text)) != text]
    if len(swapped) > most:
        swapped = sorted(random.Random(answers.seed).sample(swapped, most))
    if not swapped:
        return {"rows": 0, "flip_rate": None, "mean_change": None}
    rows = np.array([i for i, _ in swapped])
    after_RC = answers.runner.predict([text for _, text in swapped])
    first_R = answers.predicted_N[rows]
    change = np.abs(after_RC[np.arange(len(rows)), first_R] - answers.probabilities_NC[rows, first_R])
    return {
        "rows": len(rows),
        "flip_rate": round(float((after_RC.argmax(1) != first_R).mean()), 6),
        "mean_change": round(float(change.mean()), 4),
    }


def swapper(swaps: Sequence[Sequence[str]]) -> Callable[[str], str]:
    """A function that replaces every whole word of a pair by the other, with its case kept."""
    others = {a.lower(): b for a, b in swaps} | {b.lower(): a for a, b in swaps}
    if not others:
        return str
    pattern = re.compile(rf"(?<!\w)({'|'.join(map(re.escape, others))})(?!\w)", flags=re.IGNORECASE)
    return lambda text: pattern.sub(lambda match: _like(match[0], others[match[0].lower()]), text)


def _like(word: str, other: str) -> str:
    if word.isupper() and len(word) > 1:
        return other.upper()
    return other[:1].upper() + other[1:] if word[:1].isupper() else other


def group_rates(answers: Answers, column: str) -> dict[str, Any]:
    """For each group its rows, accuracy and share of answers by label; and the largest gaps between groups.

    `accuracy_gap` is of accuracy. `selection_gap` (demographic parity) is the largest over the labels of the gap in
    the share of rows that get the label; `recall_gap` (equal opportunity) the same of the share among rows that
    truly have it, over the labels that every group has.
    """
    group_N = values_of(answers, column)
    groups = {str(group): group_N == group for group in np.unique(group_N)}
    right_N, labels = answers.truth_N == answers.predicted_N, range(len(answers.runner.labels))
    accuracy = {group: float(right_N[mask].mean()) for group, mask in groups.items()}
    selection = [[float((answers.predicted_N[mask] == label).mean()) for mask in groups.values()] for label in labels]
    having = [[mask & (answers.truth_N == label) for mask in groups.values()] for label in labels]
    recall = [[float(right_N[mask].mean()) for mask in of_label] for of_label in having if all(map(np.any, of_label))]
    return {
        "rates": {
            group: {"rows": int(mask.sum()), "accuracy": round(accuracy[group], 6)} for group, mask in groups.items()
        },
        "accuracy_gap": _gap([list(accuracy.values())]),
        "selection_gap": _gap(selection),
        "recall_gap": _gap(recall),
    }


def _gap(rates: Sequence[Sequence[float]]) -> float:
    return round(max((max(of_groups) - min(of_groups) for of_groups in rates), default=0.0), 6)
