"""Evaluation by Great Expectations: results without times, paths or ids, and failures in a line each."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import great_expectations as gx
import pandas as pd
from great_expectations.data_context.types.base import ProgressBarsConfig
from great_expectations.expectations.metadata_types import FailureSeverity

from stages.core.files import publish
from stages.validation.pages import write_pages
from stages.validation.suites import EXAMPLES, Suite

ALLOWED = ("min_value", "max_value", "value_set", "mostly")  # the arguments that say what an expectation allows
ALL = ("mostly", 1)


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
            write_pages(site, summary, draft)
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
    results = [_canonical(result, suite) for result in outcome.results]
    return sorted(results, key=lambda one: (one["expectation"], one["column"] or "", one["limit"] or ""))


def _canonical(result: Any, suite: Suite) -> dict[str, Any]:
    kwargs = result.expectation_config.kwargs
    found = result.result or {}
    rows = found.get("partial_unexpected_index_list") or []
    column = kwargs.get("column")
    meta = result.expectation_config.meta or {}
    canonical = {
        "expectation": result.expectation_config.type,
        "column": column,
        "limit": meta.get("limit"),
        "warns": result.expectation_config.severity == FailureSeverity.WARNING,
        "success": bool(result.success),
        "observed": found.get("observed_value", _single(suite.table, column)),
        "allowed": {
            name: kwargs[name] for name in ALLOWED if kwargs.get(name) is not None and (name, kwargs[name]) != ALL
        },
        "rows": found.get("element_count"),
        "unexpected_count": found.get("unexpected_count"),
        "unexpected_values": [_plain(value) for value in found.get("partial_unexpected_list") or []],
        "examples": list(suite.examples.get(column) or [])
        or [str(row[suite.id_column]) for row in rows if isinstance(row, dict)],
    }
    message = meta.get("says") or complaint(suite.name, canonical)
    return canonical | {"message": None if result.success else message}


def _single(table: pd.DataFrame, column: str | None) -> float | None:
    """The number in a table of one row, such as one of shares."""
    if len(table) != 1 or column not in table or not pd.api.types.is_numeric_dtype(table[column]):
        return None
    return float(table[column].iloc[0])


def _plain(value: Any) -> Any:
    """A value as JSON has it: pandas' missing values become null."""
    return None if pd.isna(value) else value


def complaint(suite: str, result: dict[str, Any]) -> str:
    """The complaint of a failed expectation, in a line: the value found, the value allowed, and examples."""
    column = f" on {result['column']}" if result["column"] else ""
    line = f"{suite}: {result['expectation']}{column}: found {_found(result)}, allowed {_allowed(result)}."
    named = "Changed most" if suite == "drift" else "Rows"
    return f"{line} {named}: {', '.join(result['examples'])}." if result["examples"] else line


def _found(result: dict[str, Any]) -> str:
    if result["unexpected_count"]:
        values = dict.fromkeys(_short(value) for value in result["unexpected_values"])
        return f"{', '.join(values)} (in {result['unexpected_count']} of {result['rows']} rows)"
    return "no such column" if result["observed"] is None else str(result["observed"])


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else json.dumps(value, ensure_ascii=False)


def _allowed(result: dict[str, Any]) -> str:
    low, high, values, mostly = (result["allowed"].get(name) for name in ALLOWED)
    if values is not None:
        return ", ".join(values)
    if low is not None:
        return f"{low:g} or more"
    if high is not None:
        return f"{high:g} or less"
    if mostly is not None:
        return f"a share of {1 - mostly:g} without a value"
    return {
        "expect_column_values_to_be_unique": "each value once",
        "expect_column_values_to_not_be_null": "no missing value",
        "expect_column_to_exist": "a column of that name",
    }[result["expectation"]]
