"""TF-IDF for linear baselines: of words, or of characters where words carry little.

That is in scripts without blanks between words, or with vowels as marks, and in emoji. N texts, V n-grams.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import csr_matrix, hstack
from sklearn.feature_extraction.text import TfidfVectorizer

from stages.core.contracts import Text
from stages.core.scripts import UNSPACED
from stages.tasks.contract import Linear

WORDS_WORK = 0.8  # the mean share of a text in words; below it, the features are characters
LOOKED_AT = 10_000  # training texts, evenly spaced, and characters from the start of each
LOOKED_AT_CHARS = 1_000
_WORD = re.compile(r"\b\w\w+\b")  # scikit-learn's
_UNSPACED = re.compile(f"[{UNSPACED}]")


class Seen(NamedTuple):
    """What TF-IDF makes of training texts."""

    rows: csr_matrix
    """(N, V), or of pairs (N, 3V)."""
    vocabulary: list[str]
    idf: np.ndarray
    settings: dict[str, Any]
    """What `vectorizer_of` needs besides: the kind of n-grams, and their length at most."""


def seen(texts: Sequence[Text], max_ngram: int) -> Seen:
    """The features of training texts, or pairs, of n-grams up to `max_ngram` words."""
    singles = [part for text in texts for part in ((text,) if isinstance(text, str) else text)]
    analyzer = "word" if words_reach(singles) >= WORDS_WORK else "char_wb"
    longest = max_ngram + (analyzer != "word")  # a character says less than a word
    vectorizer, rows = fitted_vectorizer(singles, analyzer, longest)
    vocabulary, idf = ([], np.zeros(0)) if vectorizer is None else (sorted(vectorizer.vocabulary_), vectorizer.idf_)
    if not isinstance(texts[0], str):
        rows = features(texts, vectorizer)
    return Seen(rows, vocabulary, idf, {"analyzer": analyzer, "max_ngram": longest})


def vectorizer_of(model: Linear) -> TfidfVectorizer | None:
    """The vectorizer of a model whose weights hold `idf`; None where it knows no n-gram."""
    if not model.features:  # scikit-learn refuses an empty vocabulary
        return None
    analyzer, max_ngram = model.settings.get("analyzer", "word"), model.settings["max_ngram"]
    vectorizer = new_vectorizer(analyzer, max_ngram, model.features)
    vectorizer.idf_ = model.weights["idf"]
    return vectorizer


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
