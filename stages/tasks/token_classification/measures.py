"""The measures of an entity tagger, and the figures of each type."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from stages.tasks.contract import Figure, Judged, Measure, Table, TaskMeasures
from stages.tasks.shared import found
from stages.tasks.shared.spans import Span, from_text
from stages.tasks.token_classification import scores as of_spans


def counts(truths: Sequence[str], answers: Sequence[str]) -> csr_array:
    """(N, S) float64: what each row adds, as stages/tasks/token_classification/scores.py says."""
    truths_N, answers_N = _spans(truths), _spans(answers)
    return of_spans.counts(truths_N, answers_N, of_spans.types_of(truths_N, answers_N))


def scores(truths: Sequence[str], answers: Sequence[str]) -> np.ndarray:
    """The F1 of each row's spans, (N,); 1 where it has none and is given none."""
    return np.array([_f1(*pair) for pair in zip(_spans(truths), _spans(answers), strict=True)], dtype=np.float64)


def _f1(truth: Sequence[Span], answer: Sequence[Span]) -> float:
    if not truth and not answer:
        return 1.0
    return 2 * (Counter(truth) & Counter(answer)).total() / (len(truth) + len(answer))


def _spans(texts: Sequence[str]) -> list[tuple[Span, ...]]:
    return [from_text(text) for text in texts]


def kinds(answer: str) -> tuple[str, ...]:
    """The types of its spans, each once, sorted."""
    return tuple(sorted({span.type for span in from_text(answer)}))


def gist(answer: str) -> str:
    """The types of its spans, in their order."""
    return " ".join(span.type for span in from_text(answer))


def report(judged: Judged) -> dict[str, Any]:
    """Precision and recall of entities, the log loss in nats a token, and the figures of each type.

    Shares are in [0, 1]; `true`: how many spans there are.
    """
    rows = by_type(judged)
    return {
        **found.together(rows),
        "log_loss": round(float(judged.losses_N.mean()), 4),
        "per_type": found.reported(rows),
    }


def by_type(judged: Judged) -> dict[str, dict[str, Any]]:
    """Of each type that is true of a row or given to one: found, given and true spans, precision, recall, F1."""
    truths_N, answers_N = _spans(judged.truths), _spans(judged.answers)
    types = of_spans.types_of(truths_N, answers_N)
    sums = np.asarray(of_spans.counts(truths_N, answers_N, types).sum(0)).reshape(1, -1)
    return found.by_class(types, of_spans.by_kind(sums)[0][:, :-1])


def tables(judged: Judged) -> Mapping[str, Table]:
    """`entities`: the figures of each type."""
    return {"entities": found.as_table("type", by_type(judged))}


MEASURES = TaskMeasures(
    measures=(
        Measure("entity_f1", "entity F1", of_spans.entity_f1),
        Measure("type_f1", "mean F1 of types", of_spans.type_f1),
        Measure("bounds_f1", "F1 of bounds", of_spans.bounds_f1),
        Measure("exact_match", "exact match", of_spans.exact_match),
    ),
    counts=counts,
    scores=scores,
    kinds=kinds,
    kind="type",
    gist=gist,
    marks=from_text,
    report=report,
    figures=(
        Figure("precision", "precision", "share", better="higher"),
        Figure("recall", "recall", "share", better="higher"),
        Figure("log_loss", "log loss", "nats", column="log_loss"),
        Figure("ece", "calibration error", "share"),
    ),
    per_row=lambda judged: {"log_loss": judged.losses_N},
    tables=tables,
)
