"""What F1 over sets of labels is counted from, the score by which an epoch is chosen, and when a label is given.

N rows, C labels, R resamples; S = 3 C + 2 counts: of each label the rows that have it and are given it (found), those
given it, and those that truly have it; then the rows whose whole set is right, and all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from stages.core.contracts import Space
from stages.tasks.shared import label_thresholds
from stages.tasks.shared.found import f1

if TYPE_CHECKING:
    from scipy.sparse import csr_array

PARTS = 3  # found, given, true
HALF = 0.5  # the threshold of a model that has none fitted; no temperature moves a probability across it


def counts(truths_NC: np.ndarray, given_NC: np.ndarray) -> csr_array:
    """(N, S) float64: what each row adds."""
    from scipy.sparse import csr_array, hstack  # not where a model is only opened

    right_N1 = (truths_NC == given_NC).all(1, keepdims=True)
    parts = (truths_NC & given_NC, given_NC, truths_NC, right_N1, np.ones_like(right_N1))
    return csr_array(hstack([csr_array(part) for part in parts]).astype(np.float64))


def by_label(sums_RS: np.ndarray) -> np.ndarray:
    """(R, 3, C): found, given and true of each label."""
    return sums_RS[:, :-2].reshape(len(sums_RS), PARTS, -1)


def micro_f1(sums_RS: np.ndarray) -> np.ndarray:
    """F1 of all labels together, (R,); 0 where nothing is true and nothing given."""
    return f1(by_label(sums_RS).sum(2))


def macro_f1(sums_RS: np.ndarray) -> np.ndarray:
    """The mean over the labels of their F1, (R,); a label of which a resample has no row counts as 0."""
    of_labels = f1(by_label(sums_RS))
    return of_labels.mean(1) if of_labels.shape[1] else np.zeros(len(of_labels))


def subset_accuracy(sums_RS: np.ndarray) -> np.ndarray:
    """The share of rows whose whole set is right, (R,)."""
    return sums_RS[:, -2] / np.maximum(sums_RS[:, -1], 1)


MEASURED = {"micro_f1": micro_f1, "macro_f1": macro_f1, "subset_accuracy": subset_accuracy}


def score(truths_NC: np.ndarray, given_NC: np.ndarray) -> dict[str, float]:
    """Each measure of all rows together, in [0, 1]; over the labels that are true of a row or given to one."""
    occur_C = (truths_NC | given_NC).any(0)
    sums = counts(truths_NC[:, occur_C], given_NC[:, occur_C]).sum(0).reshape(1, -1)
    return {name: float(measure(sums)[0]) for name, measure in MEASURED.items()}


def given(values_NC: np.ndarray, space: Space) -> np.ndarray:
    """(N, C) bool: the labels whose probability is above their threshold."""
    return values_NC > np.array([threshold(label, space) for label in space["labels"]])


def threshold(label: str, space: Space) -> float:
    """That of a label: its probability must be above it for the label to be given."""
    return float(space.get("thresholds", {}).get(label, HALF))


def fitted(truths_NC: np.ndarray, values_NC: np.ndarray, space: Space, measure: str) -> Space:
    """The space with `thresholds`, by label: those by which the `measure` of these rows, and of others, is best."""
    found_C = label_thresholds.fitted(
        truths_NC, values_NC, lambda given_NC: score(truths_NC, given_NC)[measure],
        each_counts_the_same=measure == "macro_f1",
    )  # fmt: skip
    return {**space, "thresholds": dict(zip(space["labels"], found_C.tolist(), strict=True))}
