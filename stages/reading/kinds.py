"""The classes that rows hold, for counts and shares: a task says which of a target (TaskData.kinds)."""

from __future__ import annotations

import pandas as pd

from stages.core.paths import SPLITS
from stages.tasks.contract import TaskData


def kinds_of(targets: pd.Series, data: TaskData) -> pd.Series:
    """The classes of N rows with these `targets`: for each class of a row one value, with that row's index.

    A row may have several, each once, or none; one without a target has none.
    """
    given = targets.dropna()
    known = {target: list(dict.fromkeys(data.kinds(target))) for target in given.unique()}
    return given.map(known).explode().dropna().astype(targets.dtype).rename(targets.name)


def shares_of(kinds: pd.Series, rows: int) -> dict[str, float]:
    """The share of so many `rows` that hold each class, the commonest first."""
    return {str(kind): round(count / rows, 6) for kind, count in kinds.value_counts().items()}


def rows_by_kind(clean: pd.DataFrame, data: TaskData) -> pd.DataFrame:
    """For each class the number of rows that hold it in each of SPLITS, from the columns `label` and `split`.

    The index of `clean` has each number once.
    """
    kinds = kinds_of(clean["label"], data)
    splits = clean["split"].loc[kinds.index].reset_index(drop=True)
    return pd.crosstab(kinds.reset_index(drop=True), splits).reindex(columns=list(SPLITS), fill_value=0)


def one_row_a_kind(rows: pd.DataFrame, data: TaskData) -> pd.DataFrame:
    """The rows once for each class that they hold, with that class as their `label`; those without one are left out."""
    kinds = kinds_of(rows["label"], data)
    return rows.loc[kinds.index].assign(label=kinds).reset_index(drop=True)
