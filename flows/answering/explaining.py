"""Which words made an answer, by occlusion: what becomes of it without each of them.

    text ── a variant without each word ──> runner ──> how far the value falls: the word's weight
    long text ── variants without groups of words ──> the groups that matter, word by word; the others as they are

The value is what the model says of its answer: the probability of a label, of each of a set, of a span; the confidence
in any other answer; a number itself. A word that stands for the answer has a positive weight. The explanation checks
itself: it has the value without the five words that weigh most, and without five drawn at random.

Source: Zeiler and Fergus 2014, arXiv:1311.2901 (occlusion); DeYoung et al. 2020, arXiv:1911.03429 (comprehensiveness,
the check).
"""

from __future__ import annotations

import importlib.util
import random
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from flows.answering.variants import Place, Variant, moved_back, without, words_of
from stages.core import plugins
from stages.core.contracts import Outputs, Runner, Space, Text
from stages.tasks import TASKS
from stages.tasks.contract import TaskAnswers, TaskMeasures
from stages.tasks.shared.aspects import TaskAspects, Value

CHECKED = 5  # words that the check takes out; of a text of no more words it would be without any, whichever are drawn
DRAWS = 20  # random choices of as many
SINGLY = 64  # words of a text whose words are all left out one by one; of longer texts groups are first
GROUPS = 32
OPENED = 4  # groups whose words are then left out one by one
NUMBER = "number"  # the unit of what is no probability
BATCH = 256  # variants that are asked together


@dataclass(frozen=True)
class Word:
    """A word, and how much the value falls without it."""

    of: int
    start: int
    end: int
    text: str
    weight: float
    grouped: bool = False
    """Whether it was left out with its neighbours only, and has its share of what they weigh together."""


@dataclass(frozen=True)
class Aspect:
    """One thing that the answer says, and the words that made it."""

    name: str
    """A label, the words of a span, or "answer"."""
    unit: str
    """What `value` is: "probability", "confidence", "number"."""
    value: float
    """Of the whole text."""
    words: tuple[Word, ...]
    """In the order of the text."""
    without_top: float
    """The value without the CHECKED words that weigh most; of a number that the words pull down, the other way."""
    drawn: tuple[float, ...]
    """The value without as many words drawn at random, of each draw."""

    @property
    def is_checked(self) -> bool:
        """Whether the check says something: there are words that are left."""
        return len(self.words) > CHECKED

    @property
    def without_random(self) -> float:
        """The mean over the draws."""
        return sum(self.drawn) / len(self.drawn)


@dataclass(frozen=True)
class Explanation:
    """An answer, and what made it."""

    texts: tuple[str, ...]
    """The text as the model read it, cleaned; of a pair both."""
    shown: str
    """The answer, as `winnow predict` prints it."""
    aspects: tuple[Aspect, ...]

    def as_json(self) -> dict[str, Any]:
        """The same, as JSON can hold it; weights and values rounded to six digits."""
        found = asdict(self)
        for own, aspect in zip(self.aspects, found["aspects"], strict=True):
            del aspect["drawn"]
            aspect["without_random"] = own.without_random
            aspect |= {name: round(value, 6) for name, value in aspect.items() if isinstance(value, float)}
            for word in aspect["words"]:
                word["weight"] = round(word["weight"], 6)
        return found


def explained(runner: Runner, text: Text, *, seed: int = 0) -> Explanation:
    """The model's answer to a text, or a pair, and the words that made it; `seed` is of the words drawn at random.

    Raises ValueError for a text without a word, and where the answer is no answer but a vector, or a written text.
    """
    if runner.write is not None:
        raise ValueError(
            "the model writes texts, and a text that is written has no probability that words could be weighed by."
            " `winnow predict` shows what it writes without them."
        )
    answers: TaskAnswers = plugins.part(TASKS, runner.task, "answers", key="model.json: task")
    measures: TaskMeasures = plugins.part(TASKS, runner.task, "measures", key="model.json: task")
    texts = tuple(runner.clean(part) for part in ((text,) if isinstance(text, str) else text))
    places = tuple(words_of(texts))
    if not places:
        raise ValueError("the text has no word that could be left out. Give one with words.")
    outputs = runner.predict([_as_text(texts)])
    record = answers.placed(answers.record(outputs, 0, texts[0], runner.space), texts[0], texts[0])
    values = values_of(outputs, texts, runner, answers, measures)
    asking = _Asking(runner, texts, places, values)
    weights_WV, is_grouped_W = asking.weights()
    aspects = tuple(
        _aspect(value, asking, weights_WV[:, at], is_grouped_W, at, seed) for at, value in enumerate(values)
    )
    return Explanation(texts, answers.shown(record), aspects)


def values_of(
    outputs: Outputs, texts: Sequence[str], runner: Runner, answers: TaskAnswers, measures: TaskMeasures
) -> list[Value]:
    """What there is to explain of an answer; `outputs` are those of the whole text.

    A class that has a column `p_CLASS` of its own is explained by it, else the aspects that the task names, else the
    confidence in the whole answer; without a confidence a number by itself. Raises ValueError where it is a vector.
    """
    space = runner.space
    if answers.confidence is None:
        return [_number(outputs, texts[0], runner, answers)]
    (answer,) = answers.answers(outputs, space)
    columns = answers.columns(outputs, space)
    if classes := [name for name in measures.kinds(answer) if f"p_{name}" in columns]:
        return [Value(name, "probability", _column(answers, space, f"p_{name}")) for name in classes]
    named = _aspects_of(runner.task)
    found = named.values(answer, texts[0], space) if named else []
    return found or [Value("answer", "confidence", _confidence(answers, space, answer))]


def _aspects_of(task: str) -> TaskAspects | None:
    """The part of a task that a task may lack."""
    if task not in TASKS or importlib.util.find_spec(f"{TASKS[task]}.aspects") is None:
        return None
    found: TaskAspects = plugins.part(TASKS, task, "aspects", key="model.json: task")
    return found


def _number(outputs: Outputs, text: str, runner: Runner, answers: TaskAnswers) -> Value:
    """The number that an answer is: the only one of its record."""

    def number(found: Outputs, row: int) -> float | None:
        record = answers.record(found, row, text, runner.space)
        return next((value for value in record.values() if isinstance(value, float)), None)

    def numbers(found: Outputs) -> np.ndarray:
        return np.array([number(found, row) for row in range(len(found.values))], dtype=np.float64)

    if number(outputs, 0) is None:
        raise ValueError("the answer is a vector, which no word makes alone. Give a second text: --pair.")
    return Value(next(iter(answers.record(outputs, 0, text, runner.space))), NUMBER, numbers)


def _column(answers: TaskAnswers, space: Space, name: str) -> Callable[[Outputs], np.ndarray]:
    return lambda outputs: np.asarray(answers.columns(outputs, space)[name], dtype=np.float64)


def _confidence(answers: TaskAnswers, space: Space, answer: str) -> Callable[[Outputs], np.ndarray]:
    known = answers.confidence
    assert known is not None

    def sure(outputs: Outputs) -> np.ndarray:
        rows = len(outputs.values) if outputs.offsets is None else len(outputs.offsets) - 1
        return np.asarray(known(outputs, [answer] * rows, space), dtype=np.float64)

    return sure


class _Asking:
    """Asks a model of variants of a text. W words, V values, N variants."""

    def __init__(self, runner: Runner, texts: Sequence[str], places: Sequence[Place], values: Sequence[Value]) -> None:
        self.places, self._runner, self._texts, self._values = places, runner, texts, values
        self.whole_V = self.without([()])[0]

    def text_of(self, place: Place) -> str:
        """The word there."""
        return self._texts[place.of][place.start : place.end]

    def without(self, variants: Sequence[Collection[int]]) -> np.ndarray:
        """(N, V): the values without the words of these numbers."""
        parts = []
        for at in range(0, len(variants), BATCH):
            made = [self._variant(words) for words in variants[at : at + BATCH]]
            outputs = self._runner.predict([_as_text([one.text for one in parts_of]) for parts_of in made])
            outputs = moved_back(outputs, [parts_of[0] for parts_of in made])
            parts.append(np.stack([value.of(outputs) for value in self._values], axis=1))
        return np.concatenate(parts)

    def _variant(self, left_out: Collection[int]) -> list[Variant]:
        """The texts without these words."""
        return [
            without(text, [self.places[number] for number in sorted(left_out) if self.places[number].of == of])
            for of, text in enumerate(self._texts)
        ]

    def weights(self) -> tuple[np.ndarray, np.ndarray]:
        """(W, V): how far each value falls without each word; and (W,), whether that is its share of a group's."""
        words = len(self.places)
        if words <= SINGLY:
            return self.whole_V - self.without([(word,) for word in range(words)]), np.zeros(words, dtype=bool)
        groups = np.array_split(np.arange(words), GROUPS)
        fall_GV = self.whole_V - self.without(groups)
        sizes_G = np.array([len(group) for group in groups])
        weights_WV = np.repeat(fall_GV / sizes_G[:, None], sizes_G, axis=0)
        is_grouped_W = np.ones(words, dtype=bool)
        largest = np.argsort(-np.abs(fall_GV).max(1), kind="stable")[:OPENED]
        opened = np.concatenate([groups[group] for group in sorted(largest)])
        weights_WV[opened] = self.whole_V - self.without([(int(word),) for word in opened])
        is_grouped_W[opened] = False
        return weights_WV, is_grouped_W


def _as_text(texts: Sequence[str]) -> Text:
    return texts[0] if len(texts) == 1 else (texts[0], texts[1])


def _aspect(
    value: Value, asking: _Asking, weights_W: np.ndarray, is_grouped_W: np.ndarray, at: int, seed: int
) -> Aspect:
    """The explanation of the value number `at`, checked."""
    count = min(CHECKED, len(weights_W))
    top = np.argsort(-weights_W, kind="stable")[:count]
    if value.unit == NUMBER and weights_W.sum() < 0:  # what pulls a number down may matter most
        top = np.argsort(weights_W, kind="stable")[:count]
    draw = random.Random(seed)  # noqa: S311  (it keeps no secret)
    drawn = [draw.sample(range(len(weights_W)), count) for _ in range(DRAWS)]
    without_N = asking.without([top.tolist(), *drawn])[:, at]
    words = tuple(
        Word(place.of, place.start, place.end, asking.text_of(place), float(weight), bool(is_grouped))
        for place, weight, is_grouped in zip(asking.places, weights_W, is_grouped_W, strict=True)
    )
    return Aspect(
        value.name, value.unit, float(asking.whole_V[at]), words, float(without_N[0]), tuple(without_N[1:].tolist())
    )
