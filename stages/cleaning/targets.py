"""Targets that hang on their text, such as spans of its characters: where cleaning changes it, and as answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from stages.cleaning.keys import PAIR_SEPARATOR, keys_of
from stages.tasks.contract import TaskData

PIECE = 1 << 16  # rows whose texts are copied at once


def carry_targets(rows: pd.DataFrame, clean: pa.Array, raw: Path, data: TaskData) -> pd.DataFrame:
    """The rows with their targets for the `clean` texts, and `lost` where the task cannot tell the target any more.

    `rows` are sorted by row_id and have at, the place in `clean`, and label; the Parquet file `raw` has their texts
    before cleaning. For tasks whose targets never change the rows are given back as they are.
    """
    if data.carried is TaskData.carried:
        return rows
    before = pq.read_table(raw, columns=["row_id", "text"]).combine_chunks()
    order, at = pc.sort_indices(before["row_id"]).to_numpy(), rows["at"].to_numpy()
    label, lost = rows["label"].to_numpy(dtype=object, copy=True), np.zeros(len(rows), dtype=bool)
    for start in range(0, len(rows), PIECE):
        some = slice(start, start + PIECE)
        was = before["text"].take(pa.array(order[some])).to_pylist()
        is_ = clean.take(pa.array(at[some])).to_pylist()
        for row, (one, other) in enumerate(zip(was, is_, strict=True), start=start):
            if one != other and other is not None and not pd.isna(label[row]):
                carried = data.carried(label[row], one, other)
                lost[row] = carried is None
                label[row] = label[row] if carried is None else carried
    return rows.assign(label=pd.Series(label, rows.index, dtype=rows["label"].dtype), lost=lost)


def with_quotes(rows: pd.DataFrame, clean: pa.Array, data: TaskData) -> pd.DataFrame:
    """The rows with `answer`: equal where targets say the same of the same words, wherever these stand.

    So texts that differ in a quotation mark or a word before have one answer. Rows of tasks without places in their
    targets are given back as they are.
    """
    if data.quoted is None:
        return rows
    at, label = rows["at"].to_numpy(), rows["label"].to_numpy(dtype=object)
    kinds: list[str] = []
    words: list[str] = []
    ends = np.zeros(len(rows), dtype=np.int64)
    for start in range(0, len(rows), PIECE):
        texts = clean.take(pa.array(at[start : start + PIECE])).to_pylist()
        for row, text in enumerate(texts, start=start):
            if text is not None and not pd.isna(label[row]):
                for kind, quoted in data.quoted(label[row], text):
                    kinds.append(kind)
                    words.append(quoted)
            ends[row] = len(kinds)
    keys = keys_of(pa.array(words, pa.large_string())).to_pylist()
    said = [f"{kind}{PAIR_SEPARATOR}{key}" for kind, key in zip(kinds, keys, strict=True)]
    begins = np.concatenate([[0], ends[:-1]])
    answers = [
        None if pd.isna(own) else PAIR_SEPARATOR.join(said[begin:end])
        for own, begin, end in zip(label, begins, ends, strict=True)
    ]
    return rows.assign(answer=pd.Series(answers, rows.index, dtype=object))
