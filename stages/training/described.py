"""What model.json says of every model that is made of the pretrained one."""

from __future__ import annotations

from typing import Any

from stages.cleaning.rules import cleaning_by
from stages.core.params.file import Params
from stages.models.pretrained import without_path
from stages.training.rows import TrainingData


def described(params: Params, data: TrainingData, *, backend: str, **more: Any) -> dict[str, Any]:
    """Its backend, task and space, how it reads and cleans texts, whose weights it began with; and `more`."""
    return {
        "backend": backend, "task": params.task.name, "space": data.space, **data.reading,
        "cleaning": cleaning_by(params.clean)._asdict(), "pretrained": without_path(params.model.name), **more,
    }  # fmt: skip
