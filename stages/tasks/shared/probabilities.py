"""Probabilities from logits and back, and how far two sets of them are apart."""

from __future__ import annotations

import numpy as np

SMALLEST = 1e-12  # probabilities below it are taken for it, so that their logarithm is finite


def softmax(logits: np.ndarray) -> np.ndarray:
    """Over the last axis."""
    exponentials = np.exp(logits - logits.max(-1, keepdims=True))
    return exponentials / exponentials.sum(-1, keepdims=True)


def log_probabilities(probabilities: np.ndarray) -> np.ndarray:
    """Logits in float64 of which `softmax` makes these probabilities."""
    return np.log(np.maximum(probabilities.astype(np.float64), SMALLEST))


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Of each number by itself: the probability that what it stands for holds. Large logits never overflow."""
    return np.exp(-np.logaddexp(0, -logits))


def log_odds(probabilities: np.ndarray) -> np.ndarray:
    """Logits in float64 of which `sigmoid` makes these probabilities."""
    values = probabilities.astype(np.float64)
    return np.log(np.maximum(values, SMALLEST)) - np.log(np.maximum(1 - values, SMALLEST))


def kl_divergence(exact_NC: np.ndarray, other_NC: np.ndarray) -> float:
    """KL(exact || other), the mean over N, in nats: 0 where all are equal.

    It reflects every change of a probability, and so distinguishes models for which only a handful of answers changed.
    """
    exact, other = (np.maximum(p.astype(np.float64), SMALLEST) for p in (exact_NC, other_NC))
    return float((exact * (np.log(exact) - np.log(other))).sum(1).mean())
