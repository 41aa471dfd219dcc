"""How many labels of a column the words of the texts tell: a quick try by naive Bayes, to see what can be a target.

Each half of the rows is answered by what the other half taught, so that no label is told by its own row.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import regex

from stages.core.scripts import WORDS

CHARS = 1000  # of a text that are read
LEAST_ROWS = 50  # with fewer nothing is said
MOST_LABELS = 300  # of a column that is tried
SMOOTHED = 0.1  # added to each count of a word
CHANCE = 2.0  # standard deviations of the rows that labels drawn by chance would have right
AT_ONCE = 256  # rows

_WORD = regex.compile(rf"[{WORDS}]+|[^{WORDS}\s]")
_UNSPACED = "\u0e00"  # from here on are the scripts that set no space between words, of which pairs of letters are read


class Told(NamedTuple):
    """What the words tell of a column."""

    rows: int
    """With a label."""
    labels: int
    """How many different ones there are."""
    share: float
    """Of the labels that the words tell."""
    commonest: float
    """The share of the commonest label."""
    gain: float
    """From 0, no better than answers in any order, to 1, all right; 0 as well where chance may have made it."""

    @property
    def tells(self) -> bool:
        """Whether the words tell more than chance may."""
        return self.gain > 0


class Words:
    """The words of texts, ready to be tried on one column after the other."""

    def __init__(self, texts: Sequence[str]) -> None:
        words = [_words(text[:CHARS]) for text in texts]
        numbers: dict[str, int] = {}
        self._rows = np.repeat(np.arange(len(texts)), [len(own) for own in words])
        self._words = np.array(
            [numbers.setdefault(word, len(numbers)) for own in words for word in own], dtype=np.int64
        )
        self._count = len(numbers)
        # The same text is in one half, so that none is known by heart; which one hangs on no order of the rows.
        order = sorted({*texts}, key=lambda text: (zlib.crc32(text.encode(errors="replace")), text))
        half = {text: at % 2 for at, text in enumerate(order)}
        self._half = np.array([half[text] for text in texts], dtype=np.int64)

    def told(self, labels: Sequence[str | None]) -> Told | None:
        """What they tell of the labels, None where one is missing; None for too few rows, and too many labels."""
        names = sorted({label for label in labels if label is not None})
        number = {name: at for at, name in enumerate(names)}
        true = np.array([-1 if label is None else number[label] for label in labels], dtype=np.int64)
        if (true >= 0).sum() < LEAST_ROWS or not 1 < len(names) <= MOST_LABELS:
            return None
        answers = np.zeros_like(true)
        for half in (0, 1):
            learnt, asked = (true >= 0) & (self._half != half), (true >= 0) & (self._half == half)
            if not learnt.any() or not asked.any():
                return None
            answers[asked] = self._answers(learnt, asked, true, np.bincount(true[learnt], minlength=len(names)))
        answers, true = answers[true >= 0], true[true >= 0]
        commonest = float(np.bincount(true).max() / len(true))
        return Told(len(true), len(names), float((answers == true).mean()), commonest, _gain(true, answers, len(names)))

    def _answers(self, learnt: np.ndarray, asked: np.ndarray, true: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """The likeliest label of each row that is asked, by the words of the learnt ones, `counts` of a label."""
        places = learnt[self._rows]
        pairs = true[self._rows[places]] * self._count + self._words[places]
        seen = np.bincount(pairs, minlength=len(counts) * self._count).reshape(len(counts), self._count)
        known = seen.sum(0) > 0
        totals = seen.sum(1, keepdims=True) + SMOOTHED * known.sum()
        weights = (np.log((seen[:, known] + SMOOTHED) / totals)).T
        column = np.cumsum(known) - 1
        begins = np.log((counts + SMOOTHED) / (counts.sum() + SMOOTHED * len(counts)))
        answers = []
        rows = np.flatnonzero(asked)
        for first in range(0, len(rows), AT_ONCE):
            some = rows[first : first + AT_ONCE]
            low, high = np.searchsorted(self._rows, [some[0], some[-1] + 1])
            at, words = self._rows[low:high], self._words[low:high]
            kept = known[words] & asked[at]
            has = np.zeros((len(some), weights.shape[0]))
            has[np.searchsorted(some, at[kept]), column[words[kept]]] = 1
            answers.append((has @ weights + begins).argmax(1))
        return np.concatenate(answers)


def _words(text: str) -> list[str]:
    """Each once, in their order."""
    found: dict[str, None] = {}
    for word in _WORD.findall(text.lower()):
        is_unspaced = len(word) > 1 and max(word) >= _UNSPACED
        found |= dict.fromkeys([word[at : at + 2] for at in range(len(word) - 1)] if is_unspaced else [word])
    return [*found]


def _gain(true: np.ndarray, answers: np.ndarray, labels: int) -> float:
    """Cohen's kappa: what is right beyond the same answers in any order; 0 where such an order may be as right."""
    rows = len(true)
    are, said = (np.bincount(values, minlength=labels) / rows for values in (true, answers))
    right, by_chance = float((true == answers).mean()), float(are @ said)
    # The variance over all orders of the answers, exactly.
    apart = np.eye(labels) - said[:, None] - are[None, :] + by_chance
    deviation = float(np.sqrt((are[:, None] * said[None, :] * apart**2).sum() / (rows - 1)))
    return (right - by_chance) / (1 - by_chance) if right - by_chance > CHANCE * deviation else 0.0
