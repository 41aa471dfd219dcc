"""Validation: good rows pass with a summary of equal bytes; each fault is named with its column, counts and rows."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from stages.params import Params, ValidateParams, load_params
from stages.paths import Paths
from stages.validate import validate

REPOSITORY = Path(__file__).resolve().parent.parent
SETTINGS = {"min_rows": 20, "min_labels": 2, "min_rows_per_label": 5, "max_dropped_share": 0.5}


def params() -> Params:
    whole = load_params(REPOSITORY / "params.yaml")
    return whole.model_copy(update={"validate_": ValidateParams.model_validate(SETTINGS)})


def good_rows() -> pd.DataFrame:
    """Two labels; of each 8 training rows, 2 validation rows and 2 test rows."""
    rows = [
        (label, split)
        for label in "ab"
        for split, n in (("train", 8), ("validation", 2), ("test", 2))
        for _ in range(n)
    ]
    return pd.DataFrame(
        [(f"row-{at}", f"text {at}", label, f"made:{at}", split) for at, (label, split) in enumerate(rows)],
        columns=["row_id", "text", "label", "origin", "split"],
    )


def write(folder: Path, raw: pd.DataFrame, clean: pd.DataFrame) -> Paths:
    paths = Paths(folder)
    paths.raw.parent.mkdir(parents=True, exist_ok=True)
    raw.to_parquet(paths.raw)
    clean.to_parquet(paths.clean)
    return paths


def test_good_rows_pass_with_equal_bytes_at_two_paths_and_data_docs(tmp_path: Path) -> None:
    one, two = (write(tmp_path / name, good_rows(), good_rows()) for name in ("one", "two"))
    for paths in (one, two):
        validate(params(), paths)
    assert one.validation_report.read_bytes() == two.validation_report.read_bytes()
    summary = json.loads(one.validation_report.read_text())
    assert all(result["success"] for results in summary.values() for result in results)
    counted = [result["observed"] for result in summary["clean"] if "row_count" in result["expectation"]]
    assert counted == [24]
    assert (one.data_docs / "index.html").is_file()


def without_rows(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.iloc[:0]


def one_label(rows: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([rows[rows["label"] == "a"]] * 2).assign(row_id=[f"row-{at}" for at in range(24)])


def repeated_id(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(row_id=rows["row_id"].replace("row-1", "row-0"))


def missing_text(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(text=rows["text"].where(rows["row_id"] != "row-3"))


def missing_label(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(label=rows["label"].where(rows["row_id"] != "row-3"))


def empty_text(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(text=rows["text"].where(rows["row_id"] != "row-3", ""))


def unknown_split(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(split=rows["split"].replace("validation", "dev"))


def label_without_test_rows(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(split=rows["split"].where((rows["split"] != "test") | (rows["label"] != "b"), "train"))


def label_unknown_in_training(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(label=rows["label"].where(rows["split"] != "test", "c"))


def renamed_column(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.rename(columns={"origin": "source"})


FAULTS: list[tuple[Callable[[pd.DataFrame], pd.DataFrame], tuple[str, ...]]] = [
    (
        without_rows,
        (
            "clean: expect_table_row_count_to_be_between: found 0, allowed 20 or more.",
            "on rows: found 0 (in 3 of 3 rows), allowed 1 or more. Rows: train, validation, test.",
            "on dropped_share: found 1.0 (in 1 of 1 rows), allowed 0 to 0.5.",
        ),
    ),
    (one_label, ("clean: expect_column_unique_value_count_to_be_between on label: found 1, allowed 2 or more.",)),
    (repeated_id, ('clean: expect_column_values_to_be_unique on row_id: found "row-0" (in 2 of 24 rows)',)),
    (
        missing_text,
        ("clean: expect_column_values_to_not_be_null on text: found null (in 1 of 24 rows)", "Rows: row-3."),
    ),
    (missing_label, ("clean: expect_column_values_to_not_be_null on label", "Rows: row-3.")),
    (empty_text, ('clean: expect_column_value_lengths_to_be_between on text: found "" (in 1 of 24', "Rows: row-3.")),
    (unknown_split, ('on split: found "dev" (in 4 of 24 rows), allowed train, validation, test.', "splits: ")),
    (label_without_test_rows, ("on test: found 0 (in 1 of 2 rows), allowed 1 or more. Rows: b.",)),
    (label_unknown_in_training, ("on train: found 0 (in 1 of 3 rows), allowed 5 or more. Rows: c.",)),
    (renamed_column, ("clean: expect_column_to_exist on origin: found no such column",)),
]


@pytest.mark.parametrize(("spoil", "messages"), FAULTS)
def test_faults_stop_the_pipeline_and_are_named(
    tmp_path: Path, spoil: Callable[[pd.DataFrame], pd.DataFrame], messages: tuple[str, ...]
) -> None:
    paths = write(tmp_path, good_rows(), spoil(good_rows()))
    with pytest.raises(ValueError, match="found") as raised:
        validate(params(), paths)
    assert [message for message in messages if message not in str(raised.value)] == []
    assert not paths.validation_report.exists()
    assert paths.validation_report.with_name("validation-failed.json").is_file()


def test_raw_rows_are_checked_too(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"raw: expect_column_values_to_be_unique on row_id"):
        validate(params(), write(tmp_path, repeated_id(good_rows()), good_rows()))
