"""Section `task`: what is learned, and the measure that counts; and what goes with no such task."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from stages.core import plugins
from stages.core.lacks import LACKS
from stages.core.params.values import PluginName, Section
from stages.tasks import TASKS

TAUGHT = {"supervised": (None, "one", "several"), "contrastive": ("one", "several"), "zero_shot": ("one",)}
"""The values of finetune.method, and how many classes a target must be for each (`TaskSettings.classes`)."""

if TYPE_CHECKING:
    from stages.core.params.file import Params
    from stages.tasks.contract import TaskMeasures, TaskSettings


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
    yield from _faults_of_method(params, settings)
    yield from _faults_of_prompts(params, settings)
    yield from _faults_of_copies(params, settings)
    yield from _faults_of_limits(params, settings)
    yield from settings.faults(params)


def _faults_of_families(params: Params, settings: TaskSettings) -> Iterator[str]:
    """A line for a family whose models do not write, or read images, as the task's do, or do so where these do not."""
    for key, family in (("model.family", params.model.family), ("distill.family", params.distill.family)):
        allowed = [name for name, lacks in LACKS.items() if _fits(settings, lacks)]
        if family in LACKS and family not in allowed:
            of_texts = "write texts" if settings.writes else "write nothing"
            what = "read images" if settings.images else of_texts
            yield (
                f"params.yaml: {key} is '{family}'. Allowed for task '{params.task.name}', whose models {what}:"
                f" {', '.join(allowed) or 'none'}."
            )


def _faults_of_method(params: Params, settings: TaskSettings) -> Iterator[str]:
    """A line for ways of teaching that the task's targets, or pairs of texts, do not allow, and for idle values."""
    method, pair = params.finetune.method, params.ingest.columns.text_pair
    if method == "supervised":
        return
    allowed = [name for name, counts in TAUGHT.items() if settings.classes in counts]
    if method not in allowed:
        yield (
            f"params.yaml: finetune.method is '{method}'. Allowed for task '{params.task.name}', whose rows have"
            f" {'several labels each' if settings.classes else 'no labels'}: {', '.join(allowed)}."
        )
    elif pair is not None:
        yield (
            f"params.yaml: finetune.method is '{method}', which is for single texts, and ingest.columns.text_pair is"
            f" '{pair}'. Allowed for pairs of texts: supervised."
        )
    if method == "zero_shot" and params.finetune.teachers > 1:
        yield (
            f"params.yaml: finetune.teachers is {params.finetune.teachers}, and finetune.method 'zero_shot', of which"
            " each seed makes the same teacher. Allowed with it: 1."
        )


def _faults_of_prompts(params: Params, settings: TaskSettings) -> Iterator[str]:
    """A line where prompts are to be compared with rows that have no images."""
    if params.evaluate.zero_shot is not None and not settings.images:
        yield (
            f"params.yaml: evaluate.zero_shot is given, and rows of task '{params.task.name}' have no images. Allowed"
            " for it: null."
        )


def _faults_of_copies(params: Params, settings: TaskSettings) -> Iterator[str]:
    """A line where texts to be written are to be copied with tokens hidden."""
    if settings.writes and params.cache_logits.augmented_copies:
        yield (
            f"params.yaml: cache_logits.augmented_copies is {params.cache_logits.augmented_copies}. Allowed for task"
            f" '{params.task.name}', whose models write: 0, as a text with hidden tokens is none to be written."
        )


def _faults_of_limits(params: Params, settings: TaskSettings) -> Iterator[str]:
    """A line for each limit of the measure that lies beyond what the measure can be."""
    limits = {key: getattr(params.promotion, key) for key in ("floor", "margin", "anchor_margin")}
    large = {key: found for key, found in limits.items() if found is not None and found >= 1}
    if not large or params.task.measure not in settings.measures:  # measures are loaded for large ones alone
        return
    measures: TaskMeasures = plugins.part(TASKS, params.task.name, "measures", key="task.name")
    measure = measures.measure(params.task.measure)
    if not math.isfinite(measure.most):
        return
    for key, found in large.items():
        yield (
            f"params.yaml: promotion.{key} is {found:g}, and task.measure '{measure.name}' is at most {measure.most:g}."
            " Allowed for it: more than 0, less than 1."
        )


def _fits(settings: TaskSettings, lacks: frozenset[str]) -> bool:
    """Whether models of a family that lacks this do what the task's models do."""
    if settings.images != ("images" not in lacks):
        return False
    if settings.writes is None or "writing" in lacks:
        return settings.writes is None and "writing" in lacks
    return settings.writes == "target" or "source_apart" in lacks
