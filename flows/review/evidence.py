"""The records that make up a review, without behaviour.

`flows.review.comparison` fills them, `flows.gate.promotion` judges them, `flows.review.pull_request` (Markdown) and
`flows.review.page.page` (HTML) show them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

import numpy as np

from flows.review.marks import Marked
from stages.core.contracts import Text
from stages.tasks import FORMERLY
from stages.tasks.contract import Measure


@dataclass(frozen=True)
class Sources:
    """The rows of a side as their source has them. A row's id says where it stood; another may stand there now."""

    md5: str | None
    """Of all rows, as dvc.lock has it."""
    texts: Callable[[np.ndarray], Sequence[Text | None]] = field(compare=False)
    """Function that gives the text, or pair, of each of N ids; none at all where the rows cannot be had."""


@dataclass(frozen=True)
class Results:
    """One model on its test rows; N rows, sorted by row_id."""

    row_ids: np.ndarray = field(default_factory=lambda: np.array([], dtype=str))
    """(N,) texts, each once."""
    units: np.ndarray = field(default_factory=lambda: np.array([], dtype=str))
    """(N,) the unit of each row, a text: rows of one unit are not independent."""
    truths: np.ndarray = field(default_factory=lambda: np.array([], dtype=object))
    """(N,) canonical texts, as objects."""
    answers: np.ndarray = field(default_factory=lambda: np.array([], dtype=object))
    """(N,) canonical texts, as objects."""
    scores_N: np.ndarray = field(default_factory=lambda: np.array([]))
    """(N,) how right each answer is, in [0, 1]."""
    confidence_N: np.ndarray | None = None
    """(N,) how sure the model is of each answer, in [0, 1]; None where that is not known."""
    slices: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Name -> (N,) bool, such as "length: short"."""
    quality: Mapping[str, Any] = field(default_factory=dict)
    """metrics/quality/NAME.json."""
    profile: Mapping[str, Any] = field(default_factory=dict)
    """metrics/profile/NAME.json."""
    own: Mapping[str, np.ndarray] = field(default_factory=dict)
    """The task's own columns, (N,) each."""
    task: str = FORMERLY[""]
    """The name of the model's task, one of stages/tasks."""
    sources: Sources | None = None
    """Where `row_ids` are from; None where that is not known."""

    def of_rows(self, at: np.ndarray) -> Results:
        """The same of some rows, by their numbers."""
        return replace(
            self,
            row_ids=self.row_ids[at],
            units=self.units[at],
            truths=self.truths[at],
            answers=self.answers[at],
            scores_N=self.scores_N[at],
            confidence_N=None if self.confidence_N is None else self.confidence_N[at],
            slices={name: mask[at] for name, mask in self.slices.items()},
            own={name: values[at] for name, values in self.own.items()},
        )


def number(values: Any, *keys: str) -> float | None:
    """The finite number at values[key][key]... of a metrics file; None where there is none."""
    for key in keys:
        values = values.get(key) if isinstance(values, Mapping) else None
    usable = isinstance(values, int | float) and not isinstance(values, bool) and math.isfinite(values)
    return float(values) if usable else None


def mapping(values: Any, *keys: str) -> Mapping[str, Any]:
    """The object at values[key][key]... of a metrics file; an empty one where there is none."""
    for key in keys:
        values = values.get(key) if isinstance(values, Mapping) else None
    return values if isinstance(values, Mapping) else {}


Outcome = Literal["pass", "fail", "inconclusive"]
STOPS: tuple[Outcome, ...] = ("fail", "inconclusive")
Finding = Literal[Outcome, "cannot tell", "not judged"]
"""Verdict of one check. The last two stop nothing: too few rows to show or rule out a loss, or to judge at all."""


@dataclass(frozen=True)
class Check:
    """One check of the gate: its question and its finding, in words a reviewer can repeat."""

    name: str  # "quality", "anchor", "slices", "floor", "calibration", "identity terms", "groups", "latency", "size"
    outcome: Finding
    reason: str


@dataclass(frozen=True)
class Anchor:
    """The release that no later one may fall far behind: its model's results, or the reason why they are unknown."""

    version: str  # "v1.0.0"; as params.yaml has it where it is not known
    results: Results | None
    unknown: str = ""


@dataclass(frozen=True)
class Decision:
    """The gate's decision: `fail` where a check fails, else `inconclusive` where one is, else `pass`."""

    outcome: Outcome
    checks: tuple[Check, ...]


@dataclass(frozen=True)
class Revision:
    name: str  # as it was asked for: "main", "HEAD", "the working tree"
    commit: str | None  # short hash; None: the working tree, with changes that are not committed
    subject: str = ""
    place: str = ""  # where it stands, in words: "where it left main"


@dataclass(frozen=True)
class ParamChange:
    key: str  # "distill.temperature"
    before: Any  # None: was not there
    after: Any  # None: is no longer there


Unit = Literal["share", "ms", "MB", "rows/s", "tokens/s", "nats", ""]
Verdict = Literal["better", "worse", "no clear change", "unchanged", "same", "unknown",
                  "not run", "not comparable", "other machine", "too noisy to tell"]  # fmt: skip
Withheld = Literal["not run", "not comparable", "other machine", "too noisy to tell", "same"]


@dataclass(frozen=True)
class MetricChange:
    """A number before and after. Fractions stay fractions (0.561); the unit says how to show it."""

    model: str
    metric: str  # as the metrics files have it: "ece", "latency_p50_ms", "size_mb", ...
    unit: Unit
    better: Literal["higher", "lower"]
    before: float | None
    after: float | None
    low: float | None = None  # of after - before; from the same rows, paired
    high: float | None = None
    confidence: float | None = None  # of that interval
    withheld: Withheld | None = None  # the verdict, where there is none of better and worse
    why: str = ""  # in words, why it is withheld
    title: str = ""  # what the number is called, where it is not `metric`

    @property
    def name(self) -> str:
        """What the number is called, as its measure says."""
        return self.title or self.metric

    @property
    def difference(self) -> float | None:
        """The difference; None also where before and after do not measure the same thing."""
        apart = self.withheld in ("not run", "not comparable", "other machine")
        return None if apart or self.before is None or self.after is None else self.after - self.before

    @property
    def verdict(self) -> Verdict:
        """`better` and `worse` only where the interval leaves out zero, or where there is none and it is exact."""
        if self.withheld in ("not run", "not comparable", "other machine"):
            return self.withheld
        if self.difference is None:
            return "unknown"
        if self.difference == 0:
            return "unchanged"
        if self.withheld:
            return self.withheld
        if self.low is not None and self.high is not None and self.low <= 0 <= self.high:
            return "no clear change"
        return "better" if (self.difference > 0) == (self.better == "higher") else "worse"


@dataclass(frozen=True)
class StageChange:
    stage: str
    reasons: tuple[str, ...]  # "distill.temperature: 4 -> 3", "stages/distill.py changed", "after distill"


Kind = Literal["worse", "better", "other"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True)
class Flip:
    """A test row that a model answered differently before."""

    model: str
    row_id: str
    text: str
    truth: str
    before: str
    after: str
    score_before: float
    score_after: float
    sure_before: float | None = None  # how sure it was of its answer, in [0, 1]; None where that is not known
    sure_after: float | None = None
    marked: Marked | None = None  # the places that truth and answers name; None where the task's name none
    written: bool = False  # whether truth and answers are texts that can be read beside each other
    image: str = ""  # of a row with an image, as a data URI

    @property
    def kind(self) -> Kind:
        if self.score_after < self.score_before:
            return "worse"
        return "better" if self.score_after > self.score_before else "other"


@dataclass(frozen=True)
class Paired:
    """One model, before and after, on the test rows that both have."""

    model: str
    rows: int
    worse: int  # rows whose score fell
    better: int
    p_value: float  # of `stages.measures.paired.turned`, two-sided
    rows_before: int = 0  # all that each side has; where both are `rows`, the test rows are the same
    rows_after: int = 0
    judged: MetricChange | None = None
    """Of the candidate the measure that is judged, of these rows; None where they are all rows, or not comparable."""

    @property
    def has_other_rows(self) -> bool:
        """Whether the test rows of the two sides are not the same."""
        return (self.rows_before, self.rows_after) != (self.rows, self.rows)


@dataclass(frozen=True)
class PartChange:
    """A part of the test rows that both revisions have: those of a class, or of a slice; shares are in [0, 1]."""

    model: str
    by: str  # what the part is one of: "label", "type", or the name of a slice, such as "length"
    name: str  # "sports", "short"
    measure: str  # what `before` and `after` are: "accuracy", "F1", "score"
    rows: int
    better: int  # rows whose score rose, of a class with an F1 of its own the score of that class alone
    worse: int
    before: float
    after: float
    low: float  # of after - before
    high: float
    verdict: Literal["better", "worse", "no clear change"]  # of `turned`, corrected for the parts of one kind


@dataclass(frozen=True)
class ModelView:
    """The data for the charts of one model at one revision. Empty where the files are missing."""

    name: str
    quality: Mapping[str, Any]
    profile: Mapping[str, Any]
    confusion: Sequence[tuple[str, str, int]]  # (actual, predicted, rows), of the pairs that occur
    reliability: Sequence[Mapping[str, float]]  # a bin each: low, high, rows, confidence, score


@dataclass(frozen=True)
class Recorded:
    """A revision with the figures of one model that its own files record; None where they do not."""

    commit: str  # short hash
    date: str  # of the commit: "2026-11-29"
    subject: str
    tags: tuple[str, ...]
    task: str
    measure: Measure
    value: float | None
    low: float | None  # of its interval, for the number of its test rows
    high: float | None
    rows: int | None  # test rows
    data: str  # the hash of its clean rows, as dvc.lock has it; empty where that is not known
    p50_ms: float | None
    size_mb: float | None
    machine: str  # "2 threads of AMD EPYC, 2 cores"; empty where it is not known
    measured: str  # the day its speed was measured; empty where that is not known

    def same_test(self, other: Recorded) -> bool:
        """Whether the values of both are of one task, one measure and the same rows, as far as is known."""
        known = bool(self.data and other.data)
        return known and (self.task, self.measure.name, self.data) == (other.task, other.measure.name, other.data)

    def same_machine(self, other: Recorded) -> bool:
        """Whether the speeds of both are of one machine and one number of threads, as far as is known."""
        return bool(self.machine) and self.machine == other.machine


Curves = Mapping[str, Sequence[tuple[str, float, float]]]
"""Curve, as "train/loss" -> (model, step, value)."""


@dataclass(frozen=True)
class Review:
    """The whole review of a change; every number comes from a file that git or DVC tracks."""

    base: Revision
    head: Revision
    params: tuple[ParamChange, ...]
    metrics: tuple[MetricChange, ...]
    stages: tuple[StageChange, ...]
    paired: tuple[Paired, ...]
    flips: tuple[Flip, ...]
    decision: Decision | None  # None: nothing to decide on, see notes
    candidate: str  # the model that the decision is about
    before: tuple[ModelView, ...]
    after: tuple[ModelView, ...]
    curves: Curves  # of this side
    head_params: str  # the text of params.yaml that made the numbers
    notes: tuple[str, ...] = ()  # what could not be shown or compared, and why, a sentence each
    data: Mapping[str, Any] = field(default_factory=dict)  # metrics/data/report.json; empty where there is none
    data_before: Mapping[str, Any] = field(default_factory=dict)
    measures: tuple[Measure, ...] = ()
    """The task's measures, first the one that is judged."""
    score_title: str = "score"
    """What the mean of the rows' scores is called."""
    kind: str = "class"
    """What a class of the task is called."""
    parts: tuple[PartChange, ...] = ()  # of the candidate
    confidence: float = 0.95
    """That of the intervals of `parts`."""
    not_run: tuple[StageChange, ...] = ()
    """The stages that would run with these parameters, code and data, and why: the figures are of earlier ones."""
    not_told: str = ""
    """Why the stages that would run cannot be determined; empty where they can."""
    not_run_models: frozenset[str] = frozenset()
    """The models that have a figure from such a stage."""
    only_costs_not_run: frozenset[str] = frozenset()
    """Those of them whose quality is current: `profile` times all models, and so is outdated when any model changes."""
    history: tuple[Recorded, ...] = ()
    """The last commits of the branch that changed the candidate's figures, newest first."""
    same_data: bool = True
    """Whether both sides learned from, and were tested on, the same clean rows."""
    curves_before: Curves = field(default_factory=dict)
    """Those of the models whose training differs; the others' are the same."""
    folder: str = ""
    """Of the project in its repository: "projects/names"; empty: the repository itself."""

    @property
    def of_candidate(self) -> Paired | None:
        """The candidate on the test rows that both sides have; None where it has not been paired."""
        return next((pair for pair in self.paired if pair.model == self.candidate), None)

    @property
    def apart(self) -> frozenset[str]:
        """The models whose quality before and after cannot be compared: other test rows, or other classes."""
        return frozenset(change.model for change in self.metrics if change.verdict == "not comparable")


def without_texts(review: Review) -> Review:
    """The same review with the ids alone of the test rows whose answer differs.

    Images, and truths and answers that are texts, go with the texts; classes, numbers and places stay.
    """
    return replace(review, flips=tuple(map(_without_text, review.flips)))


def _without_text(flip: Flip) -> Flip:
    flip = replace(flip, text="", image="")
    return replace(flip, truth="", before="", after="") if flip.written else flip
