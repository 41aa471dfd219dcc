"""Rare labels, with too few rows to learn from: their rows are dropped, or become one label."""

from __future__ import annotations

import pandas as pd

from stages.cleaning.reasons import CODES, KEPT
from stages.core.contracts import as_label
from stages.core.params.clean import CleanParams

GIVEN = ("validation", "test")  # rows that the data brings as these teach nothing


def settle_rare_labels(rows: pd.DataFrame, params: CleanParams) -> dict[str, int]:
    """Treat the rows of rare labels as `rare_labels` says, in place. Returns the rare labels with their rows.

    `rows` has label, split (as the data gives it) and reason. A label is rare if fewer than `rare_label_rows` rows have
    it, of those that are kept and that the data does not give as validation or test. Its rows of these splits are
    dropped or relabelled like its others: no model could know the label.
    """
    kept = rows["reason"] == KEPT
    teaching = kept & ~rows["split"].isin(GIVEN)
    counts = rows["label"].where(teaching).groupby(rows["label"].where(kept)).count()
    rare = counts[counts < params.rare_label_rows].sort_index()
    theirs = kept & rows["label"].isin(rare.index)
    if params.rare_labels == "drop":
        rows.loc[theirs, "reason"] = CODES["rare_label"]
    elif params.rare_labels == "merge":
        rows.loc[theirs, "label"] = as_label(params.rare_label_name)
    return {str(label): int(count) for label, count in rare.items()}
