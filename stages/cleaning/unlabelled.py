"""Rows without a label: which of them a student may hear its teacher on, as the split `transfer`.

They are judged after the rows with labels, which stay and go just as they would alone.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa

from stages.cleaning.duplicates import alike
from stages.cleaning.reasons import CODES, KEPT, faults, present
from stages.params import CleanParams
from stages.rows import DUPLICATES

HELD_OUT = ("validation", "test")


def transfer_reasons(rows: pd.DataFrame, keys: pa.Array, splits: pd.Series, params: CleanParams) -> np.ndarray:
    """The reasons (N,) of N rows once more: those without a label, which went for that, are KEPT or go for another.

    `rows` and `keys` as for `reasons`, with what that found as `reason`; `splits` of the rows that are kept so far.
    Rows without a label that the data gives as validation or test still go for `missing_label`. The others have the
    faults that all rows may have; are `leaked_group` where their group is in the validation or the test split, given or
    drawn, `leaked` where they repeat a row of these, exactly or nearly, and duplicates where they repeat another row.
    """
    before, key = rows["reason"].to_numpy(), rows["key"].to_numpy()
    reason = before.copy()
    asked = (before == CODES["missing_label"]) & ~rows["split"].isin(HELD_OUT).to_numpy()
    reason[asked] = KEPT
    held = np.zeros(len(rows), dtype=bool)
    held[rows.index.get_indexer(splits.index[splits.isin(HELD_OUT)])] = True
    found = faults(rows, params) | {"held_group": rows["group"].isin(rows.loc[held, "group"].dropna()).to_numpy()}
    for name, faulty in found.items():
        if name != "missing_label":
            reason[asked & faulty & (reason == KEPT)] = CODES["leaked_group" if name == "held_group" else name]
    left = asked & (reason == KEPT)
    others = np.isin(before, [KEPT, *(CODES[name] for name in DUPLICATES)])
    compared = present(key[others | left], len(keys))
    groups, kin = alike(keys, jaccard=params.near_duplicate_jaccard, compared=compared)
    group, of_kin = groups[key], kin[key]  # of rows without a key nothing that is looked at
    reason[left & _as_of(others, group)] = CODES["near_duplicate"]
    reason[left & _as_of(others, key)] = CODES["exact_duplicate"]
    reason[left & _as_of(held, of_kin)] = CODES["leaked"]
    _mark_repeated(reason, np.flatnonzero(asked & (reason == KEPT)), key, group)
    return reason


def _as_of(some: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Whether each row (N,) has a number that one of `some` (N,) rows has."""
    return np.isin(numbers, numbers[some])


def _mark_repeated(reason: np.ndarray, at: np.ndarray, key: np.ndarray, group: np.ndarray) -> None:
    """Of the rows `at`, mark those whose group an earlier one has."""
    _, first, numbers = np.unique(group[at], return_index=True, return_inverse=True)
    kept = at[first][numbers]
    reason[at[key[at] != key[kept]]] = CODES["near_duplicate"]
    reason[at[(key[at] == key[kept]) & (at != kept)]] = CODES["exact_duplicate"]
