"""The divergence of a compressed model's answers from those of its original."""

from __future__ import annotations

import numpy as np

SMALLEST = 1e-12  # probabilities below it are taken for it, so that their logarithm is finite


def divergence(exact_NC: np.ndarray, answers_NC: np.ndarray) -> float:
    """KL(exact || answers), the mean over N, in nats: 0 where all are equal.

    It reflects every change of a probability, and so distinguishes models for which only a handful of labels changed.
    """
    exact, answers = (np.maximum(p.astype(np.float64), SMALLEST) for p in (exact_NC, answers_NC))
    return float((exact * (np.log(exact) - np.log(answers))).sum(1).mean())
