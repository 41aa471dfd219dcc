"""The classes that a person may give: those of the training rows."""

from __future__ import annotations

from pathlib import Path

from stages.core import plugins
from stages.reading.clean_rows import read_split
from stages.tasks import TASKS
from stages.tasks.contract import TaskData
from stages.tasks.shared.labelling import TaskLabelling


def classes(clean: Path, task: str, labelling: TaskLabelling) -> list[str] | None:
    """Them, sorted; None where a target is a number. Raises ValueError where there are no training rows."""
    if labelling.chosen == "number":
        return None
    data: TaskData = plugins.part(TASKS, task, "data", key="task.name")
    targets = set(read_split(clean, "train")["label"].to_pylist())
    return sorted({kind for target in targets for kind in data.kinds(target)})
