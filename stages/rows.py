"""Reading the clean rows."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq


def read_split(clean: Path, split: str, *more: str) -> pa.Table:
    """The rows of one split (row_id, text, label, and `more` columns). Raises ValueError where there are none."""
    table = pq.read_table(clean, columns=["row_id", "text", "label", "split", *more])
    rows = table.filter(pc.equal(table["split"], split)).drop_columns("split").combine_chunks()
    if len(rows) == 0:
        raise ValueError(f"{clean}: no rows in the split '{split}'.")
    return rows
