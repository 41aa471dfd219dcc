"""Labels with too few rows to learn from: their rows go, or they become one label."""

from __future__ import annotations

import pandas as pd

from stages.cleaning.reasons import CODES, KEPT
from stages.core.contracts import as_label
from stages.core.params.clean import CleanParams

GIVEN = ("validation", "test")  # rows that the data brings as these teach nothing


def settle_rare_labels(rows: pd.DataFrame, params: CleanParams) -> dict[str, int]:
    """Do with the rows of rare labels what `rare_labels` says, in place. Returns the rare labels with their rows.

    `rows` has label, split (as the data gives it) and reason. Rare is a label that fewer than `rare_label_rows` rows
    have, of those that are kept and that the data does not give as validation or test. Its rows of these splits go or
    change as its others do: no model could know the label.
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
