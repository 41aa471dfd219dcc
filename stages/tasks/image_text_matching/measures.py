"""The measures of images and texts that belong together: recall both ways. The unit is the image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from stages.tasks.contract import Judged, Measure, Table, TaskMeasures
from stages.tasks.image_text_matching import scores as of_ranks

DEPTHS = (1, 2, 3, 5, 10, 20, 50, 100)
SIDES = ("text", "image")


def counts(_truths: Sequence[str], answers: Sequence[str]) -> csr_array:
    """(N, 7) float64: what each row adds, as stages/tasks/image_text_matching/scores.py says."""
    return of_ranks.counts_of(of_ranks.ranks_of(answers))


def scores(_truths: Sequence[str], answers: Sequence[str]) -> np.ndarray:
    """(N,): 1 where image and text find each other first of all, 0.5 where one of them does, else 0."""
    found: np.ndarray = (of_ranks.ranks_of(answers) == 1).mean(1)
    return found


def report(judged: Judged) -> dict[str, Any]:
    """`median_text_rank` and `median_image_rank`, which are 1 at best."""
    medians = np.median(of_ranks.ranks_of(judged.answers), axis=0).tolist()
    return {f"median_{side}_rank": median for side, median in zip(SIDES, medians, strict=True)}


def per_row(judged: Judged) -> dict[str, np.ndarray]:
    """The similarity of each row, and its ranks."""
    ranks_N2 = of_ranks.ranks_of(judged.answers)
    similar_N = np.array([of_ranks.from_text(answer).similarity for answer in judged.answers])
    return {"similarity": similar_N, "text_rank": ranks_N2[:, 0], "image_rank": ranks_N2[:, 1]}


def tables(judged: Judged) -> Mapping[str, Table]:
    """`recall` both ways, at several depths."""
    ranks_N2 = of_ranks.ranks_of(judged.answers)
    rows = [[k, *(round(float(share), 6) for share in (ranks_N2 <= k).mean(0))] for k in DEPTHS]
    return {"recall": Table(("k", "text_recall", "image_recall"), rows)}


def _title(name: str) -> str:
    side, _, depth = name.rpartition("recall_at_")
    found = {"": "recall@", "text_": "recall@{} of texts by images", "image_": "recall@{} of images by texts"}[side]
    return found.format(depth) if "{}" in found else f"{found}{depth}"


MEASURES = TaskMeasures(
    measures=tuple(Measure(name, _title(name), of_ranks.mean_of(*places)) for name, places in of_ranks.PLACES.items()),
    counts=counts,
    scores=scores,
    ranked=lambda _: True,
    kinds=lambda _: ("pair",),
    gist=lambda answer: f"{round(of_ranks.from_text(answer).similarity, 1) + 0.0:.1f}",  # never -0.0
    differ=lambda one, other, _: (
        round(abs(of_ranks.from_text(one).similarity - of_ranks.from_text(other).similarity), 6) > of_ranks.NEARLY
    ),
    report=report,
    per_row=per_row,
    tables=tables,
)
