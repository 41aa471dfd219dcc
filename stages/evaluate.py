"""Stage `evaluate`: the quality of one model on the test rows, its weaknesses, and the uncertainty; deterministic."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from stages.core import plugins
from stages.core.entry import run_stage
from stages.core.files import publish, write_json, write_parquet
from stages.core.model_folder import left_out
from stages.core.params.file import Params
from stages.core.paths import Paths
from stages.measures import ANSWERS
from stages.measures.calibration import reliability
from stages.measures.opened import Opened, opened
from stages.measures.slices import values_of
from stages.reading.clean_rows import GROUP, read_split, texts_of
from stages.tasks.contract import Judged, Table

DIGITS = 6  # beyond them are rounding errors, which differ from machine to machine


def evaluate(params: Params, paths: Paths, name: str) -> None:
    """Measure the model `name`; write its quality, its predictions, and the tables that its task shows.

    Of a model that the task cannot have they say that. Raises ValueError where a test row has a target that the model
    does not know.
    """
    if (reason := left_out(paths.model(name))) is not None:
        _nothing(paths, name, reason)
        return
    test = read_split(paths.clean, "test", "kept", GROUP)
    model = opened(paths.model(name), params.generate.settings)
    judged = judge(model, test, paths.images, params.data_seed)
    measured: dict[str, Any] = {} if model.generation is None else {"generation": model.generation.described()}
    for measure in ANSWERS:
        measured |= plugins.load(ANSWERS, measure, key="measure")(judged, model, params.evaluate)
    write_json(paths.quality(name), measured)
    write_parquet(paths.predictions(name), predictions(judged, model, test, params.evaluate.slices))
    _write_tables(
        paths, name, {**model.of_measures.tables(judged), **_reliability(judged, params.evaluate.calibration_bins)}
    )


def _nothing(paths: Paths, name: str, reason: str) -> None:
    """The same files of a model that is left out: the reason, and no rows."""
    write_json(paths.quality(name), {"left_out": reason})
    texts, numbers = (pa.array([], kind) for kind in (pa.large_string(), pa.float64()))
    columns = {"row_id": texts, "unit": texts, "truth": texts, "answer": texts, "score": numbers, "confidence": numbers}
    write_parquet(paths.predictions(name), pa.table(columns))
    _write_tables(paths, name, {"left_out": Table(("reason",), [[reason]])})


def _write_tables(paths: Paths, name: str, tables: Mapping[str, Table]) -> None:
    with publish(paths.tables(name)) as draft:
        draft.mkdir()
        for title, table in tables.items():
            with (draft / f"{title}.csv").open("w", newline="", encoding="utf-8") as file:
                csv.writer(file, lineterminator="\n").writerows([table.columns, *table.rows])


def judge(model: Opened, rows: pa.Table, images: Path, seed: int) -> Judged:
    """The model's answers to the rows, with the columns that `ingest` kept."""
    truths = rows["label"].to_pylist()
    kept = [json.loads(text) if text else {} for text in rows["kept"].to_pylist()]
    columns = {key: [row.get(key) for row in kept] for key in dict.fromkeys(key for row in kept for key in row)}
    return model.judge(
        texts_of(rows, images), truths, units=rows[GROUP].to_pylist(), seed=seed, columns={**columns, "label": truths}
    )


def predictions(judged: Judged, model: Opened, rows: pa.Table, slices: list[str]) -> pa.Table:
    """One row for each test row, so that any two models can be compared row by row."""
    sure = pa.nulls(len(rows), pa.float64()) if judged.confidence_N is None else _rounded(judged.confidence_N)
    own = {**model.of_measures.per_row(judged), **model.of_answers.columns(judged.outputs, judged.space)}
    return pa.table(
        {
            "row_id": rows["row_id"],
            "unit": rows[GROUP],
            "truth": rows["label"],
            "answer": pa.array(judged.answers, pa.large_string()),
            "score": _rounded(judged.scores_N),
            "confidence": sure,
            **{f"slice: {column}": pa.array(values_of(judged, column).tolist()) for column in slices},
            **{name: _rounded(values) for name, values in own.items()},
        }
    )


def _rounded(values: np.ndarray) -> pa.Array:
    return pa.array(np.round(values.astype(np.float64), DIGITS))


def _reliability(judged: Judged, bins: int) -> Mapping[str, Table]:
    """For each bin of the confidence its rows, mean confidence and mean score; none where a task has no confidence."""
    if judged.confidence_N is None:
        return {}
    found = reliability(judged.confidence_N, judged.scores_N, bins=bins)
    rows = [[round(value, DIGITS) for value in entry.values()] for entry in found]
    return {"reliability": Table(("low", "high", "rows", "confidence", "score"), rows)}


if __name__ == "__main__":
    run_stage(evaluate, *sys.argv[1:])
