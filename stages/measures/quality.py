"""How often a model is right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.metrics import accuracy_score, f1_score, log_loss, precision_recall_fscore_support


def measure(
    labels: Sequence[str], predicted: Sequence[str], probabilities_NC: np.ndarray, known: Sequence[str]
) -> dict[str, Any]:
    """Accuracy, macro-F1, log loss, and precision, recall and F1 of each label; N rows, C known labels.

    Shares are in [0, 1]; `log_loss` is in nats. Macro-F1 is over the labels present in `labels` or `predicted`.
    """
    names = sorted(set(labels) | set(predicted))
    precision, recall, f1, support = precision_recall_fscore_support(
        labels, predicted, labels=names, average=None, zero_division=0
    )
    return {
        "accuracy": round(float(accuracy_score(labels, predicted)), 6),
        "macro_f1": round(float(f1_score(labels, predicted, average="macro", zero_division=0)), 6),
        "log_loss": round(float(log_loss(labels, probabilities_NC, labels=list(known))), 4),
        "rows": len(labels),
        "per_label": {
            name: {
                "precision": round(float(precision[i]), 6),
                "recall": round(float(recall[i]), 6),
                "f1": round(float(f1[i]), 6),
                "rows": int(support[i]),
            }
            for i, name in enumerate(names)
        },
    }
