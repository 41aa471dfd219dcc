"""Stage `evaluate`: how good one model is on the test rows; deterministic."""

from __future__ import annotations

import csv
import sys

import numpy as np
import pyarrow as pa

from stages import plugins
from stages.entry import run_stage
from stages.files import publish, write_json, write_parquet
from stages.machine import cores
from stages.measures import MEASURES
from stages.model_folder import open_runner
from stages.params import Params
from stages.paths import Paths
from stages.rows import read_split

PROBABILITY_DIGITS = 6  # beyond them are rounding errors, which differ from machine to machine


def evaluate(_: Params, paths: Paths, name: str) -> None:
    """Measure the model `name`; write metrics/quality/NAME.json, its predictions and the table of confusions."""
    test = read_split(paths.clean, "test")
    runner = open_runner(paths.model(name), threads=cores())
    probabilities_NC = runner.predict(test["text"].to_pylist())
    labels = test["label"].to_pylist()
    predicted = [runner.labels[i] for i in probabilities_NC.argmax(1)]
    measure = plugins.load(MEASURES, "quality", key="measure")
    write_json(paths.quality(name), measure(labels, predicted, probabilities_NC, runner.labels))
    columns = {
        f"p_{label}": pa.array(np.round(p.astype(np.float64), PROBABILITY_DIGITS))
        for label, p in zip(runner.labels, probabilities_NC.T, strict=True)
    }
    table = {"row_id": test["row_id"], "label": test["label"], "predicted": pa.array(predicted), **columns}
    write_parquet(paths.predictions(name), pa.table(table))
    with publish(paths.confusion(name)) as draft, draft.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([("actual", "predicted"), *zip(labels, predicted, strict=True)])


if __name__ == "__main__":
    run_stage(evaluate, *sys.argv[1:])
