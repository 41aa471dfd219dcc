"""What the measures of a written text are counted from, and the score by which int8 is judged.

N rows, S counts: 1, whether the answer is the target, the characters of both, and those of stages/tasks/shared/overlap.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stages.tasks.shared import overlap
from stages.tasks.shared.overlap import OF_BLEU, OF_CHRF

OWN = 4  # counts in front of those of overlaps
NAMES = ("chrf", "bleu", "rouge1", "rouge2", "rouge_l", "exact_match")


def counts(truths: Sequence[str], answers: Sequence[str]) -> np.ndarray:
    """(N, S) float64: what each row adds."""
    own = [(1, truth == answer, len(truth), len(answer)) for truth, answer in zip(truths, answers, strict=True)]
    return np.hstack([np.array(own, dtype=np.float64).reshape(len(own), OWN), overlap.counts(truths, answers)])


def chrf(sums_RS: np.ndarray) -> np.ndarray:
    """(R,) in [0, 1]."""
    return overlap.chrf(np.asarray(sums_RS)[:, OWN:])


def bleu(sums_RS: np.ndarray) -> np.ndarray:
    """(R,) in [0, 1]."""
    return overlap.bleu(np.asarray(sums_RS)[:, OWN:])


def rouge1(sums_RS: np.ndarray) -> np.ndarray:
    """(R,) in [0, 1]: the mean of the rows' F1 of words."""
    return _mean(sums_RS, OWN + OF_BLEU + OF_CHRF)


def rouge2(sums_RS: np.ndarray) -> np.ndarray:
    """(R,) in [0, 1]: the mean of the rows' F1 of neighbouring words."""
    return _mean(sums_RS, OWN + OF_BLEU + OF_CHRF + 1)


def rouge_l(sums_RS: np.ndarray) -> np.ndarray:
    """(R,) in [0, 1]: the mean of the rows' F1 of the longest common subsequence of words."""
    return _mean(sums_RS, OWN + OF_BLEU + OF_CHRF + 2)


def exact_match(sums_RS: np.ndarray) -> np.ndarray:
    """(R,): the share of rows whose answer is the target, character by character."""
    return _mean(sums_RS, 1)


def length_ratio(sums_RS: np.ndarray) -> np.ndarray:
    """(R,): the characters of the answers for each of the targets."""
    sums = np.asarray(sums_RS)
    return sums[:, 3] / np.maximum(sums[:, 2], 1)


def _mean(sums_RS: np.ndarray, column: int) -> np.ndarray:
    sums = np.asarray(sums_RS)
    return sums[:, column] / np.maximum(sums[:, 0], 1)


VALUES = dict(zip(NAMES, (chrf, bleu, rouge1, rouge2, rouge_l, exact_match), strict=True))


def score(truths: Sequence[str], answers: Sequence[str]) -> dict[str, float]:
    """Each measure of all rows together."""
    sums = counts(truths, answers).sum(0).reshape(1, -1)
    return {name: float(value(sums)[0]) for name, value in VALUES.items()}
