"""Two models on the rows that both answered, and how the gate puts numbers into words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from flows.review.evidence import Results

SHOWN = {"accuracy": "accuracy", "macro_f1": "macro-F1"}


class Pairs(NamedTuple):
    """The N rows that both models answered."""

    labels: np.ndarray
    before: np.ndarray
    after: np.ndarray
    slices: Mapping[str, np.ndarray]
    all_rows: int  # of the candidate

    @property
    def lost(self) -> np.ndarray:
        return (self.before == self.labels) & (self.after != self.labels)

    @property
    def won(self) -> np.ndarray:
        return (self.before != self.labels) & (self.after == self.labels)


def pairs_of(candidate: Results, released: Results) -> Pairs | str:
    """The rows that both models answered, or, in words, the reason why they cannot be compared."""
    rows = len(candidate.row_ids)
    if not rows or not len(released.row_ids):
        return "one of the models has no predictions."
    common, new, old = np.intersect1d(candidate.row_ids, released.row_ids, return_indices=True)
    if not len(common):
        return "the two models have no test row in common."
    labels = candidate.labels[new]
    if relabelled := int((labels != released.labels[old]).sum()):
        return f"{relabelled:,} of {len(common):,} test rows have another true label than before."
    slices = {name: mask[new] for name, mask in candidate.slices.items()}
    return Pairs(labels, released.predicted[old], candidate.predicted[new], slices, rows)


def points(share: float) -> str:
    """A difference, signed, in points."""
    return f"{round(100 * share, 1) + 0.0:+.1f}"  # never -0.0


def plain(value: float) -> str:
    """The number with one decimal, and with more only where it has them: 2.0, 0.25."""
    return f"{value:.1f}" if math.isclose(value, round(value, 1)) else f"{value:.6g}"
