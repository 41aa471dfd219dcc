"""Precision, recall and F1 of classes of which a row may hold several: labels, or the types of spans.

All of them are made of three counts: how many were found (they are true, and given), given, and true. C classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from stages.tasks.contract import Table

SHARES = ("precision", "recall", "f1")
COUNTS = ("found", "given", "true")
DIGITS = 6


def f1(found_given_true: np.ndarray) -> np.ndarray:
    """2 found / (given + true), over the second axis, in [0, 1]; 0 where that is 0 by 0."""
    found, given, true = np.moveaxis(found_given_true, 1, 0).astype(np.float64)
    return np.divide(2 * found, given + true, out=np.zeros_like(found), where=given + true > 0)


def by_class(classes: Sequence[str], found_given_true_3C: np.ndarray) -> dict[str, dict[str, Any]]:
    """Of each class precision, recall and F1, in [0, 1], and the counts."""
    counts = found_given_true_3C.T.astype(int).tolist()
    return {name: _figures(*of_class) for name, of_class in zip(classes, counts, strict=True)}


def together(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Precision and recall of all classes together, each in [0, 1]; `rows` as of `by_class`."""
    sums = _figures(*(sum(row[name] for row in rows.values()) for name in COUNTS))
    return {name: sums[name] for name in ("precision", "recall")}


def reported(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The figures of each class that metrics/quality has; `true`: how many there are."""
    return {name: {key: row[key] for key in (*SHARES, "true")} for name, row in rows.items()}


def as_table(kind: str, rows: Mapping[str, Mapping[str, Any]]) -> Table:
    """All figures, a row a class; `kind` is the title of the first column."""
    columns = (*SHARES, *COUNTS)
    return Table((kind, *columns), [[name, *(row[column] for column in columns)] for name, row in rows.items()])


def _figures(found: int, given: int, true: int) -> dict[str, Any]:
    shares = (found, given), (found, true), (2 * found, given + true)
    rounded = (round(part / whole if whole else 0.0, DIGITS) for part, whole in shares)
    return {**dict(zip(SHARES, rounded, strict=True)), "found": found, "given": given, "true": true}
