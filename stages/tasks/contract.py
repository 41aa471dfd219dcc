"""The contract of a task: frozen records of functions, one in each file of its folder, named by its readers.

    stages/tasks/NAME/settings.py   SETTINGS    every stage, `winnow check`, the cards   light
                      data.py       DATA        ingest, clean, validate, report          numpy
                      encoding.py   ENCODING    tokenize, prune                          tokenizers, numpy
                      learning.py   LEARNING    finetune, cache_logits, distill, prune   torch
                      answers.py    ANSWERS     baseline, quantize, evaluate, predict    numpy
                      measures.py   MEASURES    evaluate, compare, and the flows         numpy
                      baseline.py   BASELINE    baseline, and its runner                 scikit-learn
                      scores.py     -           learning.py and answers.py               numpy

So a changed loss has the stages from finetune on run again, a changed measure evaluate and compare, and nothing before.
A part imports its own folder, this file and stages/tasks/shared, nothing of another task.

A row's target, and a model's answer to it, is one canonical text: "sports", "3.8", '[[0,5,"person"]]'. Two are the same
where their texts are. N rows, B examples, T tokens, K numbers of an output, S counts, R resamples, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from stages.core.contracts import Head, Outputs, Space

if TYPE_CHECKING:
    import numpy as np
    import torch
    from scipy.sparse import csr_array

    from stages.core.contracts import RawRow, RejectedRow, Text
    from stages.core.params.baseline import BaselineParams
    from stages.core.params.file import Params
    from stages.tasks.shared.claims import Claim, Shown

Unit = Literal["share", "nats", ""]
"""How a figure is shown: 0.561 as 56.1%, 1.2 nats, or as it is."""

Better = Literal["higher", "lower"]


class TargetError(ValueError):
    """A target that training rows do not have: the number of its row, and what is wrong, in words."""

    def __init__(self, row: int, problem: str) -> None:
        super().__init__(problem)
        self.row = row


@dataclass(frozen=True)
class TaskSettings:
    """The task in words."""

    noun: str
    """What a model of the task is: "text classifier"."""
    pipeline_tag: str
    """The Hub's: "text-classification"."""
    measures: tuple[str, ...]
    """The names that task.measure may have; the first is the usual one."""
    starts: Mapping[str, Any] = field(default_factory=dict)
    """The values of params.yaml, by their dotted names, in which a new project of the task differs from Winnow's own.

    The name of the task and its first measure are set without being named here.
    """
    corpus: Mapping[str, Any] = field(default_factory=dict)
    """More of them for a project without data, which name a corpus that needs none; empty: there is no such corpus."""
    targets: tuple[str, ...] = ()
    """What data of the task call the column of the target, the commonest first; in small letters."""
    pairs: tuple[tuple[str, str], ...] = ()
    """What they call the columns of a first and a second text."""
    claim: Callable[[Shown], Claim | None] = lambda _: None
    """claim(shown): why a file is for this task; None: it is not."""
    plots: frozenset[str] = frozenset()
    """Those of the tables that dvc.yaml plots which a model of the task has: "confusion", "reliability"."""
    writes: Literal["text", "target"] | None = None
    """What the task's models write: texts like those of the rows, or of each row its target for its text.

    None: nothing. They are of families that lack no `writing`, and those of other tasks are not.
    """
    as_before: str = "the same answer as before to {:.1%} of them"
    """What a model's card says of validation rows and TaskAnswers.agreement, the share at {:.1%}."""
    classes: Literal["one", "several"] | None = None
    """How many of some classes a target is, so that rows can be alike; None: there are no classes (finetune.method)."""
    images: bool = False
    """Whether the first text of a row is an image; its models are then of families that lack no `images`."""
    faults: Callable[[Params], Iterator[str]] = lambda _: iter(())
    """faults(params): a line for each parameter that the task cannot be done with.

    `winnow check` shows them, and every stage refuses them as it starts.
    """


@dataclass(frozen=True)
class Flaws:
    """The mistakes that no target may have."""

    columns: tuple[str, ...]
    """Their names, as of columns: "spans_outside"."""
    count: Callable[[str, str], tuple[int, ...]]
    """count(text, target): how many of each a row has; `validate` expects 0 of every row."""


@dataclass(frozen=True)
class TaskData:
    """The task's targets, from the source's cells to the clean rows."""

    read: Callable[[Iterable[RawRow | RejectedRow]], Iterator[RawRow | RejectedRow]]
    """read(rows): each row, in order, with its text as plain text and its target as one canonical text.

    None stays None: of a text or a target that is missing. Where the source has a list or an object, and `structured`
    allows it, the row has that as JSON. A row whose target cannot be read becomes a RejectedRow of the reason
    `bad_target`. Rows must be read one by one, as they come.
    """
    kinds: Callable[[str], tuple[str, ...]]
    """kinds(target): the classes that it holds, for counts and shares: its labels, or the types of its spans."""
    carried: Callable[[str, str, str], str | None] = lambda target, _before, _after: target
    """carried(target, before, after): the target for a text that cleaning changed; None: it cannot be told."""
    exclusive: bool = True
    """Whether a row's target is one class, so that splits keep the shares of the classes."""
    numbers: bool = False
    """Whether classes that all are numbers are written alike, 1.0 as 1."""
    flaws: Flaws | None = None
    """The mistakes of targets that `validate` looks for in raw and in clean rows; None: any text may be a target."""
    structured: frozenset[str] = frozenset()
    """The roles of columns (TEXT, TARGET) in which a source may have lists, and as a target objects.

    With IMAGE the first text of a row is an image.
    """
    quoted: Callable[[str, str], Sequence[tuple[str, str]]] | None = None
    """quoted(target, text): of a target with places in its text what it says of which words, wherever these stand.

    By it two targets of like texts are the same; None: targets are compared as they are.
    """
    passages: Literal["near", "same"] | None = None
    """Whether rows of pairs belong together where their first texts are the same for a reader, or near-duplicates."""
    writes: Literal["text", "target"] | None = None
    """What is to be written, as in TaskSettings: `clean` cuts none of it, and `validate` expects more of targets."""


@dataclass(frozen=True)
class TaskEncoding:
    """The task's targets as numbers beside the tokens."""

    space: Callable[[Sequence[str]], Space]
    """space(targets): of the training rows."""
    targets: Callable[..., list[Any]]
    """targets(targets_N, encodings, at, space): for each window what is to be learned.

    `targets_N`: a canonical text each, or None. `encodings`: the windows' `tokenizers.Encoding`; `at`: the number of
    the row that each is of. The result is what `feature` says, with NO_LABEL where the target is None (of float32 NaN).
    Raises TargetError for a target outside the space.
    """
    feature: Literal["int32", "float32", "list_int32", "vector_float32"] = "int32"
    """The type of a window's target in Arrow.

    It is a number, a list with a number for each token (`list_int32`), or one of the same length for every window
    (`vector_float32`).
    """
    characters: bool = False
    """Whether `targets` needs to know where each token stands in its text, of a pair in the first one."""
    windows_of_pairs: bool = False
    """Whether pairs may be read in windows: the first text is, and the second stands whole in each."""
    apart: bool = False
    """Whether the two texts of a pair are read apart, as two sequences, of which each has an output of its own.

    `encodings` are then pairs, of the first text and of the second. A model also takes single texts.
    """
    images: bool = False
    """Whether the first text of a row is an image, so that of the second alone there are tokens.

    `encodings` are then pairs, of the image's name and of the text. A model also takes single texts, and single images.
    """
    writes: Literal["text", "target"] | None = None
    """What is learned to be written, as in TaskSettings: then each token's target is the token behind it.

    `stages.tokens.writing` makes the rows, and `targets` is not asked.
    """


class Likeliest(NamedTuple):
    """A teacher's answers at P places of texts: its k likeliest tokens at each, and all others as one more class."""

    tokens: torch.Tensor
    """(P, k): the numbers of these tokens."""
    log_probabilities: torch.Tensor
    """(P, k): theirs, in nats; -inf of one that the student's vocabulary has no more."""
    log_rest: torch.Tensor
    """(P,): that of all others together; of no meaning where k is the whole vocabulary."""


@dataclass(frozen=True)
class TaskLearning:
    """The task's training: its head, loss and score."""

    head: Callable[[Space], Head]
    """head(space): what the model puts out."""
    loss: Callable[..., torch.Tensor]
    """loss(logits, targets, *, label_smoothing=0, class_weights_C=None): (B,), of each example; 0 without a target.

    The logits are (B, K), (B, T, K), or of two texts read apart (B, 2, K).
    """
    distilled: Callable[..., torch.Tensor]
    """distilled(student, teacher, mask_BT, *, temperature): (B,), how far each example is from its teacher's answer.

    Of a task that writes, `mask_BT` has the places with a target, and the teacher's answers are Likeliest at them.
    """
    score: Callable[[Sequence[Any], Sequence[np.ndarray]], dict[str, float]]
    """score(targets_N, logits_N): by the names of the task's measures, by which an epoch is chosen; higher is better.

    Of each row its targets as numbers, and its logits, (K,), (tokens, K), or of two texts read apart (2, K).
    """
    guess: Callable[[Space], float]
    """guess(space): the loss of a model that knows nothing."""
    whole_batch: bool = False
    """Whether a row's loss, and its distance from the teacher, hang on the other rows of its batch.

    Then both are given the rows of all processes; `mask_BT` is still that of this process's.
    """
    by_tokens: bool = False
    """Whether a step's loss is the mean over the targets of all its rows, so that long rows count more than short ones.

    `loss` and `distilled` give of each example the mean over its targets all the same. Otherwise rows count the same.
    """
    reduced: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None = None
    """reduced(logits_BTK, targets_BT): (B, T, R), the few numbers of each token that `score` needs of its K logits.

    `score` is then given these. None: the logits themselves.
    """
    whole_rows: bool = False
    """Whether the loss of a token head compares a row's tokens with each other, so that it needs all of them at once.

    Linear heads are fitted to whole rows then, and otherwise to single tokens.
    """
    outputs_apart: bool = False
    """Whether each output is a regression of its own, and an example's loss the mean over them."""
    class_weights: Callable[[np.ndarray, Space], np.ndarray] | None = None
    """class_weights(targets, space): (C,), such that all classes count the same; None where there are no classes."""
    holds: Callable[[np.ndarray, Space], np.ndarray] | None = None
    """holds(targets, space): (N, C) bool, which classes each row has; given where SETTINGS say that there are some."""
    names: Callable[[Space], Sequence[str]] | None = None
    """names(space): (C,) what the classes are called, in the order of the head's outputs; given likewise."""
    fitted: Callable[[Sequence[Any], Sequence[np.ndarray], Space, str], Space] | None = None
    """fitted(targets_N, logits_N, space, measure): the space, with what validation rows say of how to answer.

    It is for the model whose logits these are, as `score` takes them, and for the best `measure`. None: nothing is.
    """


class Likelihood(NamedTuple):
    """How a task whose answers are written measures the targets themselves, without writing.

    It is asked for pairs of source and target, and the outputs are of the target's tokens.
    """

    measure: str
    """What it is called."""
    score: Callable[[Sequence[str], Outputs], float]
    """score(truths, told): of the outputs for such pairs; higher is better."""


@dataclass(frozen=True)
class TaskAnswers:
    """The answers that a model's outputs stand for."""

    activate: Callable[[np.ndarray], np.ndarray]
    """activate(values): what the network puts out, over a temperature -> what Outputs holds, such as probabilities."""
    size: Callable[[Space], int]
    """size(space): K, the numbers of an output."""
    answers: Callable[[Outputs, Space], list[str]]
    """answers(outputs, space): a canonical text for each row."""
    confidence: Callable[[Outputs, Sequence[str], Space], np.ndarray] | None
    """confidence(outputs, answers, space): (N,) in [0, 1], how sure it is of these answers; None: nothing to calibrate.

    The answers may be others than its own.
    """
    losses: Callable[[Sequence[str], Outputs, Space], np.ndarray]
    """losses(truths, outputs, space): (N,), of each row, in nats where outputs are probabilities.

    Of a task with a `likelihood` the outputs are those for pairs of source and target.
    """
    score: Callable[[Sequence[str], Sequence[str], Space], dict[str, float]]
    """score(truths, answers, space): by the names of the task's measures, for the guard of int8; higher is better."""
    divergence: Callable[[Outputs, Outputs], float]
    """divergence(exact, other): how far other outputs are from the exact ones; 0 where all are equal."""
    record: Callable[[Outputs, int, str, Space], dict[str, Any]]
    """record(outputs, row, text, space): what a user gets of one row, for JSON; `text` is the clean one."""
    shown: Callable[[Mapping[str, Any]], str]
    """shown(record): the same as a part of a line, for a person or a program; columns are separated by tabs."""
    nothing: Mapping[str, Any]
    """The record of a row that has no answer, with None for each value."""
    columns: Callable[[Outputs, Space], Mapping[str, np.ndarray]] = lambda _outputs, _space: {}
    """columns(outputs, space): the task's own columns of artifacts/predictions, (N,) each."""
    placed: Callable[[dict[str, Any], str, str], dict[str, Any]] = lambda record, _clean, _asked: record
    """placed(record, clean, asked): the record with its places in the text as it was asked, before it was cleaned."""
    logits: Callable[[np.ndarray], np.ndarray] | None = None
    """logits(values): numbers of which `activate` makes these values; None: no temperature makes answers more sure."""
    window: Callable[[np.ndarray], np.ndarray] = lambda logits_TK: logits_TK
    """window(logits_TK): those of a window's tokens, special ones included, so that they can stand beside others'.

    Of token heads alone. The special tokens, and the second text of a pair, are then left out of Outputs.
    """
    agreement: Callable[[Outputs, Outputs], float] | None = None
    """agreement(one, other): the share that counts as the same, such as numbers that are nearly equal.

    None: the share of rows with the same answer.
    """
    likelihood: Likelihood | None = None
    """Of a task whose answers are written: int8 is judged by it, as writing takes a step for each token.

    None: it is judged by the answers.
    """
    fitted: Callable[[Sequence[str], Outputs, Space, str], Space] | None = None
    """fitted(truths, outputs, space, measure): the space, with what validation rows say of how to answer.

    It is for the model whose outputs these are, over its temperature, and for the best `measure`. What the space has is
    fitted anew. Models that are trained on tokens have the same of LEARNING. None: nothing is fitted.
    """
    likeliest: Callable[[Outputs, Outputs, int], np.ndarray | None] | None = None
    """likeliest(rows, prompts, several): (N,), the number of the class that each row is most like.

    `prompts`: the outputs of `several` prompts a class, one class after the other. It gives None for a model that
    compares nothing so. None: no row is asked for among classes that are said only then.
    """


@dataclass(frozen=True)
class Measure:
    """A number that says how good answers are: a function of the sums of what each row adds."""

    name: str
    title: str
    value: Callable[[csr_array | np.ndarray], np.ndarray]
    """value(sums_RS): (R,)."""
    unit: Unit = "share"
    least: float = 0.0
    most: float = 1.0
    """The numbers between which it lies; infinite where there is no such bound."""
    better: Better = "higher"
    """Where it is "lower", LEARNING.score and ANSWERS.score give it with its sign turned: there higher is better."""
    binary: bool = False
    """Whether it is the mean of the rows' scores, each of which is 0 or 1."""
    applies: Callable[[Sequence[str]], bool] = lambda _truths: True
    """applies(truths): whether it can be measured of rows with such targets; of others it is left out."""
    strata: Callable[[Sequence[str]], Sequence[str]] | None = None
    """strata(truths): a group for each row, where the measure is near to a mean over groups, as over labels.

    Its interval is then never narrower than that of the mean over the groups of the share of right rows.
    """

    def __post_init__(self) -> None:
        if self.better == "lower" and (self.binary or self.strata is not None):
            raise ValueError(
                f"measure '{self.name}' is better where it is lower, and has `binary` or `strata`, which are for shares"
                " of right rows. Take them out, or measure what is right."
            )


@dataclass(frozen=True)
class Figure:
    """A further number of metrics/quality that a review shows; often the mean of a column of the predictions."""

    key: str
    title: str
    unit: Unit = ""
    better: Better = "lower"
    column: str | None = None
    """The column of the rows' own numbers, of which it is the mean; None: there is none."""


class Table(NamedTuple):
    """A table that a task wants to show: artifacts/tables/MODEL/NAME.csv."""

    columns: tuple[str, ...]
    rows: Sequence[Sequence[Any]]


@dataclass(frozen=True)
class Judged:
    """One model's answers to N test rows, for the measures."""

    texts: Sequence[Text]
    truths: Sequence[str]
    answers: Sequence[str]
    outputs: Outputs
    confidence_N: np.ndarray | None
    losses_N: np.ndarray
    scores_N: np.ndarray
    """How right each answer is, in [0, 1]."""
    units: Sequence[str]
    """The unit that each row belongs to: rows of one unit are not independent."""
    space: Space
    seed: int
    columns: Mapping[str, Sequence[str | None]] = field(default_factory=dict)
    """Other columns of the rows, by name: `label`, and those that `ingest.keep_columns` keeps."""
    told: Outputs | None = None
    """The outputs for pairs of text and truth, where the task has a `likelihood`."""


@dataclass(frozen=True)
class TaskMeasures:
    """The task's measures."""

    measures: tuple[Measure, ...]
    """The first is the usual one."""
    counts: Callable[[Sequence[str], Sequence[str]], csr_array]
    """counts(truths, answers): (N, S) float64, what each row adds to the sums of every measure.

    S is of what occurs in these rows: labels that no row has or is given have no place.
    """
    scores: Callable[[Sequence[str], Sequence[str]], np.ndarray]
    """scores(truths, answers): (N,) float64 in [0, 1], how right each answer is."""
    scaled: bool = False
    """Whether scores are on a scale that hangs on the truths given, such as by their deviation."""
    ranked: Callable[[Sequence[str]], bool] = lambda _truths: False
    """ranked(truths): whether rows are ranked among each other, so that how right an answer is hangs on the others."""
    kinds: Callable[[str], tuple[str, ...]] = lambda _: ()
    """kinds(answer): the classes that it holds, as in TaskData; between groups of rows their shares are compared."""
    gist: Callable[[str], str] = lambda answer: answer
    """gist(answer): what of it can be compared with the answer to a changed text, where its places are others."""
    differ: Callable[[str, str, Space], bool] | None = None
    """differ(one, other, space): whether a changed text's answer is another one; None: where their gists differ."""
    alike: Callable[[str, str], float] | None = None
    """alike(one, other): how alike two answers are, in [0, 1]; None: they are equal or not."""
    own_truth: Callable[[str], str] | None = None
    """own_truth(text): the target of a text that is its own, so that a changed text has another; None: it has none."""
    marks: Callable[[str], Sequence[tuple[int, int, str]]] | None = None
    """marks(answer): the places of the text that it names, as (start, end, class); None: answers name no places.

    From the character `start`, counted from 0, to `end` - 1.
    """
    kind: str = "class"
    """What a class is called: "label", "type"."""
    classes: Callable[[Collection[str]], frozenset[str]] = lambda _: frozenset()
    """classes(columns): those that a model knows, by the columns of its predictions; empty where they do not say."""
    report: Callable[[Judged], dict[str, Any]] = lambda _: {}
    """report(judged): the task's own figures of metrics/quality.

    Those of each class stand under `per_KIND`, such as `per_label`: by the class, its figures by their names.
    """
    figures: tuple[Figure, ...] = ()
    """Those of them that a review shows with the measures."""
    per_row: Callable[[Judged], Mapping[str, np.ndarray]] = lambda _: {}
    """per_row(judged): the columns (N,) of the predictions that `figures` name."""
    tables: Callable[[Judged], Mapping[str, Table]] = lambda _: {}
    """tables(judged): by their names."""

    @property
    def score_title(self) -> str:
        """What the mean of the rows' scores is called: as the binary measure, which it is, or "score"."""
        return next((one.title for one in self.measures if one.binary), "score")

    def of(self, truths: Sequence[str]) -> tuple[Measure, ...]:
        """Those of the measures that can be measured of rows with these targets."""
        return tuple(one for one in self.measures if one.applies(truths))

    def measure(self, name: str) -> Measure:
        """The measure of that name. Raises ValueError, with those allowed, where there is none."""
        for one in self.measures:
            if one.name == name:
                return one
        allowed = ", ".join(one.name for one in self.measures)
        raise ValueError(f"params.yaml: task.measure is '{name}'. Allowed: {allowed}.")


class Linear(NamedTuple):
    """A linear model, as JSON and safetensors hold it."""

    features: Sequence[str]
    """What its weights are of, V names."""
    weights: Mapping[str, np.ndarray]
    """float32, or whole numbers, by their names."""
    settings: Mapping[str, Any] = MappingProxyType({})
    """What more it needs to be opened; JSON can hold it."""


@dataclass(frozen=True)
class TaskBaseline:
    """The task's floor, which a transformer must beat: quick to fit, without pretrained weights."""

    fit: Callable[[Sequence[Text], Sequence[str], Space, BaselineParams, int], Linear]
    """fit(texts, targets, space, params, seed): a model fitted to training rows."""
    opened: Callable[[Linear], Callable[[Sequence[Text]], Outputs]]
    """opened(model): a function from texts to outputs, as the task's `activate` makes them."""
