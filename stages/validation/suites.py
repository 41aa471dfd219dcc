"""What is expected of the raw rows, of the clean rows, and of counts taken from both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import great_expectations.expectations as gxe
import pandas as pd

from stages.params import ValidateParams
from stages.paths import SPLITS

RAW_COLUMNS = ("row_id", "text", "label", "origin", "split")


class Suite(NamedTuple):
    """A table and what is expected of it. The values of `id_column` name its rows."""

    name: str
    table: pd.DataFrame
    id_column: str
    expectations: Sequence[gxe.Expectation]


def suites(raw: pd.DataFrame, clean: pd.DataFrame, params: ValidateParams) -> list[Suite]:
    """What is expected of the raw rows, of the clean rows, and of counts taken from both."""
    counts = pd.crosstab(clean["label"], clean["split"]).reindex(columns=list(SPLITS), fill_value=0)
    labels = counts.rename_axis(columns=None).reset_index()
    splits = counts.sum().rename_axis("split").rename("rows").reset_index()
    dropped = pd.DataFrame({"stage": ["clean"], "dropped_share": [1 - len(clean) / max(len(raw), 1)]})
    return [
        Suite("raw", raw, "row_id", _of_rows(raw, params)),
        Suite("clean", clean, "row_id", [*_of_rows(clean, params), *_of_clean_rows(clean)]),
        Suite("splits", splits, "split", [_between("rows", 1)]),
        Suite(
            "labels",
            labels,
            "label",
            [_between("train", params.min_rows_per_label), _between("validation", 1), _between("test", 1)],
        ),
        Suite("cleaning", dropped, "stage", [_between("dropped_share", 0, params.max_dropped_share)]),
    ]


def _of_rows(rows: pd.DataFrame, params: ValidateParams) -> list[gxe.Expectation]:
    """What holds for raw and for clean rows. A column that is not there gets no other expectation."""
    expectations: list[gxe.Expectation] = [
        gxe.ExpectTableRowCountToBeBetween(min_value=params.min_rows),
        *(gxe.ExpectColumnToExist(column=column) for column in RAW_COLUMNS),
    ]
    if "row_id" in rows:
        expectations.append(gxe.ExpectColumnValuesToNotBeNull(column="row_id"))
        expectations.append(gxe.ExpectColumnValuesToBeUnique(column="row_id"))
    if "label" in rows:
        expectations.append(gxe.ExpectColumnUniqueValueCountToBeBetween(column="label", min_value=params.min_labels))
    return expectations


def _of_clean_rows(rows: pd.DataFrame) -> list[gxe.Expectation]:
    expectations: dict[str, list[gxe.Expectation]] = {
        "text": [
            gxe.ExpectColumnValuesToNotBeNull(column="text"),
            gxe.ExpectColumnValueLengthsToBeBetween(column="text", min_value=1),
        ],
        "label": [gxe.ExpectColumnValuesToNotBeNull(column="label")],
        "split": [
            gxe.ExpectColumnValuesToNotBeNull(column="split"),
            gxe.ExpectColumnValuesToBeInSet(column="split", value_set=list(SPLITS)),
        ],
    }
    return [expectation for column in expectations if column in rows for expectation in expectations[column]]


def _between(column: str, low: float, high: float | None = None) -> gxe.Expectation:
    return gxe.ExpectColumnValuesToBeBetween(column=column, min_value=low, max_value=high)
