"""What the linear floor sees of the words of a text, beside a question."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from stages.tasks.shared.features import BIAS, EDGE, shape_of, words_of

STEM = 5  # characters by which words are compared: of winnow and winnowing the same
SHORTEST = 4  # characters of a word of the question that is looked for; of shorter ones numbers alone
NEAR = 8  # words on each side of a word, among which those of the question are counted
MANY = 4  # of them are as good as more
STEPS = (1, 2, 4, 8)  # words between a word and the nearest one of the question: what is told apart
ASKS = ("who", "whom", "whose", "when", "where", "why", "how", "what", "which")
_SENTENCE_ENDS = re.compile(r"[.!?\u3002]")


class Asked(NamedTuple):
    """A question, as the words of a text are held against it."""

    kind: str
    """The word that asks: who."""
    wanted: str
    """The same with the word behind it, as how many and what year."""
    stems: frozenset[str]


def asked(question: str) -> Asked:
    """What is seen of a question."""
    words = [question[start:end] for start, end in words_of(question)]
    lower = [word.lower() for word in words]
    at = next((place for place, word in enumerate(lower) if word in ASKS), None)
    kind = EDGE if at is None else lower[at]
    behind = "" if at is None else next(iter(lower[at + 1 :]), "")
    stems = {word[:STEM] for word in lower if len(word) >= SHORTEST or word.isdigit()} - {*ASKS}
    return Asked(kind, f"{kind} {behind}", frozenset(stems))


def features_of(
    text: str, words: Sequence[tuple[int, int]], question: str, numbers: Sequence[int] | None = None
) -> Iterator[list[str]]:
    """For each word, or for those of these `numbers`, what is seen of it."""
    of = asked(question)
    seen = [text[start:end] for start, end in words]
    lower, shapes = [word.lower() for word in seen], [shape_of(word) for word in seen]
    is_asked = np.array([word[:STEM] in of.stems for word in lower], dtype=bool)
    near = _near(is_asked)
    before, behind = _distances(is_asked), _distances(is_asked[::-1])[::-1]
    sentences = _sentences(lower, of.stems)

    def at(place: int, of_words: Sequence[str]) -> str:
        return of_words[place] if 0 <= place < len(of_words) else EDGE

    for place in range(len(words)) if numbers is None else numbers:
        word, shape, left, right = lower[place], shapes[place], at(place - 1, lower), at(place + 1, lower)
        yield [
            BIAS, f"w={word}", f"s={shape}", f"w-1={left}", f"w+1={right}", f"s-1={at(place - 1, shapes)}",
            f"s+1={at(place + 1, shapes)}", f"k,s={of.kind},{shape}", f"a,s={of.wanted},{shape}",
            f"k,w={of.kind},{word}", f"k,w-1={of.kind},{left}", f"k,w+1={of.kind},{right}",
            f"asked={int(is_asked[place])}", f"before={before[place]}", f"behind={behind[place]}",
            f"near={near[place]}", f"sentence={sentences[place]}", f"sentence,near={sentences[place]},{near[place]}",
        ]  # fmt: skip


def _near(is_asked: np.ndarray) -> list[int]:
    """For each word the number of the question's words among those around it, at most MANY."""
    sums = np.concatenate([[0], np.cumsum(is_asked)])
    places = np.arange(len(is_asked))
    low, high = np.maximum(places - NEAR, 0), np.minimum(places + NEAR + 1, len(is_asked))
    return np.minimum(sums[high] - sums[low], MANY).tolist()


def _distances(is_asked: np.ndarray) -> list[int]:
    """For each word the step of STEPS to the last of the question's words before it; one more without any."""
    places = np.arange(len(is_asked))
    last = np.maximum.accumulate(np.where(is_asked, places, -(1 << 20)))
    before = np.concatenate([[-(1 << 20)], last[:-1]]) if len(last) else last
    return np.searchsorted(STEPS, places - before).tolist()


def _sentences(lower: Sequence[str], stems: frozenset[str]) -> list[int]:
    """For each word how many of the question's its sentence lacks that another has: 0 is the best, MANY the worst."""
    ends = [place for place, word in enumerate(lower) if _SENTENCE_ENDS.fullmatch(word)]
    bounds = sorted({0, *(end + 1 for end in ends), len(lower)})
    parts = list(itertools.pairwise(bounds))
    held = [len(stems & {word[:STEM] for word in lower[start:end]}) for start, end in parts]
    most = max(held, default=0)
    return [min(most - count, MANY) for (start, end), count in zip(parts, held, strict=True) for _ in range(start, end)]
