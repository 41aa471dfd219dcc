"""The floor of regression: TF-IDF and ridge regression; no pickle."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from sklearn.linear_model import Ridge

from stages.core.contracts import Outputs, Space, Text
from stages.tasks.contract import Linear, TaskBaseline
from stages.tasks.shared.words import features, seen, vectorizer_of

if TYPE_CHECKING:
    from stages.core.params.file import Params


def fit(texts: Sequence[Text], targets: Sequence[str], space: Space, params: Params) -> Linear:
    """The model fitted to training rows, of standardised numbers."""
    rows, vocabulary, idf, settings = seen(texts, params.baseline.max_ngram)
    numbers_N = (np.array([float(target) for target in targets]) - space["mean"]) / space["deviation"]
    coefficients_V = np.zeros(rows.shape[1])
    if rows.shape[1]:
        # SAG adds up in loops of its own, so it comes out the same on every processor.
        model = Ridge(
            alpha=1 / params.baseline.inverse_regularization, solver="sag", max_iter=1000, random_state=params.seed,
            fit_intercept=False,
        )  # fmt: skip
        coefficients_V = model.fit(rows, numbers_N).coef_
    return Linear(vocabulary, {"coefficients": coefficients_V[None], "idf": idf}, settings)


def opened(model: Linear) -> Callable[[Sequence[Text]], Outputs]:
    """predict(texts): standardised numbers, (N, 1)."""
    vectorizer, coefficients_V1 = vectorizer_of(model), model.weights["coefficients"].T

    def predict(texts: Sequence[Text]) -> Outputs:
        return Outputs((features(texts, vectorizer) @ coefficients_V1).astype("float32"))

    return predict


BASELINE = TaskBaseline(fit=fit, opened=opened)
