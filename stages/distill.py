"""Stage `distill`: a student with fewer layers learns from the teacher's cached logits, and from the labels."""

from __future__ import annotations

import shutil

import numpy as np
import torch
from safetensors.torch import load_file

from stages import plugins
from stages.contracts import Family, Task
from stages.entry import run_stage
from stages.files import publish, write_json
from stages.model_folder import describe, seal
from stages.models import FAMILIES
from stages.params import Params
from stages.paths import Paths
from stages.tasks import TASKS
from stages.training.loop import train
from stages.training.losses import kd_loss
from stages.training.rows import open_training_data


def distill(params: Params, paths: Paths) -> None:
    """Train the student; write its folder, its curves and metrics/training/student.json.

    Raises ValueError where distill.teacher_layers names a layer that the teacher does not have.
    """
    task: Task = plugins.load(TASKS, params.task, key="task")
    family: Family = plugins.load(FAMILIES, params.model.family, key="model.family")
    data = open_training_data(paths)
    teacher_NC = load_file(paths.logits)["logits"]
    if len(teacher_NC) != len(data.train):
        raise ValueError(f"{paths.logits}: {len(teacher_NC)} rows for {len(data.train)} training rows.")
    hard = params.distill.hard_label_weight

    def loss(logits_BC: torch.Tensor, labels_B: torch.Tensor, rows_B: np.ndarray) -> torch.Tensor:
        targets_BC = teacher_NC[torch.from_numpy(rows_B)].to(logits_BC.device)
        soft = kd_loss(logits_BC, targets_BC, temperature=params.distill.temperature)
        return (1 - hard) * soft + hard * task.loss(logits_BC, labels_B)

    torch.manual_seed(params.seed)
    student = family.student(family.open(paths.model("teacher")), params.distill.teacher_layers)
    student, report = train(
        student, data, family=family, task=task, loss=loss, params=params.distill, seed=params.seed,
        curves=paths.curves("student"),
    )  # fmt: skip
    description = describe(paths.model("teacher"))
    with publish(paths.model("student")) as folder:
        family.write(student, folder)
        shutil.copyfile(paths.model("teacher") / "tokenizer.json", folder / "tokenizer.json")
        seal(folder, **description)
    write_json(paths.training("student"), report)


if __name__ == "__main__":
    run_stage(distill)
