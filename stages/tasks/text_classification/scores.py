"""The score of a classifier's answers, by which an epoch is chosen and int8 is guarded."""

from __future__ import annotations

from collections.abc import Sequence

from stages.tasks.contract import Space


def score(
    truths: Sequence[str] | Sequence[int], answers: Sequence[str] | Sequence[int], _space: Space
) -> dict[str, float]:
    """`accuracy` and `macro_f1`, each in [0, 1]. The macro-average is over the labels of truths and answers."""
    from sklearn.metrics import accuracy_score, f1_score  # not where a model is only opened

    return {
        "accuracy": float(accuracy_score(truths, answers)),
        "macro_f1": float(f1_score(truths, answers, average="macro", zero_division=0)),
    }
