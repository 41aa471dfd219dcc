"""What entity F1 is counted from: the spans that are true, given, and both; and its score, by which an epoch is chosen.

An entity is found where its span and its type are both given (Tjong Kim Sang and De Meulder 2003, W03-0419).
N rows, K types that are true of a row or given to one, S = 3 (K + 1) + 2 counts:

    found of each type and of bounds | given ... | true ... | right rows, rows
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from stages.tasks.shared.found import f1
from stages.tasks.shared.spans import Span

if TYPE_CHECKING:
    from scipy.sparse import csr_array

KINDS = 3  # found (in both), given (in the answer), true


def counts(truths_N: Sequence[Sequence[Span]], answers_N: Sequence[Sequence[Span]], types: Sequence[str]) -> csr_array:
    """(N, S) float64: what each row adds. `types`: all that these spans have."""
    from scipy.sparse import csr_array  # not where a model is only opened

    width = len(types) + 1
    place = {kind: number for number, kind in enumerate(types)}
    values: list[int] = []
    columns: list[int] = []
    ends = [0]
    for truth, answer in zip(truths_N, answers_N, strict=True):
        own = sorted(_row(Counter(truth), Counter(answer), place, width))
        columns += [column for column, _ in own]
        values += [value for _, value in own]
        ends.append(len(columns))
    shape = (len(truths_N), KINDS * width + 2)
    return csr_array((np.array(values, dtype=np.float64), np.array(columns, dtype=np.int64), ends), shape=shape)


def _row(truth: Counter[Span], answer: Counter[Span], place: dict[str, int], width: int) -> Iterator[tuple[int, int]]:
    """The columns that a row adds to, and how much."""
    bounds = Counter(span[:2] for span in truth.elements()) & Counter(span[:2] for span in answer.elements())
    every = (truth & answer, bounds.total()), (answer, answer.total()), (truth, truth.total())
    for kind, (spans, of_bounds) in enumerate(every):
        by_type = Counter(span.type for span in spans.elements())
        yield from ((kind * width + place[name], count) for name, count in by_type.items())
        if of_bounds:
            yield kind * width + width - 1, of_bounds
    if truth == answer:
        yield KINDS * width, 1
    yield KINDS * width + 1, 1


def by_kind(sums_RS: csr_array | np.ndarray) -> np.ndarray:
    """(R, 3, K + 1): found, given and true of each type and, in the last place, of bounds."""
    sums_RS = _dense(sums_RS)
    return sums_RS[:, :-2].reshape(len(sums_RS), KINDS, -1)


def entity_f1(sums_RS: csr_array | np.ndarray) -> np.ndarray:
    """F1 of all entities together, (R,): 2 found / (given + true); 0 where nothing is true and nothing given."""
    return f1(by_kind(sums_RS)[:, :, :-1].sum(2))


def type_f1(sums_RS: csr_array | np.ndarray) -> np.ndarray:
    """The mean over the types of their F1, (R,); a type of which a resample has no span counts as 0."""
    of_types = f1(by_kind(sums_RS)[:, :, :-1])
    return of_types.mean(1) if of_types.shape[1] else np.zeros(len(of_types))


def bounds_f1(sums_RS: csr_array | np.ndarray) -> np.ndarray:
    """F1 of spans whatever their type, (R,)."""
    return f1(by_kind(sums_RS)[:, :, -1])


def exact_match(sums_RS: csr_array | np.ndarray) -> np.ndarray:
    """The share of rows with all spans right and no other given, (R,)."""
    sums_RS = _dense(sums_RS)
    return sums_RS[:, -2] / np.maximum(sums_RS[:, -1], 1)


def _dense(sums_RS: csr_array | np.ndarray) -> np.ndarray:
    return sums_RS if isinstance(sums_RS, np.ndarray) else sums_RS.toarray()


MEASURED = {"entity_f1": entity_f1, "type_f1": type_f1, "bounds_f1": bounds_f1, "exact_match": exact_match}


def score(truths_N: Sequence[Sequence[Span]], answers_N: Sequence[Sequence[Span]]) -> dict[str, float]:
    """Each measure of all rows together, in [0, 1]."""
    sums = counts(truths_N, answers_N, types_of(truths_N, answers_N)).sum(0).reshape(1, -1)
    return {name: float(measure(np.asarray(sums))[0]) for name, measure in MEASURED.items()}


def types_of(*spans_N: Sequence[Sequence[Span]]) -> list[str]:
    """All types of these spans, sorted."""
    return sorted({span.type for rows in spans_N for spans in rows for span in spans})
