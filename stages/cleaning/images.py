"""Images that are near copies of each other, by their hashes: their rows belong together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from stages.reading.pixels import Images, near_copies


def kin_of_images(images: Images, names: Sequence[str], bits: int) -> np.ndarray:
    """(N,): a number for each row, the same where images are the same, or near copies, or joined by others that are.

    `names`: the image of each row; `bits`: in how many bits the hashes of near copies differ at most.
    """
    first, second = near_copies(images.likenesses, bits).T
    ones = np.ones(len(first), dtype=bool)
    _, kin_M = connected_components(coo_matrix((ones, (first, second)), shape=(len(images), len(images))))
    of_rows: np.ndarray = kin_M[images.numbers_of(names)]
    return of_rows
