"""Why a row is dropped: faults of its own first, then duplicates of other rows."""

from __future__ import annotations

import pandas as pd

from stages.cleaning.duplicates import near_duplicate_groups
from stages.params import CleanParams

REASONS = (
    "missing_text",
    "missing_label",
    "empty",
    "too_short",
    "leaked",
    "conflicting_label",
    "exact_duplicate",
    "near_duplicate",
)
KEPT_FIRST = {"test": 0, "validation": 1, "train": 2}  # of duplicates, by given split; without one: last


def reasons(rows: pd.DataFrame, params: CleanParams) -> pd.Series:
    """Why each row is dropped, or missing where it is kept.

    Of two reasons the earlier in REASONS counts. Rows that the data gives as `test` are dropped only where
    there is no text or no label.
    """
    given_test = rows["split"] == "test"
    reason = pd.Series(None, index=rows.index, dtype="str")
    faults = {
        "missing_text": rows["text"].isna(),
        "missing_label": rows["label"].isna() | (rows["label"].str.strip() == ""),
        "empty": rows["clean"].str.strip() == "",
        "too_short": (rows["clean"].str.len() < params.min_chars) & ~given_test,
    }
    for name, fault in faults.items():
        reason[fault & reason.isna()] = name
    exact = _exact(rows[reason.isna()])
    reason[exact.index] = exact
    near = _near(rows[reason.isna()], params.near_duplicate_jaccard)
    reason[near.index] = near
    return reason


def _exact(rows: pd.DataFrame) -> pd.Series:
    """Reasons of the rows that share their key with another."""
    is_test = rows["split"] == "test"
    others = rows[~is_test]
    leaked = others["key"].isin(set(rows.loc[is_test, "key"]))
    others_left = others[~leaked]
    conflicting = others_left.groupby("key")["label"].transform("nunique") > 1
    repeated = _best_first(others_left[~conflicting]).duplicated("key")
    return pd.concat(
        [
            _constant("leaked", others.index[leaked]),
            _constant("conflicting_label", others_left.index[conflicting]),
            _constant("exact_duplicate", repeated.index[repeated]),
        ]
    )


def _near(rows: pd.DataFrame, jaccard: float) -> pd.Series:
    """Reasons of the rows that are near-duplicates of another."""
    keys = sorted(set(rows["key"]))
    group_of = dict(zip(keys, near_duplicate_groups(keys, jaccard=jaccard).tolist(), strict=True))
    groups = rows["key"].map(group_of)
    is_test = rows["split"] == "test"
    leaked = groups.isin(set(groups[is_test])) & ~is_test
    left = _best_first(rows[~is_test & ~leaked])
    repeated = groups[left.index].duplicated()
    return pd.concat(
        [
            _constant("leaked", rows.index[leaked]),
            _constant("near_duplicate", repeated.index[repeated]),
        ]
    )


def _best_first(rows: pd.DataFrame) -> pd.DataFrame:
    """Which of several duplicates is kept: by given split, then by row_id."""
    rank = rows["split"].map(KEPT_FIRST).fillna(len(KEPT_FIRST)).rename("rank")
    return rows.assign(rank=rank).sort_values(["rank", "row_id"])


def _constant(reason: str, index: pd.Index) -> pd.Series:
    return pd.Series(reason, index=index, dtype="str")
