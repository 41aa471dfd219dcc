"""Mistakes of targets, counted row by row."""

from __future__ import annotations

import pandas as pd

from stages.tasks.contract import Flaws


def counted(rows: pd.DataFrame, flaws: Flaws) -> pd.DataFrame:
    """`row_id`, and a column for each of `flaws` with its count; rows without a text or a target left out."""
    whole = rows.dropna(subset=["text", "label"])
    counts = [flaws.count(*row) for row in zip(whole["text"], whole["label"], strict=True)]
    columns = list(flaws.columns)
    return pd.DataFrame(counts, columns=columns, dtype="int64").assign(row_id=whole["row_id"].to_numpy())
