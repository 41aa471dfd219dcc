"""The measures of a classifier: macro-F1 and accuracy, from what each row adds; and the figures of each label.

N rows, C labels that are true of a row or given to one; S = 3 C + 2 counts: of each label the rows that have it and are
given it, those given it, those that have it; then the right rows, and all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from stages.tasks.contract import Figure, Judged, Measure, Table, TaskMeasures


def scores(truths: Sequence[str], answers: Sequence[str]) -> np.ndarray:
    """1 where the label is the true one, else 0: (N,)."""
    return (np.asarray(truths, dtype=object) == np.asarray(answers, dtype=object)).astype(np.float64)


def counts(truths: Sequence[str], answers: Sequence[str]) -> csr_array:
    """(N, S) float64: what each row adds."""
    rows = len(truths)
    names, codes = np.unique(
        np.concatenate([np.asarray(truths, dtype=str), np.asarray(answers, dtype=str)]), return_inverse=True
    )
    truth_N, answer_N, at_N, right_N = codes[:rows], codes[rows:], np.arange(rows), codes[:rows] == codes[rows:]
    labels = len(names)
    places = [
        (at_N[right_N], truth_N[right_N]), (at_N, labels + answer_N), (at_N, 2 * labels + truth_N),
        (at_N[right_N], np.full(int(right_N.sum()), 3 * labels)), (at_N, np.full(rows, 3 * labels + 1)),
    ]  # fmt: skip
    where = tuple(np.concatenate(part) for part in zip(*places, strict=True))
    return csr_array((np.ones(len(where[0])), where), shape=(rows, 3 * labels + 2))


def accuracy(sums_RS: np.ndarray) -> np.ndarray:
    """The share of right rows, (R,)."""
    return sums_RS[:, -2] / np.maximum(sums_RS[:, -1], 1)


def macro_f1(sums_RS: np.ndarray) -> np.ndarray:
    """The mean over the labels of 2 * hits / (rows that are given it + rows that have it), (R,).

    The labels are those of all rows: one that a resample has no row of counts as zero.
    """
    hits_RC, given_RC, true_RC = np.split(sums_RS[:, :-2], 3, axis=1)
    return (2 * hits_RC / np.maximum(given_RC + true_RC, 1)).mean(1)


def brier(judged: Judged) -> np.ndarray:
    """The squared distance of each row's probabilities from the truth as a one-hot vector, (N,); Brier 1950."""
    values = judged.outputs.values.astype(np.float64)
    place = {label: at for at, label in enumerate(judged.space["labels"])}
    of_truth = values[np.arange(len(values)), [place[label] for label in judged.truths]]
    return np.square(values).sum(1) - 2 * of_truth + 1


def report(judged: Judged) -> dict[str, Any]:
    """Macro precision and recall, the log loss in nats, the Brier score, and the figures of each label.

    Shares are in [0, 1]; means are over the labels that are true of a row or given to one.
    """
    from sklearn.metrics import precision_recall_fscore_support  # slow, and flows read measures without it

    present = sorted({*judged.truths, *judged.answers}, key=list(judged.space["labels"]).index)
    precision, recall, f1, support = precision_recall_fscore_support(
        judged.truths, judged.answers, labels=present, average=None, zero_division=0
    )
    return {
        "macro_precision": round(float(precision.mean()), 6),
        "macro_recall": round(float(recall.mean()), 6),
        "log_loss": round(float(judged.losses_N.mean()), 4),
        "brier": round(float(brier(judged).mean()), 6),
        "per_label": {
            label: {
                "precision": round(float(precision[i]), 6),
                "recall": round(float(recall[i]), 6),
                "f1": round(float(f1[i]), 6),
                "rows": int(support[i]),
            }
            for i, label in enumerate(present)
        },
    }


def tables(judged: Judged) -> Mapping[str, Table]:
    """`confusion`: the true label and the label given of each row, as DVC's plot of that name wants them."""
    return {"confusion": Table(("actual", "predicted"), list(zip(judged.truths, judged.answers, strict=True)))}


MEASURES = TaskMeasures(
    measures=(
        Measure("macro_f1", "macro-F1", macro_f1, strata=list),
        Measure("accuracy", "accuracy", accuracy, binary=True),
    ),
    counts=counts,
    scores=scores,
    kinds=lambda answer: (answer,),
    kind="label",
    classes=lambda columns: frozenset(name.removeprefix("p_") for name in columns if name.startswith("p_")),
    report=report,
    figures=(
        Figure("log_loss", "log loss", "nats", column="log_loss"),
        Figure("brier", "Brier score", column="brier"),
        Figure("ece", "calibration error", "share"),
    ),
    per_row=lambda judged: {"log_loss": judged.losses_N, "brier": brier(judged)},
    tables=tables,
)
