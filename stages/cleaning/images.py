"""Images that are near copies of each other, by their hashes: their rows belong together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from stages.cleaning.splits import linked
from stages.reading.pixels import Images, near_copies


def with_kin_of_images(rows: pd.DataFrame, images: Images, names: Sequence[str | None], bits: int) -> pd.Series:
    """The groups of N rows (row_id, group), merged where their images are the same, near copies, or joined by such.

    `names`: the image of each row, None for none; `bits`: in how many bits the hashes of near copies differ at most.
    A row without a group, or an image, is its own.
    """
    groups = rows["group"].fillna(rows["row_id"])
    there = np.array([name is not None for name in names], dtype=bool)
    if not there.any():
        return groups
    numbers = images.numbers_of([name for name in names if name is not None])
    known_M, place = np.unique(numbers, return_inverse=True)  # none of other rows joins two of these
    first, second = near_copies(images.likenesses[known_M], bits).T
    ones, shape = np.ones(len(first), dtype=bool), (len(known_M), len(known_M))
    _, kin_M = connected_components(coo_matrix((ones, (first, second)), shape=shape))
    own = groups[there]
    groups[there] = linked(own, pd.Series(kin_M[place], own.index))
    return groups
