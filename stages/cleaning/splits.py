"""Splits: what the data brings is kept; the rest is drawn by a hash, the same share of every label."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping

import pandas as pd

SMALLEST_SPLIT_LABEL = 3  # a label with so many rows has one in every split


def assign_splits(rows: pd.DataFrame, *, validation_fraction: float, test_fraction: float, seed: int) -> pd.Series:
    """`train`, `validation` or `test` for each row of a frame with row_id, label, split and group (missing: none).

    Test and validation rows are drawn only where the data brings none: from the rows without a split, or,
    where every row has one, from the training rows. Within a label, groups (a row without one is its own) go by the
    hash of seed and group to the first split that has room, so that neither order nor rows of other labels matter.
    """
    free = rows["split"].isna()
    pool = rows[free] if free.any() else rows[rows["split"] == "train"]
    given = set(rows["split"].dropna())
    shares = {"test": test_fraction, "validation": validation_fraction}
    wanted = {split: share for split, share in shares.items() if split not in given}
    splits = rows["split"].fillna("train")
    groups = pool["group"].fillna(pool["row_id"]) if "group" in pool else pool["row_id"]
    for _, of_label in groups.groupby(pool["label"]):
        for split, index in _draw(of_label, wanted, seed):
            splits.loc[index] = split
    return splits


def _draw(groups: pd.Series, wanted: Mapping[str, float], seed: int) -> Iterator[tuple[str, pd.Index]]:
    """The rows of each group that goes to a split of `wanted` (split -> share of the rows); the others are left."""
    total = len(groups)
    left = total - 1  # one row at least stays for training
    room = {}
    for split, share in wanted.items():
        room[split] = min(_quota(total, share), left)
        left -= room[split]
    members = groups.groupby(groups).groups
    for group in sorted(members, key=lambda group: hashlib.sha256(f"{seed}:{group}".encode()).digest()):
        for split in room:
            if len(members[group]) <= room[split]:
                room[split] -= len(members[group])
                yield split, members[group]
                break


def _quota(rows: int, share: float) -> int:
    """How many of a label's rows a split gets; at least one where there is one for every split."""
    return max(round(share * rows), 1 if rows >= SMALLEST_SPLIT_LABEL else 0)
