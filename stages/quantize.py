"""Stage `quantize`: the student as int8, in a self-contained folder that opens without torch."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from stages import plugins
from stages.backends import QUANTIZERS
from stages.entry import run_stage
from stages.files import publish, read_json
from stages.machine import cores
from stages.measures.calibration import fit_temperature
from stages.model_folder import describe, open_runner, seal
from stages.params import Params
from stages.paths import Paths
from stages.rows import read_split


def quantize(params: Params, paths: Paths) -> None:
    """Write the quantized folder: model, tokenizer, model.json with the labels, a short card, the manifest."""
    quantizer = plugins.load(QUANTIZERS, params.quantize.backend, key="quantize.backend")
    student = paths.model("student")
    description = describe(student)
    with publish(paths.model("quantized")) as folder:
        folder.mkdir()
        quantizer(student, folder, params.quantize)
        shutil.copyfile(student / "tokenizer.json", folder / "tokenizer.json")
        (folder / "README.md").write_text(
            card(description, params, read_json(paths.training("student"))), encoding="utf-8"
        )
        sealed = {**description, "backend": params.quantize.backend, "temperature": 1.0}
        seal(folder, **sealed)
        if params.quantize.temperature_scaling:
            seal(folder, **{**sealed, "temperature": temperature(folder, paths)})


def temperature(folder: Path, paths: Paths) -> float:
    """The temperature that makes the probabilities of the model in `folder` fit the validation rows."""
    rows = read_split(paths.clean, "validation")
    runner = open_runner(folder, threads=cores())
    truth = np.array([runner.labels.index(label) for label in rows["label"].to_pylist()])
    return fit_temperature(truth, runner.predict(rows["text"].to_pylist()))


def card(description: dict, params: Params, training: dict) -> str:
    """A short model card, made of what is known when the model is made."""
    score = f"best_validation_{params.distill.select_by}"
    return f"""# A {len(description["labels"])}-label text classifier

int8, made with Winnow: {description["pretrained"]}, fine-tuned, distilled to its layers
{", ".join(map(str, params.distill.teacher_layers))}, quantized with `{params.quantize.backend}`.

- Task: {description["task"]}; texts of up to {description["max_tokens"]} tokens, longer ones are cut.
- Labels: {", ".join(description["labels"])}
- Trained on {training["train_rows"]} rows of the source `{params.ingest.source}`.
- Before quantization: {score.replace("_", " ")} {training[score]:.4f}. The quantized model's own figures are in
  the project's metrics/quality/quantized.json.
- It knows nothing of other labels, languages or kinds of text than those it was trained on, and always answers.

Files: `model.onnx` (inputs `input_ids`, `attention_mask`; output `logits`), `tokenizer.json`, `model.json` (labels
in the order of the logits), `manifest.json` (SHA-256 of each file).
"""


if __name__ == "__main__":
    run_stage(quantize)
