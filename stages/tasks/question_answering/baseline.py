"""The linear floor of question answering: two logistic regressions, of the word an answer begins with and of its last.

They see the word, its shape and its neighbours beside the kind of the question, and how near the question's words are.
As other models' outputs theirs are log odds, from which the likeliest passage follows. No pickle.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from sklearn.linear_model import LogisticRegression

from stages.core.contracts import Outputs, Space
from stages.tasks.contract import Linear, TaskBaseline
from stages.tasks.shared.beside_question import features_of
from stages.tasks.shared.features import indicators, vocabulary_of, words_of
from stages.tasks.shared.places import within
from stages.tasks.shared.quotes import from_text

if TYPE_CHECKING:
    from stages.core.contracts import Text
    from stages.core.params.baseline import BaselineParams

MOST_ROWS = 10_000  # of the fit, evenly taken; more change little
OTHER_WORDS = 12  # of each of these rows, drawn, beside the first and the last of its answer
MAX_ITERATIONS = 50  # of the fit; from there on the answers hardly change


def fit(texts: Sequence[Text], targets: Sequence[str], _space: Space, params: BaselineParams, seed: int) -> Linear:
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
    return Linear(vocabulary, {"coefficients": coefficients_2V.astype(np.float32)})


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
