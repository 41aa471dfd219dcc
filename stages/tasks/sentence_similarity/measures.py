"""The measures of similarities, and of ranks where texts belong together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.sparse import csr_array
from scipy.stats import rankdata

from stages.tasks.contract import Judged, Measure, Table, TaskMeasures
from stages.tasks.sentence_similarity import scores as of_pairs
from stages.tasks.shared.matched_texts import RANK, from_text, is_pair

DEPTHS = (1, 2, 3, 5, 10, 20, 50, 100)


def counts(truths: Sequence[str], answers: Sequence[str]) -> csr_array:
    """(N, S) float64: what each row adds, as stages/tasks/sentence_similarity/scores.py says."""
    if _are_pairs(truths):
        return of_pairs.counts_of_ranks(_ranks(answers))
    return of_pairs.counts_of_numbers(*_numbers(truths, answers))


def scores(truths: Sequence[str], answers: Sequence[str]) -> np.ndarray:
    """(N,): what a rank adds to nDCG@10; of numbers how near its place among the answers is to that of its truth."""
    return of_pairs.gains(_ranks(answers)) if _are_pairs(truths) else nearness(*_numbers(truths, answers))


def nearness(truths_N: np.ndarray, given_N: np.ndarray) -> np.ndarray:
    """(N,) in [0, 1]: 1 for a row as high among the answers as among the truths, 0 from one end to the other."""
    return 1 - np.abs(rankdata(truths_N) - rankdata(given_N)) / max(len(truths_N) - 1, 1)


def _are_pairs(truths: Sequence[str]) -> bool:
    return len(truths) > 0 and is_pair(truths[0])


def _ranks(answers: Sequence[str]) -> np.ndarray:
    return np.array([from_text(answer).rank for answer in answers], dtype=np.int64)


def _similarities(answers: Sequence[str]) -> np.ndarray:
    return np.array([from_text(answer).similarity for answer in answers])


def _numbers(truths: Sequence[str], answers: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([float(truth) for truth in truths]), _similarities(answers)


def report(judged: Judged) -> dict[str, Any]:
    """`median_rank` of pairs, which is 1 at best."""
    return {"median_rank": float(np.median(_ranks(judged.answers)))} if _are_pairs(judged.truths) else {}


def per_row(judged: Judged) -> dict[str, np.ndarray]:
    """The similarity of each row; of pairs its rank."""
    ranks = {"rank": _ranks(judged.answers)} if _are_pairs(judged.truths) else {}
    return {"similarity": _similarities(judged.answers), **ranks}


def tables(judged: Judged) -> Mapping[str, Table]:
    """`recall` of pairs, at several depths; of numbers `similarities`, the truth and the answer of each row."""
    if _are_pairs(judged.truths):
        rank_N = _ranks(judged.answers)
        return {"recall": Table(("k", "recall"), [[k, round(float((rank_N <= k).mean()), 6)] for k in DEPTHS])}
    truths, given = (side.tolist() for side in _numbers(judged.truths, judged.answers))
    return {"similarities": Table(("truth", "similarity"), list(zip(truths, given, strict=True)))}


def _of_numbers(truths: Sequence[str]) -> bool:
    return not len(truths) or not is_pair(truths[0])


def _of_pairs(truths: Sequence[str]) -> bool:
    return not len(truths) or is_pair(truths[0])


TITLES = ("nDCG@10", "mean reciprocal rank", "recall@1", "recall@10")

MEASURES = TaskMeasures(
    measures=(
        Measure("spearman", "Spearman correlation", of_pairs.spearman, unit="", least=-1.0, applies=_of_numbers),
        *(
            Measure(name, title, of_pairs.of_ranks(place), applies=_of_pairs)
            for (name, place), title in zip(of_pairs.MEASURED_RANKS.items(), TITLES, strict=True)
        ),
    ),
    counts=counts,
    scores=scores,
    ranked=lambda truths: len(truths) > 0 and _of_pairs(truths),
    kinds=lambda answer: ("pair" if is_pair(answer) or RANK in answer else "number",),
    gist=lambda answer: f"{round(from_text(answer).similarity, 1) + 0.0:.1f}",  # never -0.0
    differ=lambda one, other, _: (
        round(abs(from_text(one).similarity - from_text(other).similarity), 6) > of_pairs.NEARLY
    ),
    report=report,
    per_row=per_row,
    tables=tables,
)
