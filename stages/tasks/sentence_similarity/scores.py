"""How similar two texts are, and what the measures of similarities and of ranks are counted from.

N rows, K numbers of a vector, R resamples; S = 5 + 3 N counts of each row:

    1, its gain in nDCG@10, 1 / rank, rank 1 or not, rank 10 or less or not       where texts belong together, else 0
    1, its place among the truths, that among the answers                         of numbers: rank_correlation
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from stages.tasks.shared import rank_correlation

if TYPE_CHECKING:
    from scipy.sparse import csr_array

RANKED = 5  # counts of a row that is ranked
NEARLY = 0.05  # between cosines that differ by no more
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
    from scipy.sparse import csr_array  # not where a model is only opened

    return csr_array(np.column_stack([np.ones(len(rank_N)), gains(rank_N), 1 / rank_N, rank_N <= 1, rank_N <= DEEPEST]))


def counts_of_numbers(truths_N: np.ndarray, given_N: np.ndarray) -> csr_array:
    """(N, 5 + 3 N): what each row adds."""
    from scipy.sparse import csr_array, hstack  # not where a model is only opened

    own = rank_correlation.counts(truths_N, given_N)
    return csr_array(hstack([csr_array((own.shape[0], RANKED)), own]))


def of_ranks(place: int) -> Any:
    """A function of sums (R, S): the mean over the rows of what they add there, (R,)."""

    def mean(sums_RS: np.ndarray) -> np.ndarray:
        sums = np.asarray(sums_RS)
        return sums[:, place] / np.maximum(sums[:, 0], 1)

    return mean


def spearman(sums_RS: np.ndarray) -> np.ndarray:
    """Spearman's correlation, (R,) in [-1, 1]; 0 where one side is constant."""
    return rank_correlation.spearman(np.asarray(sums_RS)[:, RANKED:])


MEASURED_RANKS = {"ndcg_at_10": 1, "mrr": 2, "recall_at_1": 3, "recall_at_10": 4}


def score_of_ranks(rank_N: np.ndarray) -> Scores:
    """Each measure of ranks, of all rows together."""
    sums = np.asarray(counts_of_ranks(rank_N).sum(0)).reshape(1, -1)
    return Scores({name: float(of_ranks(place)(sums)[0]) for name, place in MEASURED_RANKS.items()})


def score_of_numbers(truths: Sequence[float] | np.ndarray, given: Sequence[float] | np.ndarray) -> Scores:
    """Spearman's correlation of all rows together."""
    sums = counts_of_numbers(np.asarray(truths), np.asarray(given)).sum(0)
    return Scores({"spearman": float(spearman(np.asarray(sums).reshape(1, -1))[0])})
