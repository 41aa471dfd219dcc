"""Stage `validate`: expectations on the rows that came in and on those that go on (Great Expectations).

What fails stops the pipeline and is named: the expectation, the column, what was found and is allowed, rows.
Great Expectations' own results hold times and paths, so DVC gets a summary without them.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import great_expectations as gx
import great_expectations.expectations as gxe
import pandas as pd
import pyarrow.parquet as pq
from great_expectations.data_context.types.base import ProgressBarsConfig

from stages.entry import run_stage
from stages.files import publish, write_json
from stages.params import Params, ValidateParams
from stages.paths import SPLITS, Paths

RAW_COLUMNS = ("row_id", "text", "label", "origin", "split")
EXAMPLES = 5
ALLOWED = ("min_value", "max_value", "value_set")  # the arguments that say what an expectation allows


class Suite(NamedTuple):
    """A table and what is expected of it. The values of `id_column` name its rows."""

    name: str
    table: pd.DataFrame
    id_column: str
    expectations: Sequence[gxe.Expectation]


def validate(params: Params, paths: Paths) -> None:
    """Write `paths.validation_report`, and Data Docs.

    Raises ValueError with a line for each failed expectation; the report is then written beside the usual
    place, as validation-failed.json.
    """
    raw, clean = (pq.read_table(path).to_pandas() for path in (paths.raw, paths.clean))
    summary = run_suites(suites(raw, clean, params.validate_), paths.data_docs)
    refused = paths.validation_report.with_name("validation-failed.json")
    failures = [_complaint(name, result) for name in summary for result in summary[name] if not result["success"]]
    if failures:
        write_json(refused, summary)
        where = f"Tables and counts: {paths.data_docs / 'index.html'} and {refused}."
        raise ValueError("\n".join([*failures, where]))
    refused.unlink(missing_ok=True)
    write_json(paths.validation_report, summary)


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


def run_suites(suites: Sequence[Suite], data_docs: Path) -> dict[str, list[dict[str, Any]]]:
    """Suite name -> results, without times, paths or ids. Data Docs go to the folder `data_docs`."""
    with tempfile.TemporaryDirectory(prefix="winnow-gx-") as folder:
        context = gx.get_context(mode="file", project_root_dir=folder)
        context.variables.progress_bars = ProgressBarsConfig(globally=False)
        source = context.data_sources.add_pandas("winnow")
        summary = {suite.name: _run(context, source, suite) for suite in suites}
        context.build_data_docs()
        site = Path(folder) / "gx/uncommitted/data_docs/local_site"
        with publish(data_docs) as draft:
            shutil.copytree(site, draft)
    return summary


def _run(context: Any, source: Any, suite: Suite) -> list[dict[str, Any]]:
    batch = source.add_dataframe_asset(suite.name).add_batch_definition_whole_dataframe("all")
    expected = context.suites.add(gx.ExpectationSuite(suite.name, expectations=list(suite.expectations)))
    definition = gx.ValidationDefinition(name=suite.name, data=batch, suite=expected)
    result_format: dict[str, Any] = {"result_format": "SUMMARY", "partial_unexpected_count": EXAMPLES}
    if suite.id_column in suite.table:
        result_format["unexpected_index_column_names"] = [suite.id_column]
    outcome = context.validation_definitions.add(definition).run(
        batch_parameters={"dataframe": suite.table}, result_format=result_format
    )
    results = [_canonical(result, suite.id_column) for result in outcome.results]
    return sorted(results, key=lambda one: (one["expectation"], one["column"] or ""))


def _canonical(result: Any, id_column: str) -> dict[str, Any]:
    kwargs = result.expectation_config.kwargs
    found = result.result or {}
    rows = found.get("partial_unexpected_index_list") or []
    return {
        "expectation": result.expectation_config.type,
        "column": kwargs.get("column"),
        "success": bool(result.success),
        "observed": found.get("observed_value"),
        "allowed": {name: kwargs[name] for name in ALLOWED if kwargs.get(name) is not None},
        "rows": found.get("element_count"),
        "unexpected_count": found.get("unexpected_count"),
        "unexpected_values": [_plain(value) for value in found.get("partial_unexpected_list") or []],
        "examples": [str(row[id_column]) for row in rows if isinstance(row, dict)],
    }


def _plain(value: Any) -> Any:
    """A value as JSON has it: pandas' missing values are null."""
    return None if pd.isna(value) else value


def _complaint(suite: str, result: dict[str, Any]) -> str:
    column = f" on {result['column']}" if result["column"] else ""
    line = f"{suite}: {result['expectation']}{column}: found {_found(result)}, allowed {_allowed(result)}."
    return f"{line} Rows: {', '.join(result['examples'])}." if result["examples"] else line


def _found(result: dict[str, Any]) -> str:
    if result["unexpected_count"]:
        values = dict.fromkeys(json.dumps(value, ensure_ascii=False) for value in result["unexpected_values"])
        return f"{', '.join(values)} (in {result['unexpected_count']} of {result['rows']} rows)"
    return "no such column" if result["observed"] is None else str(result["observed"])


def _allowed(result: dict[str, Any]) -> str:
    low, high, values = (result["allowed"].get(name) for name in ("min_value", "max_value", "value_set"))
    if values is not None:
        return ", ".join(values)
    if low is not None and high is not None:
        return f"{low:g} to {high:g}"
    if low is not None:
        return f"{low:g} or more"
    return {
        "expect_column_values_to_be_unique": "each value once",
        "expect_column_values_to_not_be_null": "no missing value",
        "expect_column_to_exist": "a column of that name",
    }[result["expectation"]]


if __name__ == "__main__":
    run_stage(validate)
