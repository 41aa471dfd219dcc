"""The share of right answers, from sums."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.sparse import csr_array

from stages.tasks.contract import Judged, Measure, Table, TaskMeasures


def scores(truths: Sequence[str], answers: Sequence[str]) -> np.ndarray:
    """1 or 0."""
    return np.array([float(one == other) for one, other in zip(truths, answers, strict=True)])


def counts(truths: Sequence[str], answers: Sequence[str]) -> csr_array:
    """(N, 2): right, and one."""
    return csr_array(np.column_stack([scores(truths, answers), np.ones(len(truths))]))


def tables(judged: Judged) -> dict[str, Table]:
    """How many of each."""
    return {"given": Table(("answer", "rows"), [[one, judged.answers.count(one)] for one in ("yes", "no")])}


MEASURES = TaskMeasures(
    measures=(Measure("right", "right", lambda sums_RS: sums_RS[:, 0] / np.maximum(sums_RS[:, 1], 1), binary=True),),
    counts=counts, scores=scores, kinds=lambda answer: (answer,), tables=tables,
)  # fmt: skip
