"""The calibration of a model: whether its probabilities can be trusted."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar

from stages.core.contracts import Answers
from stages.core.params.evaluate import EvaluateParams

SMALLEST = 1e-12  # probabilities below it are taken for it, so that their logarithm is finite
HOTTEST = 20.0  # the highest temperature that is tried, and one over the lowest


def measure(answers: Answers, params: EvaluateParams) -> dict[str, Any]:
    """`ece`, the expected calibration error, and `brier`, the Brier score.

    The error is the mean over the rows of |confidence - accuracy| of their bin: 0 is best, 1 worst (Naeini et al.
    2015; Guo et al. 2017, arXiv:1706.04599, equation 3). The score is the mean squared distance between the
    probabilities and the truth as a one-hot vector: 0 is best, 2 worst (Brier 1950).
    """
    bins = reliability(answers.truth_N, answers.probabilities_NC, bins=params.calibration_bins)
    rows = len(answers.truth_N)
    error = sum(entry["rows"] * abs(entry["confidence"] - entry["accuracy"]) for entry in bins) / rows
    return {"ece": round(error, 6), "brier": round(brier(answers.truth_N, answers.probabilities_NC), 6)}


def brier(truth_N: np.ndarray, probabilities_NC: np.ndarray) -> float:
    """The mean over N of the squared distances, summed over C."""
    probabilities = probabilities_NC.astype(np.float64)
    of_truth = probabilities[np.arange(len(truth_N)), truth_N]
    return float((np.square(probabilities).sum(1) - 2 * of_truth + 1).mean())


def reliability(truth_N: np.ndarray, probabilities_NC: np.ndarray, *, bins: int) -> list[dict[str, float]]:
    """For each bin of the highest probability that holds rows: its ends, rows, mean confidence and accuracy.

    Bins are of equal width over (0, 1], closed above, as in Guo et al. 2017.
    """
    confidence_N = probabilities_NC.max(1).astype(np.float64)
    right_N = probabilities_NC.argmax(1) == truth_N
    bin_N = np.clip(np.ceil(confidence_N * bins).astype(int) - 1, 0, bins - 1)
    rows = np.bincount(bin_N, minlength=bins)
    confidence, right = (np.bincount(bin_N, weights=x, minlength=bins) for x in (confidence_N, right_N))
    return [
        {
            "low": round(i / bins, 6),
            "high": round((i + 1) / bins, 6),
            "rows": int(rows[i]),
            "confidence": float(confidence[i] / rows[i]),
            "accuracy": float(right[i] / rows[i]),
        }
        for i in np.flatnonzero(rows)
    ]


def fit_temperature(truth_N: np.ndarray, probabilities_NC: np.ndarray) -> float:
    """The temperature, to two decimals, that maximises the likelihood of the truth (Guo et al. 2017, section 4.2)."""
    logits = np.log(np.maximum(probabilities_NC.astype(np.float64), SMALLEST))

    def loss(log_temperature: float) -> float:
        scaled = logits / np.exp(log_temperature)
        top = scaled.max(1)
        return float(
            (top + np.log(np.exp(scaled - top[:, None]).sum(1)) - scaled[np.arange(len(truth_N)), truth_N]).mean()
        )

    bound = np.log(HOTTEST)
    return round(float(np.exp(minimize_scalar(loss, bounds=(-bound, bound), method="bounded").x)), 2)
