"""Splits: what the data brings is kept; the rest is drawn by a hash, the same share of every label."""

from __future__ import annotations

import hashlib

import pandas as pd

SMALLEST_SPLIT_LABEL = 3  # a label with so many rows has one in every split


def assign_splits(rows: pd.DataFrame, *, validation_fraction: float, test_fraction: float, seed: int) -> pd.Series:
    """`train`, `validation` or `test` for each row of a frame with row_id, label and split (missing: none).

    Test and validation rows are drawn only where the data brings none: from the rows without a split, or,
    where every row has one, from the training rows. Within a label the smallest hashes of seed and row_id are
    drawn, so that neither order nor rows of other labels matter.
    """
    free = rows["split"].isna()
    pool = rows[free] if free.any() else rows[rows["split"] == "train"]
    given = set(rows["split"].dropna())
    shares = {"test": test_fraction, "validation": validation_fraction}
    wanted = {split: share for split, share in shares.items() if split not in given}
    splits = rows["split"].fillna("train")
    for _, ids in pool.groupby("label")["row_id"]:
        drawn = sorted(ids.items(), key=lambda item: hashlib.sha256(f"{seed}:{item[1]}".encode()).digest())
        start = 0
        for split, share in wanted.items():
            stop = min(start + _quota(len(drawn), share), len(drawn) - 1)  # one is left for training
            splits.loc[[index for index, _ in drawn[start:stop]]] = split
            start = stop
    return splits


def _quota(rows: int, share: float) -> int:
    """How many of a label's rows a split gets; at least one where there is one for every split."""
    return max(round(share * rows), 1 if rows >= SMALLEST_SPLIT_LABEL else 0)
