"""The project's task at any revision, and its measures in the order in which they are shown."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stages.core import plugins
from stages.core.paths import Paths
from stages.core.yaml_text import parse
from stages.tasks import FORMERLY, TASKS
from stages.tasks.contract import Measure, TaskMeasures


def task_measures(name: str) -> TaskMeasures:
    """The measures of the task of that name. Raises ValueError where there is none."""
    return plugins.part(TASKS, name, "measures", key="task.name")


def task_of(params: Mapping[str, Any]) -> str:
    """The name of the task in a params.yaml of any version: `task: NAME` in earlier ones, or none at all."""
    found = params.get("task")
    name = found.get("name") if isinstance(found, Mapping) else found
    return name if isinstance(name, str) and name in TASKS else FORMERLY[""]


def judged_first(task: TaskMeasures, name: str | None) -> tuple[Measure, ...]:
    """The task's measures, first that of the name, where there is one."""
    return tuple(sorted(task.measures, key=lambda one: one.name != name))


def params_of(root: Path) -> Mapping[str, Any]:
    """params.yaml of the project at `root` as it stands; empty where it cannot be read, as with a merge conflict."""
    path, params = Paths(root).params, None
    with contextlib.suppress(ValueError, OSError):
        params = parse(path.read_text(encoding="utf-8"), path.name)
    return params if isinstance(params, dict) else {}


def project_task(root: Path) -> tuple[TaskMeasures, str | None]:
    """The measures of the project at `root`, and the name of the one that is judged.

    Where its params.yaml cannot be read, the first task's, and None.
    """
    known = params_of(root)
    section = known.get("task")
    return task_measures(task_of(known)), section.get("measure") if isinstance(section, dict) else None
