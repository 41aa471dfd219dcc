"""Stage `distill`: train a smaller student on the teacher's cached answers, and on the rows' targets."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from stages.compression.refusals import faults_of_student
from stages.compression.width import narrowed
from stages.core import plugins
from stages.core.contracts import Family
from stages.core.entry import run_stage
from stages.core.model_folder import describe, plugin_of
from stages.core.params.distill import DistillParams
from stages.core.params.file import Params
from stages.core.paths import Paths
from stages.models import FAMILIES
from stages.tasks import TASKS
from stages.tasks.contract import TaskLearning
from stages.training.batches import first_batches
from stages.training.checkpoints import open_checkpoints
from stages.training.distillation import distillation_loss, read_answers, relation_heads
from stages.training.engine import resolve_precision
from stages.training.launch import launch
from stages.training.loop import Learner, Places, train
from stages.training.outcome import write_outcome
from stages.training.rows import TrainingData, open_training_data


def distill(params: Params, paths: Paths) -> None:
    """Train the student; write its folder, its curves and metrics/training/student.json.

    Raises ValueError for an unknown family or task, where distill.teacher_layers names a layer
    that the teacher does not have, distill.hidden_size is no width for the model, or distill.losses wants vectors that
    cache_logits did not keep.
    """
    task: TaskLearning = plugins.part(TASKS, params.task.name, "learning", key="task.name")
    family: Family = plugins.load(FAMILIES, params.distill.family, key="distill.family")
    if faults := list(faults_of_student(params)):  # of later stages too, before the time to train is spent
        raise ValueError("\n".join(faults))
    folder = paths.model("teacher")
    taught_by: Family = plugin_of(folder, "family", FAMILIES)
    data = open_training_data(paths, transfer=True)
    answers = read_answers(paths.logits, data.train)
    data = replace(data, train=answers.rows)
    checkpoints = open_checkpoints(
        paths.checkpoints("student"),
        [
            *(params.seed, params.task.name, params.task.measure, params.model.model_dump(mode="json")),
            *(params.distill.model_dump(mode="json"), resolve_precision(params.distill.precision)),
        ],
        [paths.tokens, folder, paths.logits],
    )
    torch.manual_seed(params.seed)
    teacher = taught_by.open(folder)
    student = untrained(teacher, params.distill, family, taught_by, data, task)
    with distillation_loss(
        params.distill.losses.model_dump(), temperature=params.distill.temperature, task=task, answers=answers,
        taps=lambda: family.taps(student), teacher_layers=params.distill.teacher_layers,
        heads=lambda: relation_heads(taught_by.units(teacher)["heads"][0], family.units(student)["heads"][0]),
    ) as loss:  # fmt: skip
        trained = train(
            student, data, Learner(family, task, loss, params.task.measure),
            Places(paths.curves("student"), paths.step_log("student"), checkpoints),
            params=params.distill, seed=params.seed,
        )  # fmt: skip
    write_outcome(
        paths, "student", trained, family=family, tokenizer=folder / "tokenizer.json",
        description={**describe(folder), "family": params.distill.family}, checkpoints=checkpoints,
    )  # fmt: skip


def untrained(
    teacher: nn.Module, params: DistillParams, family: Family, taught_by: Family, data: TrainingData, task: TaskLearning
) -> nn.Module:
    """The student before it is trained: layers of the teacher's, or a model of another family.

    Raises ValueError where that family has none but for teachers of its own, and as `distill` does.
    """
    if family is not taught_by:
        if family.begin is None:
            raise ValueError(
                f"params.yaml: distill.family is '{params.family}', and the teacher is of another (model.family)."
                f" Allowed: the teacher's. A student of '{params.family}' is made of its layers."
            )
        return family.begin(taught_by.parts(teacher), params, task.head(data.space))
    return narrowed(
        family.student(teacher, params.teacher_layers),
        family,
        params.hidden_size,
        lambda: first_batches(data.validation, count=params.width_rows, pad_id=data.pad_id),
    )


if __name__ == "__main__":
    run_stage(distill, launch=launch)
