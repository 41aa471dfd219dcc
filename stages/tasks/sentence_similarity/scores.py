"""How similar two texts are, and what the measures of similarities and of ranks are counted from.

N rows, K numbers of a vector, R resamples; S = 5 + 3 N counts of each row:

    1, its gain in nDCG@10, 1 / rank, rank 1 or not, rank 10 or less or not       where texts belong together, else 0
    1, its place among the truths, that among the answers                         of numbers: in columns of its own

A resample that has a row twice has twice these numbers, so it is known how often each row was drawn: Spearman's
correlation of resampled rows is a function of the sums.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.sparse import csr_array, hstack

RANKED = 5  # counts of a row that is ranked
NUMBERED = 3  # counts of a row with a number
DEEPEST = 10  # rank that nDCG@10 and recall@10 look at


class Scores(dict[str, float]):
    """The measures of some rows, by name. ValueError, with those allowed, for one that their targets do not have."""

    def __missing__(self, name: str) -> float:
        raise ValueError(f"params.yaml: task.measure is '{name}'. Allowed with these targets: {', '.join(self)}.")


def similarity(values_N2K: np.ndarray) -> np.ndarray:
    """(N,) float64: the cosine of the two vectors of each row, which have length 1."""
    return np.einsum("nk,nk->n", values_N2K[:, 0], values_N2K[:, 1], dtype=np.float64)


def gains(rank_N: np.ndarray) -> np.ndarray:
    """(N,) in [0, 1]: what each row adds to nDCG@10, where one text is wanted."""
    return np.where(rank_N <= DEEPEST, 1 / np.log2(1 + rank_N), 0.0)


def counts_of_ranks(rank_N: np.ndarray) -> csr_array:
    """(N, 5): what each row adds."""
    return csr_array(np.column_stack([np.ones(len(rank_N)), gains(rank_N), 1 / rank_N, rank_N <= 1, rank_N <= DEEPEST]))


def counts_of_numbers(truths_N: np.ndarray, given_N: np.ndarray) -> csr_array:
    """(N, 5 + 3 N): what each row adds. Places among the others are whole numbers, so that ties stay ties."""
    rows = len(truths_N)
    places = (np.unique(side, return_inverse=True)[1].ravel() + 1.0 for side in (truths_N, given_N))
    at = np.arange(rows)
    parts = [csr_array((own, (at, at)), shape=(rows, rows)) for own in (np.ones(rows), *places)]
    return csr_array(hstack([csr_array((rows, RANKED)), *parts]))


def of_ranks(place: int) -> Any:
    """A function of sums (R, S): the mean over the rows of what they add there, (R,)."""

    def mean(sums_RS: np.ndarray) -> np.ndarray:
        sums = np.asarray(sums_RS)
        return sums[:, place] / np.maximum(sums[:, 0], 1)

    return mean


def spearman(sums_RS: np.ndarray) -> np.ndarray:
    """Spearman's correlation, (R,) in [-1, 1]; 0 where one side is constant."""
    own = np.asarray(sums_RS)[:, RANKED:]
    if not own.shape[1]:
        return np.zeros(len(own))
    times_RN, *sides = np.split(own, NUMBERED, axis=1)
    x_RN, y_RN = (_centred(_ranked(times_RN, side_RN), times_RN) for side_RN in sides)
    spread = np.sqrt((times_RN * x_RN * x_RN).sum(1)) * np.sqrt((times_RN * y_RN * y_RN).sum(1))
    found = np.divide((times_RN * x_RN * y_RN).sum(1), spread, out=np.zeros_like(spread), where=spread > 0)
    return np.clip(found, -1.0, 1.0)


def _ranked(times_RN: np.ndarray, sums_RN: np.ndarray) -> np.ndarray:
    """(R, N): the middle rank of each row in each resample, in which it is so many `times`; 0 for rows never drawn."""
    drawn_N = times_RN.sum(0)
    place_N = np.divide(sums_RN.sum(0), drawn_N, out=np.zeros_like(drawn_N), where=drawn_N > 0)
    order = np.argsort(place_N, kind="stable")
    is_new = np.diff(place_N[order], prepend=-1.0) > 0
    times_RG = np.add.reduceat(times_RN[:, order], np.flatnonzero(is_new), axis=1)
    middle_RG = np.cumsum(times_RG, axis=1) - times_RG / 2
    group_N = np.empty(len(order), dtype=np.int64)
    group_N[order] = np.cumsum(is_new) - 1
    return middle_RG[:, group_N]


def _centred(values_RN: np.ndarray, times_RN: np.ndarray) -> np.ndarray:
    return values_RN - (values_RN * times_RN).sum(1, keepdims=True) / times_RN.sum(1, keepdims=True)


MEASURED_RANKS = {"ndcg_at_10": 1, "mrr": 2, "recall_at_1": 3, "recall_at_10": 4}


def score_of_ranks(rank_N: np.ndarray) -> Scores:
    """Each measure of ranks, of all rows together."""
    sums = np.asarray(counts_of_ranks(rank_N).sum(0)).reshape(1, -1)
    return Scores({name: float(of_ranks(place)(sums)[0]) for name, place in MEASURED_RANKS.items()})


def score_of_numbers(truths: Sequence[float] | np.ndarray, given: Sequence[float] | np.ndarray) -> Scores:
    """Spearman's correlation of all rows together."""
    sums = counts_of_numbers(np.asarray(truths), np.asarray(given)).sum(0)
    return Scores({"spearman": float(spearman(np.asarray(sums).reshape(1, -1))[0])})
