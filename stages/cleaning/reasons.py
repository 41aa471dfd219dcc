"""Why a row is dropped: faults of its own first, then duplicates of other rows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa

from stages.cleaning.duplicates import alike
from stages.params import CleanParams

REASONS = (
    "missing_text",
    "missing_label",
    "empty",
    "too_short",
    "other_language",
    "leaked_group",
    "leaked",
    "conflicting_label",
    "exact_duplicate",
    "near_duplicate",
    "rare_label",
)
CODES = {reason: code for code, reason in enumerate(REASONS)}
KEPT = -1
KEPT_FIRST = {"test": 0, "validation": 1, "train": 2}  # of duplicates, by given split; without one: last


def reasons(rows: pd.DataFrame, keys: pa.Array, params: CleanParams) -> tuple[np.ndarray, np.ndarray]:
    """Why each of N rows is dropped (N,): a position in REASONS, or KEPT; and of each key (K,) what it is kin to: keys
    of one number are not to be in two splits.

    `rows`, sorted by row_id, has the columns of `normalised` (tables.py); key is a position in `keys`, K distinct ones.
    Of two reasons the earlier in REASONS counts. Rows that the data gives as `test` are dropped only where
    there is no text or no label.
    """
    reason = np.full(len(rows), KEPT, dtype=np.int8)
    for name, faulty in faults(rows, params).items():
        reason[faulty & (reason == KEPT)] = CODES[name]
    _mark_exact(reason, _compared(rows, reason), params)
    compared = _compared(rows, reason)
    groups, kin = alike(keys, jaccard=params.near_duplicate_jaccard, compared=present(compared["key"], len(keys)))
    _mark_near(reason, compared, groups, kin)
    return reason, kin


def faults(rows: pd.DataFrame, params: CleanParams) -> dict[str, np.ndarray]:
    """By reason, in the order of REASONS, which of N rows (N,) have faults of their own; `rows` as for `reasons`."""
    given_test = (rows["split"] == "test").to_numpy()
    found = {
        "missing_text": rows["chars"].isna(),
        "missing_label": rows["label"].isna() | (rows["label"].str.strip() == ""),
        "empty": rows["blank"].fillna(False),
        "too_short": (rows["shorter" if "shorter" in rows else "chars"] < params.min_chars) & ~given_test,
        "leaked_group": _in_better_split(rows),
    }
    if params.languages is not None:
        spoken = rows.filter(["language", "language_pair"]).isin(params.languages)
        found["other_language"] = ~spoken.all(axis=1) & ~given_test
    return {name: found[name].to_numpy(dtype=bool) for name in sorted(found, key=REASONS.index)}


def conflicts(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows (label, key) whose key has several labels, of those that have a key."""
    rows = rows[["label", "key"]].dropna()
    labels = pd.factorize(rows["label"])[0]
    key = rows["key"].to_numpy()
    return rows[_has_several(key, labels, int(key.max(initial=-1)) + 1)[key]]


def _in_better_split(rows: pd.DataFrame) -> pd.Series:
    """Rows whose group is in a given split that is kept first: test before validation before all others."""
    if rows["group"].isna().all():
        return pd.Series(False, index=rows.index)
    return _kept_elsewhere(_rank(rows), rows["group"])


def _kept_elsewhere(rank: pd.Series, group: pd.Series) -> pd.Series:
    """Whether others of a row's group are in a given test or validation split, and this row in one kept later."""
    first = rank.groupby(group).transform("min")
    return (rank > first) & (first < KEPT_FIRST["train"])


def _rank(rows: pd.DataFrame) -> pd.Series:
    return rows["split"].map(KEPT_FIRST).fillna(len(KEPT_FIRST)).astype("int8")


def _compared(rows: pd.DataFrame, reason: np.ndarray) -> pd.DataFrame:
    """The rows that are kept so far, the best of several duplicates first: at, key, label, rank, is_test."""
    at = np.flatnonzero(reason == KEPT)
    left = rows.iloc[at]
    rank = _rank(left).to_numpy()
    numbers = {"at": at, "key": left["key"].to_numpy(dtype=np.int64), "label": pd.factorize(left["label"])[0]}
    return pd.DataFrame({**numbers, "rank": rank, "is_test": rank == 0}).iloc[np.argsort(rank, kind="stable")]


def _mark_exact(reason: np.ndarray, rows: pd.DataFrame, params: CleanParams) -> None:
    """Mark the rows that share their key with another."""
    count = int(rows["key"].max()) + 1 if len(rows) else 0
    leaked = present(rows.loc[rows["is_test"], "key"], count)[rows["key"]] & ~rows["is_test"]
    reason[rows.loc[leaked, "at"]] = CODES["leaked"]
    rows = rows[~rows["is_test"] & ~leaked]
    several = _has_several(rows["key"].to_numpy(), rows["label"].to_numpy(), count)
    conflicting = pd.Series(several[rows["key"]], rows.index)
    if params.conflicting_labels == "majority":
        conflicting &= ~_of_majority(rows[conflicting]).reindex(rows.index, fill_value=False)
    if params.conflicting_labels == "keep":
        dropped, why = _kept_elsewhere(rows["rank"], rows["key"]), "leaked"
    else:
        dropped, why = conflicting, "conflicting_label"
    reason[rows.loc[dropped, "at"]] = CODES[why]
    rows = rows[~dropped]
    reason[rows.loc[rows.duplicated(["key", "label"]), "at"]] = CODES["exact_duplicate"]


def _of_majority(rows: pd.DataFrame) -> pd.Series:
    """Whether each row has the label that most rows of its key have; of a tie, none has."""
    votes = rows.groupby(["key", "label"]).size().rename("votes").reset_index()
    most = votes.groupby("key")["votes"].transform("max")
    winners = votes[votes["votes"] == most].drop_duplicates("key", keep=False)
    winner = rows["key"].map(winners.set_index("key")["label"])
    return rows["label"] == winner


def _mark_near(reason: np.ndarray, rows: pd.DataFrame, groups: np.ndarray, kin: np.ndarray) -> None:
    """Mark the rows that are near-duplicates of another; those of the kept one's own key are none."""
    group, of_kin = groups[rows["key"]], kin[rows["key"]]
    leaked = present(of_kin[rows["is_test"]], len(kin))[of_kin] & ~rows["is_test"].to_numpy()
    reason[rows["at"].to_numpy()[leaked]] = CODES["leaked"]
    left = ~rows["is_test"].to_numpy() & ~leaked
    at, key, group = rows["at"].to_numpy()[left], rows["key"].to_numpy()[left], group[left]
    numbers, first = np.unique(group, return_index=True)
    kept_key = key[first][np.searchsorted(numbers, group)]
    reason[at[key != kept_key]] = CODES["near_duplicate"]
    late = rows["at"].to_numpy()[_kept_elsewhere(rows["rank"], pd.Series(of_kin, rows.index))]
    reason[late[reason[late] == KEPT]] = CODES["leaked"]  # the other way round, as (b, a) of a validation row (a, b)


def present(numbers: np.ndarray | pd.Series, count: int) -> np.ndarray:
    """(count,): whether each number is among `numbers`."""
    found = np.zeros(count, dtype=bool)
    found[numbers] = True
    return found


def _has_several(keys: np.ndarray, labels: np.ndarray, count: int) -> np.ndarray:
    """(count,): whether each key has more than one label."""
    lowest, highest = np.full(count, np.iinfo(np.int64).max), np.full(count, -1, dtype=np.int64)
    np.minimum.at(lowest, keys, labels)
    np.maximum.at(highest, keys, labels)
    return highest > lowest
