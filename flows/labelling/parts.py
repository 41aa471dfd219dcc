"""The parts of a task that a person labels by, which a task may lack."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

from stages.core import plugins
from stages.core.plugins import install_extra
from stages.tasks import TASKS

if TYPE_CHECKING:
    from stages.tasks.shared.labelling import TaskDoubts, TaskLabelling

PACKAGE, EXTRA = "cleanlab", "labels"


def labelling_of(task: str) -> TaskLabelling:
    """How rows of the task are labelled. Raises ValueError where they cannot be."""
    found: TaskLabelling = _part(task, "labelling")
    return found


def doubts_of(task: str) -> TaskDoubts:
    """How targets of the task are doubted. Raises ValueError where they cannot be, or a package is not installed."""
    try:
        found: TaskDoubts = _part(task, "doubts")
    except ValueError:
        if importlib.util.find_spec(PACKAGE) is None and _has(task, "doubts"):
            raise ValueError(
                f"label errors are found by the package {PACKAGE}, which is not installed. Install it from Winnow's"
                f" folder: {install_extra(EXTRA)}"
            ) from None
        raise
    return found


def _part(task: str, name: str) -> Any:
    if not _has(task, name):
        able = ", ".join(one for one in TASKS if _has(one, name))
        raise ValueError(
            f"params.yaml: task.name is '{task}', whose rows `winnow label` cannot have labelled. Allowed: {able}."
        )
    return plugins.part(TASKS, task, name, key="task.name")


def _has(task: str, name: str) -> bool:
    plugins.check(TASKS, task, key="task.name")
    return importlib.util.find_spec(f"{TASKS[task]}.{name}") is not None
