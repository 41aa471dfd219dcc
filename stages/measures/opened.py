"""A model that can be asked, with its task: what the measures take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from stages.backends.runners import open_runner
from stages.core import plugins
from stages.core.contracts import Outputs, Runner, Text
from stages.core.machine import cores
from stages.tasks import TASKS
from stages.tasks.contract import Judged, TaskAnswers, TaskMeasures

if TYPE_CHECKING:
    import numpy as np


class Asked(NamedTuple):
    """A model's answers to N texts."""

    outputs: Outputs
    answers: Sequence[str]


class Opened(NamedTuple):
    """A model, opened, with the parts of its task that judge it."""

    runner: Runner
    of_answers: TaskAnswers
    of_measures: TaskMeasures

    def ask(self, texts: Sequence[Text]) -> Asked:
        """Its answers, in the order of the texts."""
        outputs = self.runner.predict(texts)
        return Asked(outputs, self.of_answers.answers(outputs, self.runner.space))

    def confidence(self, outputs: Outputs, answers: Sequence[str]) -> np.ndarray | None:
        """How sure it is of each answer, (N,); None where the task knows no such thing."""
        known = self.of_answers.confidence
        return None if known is None else known(outputs, answers, self.runner.space)

    def judge(
        self,
        texts: Sequence[Text],
        truths: Sequence[str],
        *,
        units: Sequence[str],
        seed: int,
        columns: Mapping[str, Sequence[str | None]],
    ) -> Judged:
        """Its answers to rows whose truth is known. Raises ValueError for a truth that it does not know."""
        outputs, answers = self.ask(texts)
        return Judged(
            texts=texts, truths=truths, answers=answers, outputs=outputs,
            confidence_N=self.confidence(outputs, answers),
            losses_N=self.of_answers.losses(truths, outputs, self.runner.space),
            scores_N=self.of_measures.scores(truths, answers),
            units=units, space=self.runner.space, seed=seed, columns=columns,
        )  # fmt: skip


def opened(folder: Path) -> Opened:
    """The model in `folder`, on all cores, with its task's parts."""
    runner = open_runner(folder, threads=cores())
    parts = (plugins.part(TASKS, runner.task, part, key=f"{folder}: task") for part in ("answers", "measures"))
    return Opened(runner, *parts)
