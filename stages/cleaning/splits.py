"""Splits: those that the data brings are kept; the rest is drawn by a hash, the same share of every label.

Where rows are not of one label each, it is the same share of all of them.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

SMALLEST_SPLIT_LABEL = 3  # rows with which a label has one in every split


def assign_splits(
    rows: pd.DataFrame, *, validation_fraction: float, test_fraction: float, seed: int, stratified: bool = True
) -> pd.Series:
    """`train`, `validation` or `test` for each row of a frame with row_id, label, split and group (missing: none).

    Test and validation rows are drawn only where the data brings none: from the rows without a split, or, where every
    row has one, from the training rows. Groups (a row without one is its own) go whole, in the order of a hash of seed
    and group, to the first split that has room for each of their labels (`stratified`) or for their rows, so that the
    order of rows does not matter. A group of which the data brings a part for a split is drawn into no other.
    """
    free = rows["split"].isna()
    pool = free if free.any() else rows["split"] == "train"
    given = set(rows["split"].dropna())
    shares = {"test": test_fraction, "validation": validation_fraction}
    wanted = {split: share for split, share in shares.items() if split not in given}
    splits = rows["split"].fillna("train")
    groups = rows["group"].fillna(rows["row_id"])
    if given:  # what is beside a row that the data places elsewhere stays where it is
        pool &= ~groups.isin(set(groups[~free & ~pool]))
    if wanted and pool.any():
        labels = rows["label"] if stratified else pd.Series("", rows.index)
        drawn = _draw(groups[pool], labels[pool], wanted, seed)
        splits.loc[drawn.index] = drawn
    return splits


def linked(groups: pd.Series, keys: pd.Series) -> pd.Series:
    """The groups (N,), merged where rows of theirs share a key, and named by the first of their names."""
    if not keys.duplicated().any():
        return groups
    (group, _), (key, _) = pd.factorize(groups), pd.factorize(keys)
    nodes = group.max() + key.max() + 2
    edges = coo_matrix((np.ones(len(group), dtype=bool), (group, key + group.max() + 1)), shape=(nodes, nodes))
    return groups.groupby(connected_components(edges, directed=False)[1][group]).transform("min")


def _draw(groups: pd.Series, labels: pd.Series, wanted: Mapping[str, float], seed: int) -> pd.Series:
    """The split of each row whose group goes to one of `wanted` (split -> share of each label's rows)."""
    group, names = pd.factorize(groups)
    label, _ = pd.factorize(labels)
    turn = np.empty(len(names), dtype=np.int64)
    turn[_by_hash(names.tolist(), seed)] = np.arange(len(names))
    totals = np.bincount(label)
    parts, counts = np.unique(turn[group] * len(totals) + label, return_counts=True)
    bounds = np.searchsorted(parts, np.arange(len(names) + 1) * len(totals)).tolist()
    of_label, sizes = (parts % len(totals)).tolist(), counts.tolist()
    rooms = _rooms(totals.tolist(), wanted)
    left = sum(map(sum, rooms.values()))
    went = np.full(len(names), -1, dtype=np.int8)
    for number, own in enumerate(itertools.starmap(range, itertools.pairwise(bounds))):
        if left == 0:
            break
        for split, room in enumerate(rooms.values()):
            for part in own:
                if sizes[part] > room[of_label[part]]:
                    break
            else:
                for part in own:
                    room[of_label[part]] -= sizes[part]
                    left -= sizes[part]
                went[number] = split
                break
    places = went[turn[group]]
    return pd.Series(np.array([*rooms, ""], dtype=object)[places], groups.index, dtype="str")[places >= 0]


def _by_hash(names: list[str], seed: int) -> np.ndarray:
    """The names in the order of the first 64 bits of SHA-256 of seed and name."""
    prefix = f"{seed}:".encode()
    digests = b"".join([hashlib.sha256(prefix + name.encode()).digest()[:8] for name in names])
    return np.argsort(np.frombuffer(digests, dtype=">u8"), kind="stable")


def _rooms(totals: list[int], wanted: Mapping[str, float]) -> dict[str, list[int]]:
    """For each split, how many rows of each label it takes; at least one row of a label stays for training."""
    left = [total - 1 for total in totals]
    rooms = {}
    for split, share in wanted.items():
        rooms[split] = [min(_quota(total, share), most) for total, most in zip(totals, left, strict=True)]
        left = [most - room for most, room in zip(left, rooms[split], strict=True)]
    return rooms


def _quota(rows: int, share: float) -> int:
    """The number of a label's rows that a split gets; at least one where there is one for every split."""
    return max(round(share * rows), 1 if rows >= SMALLEST_SPLIT_LABEL else 0)
