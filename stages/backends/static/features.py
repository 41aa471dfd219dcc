"""Features of token rows by looking up a vector for each token, in numpy alone.

B rows, T tokens of each, V tokens of the vocabulary, D dimensions of a vector, F features.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from stages.core.neighbours import around

SMALLEST = 1e-12  # a length; below it a vector is one of nothing


class Static(NamedTuple):
    """A vector for every token of a vocabulary."""

    vectors_VD: np.ndarray
    """float32; 0 for special tokens."""
    weights_V: np.ndarray
    """float32: how much a token counts in the mean of a row; 0 for special tokens."""


def features(
    static: Static,
    input_ids_BT: np.ndarray,
    mask_BT: np.ndarray,
    types_BT: np.ndarray | None = None,
    *,
    per_token: bool,
) -> np.ndarray:
    """The features of each row (B, D), of pairs (B, 3D), or with `per_token` of each token (B, T, 7D); float32.

    A row has the weighted mean of its tokens' vectors, scaled to length 1. A pair, of which `types_BT` says where each
    token belongs, has that of the first text, that of the second, and their product. A token has what `around` makes
    of the vectors, all of which count the same.
    """
    if per_token:
        own_BTD = static.vectors_VD[input_ids_BT] * mask_BT[:, :, None].astype(np.float32)
        return around(own_BTD)
    weights_BT = static.weights_V[input_ids_BT] * mask_BT.astype(np.float32)
    if types_BT is None:
        return _mean(static, input_ids_BT, weights_BT)
    first, second = (_mean(static, input_ids_BT, weights_BT * (types_BT == side)) for side in (0, 1))
    return np.concatenate([first, second, first * second], axis=1)


def _mean(static: Static, input_ids_BT: np.ndarray, weights_BT: np.ndarray) -> np.ndarray:
    """(B, D): the weighted mean of each row's vectors, scaled to length 1; 0 where no token counts."""
    summed_BD = np.einsum("bt,btd->bd", weights_BT.astype(np.float32), static.vectors_VD[input_ids_BT])
    lengths_B1 = np.linalg.norm(summed_BD, axis=1, keepdims=True)
    return summed_BD / np.maximum(lengths_B1, SMALLEST)
