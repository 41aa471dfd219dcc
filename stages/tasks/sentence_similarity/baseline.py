"""The floor of sentence similarity: BM25, which counts the words that two texts share; no pickle.

N pairs, V n-grams. Source: Robertson and Zaragoza 2009, doi:10.1561/1500000019.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import csr_array
from sklearn.feature_extraction.text import CountVectorizer

from stages.core.contracts import Outputs, Space, Text
from stages.tasks.contract import Linear, TaskBaseline
from stages.tasks.shared.ranking import ranks
from stages.tasks.shared.words import WORDS_WORK, words_reach

if TYPE_CHECKING:
    from stages.core.params.baseline import BaselineParams

K1, B = 1.2, 0.75  # how soon a repeated word counts no more, and how much a long text's words count less
DIGITS = 6


def fit(texts: Sequence[Text], _targets: Sequence[str], _space: Space, params: BaselineParams, _seed: int) -> Linear:
    """How rare each n-gram is among the distinct second texts of the training rows, and how long these are."""
    texts_D = list(dict.fromkeys(text[1] for text in texts))
    analyzer = "word" if words_reach(texts_D) >= WORDS_WORK else "char_wb"
    settings = {"analyzer": analyzer, "max_ngram": params.max_ngram + (analyzer != "word")}
    counts_DV, vocabulary = counted(texts_D, settings)
    idf_V = _idf(np.asarray((counts_DV > 0).sum(0)).ravel(), len(texts_D))
    of_unseen = round(float(_idf(np.zeros(1), len(texts_D))[0]), DIGITS)
    length = round(float(counts_DV.sum() / len(texts_D)), DIGITS)
    return Linear(vocabulary, {"idf": idf_V}, {**settings, "mean_length": length, "idf_of_unseen": of_unseen})


def counted(texts: Sequence[str], settings: Any) -> tuple[csr_array, list[str]]:
    """The n-grams of each text, (N, V), and what they are, sorted."""
    vectorizer = CountVectorizer(analyzer=settings["analyzer"], ngram_range=(1, settings["max_ngram"]))
    try:
        counts = vectorizer.fit_transform(texts)
    except ValueError:  # scikit-learn's, for an empty vocabulary
        return csr_array((len(texts), 0)), []
    return csr_array(counts, dtype=np.float64), vectorizer.get_feature_names_out().tolist()


def _idf(texts_V: np.ndarray, count: int) -> np.ndarray:
    return np.log1p((count - texts_V + 0.5) / (texts_V + 0.5))


def opened(model: Linear) -> Callable[[Sequence[Text]], Outputs]:
    """predict(pairs): each row's similarity and rank, (N, 1, 2); the ranks are among the second texts given."""
    known = dict(zip(model.features, model.weights["idf"].tolist(), strict=True))

    def predict(texts: Sequence[Text]) -> Outputs:
        if not texts:
            return Outputs(np.empty((0, 1, 2), dtype=np.float32))
        first, second = ([text[place] for text in texts] for place in (0, 1))
        counts, vocabulary = counted([*first, *second], model.settings)
        idf_V = np.array([known.get(word, model.settings["idf_of_unseen"]) for word in vocabulary])
        asked_NV = counts[: len(texts)]
        weights = weighted(counts, idf_V, model.settings["mean_length"])
        found_NV, of_itself_NV = weights[len(texts) :], weights[: len(texts)]
        own_N, most_N = (np.asarray((asked_NV * weights).sum(1)).ravel() for weights in (found_NV, of_itself_NV))
        similar_N = np.clip(np.divide(own_N, most_N, out=np.zeros(len(texts)), where=most_N > 0), 0, 1)
        rank_N = ranks(asked_NV, found_NV, _codes(first), _codes(second))
        return Outputs(np.stack([similar_N, rank_N], axis=1)[:, None].astype(np.float32))

    return predict


def weighted(counts_NV: csr_array, idf_V: np.ndarray, mean_length: float) -> csr_array:
    """(N, V): what each n-gram of a text adds to its score, for each time that it is asked for."""
    found = counts_NV.tocsr(copy=True)
    length_N = np.asarray(found.sum(1)).ravel() / max(mean_length, 1e-9)
    rows = np.repeat(np.arange(found.shape[0]), np.diff(found.indptr))
    times = found.data
    found.data = idf_V[found.indices] * times * (K1 + 1) / (times + K1 * (1 - B + B * length_N[rows]))
    return found


def _codes(texts: Sequence[str]) -> np.ndarray:
    """(N,): the same number for the same text."""
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(text, len(numbers)) for text in texts])


BASELINE = TaskBaseline(fit=fit, opened=opened)
