"""Stage `quantize`: the pruned student as int8, in a self-contained folder that opens without torch."""

from __future__ import annotations

import shutil
from typing import Any

import numpy as np
import pyarrow as pa

from stages.backends import QUANTIZERS
from stages.backends.runners import open_runner
from stages.compression.card import Origin, card
from stages.compression.recipe import taught
from stages.core import plugins
from stages.core.contracts import Outputs, QuantizationRows, Text, as_one
from stages.core.entry import run_stage
from stages.core.files import publish, read_json, write_json
from stages.core.machine import cores
from stages.core.model_folder import describe, seal
from stages.core.params.file import Params
from stages.core.paths import Paths
from stages.measures.calibration import fit_temperature
from stages.reading.clean_rows import read_split, texts_of
from stages.tasks import TASKS
from stages.tasks.contract import TaskAnswers, TaskSettings

SHOWN = ("backend", "activations", "most_threads", "kept")  # figures of the quantization that model.json holds too
WRITTEN = 200  # validation rows that are written for, as each token is a step
DIGITS = 6


def quantize(params: Params, paths: Paths) -> None:
    """Write the quantized folder: model, tokenizer, model.json with what it can answer, a short card, manifest."""
    quantizer = plugins.load(QUANTIZERS, params.quantize.backend, key="quantize.backend")
    task: TaskAnswers = plugins.part(TASKS, params.task.name, "answers", key="task.name")
    settings: TaskSettings = plugins.part(TASKS, params.task.name, "settings", key="task.name")
    source = paths.model("pruned")
    how = {} if settings.writes is None else {"generation": params.generate.settings.described()}
    sealed = {**describe(source), "temperature": 1.0, **how}
    rows, truths = _rows(task, params, paths)
    with publish(paths.model("quantized")) as folder:
        folder.mkdir()
        shutil.copyfile(source / "tokenizer.json", folder / "tokenizer.json")
        seal(folder, **sealed)
        found = quantizer(source, folder, params.quantize, rows)
        sealed |= {name: found[name] for name in SHOWN if name in found}
        seal(folder, **sealed)
        if params.quantize.temperature_scaling and task.logits is not None:
            int8 = open_runner(folder, threads=cores())
            sealed["temperature"] = fit_temperature(task, truths, int8.predict(rows.validation), int8.space)
            seal(folder, **sealed)
        if task.fitted is not None:
            int8 = open_runner(folder, threads=cores())  # with its temperature
            sealed["space"] = task.fitted(truths, int8.predict(rows.validation), int8.space, rows.measure)
        training, pruning = read_json(paths.training("pruned")), read_json(paths.pruning_report)
        origin = Origin(params.ingest.source, taught(params), params.distill)
        told = card(settings, sealed, origin, training, pruning, found, folder)  # with what was fitted
        (folder / "README.md").write_text(told, encoding="utf-8")
        seal(folder, **sealed)
    write_json(paths.quantization, {**found, **written(task, params, paths), **how})


def _rows(task: TaskAnswers, params: Params, paths: Paths) -> tuple[QuantizationRows, list[str]]:
    """Calibration texts spread over the training rows; the validation rows, their float32 outputs; their truths.

    Of a task whose answers are written, texts are pairs of source and target, and the score is of the targets.
    """
    train, validation = (read_split(paths.clean, split) for split in ("train", "validation"))
    told, truths = task.likelihood, validation["label"].to_pylist()
    texts, judged = (
        texts_of(rows, paths.images) if told is None else with_targets(rows) for rows in (train, validation)
    )
    chosen = np.linspace(0, len(texts) - 1, num=min(params.quantize.calibration_rows, len(texts)), dtype=int)
    exact, measure = open_runner(paths.model("pruned"), threads=cores()), params.task.measure

    def answers(outputs: Outputs) -> list[str]:
        return task.answers(outputs, exact.space)

    def agreement(one: Outputs, other: Outputs) -> float:
        return float(np.mean([mine == its for mine, its in zip(answers(one), answers(other), strict=True)]))

    def score(outputs: Outputs) -> float:
        if told is not None:
            return told.score(truths, outputs)
        return task.score(truths, answers(outputs), exact.space)[measure]

    rows = QuantizationRows(
        calibration=[texts[i] for i in chosen],
        validation=judged,
        exact=exact.predict(judged),
        measure=measure if told is None else told.measure,
        score=score,
        agreement=task.agreement or agreement,
        divergence=task.divergence,
    )
    return rows, truths


def with_targets(rows: pa.Table) -> list[Text]:
    """Pairs of source and target."""
    return list(zip(map(as_one, texts_of(rows)), rows["label"].to_pylist(), strict=True))


def written(task: TaskAnswers, params: Params, paths: Paths) -> dict[str, Any]:
    """The measures of what the model writes for some validation rows, in float32 and as int8, and how many are equal.

    Nothing of a task whose answers are not written.
    """
    if task.likelihood is None:
        return {}
    validation = read_split(paths.clean, "validation")
    some = validation.take(np.linspace(0, len(validation) - 1, num=min(WRITTEN, len(validation)), dtype=int))
    texts, truths = [as_one(text) for text in texts_of(some)], some["label"].to_pylist()
    how = params.generate.settings
    models = [open_runner(paths.model(name), threads=cores(), how=how) for name in ("pruned", "quantized")]
    given = [task.answers(model.predict(texts), model.space) for model in models]
    measured = [task.score(truths, answers, model.space) for model, answers in zip(models, given, strict=True)]
    equal = float(np.mean([one == other for one, other in zip(*given, strict=True)]))
    both = {
        name: {"float32": round(of_exact, DIGITS), "int8": round(measured[1][name], DIGITS)}
        for name, of_exact in measured[0].items()
    }
    return {"written": {"rows": len(texts), "equal": round(equal, DIGITS), **both}}


if __name__ == "__main__":
    run_stage(quantize)
