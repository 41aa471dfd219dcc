"""Entity F1, by exact span and type: sums of the counts of each row, so that any set of rows has its own.

N rows, K types, S = 3 (K + 1) counts: found, given and true, of each type and, in the last place, of bounds alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from stages.tasks.shared.spans import Span

KINDS = 3  # found (in both), given (in the answer), true


def counts(truths_N: Sequence[Sequence[Span]], answers_N: Sequence[Sequence[Span]], types: Sequence[str]) -> np.ndarray:
    """(N, S) int64: what each row adds. An entity is found where its span and its type are both given.

    Raises ValueError for a type that is not one of `types`.
    """
    place = {kind: number for number, kind in enumerate(types)}
    unknown = sorted({span.type for spans in (*truths_N, *answers_N) for span in spans} - place.keys())
    if unknown:
        raise ValueError(f"the type '{unknown[0]}' is not known. Known: {', '.join(types)}.")
    found = np.zeros((len(truths_N), KINDS, len(types) + 1), dtype=np.int64)
    for row, (truth, answer) in enumerate(zip(truths_N, answers_N, strict=True)):
        both = Counter(truth) & Counter(answer)
        for kind, spans in enumerate((both.elements(), answer, truth)):
            for span in spans:
                found[row, kind, place[span.type]] += 1
        bounds = Counter(span[:2] for span in truth) & Counter(span[:2] for span in answer)
        found[row, :, -1] = bounds.total(), len(answer), len(truth)
    return found.reshape(len(truths_N), -1)


def f1_of_sums(sums_RS: np.ndarray) -> np.ndarray:
    """Entity F1 (R,) of all types together, in [0, 1]; 0 where nothing is true and nothing given."""
    per_kind = sums_RS.reshape(len(sums_RS), KINDS, -1)[:, :, :-1].sum(2)
    return _f1(per_kind)


def f1_by_type(sums_RS: np.ndarray) -> np.ndarray:
    """F1 (R, K) of each type."""
    per_kind = sums_RS.reshape(len(sums_RS), KINDS, -1)[:, :, :-1]
    return _f1(per_kind)


def f1_of_bounds(sums_RS: np.ndarray) -> np.ndarray:
    """F1 (R,) of spans whatever their type."""
    return _f1(sums_RS.reshape(len(sums_RS), KINDS, -1)[:, :, -1])


def _f1(found_given_true: np.ndarray) -> np.ndarray:
    """2 found / (given + true), over the second axis; 0 where that is 0 by 0."""
    found, given, true = np.moveaxis(found_given_true, 1, 0).astype(np.float64)
    return np.divide(2 * found, given + true, out=np.zeros_like(found), where=given + true > 0)
