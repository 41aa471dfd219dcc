"""Rows without a label: which of them a student may hear its teacher on, as the split `transfer`.

They are judged after the rows with labels, which stay and go just as they would alone.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa

from stages.cleaning.duplicates import neighbours, repeated, turned_round
from stages.cleaning.reasons import CODES, KEPT, faults, present
from stages.params import CleanParams

HELD_OUT = ("validation", "test")


def transfer_reasons(
    rows: pd.DataFrame, keys: pa.Array, splits: pd.Series, params: CleanParams
) -> tuple[np.ndarray, np.ndarray]:
    """The reasons (N,) of N rows once more: those without a label, which went for that, are KEPT or go for another.
    And which row (N,) each repeats; -1: none.

    `rows` and `keys` as for `reasons`, with what that found as `reason`; `splits` of the rows that are kept so far.
    Rows without a label that the data gives as validation or test still go for `missing_label`. The others have the
    faults that all rows may have; are `leaked_group` where their group is in the validation or the test split, given or
    drawn, `leaked` where they repeat a row of these, exactly or nearly, and duplicates where they repeat another row.
    """
    before, key = rows["reason"].to_numpy(), rows["key"].to_numpy()
    reason, repeats = before.copy(), rows["repeats"].to_numpy().copy()
    asked = (before == CODES["missing_label"]) & ~rows["split"].isin(HELD_OUT).to_numpy()
    reason[asked] = KEPT
    held = np.zeros(len(rows), dtype=bool)
    held[rows.index.get_indexer(splits.index[splits.isin(HELD_OUT)])] = True
    found = faults(rows, params) | {"held_group": rows["group"].isin(rows.loc[held, "group"].dropna()).to_numpy()}
    for name, faulty in found.items():
        if name != "missing_label":
            reason[asked & faulty & (reason == KEPT)] = CODES["leaked_group" if name == "held_group" else name]
    left = asked & (reason == KEPT)
    kept = before == KEPT
    known = neighbours(keys, jaccard=params.near_duplicate_jaccard, compared=present(key[kept | left], len(keys)))
    at = np.flatnonzero(kept | left)
    at = at[np.argsort(np.where(held[at], 0, np.where(kept[at], 1, 2)), kind="stable")]
    of = _same_key(key[at], left[at])
    exact = of >= 0
    others = np.flatnonzero(~exact & left[at])
    of[others] = turned_round(known, key[at], others, np.flatnonzero(held[at]))
    other = np.flatnonzero(of < 0)
    near = repeated(known, key[at[other]], np.zeros(len(other), dtype=np.int64), kept[at[other]])
    of[other] = np.where(near >= 0, other[near], -1)
    again = (of >= 0) & left[at]
    why = np.where(exact, CODES["exact_duplicate"], CODES["near_duplicate"])
    why[again] = np.where(held[at[of[again]]], CODES["leaked"], why[again])
    reason[at[again]], repeats[at[again]] = why[again], at[of[again]]
    return reason, repeats


def _same_key(key: np.ndarray, left: np.ndarray) -> np.ndarray:
    """Of each row (N,) that is `left`, the first row before it with its key; -1 where there is none."""
    _, first, places = np.unique(key, return_index=True, return_inverse=True)
    return np.where(left & (first[places] < np.arange(len(key))), first[places], -1)
