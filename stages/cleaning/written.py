"""Texts that a model is to write, as cleaning judges them: none is ever cut, and none is changed.

Of tasks that write for a source the target is judged beside its text; of tasks that write texts alone the text is the
target, and one that would be cut is dropped.

    task writes   a row's answer           too long               faults of its own
    its target    the target's key         target_too_long        copied_target, length_ratio, other_target_language
    the text      the same for all rows    too_long (max_chars)   -
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from stages.cleaning import languages
from stages.cleaning.keys import keys_of, written_lengths
from stages.cleaning.tables import distinct
from stages.core.params.clean import CleanParams
from stages.tasks.contract import TaskData


def with_answers(
    rows: pd.DataFrame, keys: pa.Array, params: CleanParams, data: TaskData
) -> tuple[pd.DataFrame, pa.Array | None]:
    """The rows with what a model is to write, and the distinct keys of the targets, where there are targets.

    `rows` have the columns of `normalised` (tables.py), and key is a position in `keys`. There are then besides:
    answer, equal where the same is to be written for a reader; and the faults, columns named by their reasons. Where a
    target is written, target_key is its position in the keys that come with the rows, -1: none. Rows of tasks that
    write nothing are given back as they are.
    """
    if data.writes is None:
        return rows, None
    if data.writes == "text":
        return rows.assign(answer=0, too_long=rows["was_cut"].fillna(False).to_numpy(dtype=bool)), None
    targets = pa.array(rows["label"], pa.large_string(), from_pandas=True)
    places, known = distinct(keys_of(targets))
    chars, lengths = pc.utf8_length(targets), _numbers(written_lengths(targets))
    return rows.assign(
        answer=places,
        target_key=places,
        target_too_long=_beyond(_numbers(chars), params.max_target_chars),
        copied_target=_copied(rows, keys, places, known) if params.copied_targets == "drop" else False,
        length_ratio=_beyond(ratios(rows["written"].to_numpy(dtype=float), lengths), params.max_length_ratio),
        other_target_language=_in_other_language(targets, params.target_languages),
    ), known


def ratios(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """(N,) how many times the longer of two texts is as long as the shorter, of which (N,) lengths are given.

    NaN where one is missing; an empty one counts as of one character.
    """
    shorter, longer = np.minimum(one, other), np.maximum(one, other)
    return np.where(np.isnan(shorter), np.nan, longer / np.maximum(shorter, 1))


def _beyond(values: np.ndarray, most: float | None) -> np.ndarray:
    """(N,) whether each value is above the limit; NaN is not, and nothing is above None."""
    return np.zeros(len(values), dtype=bool) if most is None else values > most


def _numbers(lengths: Any) -> np.ndarray:
    """Lengths as numbers; NaN where there is no text."""
    found: np.ndarray = pc.cast(lengths, pa.float64()).to_numpy(zero_copy_only=False)
    return found


def _copied(rows: pd.DataFrame, keys: pa.Array, places: np.ndarray, known: pa.Array) -> np.ndarray:
    """(N,) whether each row's target is its text, for a reader."""
    both = (rows["key"].to_numpy() >= 0) & (places >= 0)
    found = np.zeros(len(rows), dtype=bool)
    one, other = keys.take(pa.array(rows["key"].to_numpy()[both])), known.take(pa.array(places[both]))
    found[both] = pc.equal(one, other).to_numpy(zero_copy_only=False)
    return found


def _in_other_language(targets: pa.Array, wanted: list[str] | None) -> np.ndarray:
    if wanted is None:
        return np.zeros(len(targets), dtype=bool)
    found = languages.language_of(targets)
    return ~pc.fill_null(pc.is_in(found, value_set=pa.array(wanted, found.type)), False).to_numpy(zero_copy_only=False)
