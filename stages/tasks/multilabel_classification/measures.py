"""The measures of a multi-label classifier, and the figures of each label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from stages.tasks.contract import Figure, Judged, Measure, Table, TaskMeasures
from stages.tasks.multilabel_classification import scores as of_sets
from stages.tasks.shared import found
from stages.tasks.shared.label_sets import from_text, held

BINS = 10  # of a label's probabilities


def counts(truths: Sequence[str], answers: Sequence[str]) -> csr_array:
    """(N, S) float64: what each row adds, as stages/tasks/multilabel_classification/scores.py says."""
    return of_sets.counts(*_held(truths, answers, _labels(truths, answers)))


def scores(truths: Sequence[str], answers: Sequence[str]) -> np.ndarray:
    """(N,): the labels in both sets over those in either (Jaccard); 1 where both are empty."""
    truths_NC, given_NC = _held(truths, answers, _labels(truths, answers))
    both_N, either_N = (truths_NC & given_NC).sum(1), (truths_NC | given_NC).sum(1)
    return np.where(either_N > 0, both_N / np.maximum(either_N, 1), 1.0)


def _labels(truths: Sequence[str], answers: Sequence[str]) -> list[str]:
    """Those that are true of a row or given to one, sorted."""
    return sorted({label for text in {*truths, *answers} for label in from_text(text)})


def _held(truths: Sequence[str], answers: Sequence[str], labels: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    truths_NC, given_NC = (held([from_text(text) for text in side], labels) for side in (truths, answers))
    return truths_NC, given_NC


def wrong_labels(judged: Judged) -> np.ndarray:
    """(N,): the share of the model's labels of which a row's answer is wrong (its part of the Hamming loss)."""
    truths_NC, given_NC = _held(judged.truths, judged.answers, judged.space["labels"])
    return (truths_NC != given_NC).mean(1)


def report(judged: Judged) -> dict[str, Any]:
    """Precision and recall of all labels together, the Hamming loss, the log loss in nats a label, and of each label.

    Shares are in [0, 1]; `true`: how many rows have the label; `ece`: how far its probabilities are from the shares of
    rows that have it (`calibration`).
    """
    rows = by_label(judged)
    errors = {name: {"ece": of["ece"]} for name, of in calibration(judged, list(rows)).items()}
    return {
        **found.together(rows),
        "hamming_loss": round(float(wrong_labels(judged).mean()), found.DIGITS),
        "log_loss": round(float(judged.losses_N.mean()), 4),
        "per_label": {name: {**of, **errors[name]} for name, of in found.reported(rows).items()},
    }


def by_label(judged: Judged) -> dict[str, dict[str, Any]]:
    """Of each label that is true of a row or given to one: rows found, given and true; precision, recall, F1."""
    labels = _labels(judged.truths, judged.answers)
    sums = of_sets.counts(*_held(judged.truths, judged.answers, labels)).sum(0).reshape(1, -1)
    return found.by_class(labels, of_sets.by_label(sums)[0])


def calibration(judged: Judged, labels: Sequence[str]) -> dict[str, dict[str, float]]:
    """Of each label the rows that its probabilities let expect, and `ece`, its expected calibration error, in [0, 1].

    That is the mean over the rows of |probability - share of rows that have it| of their bin, of BINS of equal width
    over (0, 1], closed above.
    """
    truths_NC, _ = _held(judged.truths, judged.answers, judged.space["labels"])
    found_by_label = {}
    for name in labels:
        at = judged.space["labels"].index(name)
        values_N = judged.outputs.values[:, at].astype(np.float64)
        bin_N = np.clip(np.ceil(values_N * BINS).astype(int) - 1, 0, BINS - 1)
        away = np.abs(np.bincount(bin_N, weights=values_N - truths_NC[:, at])).sum() / len(values_N)
        found_by_label[name] = {"expected": round(float(values_N.sum()), 1), "ece": round(float(away), found.DIGITS)}
    return found_by_label


def tables(judged: Judged) -> Mapping[str, Table]:
    """`labels`: the figures of each label, how right its probabilities are, and its threshold."""
    own = by_label(judged)
    table, expected = found.as_table("label", own), calibration(judged, list(own))
    rows = [
        [*row, *expected[name].values(), of_sets.threshold(name, judged.space)]
        for name, row in zip(own, table.rows, strict=True)
    ]
    return {"labels": Table((*table.columns, "expected", "ece", "threshold"), rows)}


MEASURES = TaskMeasures(
    measures=(
        Measure("micro_f1", "micro-F1", of_sets.micro_f1),
        Measure("macro_f1", "macro-F1", of_sets.macro_f1),
        Measure("subset_accuracy", "subset accuracy", of_sets.subset_accuracy),
    ),
    counts=counts,
    scores=scores,
    kinds=from_text,
    kind="label",
    classes=lambda columns: frozenset(name.removeprefix("p_") for name in columns if name.startswith("p_")),
    report=report,
    figures=(
        Figure("precision", "precision", "share", better="higher"),
        Figure("recall", "recall", "share", better="higher"),
        Figure("hamming_loss", "Hamming loss", "share", column="hamming_loss"),
        Figure("log_loss", "log loss", "nats", column="log_loss"),
        Figure("ece", "calibration error", "share"),
    ),
    per_row=lambda judged: {"hamming_loss": wrong_labels(judged), "log_loss": judged.losses_N},
    tables=tables,
)
