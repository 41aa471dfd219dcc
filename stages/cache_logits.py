"""Stage `cache_logits`: run the teacher once over the training rows, so that every distillation reuses its answers."""

from __future__ import annotations

import torch
from safetensors.numpy import save_file

from stages import plugins
from stages.contracts import Family, Task
from stages.entry import run_stage
from stages.files import publish, read_json
from stages.model_folder import describe
from stages.models import FAMILIES
from stages.params import Params
from stages.paths import Paths
from stages.tasks import TASKS
from stages.training.inference import predict_logits
from stages.training.rows import open_training_data


def cache_logits(params: Params, paths: Paths) -> None:
    """Write the teacher's logits (N, C) float32, in the order of the training rows."""
    task: Task = plugins.load(TASKS, params.task, key="task")
    family: Family = plugins.load(FAMILIES, params.model.family, key="model.family")
    teacher = family.open(paths.model("teacher")).to("cuda" if torch.cuda.is_available() else "cpu")
    data = open_training_data(paths)
    precision = read_json(paths.training("teacher"))["precision"]
    logits = predict_logits(
        teacher, data.train, task.collate, pad_id=data.pad_id, precision=precision, title="teacher's logits"
    )
    if logits.shape[1] != len(describe(paths.model("teacher"))["labels"]):
        raise ValueError(
            f"{paths.model('teacher')}: the model has {logits.shape[1]} outputs, which are not its labels."
        )
    with publish(paths.logits) as draft:
        save_file({"logits": logits}, draft)


if __name__ == "__main__":
    run_stage(cache_logits)
