"""Stage `evaluate`: the quality of one model on the test rows, its weaknesses, and the uncertainty; deterministic."""

from __future__ import annotations

import csv
import json
import sys
from typing import Any

import numpy as np
import pyarrow as pa

from stages.backends.runners import open_runner
from stages.core import plugins
from stages.core.contracts import Answers, Runner
from stages.core.entry import run_stage
from stages.core.files import publish, write_json, write_parquet
from stages.core.machine import cores
from stages.core.params.file import Params
from stages.core.paths import Paths
from stages.measures import ANSWERS
from stages.measures.calibration import reliability
from stages.measures.slices import values_of
from stages.reading.clean_rows import read_split, texts_of

PROBABILITY_DIGITS = 6  # beyond them are rounding errors, which differ from machine to machine


def evaluate(params: Params, paths: Paths, name: str) -> None:
    """Measure the model `name`; write its quality, predictions, confusions and reliability.

    Raises ValueError where a test row has a label that the model does not know.
    """
    test = read_split(paths.clean, "test", "kept")
    answers = ask(open_runner(paths.model(name), threads=cores()), test, params.data_seed)
    measured: dict[str, Any] = {}
    for measure in ANSWERS:
        measured |= plugins.load(ANSWERS, measure, key="measure")(answers, params.evaluate)
    write_json(paths.quality(name), measured)
    write_parquet(paths.predictions(name), predictions(answers, test, params.evaluate.slices))
    predicted = [answers.runner.labels[i] for i in answers.predicted_N]
    _write_csv(paths, name, list(zip(answers.columns["label"], predicted, strict=True)))
    bins = reliability(answers.truth_N, answers.probabilities_NC, bins=params.evaluate.calibration_bins)
    with publish(paths.reliability(name)) as draft, draft.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["low", "high", "rows", "confidence", "accuracy"], lineterminator="\n")
        writer.writeheader()
        writer.writerows({key: round(value, PROBABILITY_DIGITS) for key, value in entry.items()} for entry in bins)


def ask(runner: Runner, rows: pa.Table, seed: int) -> Answers:
    """The runner's answers to the rows, with the columns that `ingest` kept."""
    texts, labels = texts_of(rows), rows["label"].to_pylist()
    if unknown := sorted(set(labels) - set(runner.labels)):
        raise ValueError(f"test rows have labels that no training row has: {', '.join(unknown[:5])}. Add rows of them.")
    kept = [json.loads(text) if text else {} for text in rows["kept"].to_pylist()]
    columns = {key: [row.get(key) for row in kept] for key in dict.fromkeys(key for row in kept for key in row)}
    probabilities_NC = runner.predict(texts)
    position = {label: i for i, label in enumerate(runner.labels)}
    return Answers(
        runner=runner,
        texts=texts,
        columns={**columns, "label": labels},
        truth_N=np.array([position[label] for label in labels]),
        predicted_N=probabilities_NC.argmax(1),
        probabilities_NC=probabilities_NC,
        seed=seed,
    )


def predictions(answers: Answers, rows: pa.Table, slices: list[str]) -> pa.Table:
    """One row for each test row, so that any two models can be compared pair by pair."""
    labels = answers.runner.labels
    columns = {f"slice: {column}": pa.array(values_of(answers, column).tolist()) for column in slices}
    probabilities = {
        f"p_{label}": pa.array(np.round(p.astype(np.float64), PROBABILITY_DIGITS))
        for label, p in zip(labels, answers.probabilities_NC.T, strict=True)
    }
    predicted = pa.array([labels[i] for i in answers.predicted_N])
    return pa.table(
        {"row_id": rows["row_id"], "label": rows["label"], "predicted": predicted, **columns, **probabilities}
    )


def _write_csv(paths: Paths, name: str, rows: list[tuple[Any, Any]]) -> None:
    with publish(paths.confusion(name)) as draft, draft.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([("actual", "predicted"), *rows])


if __name__ == "__main__":
    run_stage(evaluate, *sys.argv[1:])
