"""Section `task`: what is learned, and the measure that counts; and what goes with no such task."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from stages.core import plugins
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
    yield from settings.faults(params)
