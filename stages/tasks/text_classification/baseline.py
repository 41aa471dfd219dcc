"""The floor of text classification: TF-IDF and logistic regression; no pickle.

Its features are words, or characters where words carry little: in scripts without blanks between words, or with vowels
as marks, and in emoji.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import csr_matrix, hstack
from scipy.special import softmax
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from stages.core.contracts import Outputs, Space, Text
from stages.tasks.contract import Linear, TaskBaseline

if TYPE_CHECKING:
    from stages.core.params.file import Params

WORDS_WORK = 0.8  # the mean share of a text in words; below it, the features are characters
LOOKED_AT = 10_000  # training texts, evenly spaced, and characters from the start of each
LOOKED_AT_CHARS = 1_000
_WORD = re.compile(r"\b\w\w+\b")  # scikit-learn's
# Thai, Lao, Burmese, Khmer, Japanese and Chinese put no blanks between words.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9d"
    "\U00020000-\U0003ffff]"
)


def fit(texts: Sequence[Text], targets: Sequence[str], _space: Space, params: Params) -> Linear:
    """The model fitted to training rows."""
    singles = [part for text in texts for part in ((text,) if isinstance(text, str) else text)]
    analyzer = "word" if words_reach(singles) >= WORDS_WORK else "char_wb"
    max_ngram = params.baseline.max_ngram + (analyzer != "word")  # a character says less than a word
    vectorizer, rows = fitted_vectorizer(singles, analyzer, max_ngram)
    vocabulary, idf = ([], np.zeros(0)) if vectorizer is None else (sorted(vectorizer.vocabulary_), vectorizer.idf_)
    are_pairs = not isinstance(texts[0], str)
    coefficients_CV, intercept_C = coefficients_of(features(texts, vectorizer) if are_pairs else rows, targets, params)
    weights = {"coefficients": coefficients_CV, "intercept": intercept_C, "idf": idf}
    return Linear(vocabulary, weights, {"analyzer": analyzer, "max_ngram": max_ngram})


def opened(model: Linear) -> Callable[[Sequence[Text]], Outputs]:
    """predict(texts): the probabilities of the labels, (N, C)."""
    vectorizer = None
    if model.features:  # scikit-learn refuses an empty vocabulary
        analyzer, max_ngram = model.settings.get("analyzer", "word"), model.settings["max_ngram"]
        vectorizer = new_vectorizer(analyzer, max_ngram, model.features)
        vectorizer.idf_ = model.weights["idf"]
    coefficients_VC, intercept_C = model.weights["coefficients"].T, model.weights["intercept"]

    def predict(texts: Sequence[Text]) -> Outputs:
        logits_NC = features(texts, vectorizer) @ coefficients_VC + intercept_C
        return Outputs(softmax(logits_NC, axis=1).astype("float32"))

    return predict


def words_reach(texts: Sequence[str]) -> float:
    """The share of a text's letters, marks, digits and symbols that are in words, as a mean over some texts.

    A word has two characters or more, with blanks or punctuation around it.
    """
    some = texts[:: max(1, -(-len(texts) // LOOKED_AT))]
    return float(np.mean([_words_reach(text[:LOOKED_AT_CHARS]) for text in some]))


def _words_reach(text: str) -> float:
    read = sum(
        character.isalnum() or (not character.isascii() and unicodedata.category(character)[0] in "MS")
        for character in text
    )
    words = _WORD.findall(_UNSPACED.sub(" ", text))
    return sum(len(word.replace("_", "")) for word in words) / read if read else 0.0


def fitted_vectorizer(texts: Sequence[str], analyzer: str, max_ngram: int) -> tuple[TfidfVectorizer | None, csr_matrix]:
    """The vectorizer fitted to these texts, and their features; the vectorizer is None where no text has an n-gram."""
    vectorizer = new_vectorizer(analyzer, max_ngram)
    try:
        return vectorizer, vectorizer.fit_transform(texts)
    except ValueError:  # scikit-learn's, for an empty vocabulary
        return None, features(texts, None)


def coefficients_of(rows: csr_matrix, truth: Sequence[str], params: Params) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients (V,) and an intercept for each label; without any feature, the shares of the labels."""
    if rows.shape[1] == 0:
        _, counts = np.unique(truth, return_counts=True)
        return np.zeros((len(counts), 0)), np.log(counts / len(truth))
    # SAGA adds up in loops of its own; the default, L-BFGS, by BLAS, whose order is another on another processor.
    model = LogisticRegression(
        C=params.baseline.inverse_regularization, solver="saga", max_iter=1000, random_state=params.seed
    )
    model.fit(rows, truth)
    return one_row_a_label(model.coef_, model.intercept_)


def one_row_a_label(coefficients: np.ndarray, intercept: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A row of coefficients for each label, as a softmax needs: of two labels scikit-learn keeps only the second's."""
    if len(coefficients) > 1:
        return coefficients, intercept
    return np.vstack([np.zeros_like(coefficients), coefficients]), np.concatenate([[0.0], intercept])


def new_vectorizer(analyzer: str, max_ngram: int, vocabulary: Sequence[str] | None = None) -> TfidfVectorizer:
    """TF-IDF over 1-grams to n-grams of words (`word`), or of the characters within them (`char_wb`)."""
    return TfidfVectorizer(analyzer=analyzer, ngram_range=(1, max_ngram), sublinear_tf=True, vocabulary=vocabulary)


def features(texts: Sequence[Text], vectorizer: TfidfVectorizer | None) -> csr_matrix:
    """TF-IDF of N texts, (N, V); of pairs (N, 3V): the first's, the second's, and their products, for shared n-grams.

    Without a vectorizer there are no features: (N, 0).
    """
    if vectorizer is None:
        return csr_matrix((len(texts), 0))
    if len(texts) == 0 or isinstance(texts[0], str):
        return vectorizer.transform(texts)
    first, second = (vectorizer.transform([pair[place] for pair in texts]) for place in (0, 1))
    return hstack([first, second, first.multiply(second)], format="csr")


BASELINE = TaskBaseline(fit=fit, opened=opened)
