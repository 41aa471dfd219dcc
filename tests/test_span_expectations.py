"""What is expected of spans: faulty rows, as no ingest would write them, are named with column, count and ids."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from test_validate import good_rows, params, write

from stages.core.params.file import Params
from stages.core.paths import Paths
from stages.tasks.contract import Flaws
from stages.tasks.token_classification.data import DATA
from stages.validate import validate
from stages.validation.flaws import counted

WHOLE = '[[0,4,"word"],[5,6,"number"]]'  # of "text 3", and of every other text of the good rows


def spans_of(**targets: str) -> pd.DataFrame:
    """The good rows with spans that are right, but for those named: row_3="[...]"."""
    rows = good_rows().assign(label=WHOLE)
    for name, target in targets.items():
        rows.loc[rows["row_id"] == name.replace("_", "-"), "label"] = target
    return rows


def of_spans(**changes: Any) -> Params:
    found = params(max_label_share=1, min_labels=1, max_look_alike_labels=0, **changes)
    return found.model_copy(update={"task": found.task.model_copy(update={"name": "token_classification"})})


def refused(paths: Paths, **changes: Any) -> str:
    with pytest.raises(ValueError, match="expect_column") as raised:
        validate(of_spans(**changes), paths)
    return str(raised.value)


def failed(paths: Paths) -> dict[tuple[str, str], list[str]]:
    """(suite, column) of each expectation that failed, and the rows that it names."""
    summary = json.loads(paths.validation_report.with_name("validation-failed.json").read_text())
    return {
        (suite, one["column"]): one["examples"]
        for suite, found in summary.items()
        for one in found
        if not one["success"]
    }


def test_rows_whose_spans_are_right_pass_every_expectation_of_them(tmp_path: Path) -> None:
    paths = write(tmp_path, spans_of(row_4="[]"), spans_of(row_4="[]"))
    validate(of_spans(), paths)
    summary = json.loads(paths.validation_report.read_text())
    columns = ["spans_empty", "spans_outside", "spans_overlapping", "spans_without_type"]
    for suite in ("raw_targets", "clean_targets"):
        assert [one["column"] for one in summary[suite]] == columns
        assert all(one["success"] and one["rows"] == 24 for one in summary[suite])
    assert [one["success"] for one in summary["labels_in_training"]] == [True]


@pytest.mark.parametrize(
    ("column", "target", "found"),
    [
        ("spans_outside", '[[0,4,"word"],[5,7,"number"]]', 1),
        ("spans_outside", '[[-1,4,"word"],[5,99,"number"]]', 2),
        ("spans_outside", '[[4,2,"word"]]', 1),
        ("spans_empty", '[[0,4,"word"],[5,5,"number"]]', 1),
        ("spans_overlapping", '[[0,5,"word"],[4,6,"number"]]', 1),
        ("spans_overlapping", '[[0,4,"number"],[0,4,"word"]]', 1),
    ],
)
@pytest.mark.parametrize("of", ["raw", "clean"])
def test_spans_that_cannot_be_right_are_named_with_column_count_and_rows(
    tmp_path: Path, column: str, target: str, found: int, of: str
) -> None:
    bad, good = spans_of(row_3=target, row_5=target), spans_of()
    paths = write(tmp_path, *((bad, good) if of == "raw" else (good, bad)))
    assert (
        f"{of}_targets: expect_column_values_to_be_between on {column}: found {found} (in 2 of 24 rows), allowed 0 or"
        " less. Rows: row-3, row-5."
    ) in refused(paths)
    assert failed(paths) == {(f"{of}_targets", column): ["row-3", "row-5"]}


def test_a_span_without_a_type_is_named_with_its_row(tmp_path: Path) -> None:
    paths = write(tmp_path, spans_of(row_3='[[0,4," "],[5,6,"number"]]'), spans_of())
    assert "raw_targets: expect_column_values_to_be_between on spans_without_type: found 1 (in 1" in refused(paths)
    assert failed(paths) == {("raw_targets", "spans_without_type"): ["row-3"]}


def test_every_kind_of_mistake_in_one_row_has_a_line_of_its_own(tmp_path: Path) -> None:
    paths = write(tmp_path, spans_of(row_3='[[0,3,"word"],[2,2,"word"],[5,99," "]]'), spans_of())
    refused(paths)
    assert {column for _, column in failed(paths)} == {
        "spans_outside", "spans_empty", "spans_overlapping", "spans_without_type",
    }  # fmt: skip


def test_a_type_that_no_training_row_has_is_named_with_the_rows_that_have_it(tmp_path: Path) -> None:
    rows = spans_of(row_8='[[0,4,"thing"]]', row_23='[[0,4,"thing"],[5,6,"number"]]')  # a validation row, a test row
    paths = write(tmp_path, rows, rows)
    assert (
        'labels_in_training: expect_column_values_to_be_in_set on label: found "thing" (in 2 of 15 rows), allowed'
        " number, word. Rows: row-8, row-23."
    ) in refused(paths, min_rows_per_label=1)
    known = spans_of(row_8='[[0,4,"thing"]]', row_23='[[0,4,"thing"]]', row_0='[[0,4,"thing"]]')
    validate(of_spans(min_rows_per_label=1), write(tmp_path / "known", known, known))


def test_only_types_that_are_allowed_pass_where_params_name_them(tmp_path: Path) -> None:
    paths = write(tmp_path, spans_of(), spans_of())
    told = refused(paths, labels=["word"])
    assert 'clean_labels: expect_column_values_to_be_in_set on label: found "number" (in 24 of 48 rows)' in told
    validate(of_spans(labels=["word", "number"]), paths)


def test_rows_without_a_text_or_a_target_have_no_spans_to_judge() -> None:
    rows = pd.DataFrame(
        {"row_id": ["a", "b", "c"], "text": ["one", None, "two"], "label": ['[[0,9,"x"]]', '[[0,9,"x"]]', None]}
    )
    assert isinstance(DATA.flaws, Flaws)
    found = counted(rows, DATA.flaws)
    assert found.to_dict("records") == [
        {"spans_outside": 1, "spans_empty": 0, "spans_without_type": 0, "spans_overlapping": 0, "row_id": "a"}
    ]
    assert counted(rows.iloc[1:], DATA.flaws).empty
