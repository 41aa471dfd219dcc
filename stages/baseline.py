"""Stage `baseline`: TF-IDF and logistic regression, the honest floor that a transformer must beat.

Its features are words, or characters where words carry little: in scripts without blanks between words, or with vowels
as marks, and in emoji.
"""

from __future__ import annotations

import logging
import re
import unicodedata
from collections.abc import Sequence

import numpy as np
from safetensors.numpy import save_file
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from stages.backends.tfidf.runner import features, new_vectorizer
from stages.cleaning.rules import cleaning_of
from stages.core.entry import run_stage
from stages.core.files import publish, write_json
from stages.core.model_folder import seal
from stages.core.params.file import Params
from stages.core.paths import Paths
from stages.reading.clean_rows import read_split, texts_of

log = logging.getLogger("winnow")

WORDS_WORK = 0.8  # the mean share of a text in words; below it, the features are characters
LOOKED_AT = 10_000  # training texts, evenly spaced, and characters from the start of each
LOOKED_AT_CHARS = 1_000
_WORD = re.compile(r"\b\w\w+\b")  # scikit-learn's
# Thai, Lao, Burmese, Khmer, Japanese and Chinese put no blanks between words.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9d"
    "\U00020000-\U0003ffff]"
)


def baseline(params: Params, paths: Paths) -> None:
    """Fit the baseline to the training rows; write its folder (JSON and safetensors, no pickle)."""
    train = read_split(paths.clean, "train")
    truth = train["label"].to_pylist()
    labels = sorted(set(truth))
    texts = texts_of(train)
    are_pairs = not isinstance(texts[0], str)
    singles = [part for text in texts for part in ((text,) if isinstance(text, str) else text)]
    analyzer = "word" if words_reach(singles) >= WORDS_WORK else "char_wb"
    max_ngram = params.baseline.max_ngram + (analyzer != "word")  # a character says less than a word
    vectorizer, rows = learned(singles, analyzer, max_ngram)
    vocabulary, idf = ([], np.zeros(0)) if vectorizer is None else (sorted(vectorizer.vocabulary_), vectorizer.idf_)
    coefficients_CV, intercept_C = fitted(features(texts, vectorizer) if are_pairs else rows, truth, params)
    log.info("fitted: %d rows, %d n-grams (%s), %d labels", len(texts), len(vocabulary), analyzer, len(labels))
    masks, language, max_chars = params.clean.masks, params.clean.stop_word_language, params.clean.max_chars
    cleaning = cleaning_of(params.clean.rules, masks, language, max_chars)
    with publish(paths.model("baseline")) as folder:
        folder.mkdir()
        write_json(folder / "vocabulary.json", vocabulary)
        weights = {"coefficients": coefficients_CV, "intercept": intercept_C, "idf": idf}
        save_file(
            {name: np.ascontiguousarray(array, dtype=np.float32) for name, array in weights.items()},
            folder / "weights.safetensors",
        )
        pairs = {"pairs": True} if are_pairs else {}
        how = {"analyzer": analyzer, "max_ngram": max_ngram, "cleaning": cleaning._asdict()}
        seal(folder, backend="tfidf", task=params.task.name, space={"labels": labels}, **how, **pairs)


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


def learned(texts: Sequence[str], analyzer: str, max_ngram: int) -> tuple[TfidfVectorizer | None, csr_matrix]:
    """The vectorizer fitted to these texts, and their features; the vectorizer is None where no text has an n-gram."""
    vectorizer = new_vectorizer(analyzer, max_ngram)
    try:
        return vectorizer, vectorizer.fit_transform(texts)
    except ValueError:  # scikit-learn's, for an empty vocabulary
        return None, features(texts, None)


def fitted(rows: csr_matrix, truth: Sequence[str], params: Params) -> tuple[np.ndarray, np.ndarray]:
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


if __name__ == "__main__":
    run_stage(baseline)
