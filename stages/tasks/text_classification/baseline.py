"""The floor of text classification: TF-IDF and logistic regression; no pickle. C labels, V features."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import csr_matrix
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression

from stages.core.contracts import Outputs, Space, Text
from stages.tasks.contract import Linear, TaskBaseline
from stages.tasks.shared.words import features, seen, vectorizer_of

if TYPE_CHECKING:
    from stages.core.params.file import Params


def fit(texts: Sequence[Text], targets: Sequence[str], _space: Space, params: Params) -> Linear:
    """The model fitted to training rows."""
    rows, vocabulary, idf, settings = seen(texts, params.baseline.max_ngram)
    coefficients_CV, intercept_C = coefficients_of(rows, targets, params)
    return Linear(vocabulary, {"coefficients": coefficients_CV, "intercept": intercept_C, "idf": idf}, settings)


def opened(model: Linear) -> Callable[[Sequence[Text]], Outputs]:
    """predict(texts): the probabilities of the labels, (N, C)."""
    vectorizer = vectorizer_of(model)
    coefficients_VC, intercept_C = model.weights["coefficients"].T, model.weights["intercept"]

    def predict(texts: Sequence[Text]) -> Outputs:
        logits_NC = features(texts, vectorizer) @ coefficients_VC + intercept_C
        return Outputs(softmax(logits_NC, axis=1).astype("float32"))

    return predict


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


BASELINE = TaskBaseline(fit=fit, opened=opened)
