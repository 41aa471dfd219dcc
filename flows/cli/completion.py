"""Completion of what shells cannot know: the names of stages, models and tasks.

A shell asks while somebody types, so nothing here raises: outside a project there is nothing to propose.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from pathlib import Path

import click


def _stages() -> Iterable[str]:
    """By their names in dvc.yaml: each stands for all that it is made into ("evaluate" for "evaluate@teacher")."""
    from flows.dvc.locked import definitions
    from flows.running.root import find_root

    return definitions(find_root(Path.cwd()))


def _models() -> Iterable[str]:
    from stages.core.paths import MODELS

    return MODELS


def _tasks() -> Iterable[str]:
    from stages.tasks import TASKS

    return TASKS


Completed = Callable[[click.Context, click.Parameter, str], list[str]]


def _of(names: Callable[[], Iterable[str]]) -> Completed:
    def complete(_context: click.Context, _parameter: click.Parameter, typed: str) -> list[str]:
        with contextlib.suppress(Exception):
            return [name for name in names() if name.startswith(typed)]
        return []

    return complete


stages, models, tasks = _of(_stages), _of(_models), _of(_tasks)
