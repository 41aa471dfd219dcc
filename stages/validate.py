"""Stage `validate`: expectations on the raw and on the clean rows (Great Expectations).

A failed expectation stops the pipeline and is named with its column, the value found, the value allowed, and rows.
Great Expectations' own results hold times and paths, so DVC gets a summary without them.
"""

from __future__ import annotations

import logging
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq

from stages.core import plugins
from stages.core.entry import run_stage
from stages.core.files import write_json
from stages.core.params.file import Params
from stages.core.paths import TRANSFER, Paths
from stages.reading.clean_rows import TEXT_PAIR, whole_texts
from stages.tasks import TASKS
from stages.tasks.contract import TaskData
from stages.validation.profiles import Drift, drift, profile, read_released, word_counts
from stages.validation.results import run_suites
from stages.validation.suites import COLUMNS, Data, suites
from stages.validation.verdict import Broken, settle

log = logging.getLogger("winnow")


def validate(params: Params, paths: Paths) -> None:
    """Write `paths.validation_report`, `paths.data_profile`, and Data Docs.

    Raises ValueError with a line for each failed expectation; the report is then written beside the usual
    place, as validation-failed.json.
    """
    task: TaskData = plugins.part(TASKS, params.task.name, "data", key="task.name")
    raw, clean, held_out, quarantine, unreadable = (
        pq.read_table(path).to_pandas(ignore_metadata=True)
        for path in (paths.raw, paths.clean, paths.held_out, paths.quarantine, paths.unreadable)
    )
    types = {name: _types(path) for name, path in (("raw", paths.raw), ("clean", paths.clean))}
    clean, transfer = parted(clean)
    data = Data(raw, clean, quarantine, unreadable, transfer, held_out, task, types)
    limits = params.validate_
    if params.clean.unlabelled == "transfer":
        limits = limits.model_copy(update={"max_missing_label_share": None})  # such rows are wanted
    found = profile(clean, task) if data.is_whole and len(clean) else None
    summary = run_suites(suites(data, _drift(found, clean, paths), limits), paths.data_docs)
    refused = paths.validation_report.with_name("validation-failed.json")
    failed = [one for results in summary.values() for one in results if not one["success"]]
    try:
        where = f"Tables and counts: {paths.data_docs / 'index.html'} and {refused}."
        settle([Broken(one["limit"], one["message"], one["warns"]) for one in failed], where)
    except ValueError:
        write_json(refused, summary)
        raise
    refused.unlink(missing_ok=True)
    write_json(paths.data_profile, found)
    write_json(paths.validation_report, summary)


def parted(clean: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows with labels, and those of the split `transfer`, which have none."""
    if "split" not in clean:
        return clean, clean.iloc[:0]
    asked = clean["split"] == TRANSFER
    return clean[~asked].reset_index(drop=True), clean[asked].reset_index(drop=True)


def _types(path: Path) -> dict[str, str]:
    """The type of each expected column of a Parquet file."""
    schema = pq.read_schema(path)
    return {name: str(schema.field(name).type) for name in (*COLUMNS, TEXT_PAIR) if name in schema.names}


def _drift(now: dict[str, object] | None, clean: pd.DataFrame, paths: Paths) -> Drift | None:
    released = read_released(paths.released_data)
    if released is None:
        log.info("drift: nothing is released yet, so there is nothing to compare with (%s)", paths.released_data)
    return drift(released, now, word_counts(whole_texts(clean))) if released and now else None


if __name__ == "__main__":
    run_stage(validate)
