"""Stage `baseline`: TF-IDF and logistic regression, the honest floor that a transformer must beat."""

from __future__ import annotations

import logging
from itertools import chain

import numpy as np
from safetensors.numpy import save_file
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from stages.backends.tfidf.runner import features
from stages.cleaning.rules import cleaning_of
from stages.entry import run_stage
from stages.files import publish, write_json
from stages.model_folder import seal
from stages.params import Params
from stages.paths import Paths
from stages.rows import read_split, texts_of

log = logging.getLogger("winnow")


def baseline(params: Params, paths: Paths) -> None:
    """Fit the baseline to the training rows; write its folder (JSON and safetensors, no pickle)."""
    train = read_split(paths.clean, "train")
    labels = sorted(set(train["label"].to_pylist()))
    vectorizer = TfidfVectorizer(ngram_range=(1, params.baseline.max_ngram), sublinear_tf=True)
    texts = texts_of(train)
    are_pairs = not isinstance(texts[0], str)
    fitted_to = (
        features(texts, vectorizer.fit(chain.from_iterable(texts))) if are_pairs else vectorizer.fit_transform(texts)
    )
    model = LogisticRegression(C=params.baseline.inverse_regularization, max_iter=1000, random_state=params.seed)
    model.fit(fitted_to, train["label"].to_pylist())
    coefficients_CV, intercept_C = one_row_a_label(model.coef_, model.intercept_)
    log.info("fitted: %d rows, %d n-grams, %d labels", *fitted_to.shape, len(labels))
    masks, language, max_chars = params.clean.masks, params.clean.stop_word_language, params.clean.max_chars
    cleaning = cleaning_of(params.clean.rules, masks, language, max_chars)
    with publish(paths.model("baseline")) as folder:
        folder.mkdir()
        write_json(folder / "vocabulary.json", sorted(vectorizer.vocabulary_))
        weights = {"coefficients": coefficients_CV, "intercept": intercept_C, "idf": vectorizer.idf_}
        save_file(
            {name: np.ascontiguousarray(array, dtype=np.float32) for name, array in weights.items()},
            folder / "weights.safetensors",
        )
        about = {"max_ngram": params.baseline.max_ngram, "cleaning": cleaning._asdict()}
        about |= {"pairs": True} if are_pairs else {}
        seal(folder, backend="tfidf", task=params.task, labels=labels, **about)


def one_row_a_label(coefficients: np.ndarray, intercept: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """scikit-learn keeps one row for two labels, that of the second; a softmax wants one row each."""
    if len(coefficients) > 1:
        return coefficients, intercept
    return np.vstack([np.zeros_like(coefficients), coefficients]), np.concatenate([[0.0], intercept])


if __name__ == "__main__":
    run_stage(baseline)
