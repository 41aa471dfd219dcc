"""Spearman's correlation as a function of sums over rows: of resampled rows it is that of their own ranks.

N rows, R resamples. Each row has three columns of its own: 1, its place among the truths, that among the answers. A
resample that has a row twice has twice these numbers, so the sums say how often each row was drawn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from scipy.sparse import csr_array

COLUMNS = 3  # of a row


def counts(truths_N: np.ndarray, given_N: np.ndarray) -> csr_array:
    """(N, 3 N): what each row adds. Places among the others are whole numbers, so that ties stay ties."""
    from scipy.sparse import csr_array, hstack  # not where a model is only opened

    rows = len(truths_N)
    places = (np.unique(side, return_inverse=True)[1].ravel() + 1.0 for side in (truths_N, given_N))
    at = np.arange(rows)
    return csr_array(hstack([csr_array((own, (at, at)), shape=(rows, rows)) for own in (np.ones(rows), *places)]))


def spearman(sums_RM: np.ndarray) -> np.ndarray:
    """The correlation of ranks, (R,) in [-1, 1]; 0 where one side is constant, and without rows. M = 3 N."""
    if not sums_RM.shape[1]:
        return np.zeros(len(sums_RM))
    times_RN, *sides = np.split(sums_RM, COLUMNS, axis=1)
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
