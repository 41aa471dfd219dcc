"""Section `task`: what is learned, and the measure that counts; and what goes with no such task."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from stages.core import plugins
from stages.core.lacks import LACKS
from stages.core.params.values import PluginName, Section
from stages.tasks import TASKS

if TYPE_CHECKING:
    from stages.core.params.file import Params
    from stages.tasks.contract import TaskSettings


class TaskParams(Section):
    name: PluginName
    measure: PluginName


def faults_of_task(params: Params) -> Iterator[str]:
    """A line for a measure that the task does not have, and for each value that it cannot be done with.

    Raises ValueError where there is no such task.
    """
    settings: TaskSettings = plugins.part(TASKS, params.task.name, "settings", key="task.name")
    try:
        plugins.check(dict.fromkeys(settings.measures), params.task.measure, key="task.measure")
    except ValueError as error:
        yield str(error)
    yield from _faults_of_families(params, settings)
    yield from settings.faults(params)


def _faults_of_families(params: Params, settings: TaskSettings) -> Iterator[str]:
    """A line for a family of models that does not write what the task's models do, or does write where they do not."""
    for key, family in (("model.family", params.model.family), ("distill.family", params.distill.family)):
        allowed = [name for name, lacks in LACKS.items() if _writes(settings, lacks)]
        if family in LACKS and family not in allowed:
            what = "write texts" if settings.writes else "write nothing"
            yield (
                f"params.yaml: {key} is '{family}'. Allowed for task '{params.task.name}', whose models {what}:"
                f" {', '.join(allowed) or 'none'}."
            )


def _writes(settings: TaskSettings, lacks: frozenset[str]) -> bool:
    """Whether models of a family that lacks this do what the task's models do."""
    if settings.writes is None or "writing" in lacks:
        return settings.writes is None and "writing" in lacks
    return settings.writes == "target" or "source_apart" in lacks
