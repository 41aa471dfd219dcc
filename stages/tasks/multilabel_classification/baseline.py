"""The floor of multi-label classification: TF-IDF and a logistic regression for each label; no pickle.

N texts, C labels, V features.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression

from stages.core.contracts import Outputs, Space, Text
from stages.tasks.contract import Linear, TaskBaseline
from stages.tasks.shared.label_sets import from_text, held
from stages.tasks.shared.probabilities import log_odds, sigmoid
from stages.tasks.shared.words import features, seen, vectorizer_of

if TYPE_CHECKING:
    from stages.core.params.baseline import BaselineParams


def fit(texts: Sequence[Text], targets: Sequence[str], space: Space, params: BaselineParams, seed: int) -> Linear:
    """The model fitted to training rows."""
    rows, vocabulary, idf, settings = seen(texts, params.max_ngram)
    holds_NC = held([from_text(target) for target in targets], space["labels"])
    fitted = [one_label(rows, holds_N, params, seed) for holds_N in holds_NC.T]
    coefficients_CV = np.stack([coefficients for coefficients, _ in fitted])
    intercept_C = np.array([intercept for _, intercept in fitted])
    return Linear(vocabulary, {"coefficients": coefficients_CV, "intercept": intercept_C, "idf": idf}, settings)


def one_label(rows: csr_matrix, holds_N: np.ndarray, params: BaselineParams, seed: int) -> tuple[np.ndarray, float]:
    """Coefficients (V,) and an intercept; without any feature, or where it holds in every row, its share alone."""
    if rows.shape[1] == 0 or holds_N.all():
        share = (holds_N.sum() + 0.5) / (len(holds_N) + 1)  # never 1, whose log odds are none
        return np.zeros(rows.shape[1]), float(log_odds(np.array(share)))
    # SAGA adds up in loops of its own, so it comes out the same on every processor.
    model = LogisticRegression(C=params.inverse_regularization, solver="saga", max_iter=1000, random_state=seed)
    model.fit(rows, holds_N)
    return model.coef_[0], float(model.intercept_[0])


def opened(model: Linear) -> Callable[[Sequence[Text]], Outputs]:
    """predict(texts): the probabilities of the labels, (N, C)."""
    vectorizer = vectorizer_of(model)
    coefficients_VC, intercept_C = model.weights["coefficients"].T, model.weights["intercept"]

    def predict(texts: Sequence[Text]) -> Outputs:
        return Outputs(sigmoid(features(texts, vectorizer) @ coefficients_VC + intercept_C).astype("float32"))

    return predict


BASELINE = TaskBaseline(fit=fit, opened=opened)
