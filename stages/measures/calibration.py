"""The calibration of a model: whether its confidence can be trusted. N rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.optimize import minimize_scalar

from stages.core.contracts import Outputs, Space
from stages.core.params.evaluate import EvaluateParams
from stages.measures.score import Interval
from stages.tasks.contract import Judged, TaskAnswers

if TYPE_CHECKING:
    from stages.measures.opened import Opened

HOTTEST = 20.0  # the highest temperature that is tried, and one over the lowest
DRAWS = 300  # resamples of a difference of errors


def measure(judged: Judged, _model: Opened, params: EvaluateParams) -> dict[str, Any]:
    """`ece`, the expected calibration error; nothing where the task has no confidence.

    It is the mean over the rows of |confidence - score| of their bin: 0 is best, 1 worst (Naeini et al. 2015; Guo et
    al. 2017, arXiv:1706.04599, equation 3).
    """
    if judged.confidence_N is None:
        return {}
    bins = reliability(judged.confidence_N, judged.scores_N, bins=params.calibration_bins)
    error = sum(entry["rows"] * abs(entry["confidence"] - entry["score"]) for entry in bins) / len(judged.truths)
    return {"ece": round(error, 6)}


def reliability(confidence_N: np.ndarray, scores_N: np.ndarray, *, bins: int) -> list[dict[str, float]]:
    """For each bin of the confidence that holds rows: its ends, rows, mean confidence and mean score.

    Bins are of equal width over (0, 1], closed above, as in Guo et al. 2017.
    """
    confidence_N = confidence_N.astype(np.float64)
    bin_N = bin_of(confidence_N, bins)
    rows = np.bincount(bin_N, minlength=bins)
    confidence, score = (np.bincount(bin_N, weights=x, minlength=bins) for x in (confidence_N, scores_N))
    return [
        {
            "low": round(i / bins, 6),
            "high": round((i + 1) / bins, 6),
            "rows": int(rows[i]),
            "confidence": float(confidence[i] / rows[i]),
            "score": float(score[i] / rows[i]),
        }
        for i in np.flatnonzero(rows)
    ]


def bin_of(confidence_N: np.ndarray, bins: int) -> np.ndarray:
    """The number of each row's bin, from 0, (N,)."""
    return np.clip(np.ceil(confidence_N * bins).astype(int) - 1, 0, bins - 1)


def error_difference_interval(
    before: tuple[np.ndarray, np.ndarray],
    after: tuple[np.ndarray, np.ndarray],
    units_N: np.ndarray,
    *,
    bins: int,
    confidence: float,
) -> Interval:
    """Percentile bootstrap of the difference of two calibration errors; units are drawn for both at once.

    `before`, `after`: the confidence and the scores of the same rows, (N,) each.
    """
    rows, units = len(units_N), int(units_N.max()) + 1
    sides = [(bin_of(sure_N, bins), sure_N - scores_N) for sure_N, scores_N in (before, after)]

    def change(weights_N: np.ndarray) -> float:
        errors = [
            np.abs(np.bincount(bin_N, weights=gap_N * weights_N, minlength=bins)).sum() / weights_N.sum()
            for bin_N, gap_N in sides
        ]
        return float(errors[1] - errors[0])

    draw = np.random.default_rng(0)
    drawn = [np.bincount(draw.integers(units, size=units), minlength=units)[units_N] for _ in range(DRAWS)]
    tail = (1 - confidence) / 2
    low, high = np.quantile([change(weights_N) for weights_N in drawn], (tail, 1 - tail))
    return Interval(float(low), float(high), change(np.ones(rows)))


def fit_temperature(task: TaskAnswers, truths: Sequence[str], outputs: Outputs, space: Space) -> float:
    """The temperature, to two decimals, that maximises the likelihood of the truth (Guo et al. 2017, section 4.2).

    It is as if one row more spoke for a temperature of 1: where a few rows are all answered right, nothing else would
    end the sharpening, and wrong answers would be as sure as right ones.
    """
    assert task.logits is not None
    logits = task.logits(outputs.values)

    def loss(log_temperature: float) -> float:
        scaled = outputs._replace(values=task.activate(logits / np.exp(log_temperature)))
        return float(task.losses(truths, scaled, space).mean()) + log_temperature**2 / len(truths)

    bound = np.log(HOTTEST)
    return round(float(np.exp(minimize_scalar(loss, bounds=(-bound, bound), method="bounded").x)), 2)
