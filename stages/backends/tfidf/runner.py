"""Runs the baseline: TF-IDF and a linear layer, from plain JSON and safetensors (no pickle)."""

from __future__ import annotations

from pathlib import Path

from safetensors.numpy import load_file
from scipy.special import softmax
from sklearn.feature_extraction.text import TfidfVectorizer

from stages.contracts import Runner
from stages.files import read_json


def open_runner(folder: Path, threads: int) -> Runner:  # noqa: ARG001 - runners have one face
    """Open the baseline in `folder`. It runs on one thread, whatever `threads` is."""
    description = read_json(folder / "model.json")
    weights = load_file(folder / "weights.safetensors")
    vectorizer = TfidfVectorizer(
        ngram_range=(1, description["max_ngram"]), sublinear_tf=True, vocabulary=read_json(folder / "vocabulary.json")
    )
    vectorizer.idf_ = weights["idf"]
    coefficients_VC, intercept_C = weights["coefficients"].T, weights["intercept"]
    return Runner(
        labels=tuple(description["labels"]),
        predict=lambda texts: softmax(vectorizer.transform(texts) @ coefficients_VC + intercept_C, axis=1).astype(
            "float32"
        ),
    )
