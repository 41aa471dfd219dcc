"""Runs the baseline: TF-IDF and a linear layer, from plain JSON and safetensors (no pickle)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from safetensors.numpy import load_file
from scipy.sparse import csr_matrix, hstack
from scipy.special import softmax
from sklearn.feature_extraction.text import TfidfVectorizer

from stages.backends.batching import task_of
from stages.core.contracts import Outputs, Runner, Text
from stages.core.files import read_json
from stages.core.model_folder import describe


def open_runner(folder: Path, threads: int) -> Runner:  # noqa: ARG001 - runners have one face
    """Open the baseline in `folder`. It runs on one thread, whatever `threads` is."""
    description = describe(folder)
    weights = load_file(folder / "weights.safetensors")
    vectorizer, vocabulary = None, read_json(folder / "vocabulary.json")
    if vocabulary:  # scikit-learn refuses an empty one
        vectorizer = new_vectorizer(description.get("analyzer", "word"), description["max_ngram"], vocabulary)
        vectorizer.idf_ = weights["idf"]
    coefficients_VC, intercept_C = weights["coefficients"].T, weights["intercept"]

    def predict(texts: Sequence[Text]) -> Outputs:
        logits_NC = features(texts, vectorizer) @ coefficients_VC + intercept_C
        return Outputs(softmax(logits_NC, axis=1).astype("float32"))

    return Runner(task=task_of(description), space=description["space"], predict=predict)


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
