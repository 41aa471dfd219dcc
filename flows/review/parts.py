"""What got better and worse within the test rows that both sides have: by class of the truth, and by slice. Pure.

exclusive classes (labels)            rows of that truth, the mean of their scores
several classes in a row (types)      F1 of that class alone, from the rows that have it or are given it
no class with figures of its own      rows by what their truths hold (an answer, none), the mean of their scores
slices                                rows of the slice, the mean of their scores
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from scipy.sparse import csr_array

from flows.gate.same_rows import mean_difference
from flows.review.evidence import PartChange, Results, mapping
from stages.core.params.evaluate import EvaluateParams
from stages.measures.counted import Counted, codes
from stages.measures.paired import difference_interval, measured, turned
from stages.tasks.contract import Measure, TaskMeasures
from stages.tasks.shared import found

TRUTH = "label"  # the column of the clean rows


def parts(model: str, old: Results, new: Results, task: TaskMeasures, settings: EvaluateParams) -> Iterator[PartChange]:
    """The parts of a model's test rows, first the classes, then the slices.

    Both results have the same rows, in one order. A part is better or worse where `turned` says so at the confidence
    of the settings, with Bonferroni's correction for the parts of its kind.
    """
    found_parts = list(_by_class(old, new, task, settings))
    of_truths = bool(found_parts)  # slices by the truth would be the same parts again
    for name, mask_N in new.slices.items():
        by, _, value = name.partition(": ")
        if not (by == TRUTH and of_truths) and mask_N.any():
            found_parts.append(_of_rows(by, value, mask_N, old, new, task, settings))
    of_kind = Counter(part.by for part in found_parts)
    for part in found_parts:
        sure = part.p_value < (1 - settings.confidence) / of_kind[part.by]
        yield part.change(model, "better" if part.after > part.before else "worse", sure=sure)


class _Part(NamedTuple):
    """A part before its verdict, which hangs on how many there are."""

    by: str
    name: str
    measure: str
    rows: int
    better: int
    worse: int
    p_value: float
    moved: float  # the sum of the rows' scores, after - before: what `p_value` is of
    before: float
    after: float
    low: float
    high: float

    def change(self, model: str, verdict: Literal["better", "worse"], *, sure: bool) -> PartChange:
        """The record; neither better nor worse where that is not sure, or the rows and the measure disagree."""
        agree = self.moved * (self.after - self.before) > 0
        return PartChange(
            model, self.by, self.name, self.measure, self.rows, self.better, self.worse, self.before, self.after,
            self.low, self.high, verdict if sure and agree else "no clear change",
        )  # fmt: skip


def _by_class(old: Results, new: Results, task: TaskMeasures, settings: EvaluateParams) -> Iterator[_Part]:
    strata = next((one.strata for one in task.measures if one.strata), None)
    if strata is not None:
        yield from _grouped(strata(new.truths.tolist()), old, new, task, settings)
    elif any(_has_f1(side, task.kind) for side in (old, new)):
        yield from _several(old, new, task, settings)
    else:
        held = [" and ".join(task.kinds(truth)) for truth in new.truths.tolist()]
        if len({*held}) > 1:  # of numbers, or of texts, all rows are of one kind
            yield from _grouped(held, old, new, task, settings)


def _has_f1(side: Results, kind: str) -> bool:
    """Whether the task measures an F1 of each class."""
    return any("f1" in mapping(of) for of in mapping(side.quality, f"per_{kind}").values())


def _grouped(
    groups: Sequence[str], old: Results, new: Results, task: TaskMeasures, settings: EvaluateParams
) -> Iterator[_Part]:
    groups_N = np.asarray(groups, dtype=str)
    for name in np.unique(groups_N):
        yield _of_rows(task.kind, str(name), groups_N == name, old, new, task, settings)


def _of_rows(
    by: str, name: str, mask_N: np.ndarray, old: Results, new: Results, task: TaskMeasures, settings: EvaluateParams
) -> _Part:
    """The part of the rows in the mask, by the mean of their scores."""
    units_N = codes(new.units[mask_N])
    before, after = (_scored(side.scores_N[mask_N], units_N) for side in (old, new))
    ends = mean_difference(before, after, settings.confidence)
    worse, better, p_value = turned(before.scores_N, after.scores_N, units_N)
    return _Part(
        by, name, task.score_title, int(mask_N.sum()), better, worse, p_value,
        float((after.scores_N - before.scores_N).sum()),
        float(before.scores_N.mean()), float(after.scores_N.mean()), ends.low, ends.high,
    )  # fmt: skip


def _scored(scores_N: np.ndarray, units_N: np.ndarray) -> Counted:
    return Counted(csr_array((len(scores_N), 0)), scores_N, units_N)


F1 = Measure("f1", "F1", lambda sums_RS: found.f1(np.asarray(sums_RS)))
"""Of one class: its counts are found, given and true."""


def _several(old: Results, new: Results, task: TaskMeasures, settings: EvaluateParams) -> Iterator[_Part]:
    """The classes of which a row may hold several, each by its F1 on all rows."""
    columns = (new.truths, old.answers, new.answers)
    truths, *answers = ([_held(text, task) for text in column.tolist()] for column in columns)
    units_N = codes(new.units)
    for name in sorted({kind for side in (truths, *answers) for row in side for kind in row}):
        sides = [_of_class(name, truths, given, units_N) for given in answers]
        # Rows without the class on any side add nothing; of the rest each is drawn as a unit.
        there_N = np.asarray(sum(side.counts.sum(axis=1) for side in sides)).ravel() > 0
        before, after = (side.of(there_N) for side in sides)
        ends = difference_interval(
            before, after, F1, confidence=settings.confidence, resamples=settings.resamples, seed=0
        )
        worse, better, p_value = turned(before.scores_N, after.scores_N, before.units_N)
        yield _Part(
            task.kind, name, F1.title, int(there_N.sum()), better, worse, p_value,
            float((after.scores_N - before.scores_N).sum()), measured(before, F1), measured(after, F1),
            ends.low, ends.high,
        )  # fmt: skip


def _held(text: str, task: TaskMeasures) -> Mapping[str, Counter[tuple[int, int]]]:
    """What an answer holds of each class: its places where it names some, else the class itself, once."""
    if task.marks is None:
        return {kind: Counter([(0, 0)]) for kind in task.kinds(text)}
    held: dict[str, Counter[tuple[int, int]]] = {}
    for start, end, kind in task.marks(text):
        held.setdefault(kind, Counter())[start, end] += 1
    return held


Held = Sequence[Mapping[str, Counter[tuple[int, int]]]]


def _of_class(name: str, truths: Held, given: Held, units_N: np.ndarray) -> Counted:
    """Found, given and true of one class in each row; a row's score is its F1, 1 where none is true and none given."""
    nothing: Counter[tuple[int, int]] = Counter()
    pairs = [(truth.get(name, nothing), answer.get(name, nothing)) for truth, answer in zip(truths, given, strict=True)]
    counts_N3 = np.array([((truth & answer).total(), answer.total(), truth.total()) for truth, answer in pairs])
    is_empty_N = counts_N3[:, 1:].sum(axis=1) == 0
    return Counted(csr_array(counts_N3, dtype=np.float64), np.where(is_empty_N, 1.0, found.f1(counts_N3)), units_N)


def counted_parts(changes: Sequence[PartChange]) -> dict[str, int]:
    """How many parts there are of each kind, in their order."""
    return dict(Counter(change.by for change in changes))


def moved_first(changes: Sequence[PartChange]) -> list[PartChange]:
    """Those that got worse, then those that got better, each the largest difference first; then the others."""
    order = ("worse", "better", "no clear change")
    return sorted(changes, key=lambda part: (order.index(part.verdict), -abs(part.after - part.before)))
