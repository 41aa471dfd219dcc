"""Stage `finetune`: the teacher, a pretrained model trained on the labels, on DeepSpeed."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch

from stages import plugins
from stages.contracts import Family, Task
from stages.entry import run_stage
from stages.files import publish, read_json, write_json
from stages.model_folder import seal
from stages.models import FAMILIES
from stages.params import Params
from stages.paths import Paths
from stages.pretrained import locate
from stages.tasks import TASKS
from stages.training.loop import train
from stages.training.rows import open_training_data


def finetune(params: Params, paths: Paths) -> None:
    """Train the teacher; write its folder, its curves and metrics/training/teacher.json.

    Raises ValueError for an unknown family or task, or where training goes wrong.
    """
    task: Task = plugins.load(TASKS, params.task, key="task")
    family: Family = plugins.load(FAMILIES, params.model.family, key="model.family")
    if params.model.family not in task.families:
        raise ValueError(
            f"params.yaml: model.family is '{params.model.family}'. Allowed for task '{params.task}':"
            f" {', '.join(sorted(task.families))}."
        )
    labels = read_json(paths.tokens / "labels.json")["labels"]
    data = open_training_data(paths)
    torch.manual_seed(params.seed)
    model = family.build(locate(params.model), params.model, len(labels))
    teacher, report = train(
        model, data, family=family, task=task, params=params.finetune, seed=params.seed, curves=paths.curves("teacher"),
        loss=lambda logits, labels, _: task.loss(logits, labels),
    )  # fmt: skip
    with publish(paths.model("teacher")) as folder:
        family.write(teacher, folder)
        shutil.copyfile(paths.tokenizer / "tokenizer.json", folder / "tokenizer.json")
        seal(
            folder, backend="pytorch", task=params.task, labels=labels, family=params.model.family,
            max_tokens=data.max_tokens, pad_id=data.pad_id, pretrained=without_path(params.model.name),
        )  # fmt: skip
    write_json(paths.training("teacher"), report)


def without_path(name: str) -> str:
    """The name of a model; of a local folder only its own, as paths are nobody else's business."""
    return Path(name).name if Path(name).expanduser().is_dir() else name


if __name__ == "__main__":
    run_stage(finetune)
