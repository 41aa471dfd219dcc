"""Ranks: how many others are nearer to a query than what belongs to it. N rows, Q distinct queries, P distinct members.

A row is a query and a member that belongs to it: a text and another, an image and a text.
"""

from __future__ import annotations

from typing import Any

import numpy as np

TIE = 1e-6  # products that differ by less are the same
ROWS_AT_ONCE = 512


def ranks(queries: Any, members: Any, query_N: np.ndarray, member_N: np.ndarray) -> np.ndarray:
    """(N,) int64, from 1: the place of each row's member among all distinct ones, by its product with the query.

    `queries`, `members`: (N, K) arrays, or sparse. Rows with equal numbers in `query_N` have the same query, and the
    members that belong to it do not compete with each other; those with equal numbers in `member_N` have the same
    member. Of members that are equally near, half are before it.
    """
    from scipy.sparse import csr_array, issparse  # not where a model is only opened

    names_Q, query_N = np.unique(query_N, return_inverse=True)
    names_P, at_P, member_N = np.unique(member_N, return_index=True, return_inverse=True)
    ones = np.ones(len(member_N), dtype=np.int32)
    belongs_QP = csr_array((ones, (query_N, member_N)), shape=(len(names_Q), len(names_P)))
    candidates, found_N = members[at_P].T, np.empty(len(member_N), dtype=np.int64)
    for start in range(0, len(member_N), ROWS_AT_ONCE):
        rows = slice(start, start + ROWS_AT_ONCE)
        product = queries[rows] @ candidates
        product_BP = product.toarray() if issparse(product) else product
        nearer_BP = product_BP - product_BP[np.arange(len(product_BP)), member_N[rows]][:, None]
        nearer_BP[np.isnan(nearer_BP)] = np.inf  # what is no number is not near
        nearer_BP[belongs_QP[query_N[rows]].toarray() > 0] = -np.inf
        tied_B = (np.abs(nearer_BP) <= TIE).sum(1)
        found_N[rows] = 1 + (nearer_BP > TIE).sum(1) + (tied_B + 1) // 2
    return found_N


def ranks_both_ways(values_N2K: np.ndarray, numbers_N2: np.ndarray) -> np.ndarray:
    """(N, 2) int64: by cosines, of each row the rank of the second by the first, and of the first by the second.

    `numbers_N2`: which ones a row has; those with equal numbers are the same.
    """
    lengths_N21 = np.linalg.norm(values_N2K, axis=-1, keepdims=True)
    directions_N2K = values_N2K / np.maximum(lengths_N21, np.finfo(np.float32).tiny)
    (first, second), (first_N, second_N) = directions_N2K.swapaxes(0, 1), numbers_N2.T
    return np.stack([ranks(first, second, first_N, second_N), ranks(second, first, second_N, first_N)], axis=1)
