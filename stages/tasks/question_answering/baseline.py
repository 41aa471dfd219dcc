"""The linear floor of question answering: two logistic regressions, of the word an answer begins with and of its last.

They see the word, its shape and its neighbours beside the kind of the question, and how near the question's words are.
As other models' outputs theirs are log odds, from which the likeliest passage follows. No pickle.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from sklearn.linear_model import LogisticRegression

from stages.core.contracts import Outputs, Space
from stages.tasks.contract import Linear, TaskBaseline
from stages.tasks.question_answering.answers import fitted
from stages.tasks.shared.features import BIAS, EDGE, indicators, shape_of, vocabulary_of, words_of
from stages.tasks.shared.places import within
from stages.tasks.shared.quotes import from_text

if TYPE_CHECKING:
    from stages.core.contracts import Text
    from stages.core.params.baseline import BaselineParams

MOST_ROWS = 10_000  # of the fit, evenly taken; more change little
OTHER_WORDS = 12  # of each of these rows, drawn, beside the first and the last of its answer
THRESHOLD_ROWS = 500  # training rows by which it is fitted when to answer at all, evenly taken
MAX_ITERATIONS = 50  # of the fit; from there on the answers hardly change
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


def fit(texts: Sequence[Text], targets: Sequence[str], space: Space, params: BaselineParams, seed: int) -> Linear:
    """The model fitted to training rows."""
    some = slice(None, None, max(1, -(-len(texts) // MOST_ROWS)))
    found, is_end_2R = _examples(texts[some], targets[some], seed)
    if not is_end_2R.any() or is_end_2R.all():
        raise ValueError(
            "of the training rows' words none, or each, begins or ends an answer. Add rows whose answers are a part of"
            " their text."
        )
    vocabulary = vocabulary_of(found)
    rows = indicators(found, {name: place for place, name in enumerate(vocabulary)})
    # SAGA adds up in loops of its own, so it comes out the same on every processor.
    model = LogisticRegression(
        C=params.inverse_regularization, solver="saga", max_iter=MAX_ITERATIONS, tol=1e-2, random_state=seed,
        fit_intercept=False,
    )  # fmt: skip
    coefficients_2V = np.concatenate([model.fit(rows, is_end_R).coef_ for is_end_R in is_end_2R])
    linear = Linear(vocabulary, {"coefficients": coefficients_2V.astype(np.float32)})
    if space["unanswerable"]:
        few = slice(None, None, max(1, -(-len(texts) // THRESHOLD_ROWS)))
        threshold = fitted(targets[few], opened(linear)(texts[few]), space)["threshold"]
        linear.weights["coefficients"][:, vocabulary.index(BIAS)] -= np.float32(threshold / 2)
    return linear


def _examples(texts: Sequence[Text], targets: Sequence[str], seed: int) -> tuple[list[list[str]], np.ndarray]:
    """The features of R words, and whether each begins an answer, and ends one: (2, R)."""
    draw = np.random.default_rng(seed)
    found: list[list[str]] = []
    ends: list[tuple[bool, bool]] = []
    for (text, question), target in zip(_pairs(texts), targets, strict=True):
        words, quotes = words_of(text), from_text(target)
        passage = within(np.array(words), quotes[0].start, quotes[0].end) if words and quotes else None
        if not words or (quotes and passage is None):
            continue
        drawn = draw.choice(len(words), size=min(OTHER_WORDS, len(words)), replace=False).tolist()
        numbers = sorted({*drawn, *(passage or ())})
        found += features_of(text, words, question, numbers)
        first, last = passage or (-1, -1)
        ends += [(number == first, number == last) for number in numbers]
    return found, np.array(ends, dtype=bool).reshape(-1, 2).T


def opened(model: Linear) -> Callable[[Sequence[Text]], Outputs]:
    """predict(texts): the log odds that an answer begins with each word, and that it ends with it."""
    place = {name: at for at, name in enumerate(model.features)}

    def predict(texts: Sequence[Text]) -> Outputs:
        pairs = _pairs(texts)
        words = [words_of(text) for text, _ in pairs]
        found = [
            names
            for (text, question), own in zip(pairs, words, strict=True)
            for names in features_of(text, own, question)
        ]
        values = (indicators(found, place) @ model.weights["coefficients"].T).astype("float32")
        characters = np.array([word for own in words for word in own], dtype=np.int64).reshape(-1, 2)
        return Outputs(values, np.cumsum([0, *map(len, words)]), characters, [text for text, _ in pairs])

    return predict


def _pairs(texts: Sequence[Text]) -> list[tuple[str, str]]:
    return [(text[0], text[1]) for text in texts]


BASELINE = TaskBaseline(fit=fit, opened=opened)
