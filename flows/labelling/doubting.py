"""Training rows whose target is likely wrong, the likeliest first: what models that did not learn from them say.

Source: Northcutt et al. 2021, arXiv:1911.00068 (confident learning).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np

from flows.answering.errors import words
from flows.answering.neighbours import Near, nearest
from flows.labelling.listed import Listed
from flows.labelling.out_of_fold import by_baseline, folds_of, has_probe, with_probe
from flows.labelling.parts import doubts_of
from stages.core import plugins
from stages.core.contracts import as_one
from stages.core.params.file import Params
from stages.core.paths import Paths
from stages.reading.clean_rows import GROUP, TEXT_PAIR, read_split, texts_of
from stages.tasks import TASKS
from stages.tasks.contract import TaskAnswers, TaskMeasures

DIGITS = 4


@dataclass(frozen=True)
class Doubted:
    """A training row whose target is doubted: `row.given`; `row.suggestion` is the likelier one."""

    row: Listed
    quality: float
    """In [0, 1]; the lower, the likelier the target is wrong."""
    probability: float | None
    """How sure the model is of the likelier target; None: it does not say."""
    probability_of_given: float | None
    flagged: bool
    """Whether confident learning takes it for wrong."""
    probed: bool = False
    """Whether it is judged by the mean of two models: the baseline, and a head on the probe's encoder."""
    near: Sequence[Near] = ()

    @property
    def reason(self) -> str:
        """Why it is doubted, in words."""
        by = "the mean of two models" if self.probed else "a model"
        told = f"{by} that did not learn from it says {self.row.suggestion}"
        if self.probability is not None:
            told += f" ({self.probability:.2f}; {self.row.given}: {self.probability_of_given:.2f})"
        if self.near:
            targets = [near.truth for near in self.near]
            likely, own = targets.count(self.row.suggestion or ""), targets.count(self.row.given or "")
            told += f"; of the {len(targets)} nearest rows {likely} have that, {own} this one's"
        return f"{told}; confident learning flags it" if self.flagged else told


class DoubtedRows(NamedTuple):
    """The doubted rows of a project."""

    rows: list[Doubted]
    doubted: int
    """How many there are, of which `rows` are the first."""
    flagged: int
    """Those of them that confident learning takes for wrong."""
    of: int
    """The training rows."""
    unjudged: int
    """Those of a class that no model has learned from rows of another part."""
    settled: int
    """Those that somebody has looked at already."""
    probed: bool = False
    """Whether the probe's encoder was asked too, beside the baseline."""


class Settings(NamedTuple):
    """How much is looked at, and shown."""

    limit: int
    neighbours: int
    folds: int
    most: int
    """The rows that a model learns from, at most."""
    apart: Literal["row", "group"] = "row"
    """What no model learns from of what it judges: the row alone, or all rows of its group."""
    probe: bool = True
    """Whether the probe's encoder is asked too, where it is made."""


def doubted_rows(
    paths: Paths, params: Params, settings: Settings, *, settled: Collection[str], on_fold: Callable[[], object]
) -> DoubtedRows:  # fmt: skip
    """Up to `settings.limit` training rows whose target differs from what is likelier; `settled` are ids left out.

    `on_fold` is told of each model that has answered.

    Raises ValueError where the task's targets cannot be doubted, or there are too few rows, DvcError where the probe
    cannot be asked.
    """
    doubts = doubts_of(params.task.name)
    answers: TaskAnswers = plugins.part(TASKS, params.task.name, "answers", key="task.name")
    train = read_split(paths.clean, "train", "origin", GROUP)
    texts, targets = texts_of(train), train["label"].to_pylist()
    groups = train[GROUP].to_pylist() if settings.apart == "group" else None
    folds = folds_of(
        targets, groups, params.task.name, folds=settings.folds, most=settings.most, seed=params.data_seed
    )  # fmt: skip
    found = by_baseline(texts, targets, folds, params, doubts, on_fold=on_fold)
    if probed := settings.probe and has_probe(paths):
        found = with_probe(found, paths, folds, on_fold=on_fold)
    given = [targets[at] for at in found.at]
    said = doubts.doubts(given, found.outputs, found.space)
    likely = answers.answers(found.outputs, found.space)
    known = answers.confidence
    sure_of_likely, sure_of_given = (
        [None] * len(given) if known is None else _rounded(known(found.outputs, some, found.space))
        for some in (likely, given)
    )
    quality = _rounded(said.quality_N)
    exact = dict(zip(train.take(found.at)["row_id"].to_pylist(), said.quality_N.tolist(), strict=True))
    rows = [
        Doubted(
            Listed(own["row_id"], own["text"], own.get(TEXT_PAIR), own["origin"], own["label"], likely[at]),
            quality[at], sure_of_likely[at], sure_of_given[at], bool(said.flagged_N[at]), probed,
        )
        for at, own in enumerate(train.take(found.at).to_pylist())
        if likely[at] != given[at]
    ]  # fmt: skip
    left = [one for one in rows if one.row.row_id not in settled]
    left.sort(key=lambda one: (exact[one.row.row_id], one.row.row_id))
    return DoubtedRows(
        _with_neighbours(left[: settings.limit], paths, settings.neighbours, params.task.name),
        len(left), sum(one.flagged for one in left), len(train), len(train) - len(found.at), len(rows) - len(left),
        probed,
    )  # fmt: skip


def _rounded(values_N: np.ndarray) -> list[float]:
    return [round(float(value), DIGITS) for value in values_N]


def _with_neighbours(rows: Sequence[Doubted], paths: Paths, count: int, task: str) -> list[Doubted]:
    """The rows with the training rows nearest to each; without itself, which is the nearest."""
    if not count:
        return list(rows)
    measures: TaskMeasures = plugins.part(TASKS, task, "measures", key="task.name")
    texts = [as_one(one.row.asked) for one in rows]
    return [
        replace(one, near=tuple(
            near._replace(truth=words(near.text, near.truth, measures))
            for near in beside if near.row_id != one.row.row_id
        )[:count])
        for one, beside in zip(rows, nearest(paths.clean, texts, count + 1), strict=True)
    ]  # fmt: skip
