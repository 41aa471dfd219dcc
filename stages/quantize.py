"""Stage `quantize`: the student as int8, in a self-contained folder that opens without torch."""

from __future__ import annotations

import shutil

from stages import plugins
from stages.backends import QUANTIZERS
from stages.entry import run_stage
from stages.files import publish, read_json
from stages.model_folder import describe, seal
from stages.params import Params
from stages.paths import Paths


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
        seal(folder, **{**description, "backend": params.quantize.backend})


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
