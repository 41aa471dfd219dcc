"""The reasons for which rows are dropped: faults of their own first, then duplicates of other rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

from stages.cleaning.duplicates import Neighbours, neighbours, repeated, turned_round
from stages.core.params.clean import CleanParams

REASONS = (
    "missing_text",
    "missing_label",
    "empty",
    "too_short",
    "other_language",
    "target_lost",
    "too_long",
    "target_too_long",
    "copied_target",
    "length_ratio",
    "other_target_language",
    "leaked_group",
    "leaked",
    "leaked_target",
    "conflicting_label",
    "exact_duplicate",
    "near_duplicate",
    "repeated_target",
    "rare_label",
)
CODES = {reason: code for code, reason in enumerate(REASONS)}
OF_TARGETS = ("target_too_long", "copied_target", "length_ratio", "other_target_language")
"""The faults of targets that are to be written: columns of the rows (written.py)."""
NEEDS = {
    "target_lost": "lost", "too_long": "too_long", **{reason: reason for reason in OF_TARGETS},
    "leaked_target": "target_key", "repeated_target": "target_key",
}  # fmt: skip
"""The reasons that only some tasks have, and the column of the rows that theirs have."""
KEPT = -1
KEPT_FIRST = {"test": 0, "validation": 1, "train": 2}  # of duplicates, by given split; without one: last


class Judged(NamedTuple):
    """The verdicts on N rows, and on their K distinct keys."""

    reason: np.ndarray
    """(N,) why each row is dropped: a position in REASONS, or KEPT."""
    repeats: np.ndarray
    """(N,) which row each duplicate and each leaked row repeats; -1 for the others."""
    sense: np.ndarray
    """(N,) a number below K + N; rows with equal numbers have the same text for a reader.

    It is that of the row's key; but where the rows of a key have several labels, and their texts differ in symbols,
    each of these texts has a number of its own.
    """
    kin: np.ndarray
    """(K,) keys with equal numbers must not be in two splits."""
    kin_of_targets: np.ndarray | None = None
    """The same of the distinct keys of targets that are to be written; None where they may be."""


def reasons(
    rows: pd.DataFrame,
    keys: pa.Array,
    params: CleanParams,
    forms: Callable[[np.ndarray], Sequence[str]],
    targets: pa.Array | None = None,
) -> Judged:
    """The verdicts on `rows`, which are sorted by row_id and have the columns of `normalised` (tables.py).

    key is a position in `keys`, K distinct ones; forms(rows_M) gives the `form_of` (keys.py) these rows' texts. Of
    tasks that write there are the columns of `with_answers` (written.py); target_key is a position in `targets`.

    Of two reasons the earlier in REASONS counts. Rows that the data gives as `test` are dropped only where
    there is no text or no label, or what is to be learned would be lost or cut.
    """
    reason = np.full(len(rows), KEPT, dtype=np.int8)
    for name, faulty in faults(rows, params).items():
        reason[faulty & (reason == KEPT)] = CODES[name]
    repeats, sense = np.full(len(rows), -1), rows["key"].to_numpy(dtype=np.int64).copy()
    left = _compared(rows, reason, sense)
    _split_senses(sense, left, forms, len(keys))
    left["sense"] = sense[left["at"]]
    _mark_exact(reason, repeats, left, params)
    left = left[reason[left["at"]] == KEPT]
    jaccard = params.near_duplicate_jaccard
    known = neighbours(keys, jaccard=jaccard, compared=present(left["key"], len(keys)))
    if targets is None:
        _mark_near(reason, repeats, left, known)
        return Judged(reason, repeats, sense, known.kin)
    of_targets = neighbours(targets, jaccard=jaccard, compared=present(left["target"], len(targets)))
    _mark_near(reason, repeats, left.assign(label=of_targets.groups[left["target"]]), known, of_targets)
    if params.repeated_targets == "keep":
        return Judged(reason, repeats, sense, known.kin)
    left = left[reason[left["at"]] == KEPT]
    _mark_targets(reason, repeats, left, of_targets, drop=params.repeated_targets == "drop")
    return Judged(reason, repeats, sense, known.kin, of_targets.kin)


def faults(rows: pd.DataFrame, params: CleanParams) -> dict[str, np.ndarray]:
    """By reason, in the order of REASONS, (N,) which of N rows have faults of their own; `rows` as for `reasons`."""
    given_test = (rows["split"] == "test").to_numpy()
    found = {
        "missing_text": rows["chars"].isna(),
        "missing_label": rows["label"].isna() | (rows["label"].str.strip() == ""),
        "empty": rows["blank"].fillna(False),
        "target_lost": rows["lost"] if "lost" in rows else pd.Series(False, rows.index),
        **({"too_long": rows["too_long"]} if "too_long" in rows else {}),
        "leaked_group": _in_better_split(rows),
        **{name: faulty & ~given_test for name, faulty in _unfit(rows, params).items()},
    }
    return {name: found[name].to_numpy(dtype=bool) for name in sorted(found, key=REASONS.index)}


def _unfit(rows: pd.DataFrame, params: CleanParams) -> dict[str, pd.Series]:
    """By reason, the rows that are dropped from training, but kept in a given test split."""
    found = {"too_short": rows["written"] < params.min_chars}
    found |= {name: rows[name] for name in OF_TARGETS if name in rows}
    if params.languages is not None:
        found["other_language"] = ~rows.filter(["language", "language_pair"]).isin(params.languages).all(axis=1)
    return found


def spared(rows: pd.DataFrame, params: CleanParams) -> dict[str, int]:
    """By reason, the number of kept rows of a given test split that training would do without."""
    test = (rows["split"] == "test") & (rows["reason"] == KEPT)
    return {name: int((faulty & test).sum()) for name, faulty in _unfit(rows, params).items()}


def conflicts(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows (label, key, sense) whose sense has several labels, of those that have a key."""
    rows = rows[rows["key"] >= 0].dropna(subset=["label"])
    labels = _answers(rows)
    sense = rows["sense"].to_numpy()
    return rows[_has_several(sense, labels, int(sense.max(initial=-1)) + 1)[sense]]


def _in_better_split(rows: pd.DataFrame) -> pd.Series:
    """Whether each row's group is in a given split that is kept before its own: test, then validation, then others."""
    if rows["group"].isna().all():
        return pd.Series(False, index=rows.index)
    return _kept_elsewhere(_rank(rows), rows["group"])


def _kept_elsewhere(rank: pd.Series, group: pd.Series) -> pd.Series:
    """Whether each row's group has rows in a given test or validation split that is kept before the row's own."""
    first = rank.groupby(group).transform("min")
    return (rank > first) & (first < KEPT_FIRST["train"])


def _rank(rows: pd.DataFrame) -> pd.Series:
    return rows["split"].map(KEPT_FIRST).fillna(len(KEPT_FIRST)).astype("int8")


def _compared(rows: pd.DataFrame, reason: np.ndarray, sense: np.ndarray) -> pd.DataFrame:
    """The rows kept so far, the preferred of several duplicates first: at, key, sense, label, rank, is_test.

    label is a number, equal where the labels are, or what is to be written; where that is a target, target is its key.
    """
    at = np.flatnonzero(reason == KEPT)
    left = rows.iloc[at]
    rank = _rank(left).to_numpy()
    key, label = left["key"].to_numpy(dtype=np.int64), _answers(left)
    numbers = {"at": at, "key": key, "sense": sense[at], "label": label, "rank": rank, "is_test": rank == 0}
    if "target_key" in left:
        numbers["target"] = left["target_key"].to_numpy(dtype=np.int64)
    return pd.DataFrame(numbers).iloc[np.argsort(rank, kind="stable")]


def _answers(rows: pd.DataFrame) -> np.ndarray:
    """(N,) numbers, equal where the labels are equal, or what is to be written is the same."""
    answers = rows["answer"] if "answer" in rows else rows["label"]
    found: np.ndarray = pd.factorize(answers)[0]
    return found


def _split_senses(
    sense: np.ndarray, rows: pd.DataFrame, forms: Callable[[np.ndarray], Sequence[str]], n_keys: int
) -> None:
    """Where the rows of a key have several labels, give texts of other symbols (`C++`, `C#`) senses of their own."""
    several = rows[_has_several(rows["key"].to_numpy(), rows["label"].to_numpy(), n_keys)[rows["key"]]]
    if several.empty:
        return
    several = several.assign(form=list(forms(several["at"].to_numpy())))
    several = several[several.groupby("key")["form"].transform("nunique") > 1]
    sense[several["at"]] = n_keys + several.groupby(["key", "form"]).ngroup()


def _mark_exact(reason: np.ndarray, repeats: np.ndarray, rows: pd.DataFrame, params: CleanParams) -> None:
    """Mark the rows that have the same text for a reader as another, or its key and its label."""
    rows = rows[~_leak(reason, repeats, rows)]
    rows = rows[~rows["is_test"]]
    count = int(rows["sense"].max()) + 1 if len(rows) else 0
    several = _has_several(rows["sense"].to_numpy(), rows["label"].to_numpy(), count)
    conflicting = pd.Series(several[rows["sense"]], rows.index)
    if params.conflicting_labels == "majority":
        conflicting &= ~_of_majority(rows[conflicting]).reindex(rows.index, fill_value=False)
    if params.conflicting_labels == "keep":
        dropped, why = _kept_elsewhere(rows["rank"], rows["sense"]), "leaked"
        repeats[rows.loc[dropped, "at"]] = rows.groupby("sense")["at"].transform("first")[dropped]
    else:
        dropped, why = conflicting, "conflicting_label"
    reason[rows.loc[dropped, "at"]] = CODES[why]
    rows = rows[~dropped]
    first = rows.groupby(["key", "label"])["at"].transform("first")
    again = rows["at"] != first
    reason[rows.loc[again, "at"]] = CODES["exact_duplicate"]
    repeats[rows.loc[again, "at"]] = first[again]


def _leak(reason: np.ndarray, repeats: np.ndarray, rows: pd.DataFrame) -> pd.Series:
    """Mark, and log, the rows with the text of one in a given test split, or with its key and its label."""
    leaked = pd.Series(False, rows.index)
    test = rows[rows["is_test"]]
    for columns in (["sense"], ["key", "label"]):
        of_test = rows.merge(test.groupby(columns)["at"].first().rename("of_test"), on=columns, how="left")["of_test"]
        found = of_test.notna().to_numpy() & ~rows["is_test"].to_numpy() & ~leaked.to_numpy()
        repeats[rows.loc[found, "at"]] = of_test[found].astype(np.int64)
        leaked |= found
    reason[rows.loc[leaked, "at"]] = CODES["leaked"]
    return leaked


def _of_majority(rows: pd.DataFrame) -> pd.Series:
    """Whether each row has the label of most rows of its sense; with a tie, none has."""
    votes = rows.groupby(["sense", "label"]).size().rename("votes").reset_index()
    most = votes.groupby("sense")["votes"].transform("max")
    winners = votes[votes["votes"] == most].drop_duplicates("sense", keep=False)
    winner = rows["sense"].map(winners.set_index("sense")["label"])
    return rows["label"] == winner


def _mark_near(
    reason: np.ndarray,
    repeats: np.ndarray,
    rows: pd.DataFrame,
    known: Neighbours,
    of_targets: Neighbours | None = None,
) -> None:
    """Mark the rows that are near-duplicates of one that stays, and have its label, or nearly its target.

    Of pairs, also mark those that repeat one of a given test or validation split the other way round, where they are of
    a split that is kept later.
    """
    at, key, label, rank = (rows[name].to_numpy() for name in ("at", "key", "label", "rank"))
    held, others = np.flatnonzero(rank < KEPT_FIRST["train"]), np.flatnonzero(rank > 0)
    of = turned_round(known, key, others, held)
    others, of = others[of >= 0], of[of >= 0]
    late = (rank[others] > rank[of]) & (label[others] == label[of])
    reason[at[others[late]]] = CODES["leaked"]
    repeats[at[others[late]]] = at[of[late]]
    left = rows[reason[at] == KEPT]
    at, key, test = (left[name].to_numpy() for name in ("at", "key", "is_test"))
    of = repeated(known, key, left["label"].to_numpy(), test)
    found = of >= 0
    if of_targets is not None:  # so far only of one group, in which each is near the next
        target = left["target"].to_numpy()
        found[found] = of_targets.near(target[found], target[of[found]])
    reason[at[found]] = np.where(test[of[found]], CODES["leaked"], CODES["near_duplicate"])
    repeats[at[found]] = at[of[found]]


def _mark_targets(
    reason: np.ndarray, repeats: np.ndarray, rows: pd.DataFrame, known: Neighbours, *, drop: bool
) -> None:
    """Mark the rows whose target is nearly that of a given test or validation row that is kept before them.

    With `drop` also those whose target is nearly that of any row that stays.
    """
    at, target, rank, test = (rows[name].to_numpy() for name in ("at", "target", "rank", "is_test"))
    of = repeated(known, target, np.zeros(len(rows), dtype=np.int64), test)
    leaks = (of >= 0) & (rank[of] < rank) & (rank[of] < KEPT_FIRST["train"])
    reason[at[leaks]] = CODES["leaked_target"]
    again = (of >= 0) & ~leaks & drop
    reason[at[again]] = CODES["repeated_target"]
    found = leaks | again
    repeats[at[found]] = at[of[found]]


def present(numbers: np.ndarray | pd.Series, count: int) -> np.ndarray:
    """(count,) whether each number is among `numbers`."""
    found = np.zeros(count, dtype=bool)
    found[numbers] = True
    return found


def _has_several(keys: np.ndarray, labels: np.ndarray, count: int) -> np.ndarray:
    """(count,) whether each key has more than one label."""
    lowest, highest = np.full(count, np.iinfo(np.int64).max), np.full(count, -1, dtype=np.int64)
    np.minimum.at(lowest, keys, labels)
    np.maximum.at(highest, keys, labels)
    return highest > lowest
