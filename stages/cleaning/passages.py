"""Rows of pairs whose first texts are the same, or nearly: questions about one passage, documents for one query.

They belong together, as the group that the task gives them says of first texts that are the same to the letter.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa

from stages.cleaning.duplicates import neighbours
from stages.cleaning.keys import texts_of
from stages.cleaning.splits import linked
from stages.cleaning.tables import distinct


def with_kin_of_passages(rows: pd.DataFrame, keys: pa.Array, jaccard: float) -> pd.Series:
    """The groups of N rows (row_id, group, key, blank), merged where their first texts are near-duplicates.

    `key` is a position in `keys`, -1 for none; `jaccard` as for `neighbours`, 1 for the same key alone. A row without a
    group, a key, or any words is its own.
    """
    groups, key = rows["group"].fillna(rows["row_id"]), rows["key"].to_numpy()
    places, known = distinct(texts_of(keys)[0])
    there = (key >= 0) & ~rows["blank"].fillna(True).to_numpy(dtype=bool)
    compared = np.zeros(len(known), dtype=bool)
    compared[places[key[there]]] = True  # none of other rows joins two of these
    kin = neighbours(known, jaccard=jaccard, compared=compared).groups[places]
    own = groups[there]
    groups[there] = linked(own, pd.Series(kin[key[there]], own.index))
    return groups
