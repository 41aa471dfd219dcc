"""The outcome of a training run: the model's folder, and the reports on its course and its speed."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from stages.core.contracts import Family
from stages.core.files import publish, read_json, write_json
from stages.core.model_folder import describe, seal
from stages.core.paths import Paths
from stages.training.checkpoints import Checkpoints
from stages.training.loop import Trained
from stages.training.processes import rank


def write_outcome(
    paths: Paths,
    name: str,
    trained: Trained,
    *,
    family: Family,
    tokenizer: Path,
    description: dict[str, Any],
    checkpoints: Checkpoints,
) -> None:
    """Write the model `name` and its metrics, in the first process.

    `description` goes to model.json, with the space of the model itself.
    """
    if rank() != 0:
        return
    with publish(paths.model(name)) as folder:
        write_model(trained, folder, family=family, tokenizer=tokenizer, description=description)
    write_json(paths.training(name), trained.report)
    write_json(paths.training_speed(name), trained.speed)
    checkpoints.discard()


def write_model(
    trained: Trained, folder: Path, *, family: Family, tokenizer: Path, description: dict[str, Any]
) -> None:
    """Write a model's folder: its weights and configuration, its tokenizer, model.json, and the manifest."""
    family.write(trained.model, folder)
    shutil.copyfile(tokenizer, folder / "tokenizer.json")
    seal(folder, **{**description, "space": trained.space})


def write_co_teachers(
    folder: Path,
    runs: Mapping[int, tuple[Trained, Checkpoints]],
    *,
    family: Family,
    tokenizer: Path,
    description: dict[str, Any],
) -> None:
    """Write the co-teachers by seed, in the first process; where there are none, an empty report."""
    if rank() != 0:
        return
    with publish(folder) as draft:
        draft.mkdir()
        for seed, (trained, _) in runs.items():
            write_model(trained, draft / str(seed), family=family, tokenizer=tokenizer, description=description)
        write_json(draft / "reports.json", {str(seed): trained.report for seed, (trained, _) in runs.items()})
    for _, checkpoints in runs.values():
        checkpoints.discard()


def as_it_was(model: nn.Module, name: str, paths: Paths) -> Trained:
    """A model that was not trained again, with the reports of the model `name`."""
    speed = paths.training_speed(name)  # no out of DVC's: where it took the model from its cache, there is none
    space = describe(paths.model(name))["space"]
    return Trained(model, read_json(paths.training(name)), read_json(speed) if speed.is_file() else {}, space)
