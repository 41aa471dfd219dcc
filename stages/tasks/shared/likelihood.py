"""The likelihood of texts, from the logarithms of their tokens' probabilities. N rows, T tokens of all rows."""

from __future__ import annotations

import numpy as np

from stages.core.contracts import Outputs

SAME = 0.1  # nats between probabilities that count as the same


def of_rows(outputs: Outputs) -> np.ndarray:
    """(N,) float64: the logarithm of each row's probability, in nats; 0 for a row without tokens."""
    assert outputs.offsets is not None
    before = np.concatenate([[0.0], np.cumsum(outputs.values[:, 0], dtype=np.float64)])
    return before[outputs.offsets[1:]] - before[outputs.offsets[:-1]]


def tokens(outputs: Outputs) -> np.ndarray:
    """(N,): the tokens of each row."""
    assert outputs.offsets is not None
    return np.diff(outputs.offsets)


def mean_probability(outputs: Outputs) -> np.ndarray:
    """(N,) in [0, 1]: the geometric mean of the probabilities of a row's tokens; NaN for a row without tokens."""
    count_N = tokens(outputs)
    mean_N = np.divide(of_rows(outputs), count_N, out=np.full(len(count_N), np.nan), where=count_N > 0)
    return np.minimum(np.exp(mean_N), 1.0)


def agreement(one: Outputs, other: Outputs) -> float:
    """The share of tokens whose probability is the same, to a tenth of it; both are of the same tokens."""
    if not one.values.size:
        return 1.0
    return float((np.abs(one.values.astype(np.float64) - other.values) < SAME).mean())


def divergence(exact: Outputs, other: Outputs) -> float:
    """Half the mean square of the differences of the tokens' nats: near the divergence of the two, where it is small.

    Both are of the same tokens. 0 where all are equal.
    """
    if not exact.values.size:
        return 0.0
    return float(np.square(exact.values.astype(np.float64) - other.values).mean() / 2)
