"""What model.json says of every model that is made of the pretrained one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stages.training.rows import TrainingData


def described(
    data: TrainingData, *, backend: str, task: str, cleaning: Mapping[str, Any], pretrained: str, **more: Any
) -> dict[str, Any]:
    """Its backend, task and space, how it reads and cleans texts, whose weights it began with; and `more`."""
    return {
        "backend": backend, "task": task, "space": data.space, **data.reading,
        "cleaning": cleaning, "pretrained": pretrained, **more,
    }  # fmt: skip
