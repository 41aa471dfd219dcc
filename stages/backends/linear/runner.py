"""Runs a task's linear baseline, from plain JSON and safetensors (no pickle)."""

from __future__ import annotations

from pathlib import Path

from safetensors.numpy import load_file

from stages.backends.batching import task_of
from stages.core import plugins
from stages.core.contracts import Runner
from stages.core.files import read_json
from stages.core.model_folder import describe
from stages.tasks import TASKS
from stages.tasks.contract import Linear, TaskBaseline


def open_runner(folder: Path, threads: int) -> Runner:  # noqa: ARG001 - runners have one face
    """Open the baseline in `folder`. It runs on one thread, whatever `threads` is."""
    description = describe(folder)
    task = task_of(description)
    part: TaskBaseline = plugins.part(TASKS, task, "baseline", key=f"{folder / 'model.json'}: task")
    model = Linear(read_json(folder / "vocabulary.json"), load_file(folder / "weights.safetensors"), description)
    return Runner(task=task, space=description["space"], predict=part.opened(model))
