"""How far the answers of a model made smaller are from those of the model that it was made of."""

from __future__ import annotations

import numpy as np

SMALLEST = 1e-12  # probabilities below it are taken for it, so that their logarithm is finite


def divergence(exact_NC: np.ndarray, answers_NC: np.ndarray) -> float:
    """KL(exact || answers), the mean over N, in nats: 0 where all are equal.

    It sees every change of a probability, and so tells apart what a handful of changed labels cannot.
    """
    exact, answers = (np.maximum(p.astype(np.float64), SMALLEST) for p in (exact_NC, answers_NC))
    return float((exact * (np.log(exact) - np.log(answers))).sum(1).mean())
