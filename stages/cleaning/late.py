"""Rows that are judged after all others, whose verdicts they do not change.

They are rows without a label, of which a student may learn its teacher's answers to some (the split `transfer`), and
rows that are set aside, never to influence a choice.

    rows of train, validation, test  -> kept or dropped, by reasons.py
        then rows without a label    -> kept where they repeat none of those
        then rows set aside          -> kept where they repeat none of both
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pandas as pd
import pyarrow as pa

from stages.cleaning.duplicates import neighbours, repeated, turned_round
from stages.cleaning.rare import GIVEN
from stages.cleaning.reasons import CODES, KEPT, faults, present
from stages.core.contracts import as_label
from stages.core.params.clean import CleanParams


def transfer_reasons(
    rows: pd.DataFrame, keys: pa.Array, splits: pd.Series, params: CleanParams
) -> tuple[np.ndarray, np.ndarray]:
    """The reasons (N,), and the row (N,) that each repeats (-1: none), with the rows without a label judged anew.

    `rows` and `keys` as for `reasons`, with its result as `reason`; `splits` of the rows that are kept so far. Rows
    that were dropped for a missing label are now KEPT, or dropped for another reason. Those that the data gives as
    validation or test are still dropped for `missing_label`. The others have the faults that all rows may have; are
    `leaked_group` where their group is in the validation or the test split, given or drawn, `leaked` where they repeat
    a row of these, exactly or nearly, and duplicates where they repeat another row.
    """
    asked = (rows["reason"] == CODES["missing_label"]) & ~rows["split"].isin(GIVEN)
    held = np.zeros(len(rows), dtype=bool)
    held[rows.index.get_indexer(splits.index[splits.isin(GIVEN)])] = True
    return _judged_after(rows, keys, asked.to_numpy(), held, params, labelled=False)


def with_rows_set_aside(
    every: pd.DataFrame,
    judged: pd.DataFrame,
    keys: pa.Array,
    aside: np.ndarray,
    rare: Collection[str],
    params: CleanParams,
    targets: pa.Array | None = None,
) -> pd.DataFrame:
    """All N rows `every`, each with its reason and the row that it repeats (-1: none).

    Rows set aside, `aside` (N,), are judged by the others, which stay as they were `judged`, in the same order. They
    have the faults that all rows may have. No kept row may be like them: they are `leaked_group` where one has their
    group, and `leaked` where they repeat one, exactly or nearly, whatever its label. With one of the labels that are
    `rare` they are dropped, or relabelled, as the others were. Where targets are to be written, of which `targets` are
    the keys, they are `leaked_target` where a kept row has nearly theirs, unless params.repeated_targets is keep.
    """
    places = np.flatnonzero(~aside)
    rows = every.assign(reason=np.int8(KEPT), repeats=-1)
    repeats = judged["repeats"].to_numpy()
    rows.loc[~aside, "reason"] = judged["reason"].to_numpy()
    rows.loc[~aside, "repeats"] = np.where(repeats < 0, -1, places[repeats])
    held = ~aside & (rows["reason"] == KEPT).to_numpy()
    rows["reason"], rows["repeats"] = _judged_after(rows, keys, aside, held, params, labelled=True)
    if targets is not None and params.repeated_targets != "keep":
        rows["reason"], rows["repeats"] = _targets_after(rows, targets, aside, held, params)
    theirs = aside & (rows["reason"] == KEPT).to_numpy() & rows["label"].isin(rare).to_numpy()
    if params.rare_labels == "drop":
        rows.loc[theirs, "reason"] = CODES["rare_label"]
    elif params.rare_labels == "merge":
        rows.loc[theirs, "label"] = as_label(params.rare_label_name)
    return rows


def _judged_after(
    rows: pd.DataFrame, keys: pa.Array, asked: np.ndarray, held: np.ndarray, params: CleanParams, *, labelled: bool
) -> tuple[np.ndarray, np.ndarray]:
    """The reasons and repeats (N,), the rows `asked` (N,) judged anew; being like a row that is `held` (N,) is a leak.

    `labelled`: whether they need a label.
    """
    before, key = rows["reason"].to_numpy(), rows["key"].to_numpy()
    reason, repeats = before.copy(), rows["repeats"].to_numpy().copy()
    reason[asked] = KEPT
    found = faults(rows, params) | {"held_group": rows["group"].isin(rows.loc[held, "group"].dropna()).to_numpy()}
    for name, faulty in found.items():
        if labelled or name != "missing_label":
            reason[asked & faulty & (reason == KEPT)] = CODES["leaked_group" if name == "held_group" else name]
    left = asked & (reason == KEPT)
    kept = ~asked & (before == KEPT)
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


def _targets_after(
    rows: pd.DataFrame, targets: pa.Array, asked: np.ndarray, held: np.ndarray, params: CleanParams
) -> tuple[np.ndarray, np.ndarray]:
    """The reasons and repeats (N,), also of the rows `asked` (N,) with nearly the target of one that is `held` (N,)."""
    reason, repeats, target = (rows[name].to_numpy().copy() for name in ("reason", "repeats", "target_key"))
    left = asked & (reason == KEPT)
    at = np.concatenate([np.flatnonzero(held), np.flatnonzero(left)])
    known = neighbours(targets, jaccard=params.near_duplicate_jaccard, compared=present(target[at], len(targets)))
    of = repeated(known, target[at], np.zeros(len(at), dtype=np.int64), held[at])
    again = of >= 0
    again[again] = held[at[of[again]]]
    reason[at[again]] = CODES["leaked_target"]
    repeats[at[again]] = at[of[again]]
    return reason, repeats


def _same_key(key: np.ndarray, left: np.ndarray) -> np.ndarray:
    """For each row (N,) that is `left`, the first earlier row with its key; -1 where there is none."""
    _, first, places = np.unique(key, return_index=True, return_inverse=True)
    return np.where(left & (first[places] < np.arange(len(key))), first[places], -1)
