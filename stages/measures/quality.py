"""The quality of a model's answers, with the uncertainty of a limited number of rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.metrics import accuracy_score, log_loss, precision_recall_fscore_support

from stages.core.contracts import Answers
from stages.core.params.evaluate import EvaluateParams
from stages.measures.paired import interval


def measure(answers: Answers, params: EvaluateParams) -> dict[str, Any]:
    """Accuracy, macro precision, recall and F1, log loss, intervals, and the same of each label.

    Shares are in [0, 1]; `log_loss` is in nats. Macro means are over the labels that are true of a row or given to
    one. `intervals` hold the ends of each interval: Wilson's of accuracy, the bootstrap's of macro-F1.
    """
    truth_N, predicted_N, names = answers.truth_N, answers.predicted_N, answers.runner.labels
    present = np.union1d(truth_N, predicted_N)
    precision, recall, f1, support = precision_recall_fscore_support(
        truth_N, predicted_N, labels=present, average=None, zero_division=0
    )
    probabilities_NC = answers.probabilities_NC.astype(np.float64)
    probabilities_NC /= probabilities_NC.sum(1, keepdims=True)  # float32 sums to 1 but for rounding
    loss = log_loss(truth_N, probabilities_NC, labels=range(len(names)))
    intervals = {}
    for name in ("accuracy", "macro_f1"):
        ends = interval(
            truth_N, predicted_N, measure=name, confidence=params.confidence,
            resamples=params.resamples, seed=answers.seed,
        )  # fmt: skip
        intervals[name] = {"low": round(ends.low, 6), "high": round(ends.high, 6)}
    return {
        "accuracy": round(float(accuracy_score(truth_N, predicted_N)), 6),
        "macro_precision": round(float(precision.mean()), 6),
        "macro_recall": round(float(recall.mean()), 6),
        "macro_f1": round(float(f1.mean()), 6),
        "log_loss": round(float(loss), 4),
        "rows": len(truth_N),
        "intervals": intervals,
        "per_label": {
            names[label]: {
                "precision": round(float(precision[i]), 6),
                "recall": round(float(recall[i]), 6),
                "f1": round(float(f1[i]), 6),
                "rows": int(support[i]),
            }
            for i, label in enumerate(present)
        },
    }
