"""Stage `quantize`: the pruned student as int8, in a self-contained folder that opens without torch."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np

from stages.backends import QUANTIZERS
from stages.backends.runners import open_runner
from stages.compression.recipe import ensemble, pruned_to, recurrent
from stages.core import plugins
from stages.core.contracts import INPUTS, Outputs, QuantizationRows
from stages.core.entry import run_stage
from stages.core.files import publish, read_json, write_json
from stages.core.machine import cores
from stages.core.model_folder import describe, reads_apart, seal, wants_pairs
from stages.core.params.file import Params
from stages.core.paths import Paths
from stages.measures.calibration import fit_temperature
from stages.reading.clean_rows import read_split, texts_of
from stages.tasks import TASKS
from stages.tasks.contract import TaskAnswers, TaskSettings

DESCRIBED = ("README.md", "tokenizer.json", "model.json", "manifest.json")  # the card says what each of these is
SHOWN = ("backend", "activations", "most_threads", "kept")  # figures of the quantization that model.json holds too


def quantize(params: Params, paths: Paths) -> None:
    """Write the quantized folder: model, tokenizer, model.json with what it can answer, a short card, manifest."""
    quantizer = plugins.load(QUANTIZERS, params.quantize.backend, key="quantize.backend")
    task: TaskAnswers = plugins.part(TASKS, params.task.name, "answers", key="task.name")
    source = paths.model("pruned")
    sealed = {**describe(source), "temperature": 1.0}
    rows, truths = _rows(task, params, paths)
    with publish(paths.model("quantized")) as folder:
        folder.mkdir()
        shutil.copyfile(source / "tokenizer.json", folder / "tokenizer.json")
        seal(folder, **sealed)
        found = quantizer(source, folder, params.quantize, rows)
        sealed |= {name: found[name] for name in SHOWN if name in found}
        training, pruning = read_json(paths.training("pruned")), read_json(paths.pruning_report)
        (folder / "README.md").write_text(card(sealed, params, training, pruning, found, folder), encoding="utf-8")
        seal(folder, **sealed)
        if params.quantize.temperature_scaling and task.logits is not None:
            int8 = open_runner(folder, threads=cores())
            sealed["temperature"] = fit_temperature(task, truths, int8.predict(rows.validation), int8.space)
            seal(folder, **sealed)
        if task.fitted is not None:
            int8 = open_runner(folder, threads=cores())  # with its temperature
            sealed["space"] = task.fitted(truths, int8.predict(rows.validation), int8.space)
            seal(folder, **sealed)
    write_json(paths.quantization, found)


def _rows(task: TaskAnswers, params: Params, paths: Paths) -> tuple[QuantizationRows, list[str]]:
    """Calibration texts spread over the training rows; the validation rows, their float32 outputs; their truths."""
    train, validation = (read_split(paths.clean, split) for split in ("train", "validation"))
    texts, truths = texts_of(train), validation["label"].to_pylist()
    chosen = np.linspace(0, len(texts) - 1, num=min(params.quantize.calibration_rows, len(texts)), dtype=int)
    exact, measure = open_runner(paths.model("pruned"), threads=cores()), params.task.measure

    def answers(outputs: Outputs) -> list[str]:
        return task.answers(outputs, exact.space)

    def agreement(one: Outputs, other: Outputs) -> float:
        return float(np.mean([mine == its for mine, its in zip(answers(one), answers(other), strict=True)]))

    rows = QuantizationRows(
        calibration=[texts[i] for i in chosen],
        validation=texts_of(validation),
        exact=exact.predict(texts_of(validation)),
        measure=measure,
        score=lambda outputs: task.score(truths, answers(outputs), exact.space)[measure],
        agreement=agreement,
        divergence=task.divergence,
    )
    return rows, truths


def _longer(description: dict[str, Any]) -> str:
    """A phrase on the treatment of texts that are longer than the model's maximum."""
    if description.get("long_texts") != "windows":
        return "longer ones are cut"
    return f"longer ones are read in windows that share {description['stride']} tokens, and their outputs put together"


def card(
    description: dict[str, Any],
    params: Params,
    training: dict[str, Any],
    pruning: dict[str, Any],
    found: dict[str, Any],
    folder: Path,
) -> str:
    """A short model card, from the facts known when the model is made."""
    cut = f", pruned to {left}" if (left := pruned_to(pruning)) else ""
    width = f" with a width of {params.distill.hidden_size}" if params.distill.hidden_size else ""
    layers = f"its layers\n{', '.join(map(str, params.distill.teacher_layers))}{width}"
    made = f"distilled to {recurrent(params.distill) or layers}{cut}, quantized with `{description['backend']}`"
    unlabelled = f", and on {count} without a label" if (count := training.get("unlabelled_rows")) else ""
    inputs = ", ".join(f"`{name}`" for name in INPUTS[:2])
    inputs += f", and `{INPUTS[2]}` where the model tells types apart" if wants_pairs(description) else ""
    texts = "pairs of texts" if wants_pairs(description) or reads_apart(description) else "texts"
    files = ", ".join(f"`{path.name}`" for path in sorted(folder.iterdir()) if path.name not in DESCRIBED)
    settings: TaskSettings = plugins.part(TASKS, params.task.name, "settings", key="task.name")
    answered = "".join(
        f"- {key.capitalize()}: {', '.join(map(str, of)) if isinstance(of, list) else of}\n"
        for key, of in description["space"].items()
    )
    return f"""# A small {settings.noun}

int8, made with Winnow: {description["pretrained"]}, fine-tuned{ensemble(params)}, {made}.

- Task: {description["task"]}; {texts} of up to {description["max_tokens"]} tokens, {_longer(description)}.
{answered}- Trained on {training["train_rows"]} rows of the source `{params.ingest.source}`{unlabelled}.
- On the validation rows: {found["measure"]} {found["int8"]:.4f}, before quantization {found["float32"]:.4f};
  the same answer as before to {found["agreement"]:.1%} of them. The figures of the test rows are in the project's
  metrics/quality/quantized.json.
- It knows nothing of other answers, languages or kinds of text than those it was trained on, and always answers.

Files: {files} (the model: inputs {inputs}; output `logits`), `tokenizer.json`, `model.json` (what
it can answer, in the order of the logits), `manifest.json` (SHA-256 of each file).
"""


if __name__ == "__main__":
    run_stage(quantize)
