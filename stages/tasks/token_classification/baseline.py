"""The linear floor of entity tagging: each word's tag by its letters, its shape and its neighbours; no pickle.

The best sequence of tags is found as for every model (stages/tasks/shared/tagging.py); features are of the text alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression

from stages.core.contracts import Outputs, Space
from stages.tasks.contract import Linear, TaskBaseline
from stages.tasks.shared.features import BIAS, EDGE, indicators, shape_of, vocabulary_of, words_of
from stages.tasks.shared.spans import from_text, tags_of

if TYPE_CHECKING:
    from stages.core.contracts import Text
    from stages.core.params.baseline import BaselineParams

MAX_ITERATIONS = 50  # of the fit; from there on the tags hardly change
NEVER = -1e4  # a logit


def features_of(text: str, words: Sequence[tuple[int, int]]) -> Iterator[list[str]]:
    """For each word what is seen of it: the word, its beginning, end and shape, and the two words on each side."""
    seen = [EDGE, EDGE, *(text[start:end] for start, end in words), EDGE, EDGE]
    lower, shapes = [word.lower() for word in seen], [shape_of(word) for word in seen]
    for at in range(2, len(seen) - 2):
        word = lower[at]
        yield [
            BIAS, f"w={word}", f"W={seen[at]}", f"s={shapes[at]}",
            *(f"p{size}={word[:size]}" for size in (2, 3)), *(f"e{size}={word[-size:]}" for size in (1, 2, 3)),
            *(f"w{step:+}={lower[at + step]}" for step in (-2, -1, 1, 2)),
            *(f"s{step:+}={shapes[at + step]}" for step in (-1, 1)),
            f"w-1,0={lower[at - 1]},{word}", f"w0,1={word},{lower[at + 1]}", f"w-2,-1={lower[at - 2]},{lower[at - 1]}",
            f"w1,2={lower[at + 1]},{lower[at + 2]}", f"s-1,0,1={shapes[at - 1]},{shapes[at]},{shapes[at + 1]}",
        ]  # fmt: skip


def fit(texts: Sequence[Text], targets: Sequence[str], space: Space, params: BaselineParams, seed: int) -> Linear:
    """The model fitted to training rows."""
    found: list[list[str]] = []
    tags: list[int] = []
    number = {tag: place for place, tag in enumerate(space["tags"])}
    for text, target in zip(texts, targets, strict=True):
        assert isinstance(text, str)
        words = words_of(text)
        found += features_of(text, words)
        tags += [number[tag] for tag in tags_of(from_text(target), words)]
    if len({*tags}) < 2:
        raise ValueError(
            f"every word of the training rows has the tag '{space['tags'][tags[0]]}'. Add rows with others."
        )
    vocabulary = vocabulary_of(found)
    # SAGA adds up in loops of its own; the default, L-BFGS, by BLAS, whose order is another on another processor.
    model = LogisticRegression(
        C=params.inverse_regularization, solver="saga", max_iter=MAX_ITERATIONS, tol=1e-2,
        random_state=seed, fit_intercept=False,
    )  # fmt: skip
    model.fit(indicators(found, {name: place for place, name in enumerate(vocabulary)}), tags)
    return Linear(vocabulary, {"coefficients": _of_all_tags(model, len(space["tags"]), vocabulary.index(BIAS))})


def _of_all_tags(model: LogisticRegression, tags: int, bias: int) -> np.ndarray:
    """(K, V): the coefficients of each tag; one that no word has, such as I of names of one word, never comes out."""
    coefficients = model.coef_ if len(model.classes_) > 2 else np.vstack([-model.coef_, model.coef_]) / 2
    whole = np.zeros((tags, coefficients.shape[1]), dtype=np.float32)
    whole[:, bias] = NEVER
    whole[model.classes_] = coefficients
    return whole


def opened(model: Linear) -> Callable[[Sequence[Text]], Outputs]:
    """predict(texts): the probabilities of each word's tags."""
    place = {name: at for at, name in enumerate(model.features)}
    coefficients_VK = model.weights["coefficients"].T

    def predict(texts: Sequence[Text]) -> Outputs:
        words = [words_of(str(text)) for text in texts]
        found = [names for text, own in zip(texts, words, strict=True) for names in features_of(str(text), own)]
        values = softmax(indicators(found, place) @ coefficients_VK, axis=1).astype("float32")
        characters = np.array([word for own in words for word in own], dtype=np.int64).reshape(-1, 2)
        return Outputs(values, np.cumsum([0, *map(len, words)]), characters)

    return predict


BASELINE = TaskBaseline(fit=fit, opened=opened)
