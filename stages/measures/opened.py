"""A model that can be asked, with its task: what the measures take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from stages.backends.runners import open_runner
from stages.core import plugins
from stages.core.contracts import Generation, Outputs, Runner, Text, as_one
from stages.core.machine import cores
from stages.core.model_folder import describe, generation_of
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
    generation: Generation | None = None
    """How it writes, where it does."""
    max_tokens: int | None = None
    """How many tokens it reads at once, and reads and writes where it writes on; None: it counts none."""

    def ask(self, texts: Sequence[Text]) -> Asked:
        """Its answers, in the order of the texts."""
        outputs = self.runner.predict(texts)
        return Asked(outputs, self.of_answers.answers(outputs, self.runner.space))

    def differ(self, *answers: str) -> bool:
        """Whether answers to texts that mean the same are not all the same one."""
        known = self.of_measures
        if known.differ is None:
            return len({known.gist(answer) for answer in answers}) > 1
        return any(known.differ(one, other, self.runner.space) for one, other in combinations(answers, 2))

    def tell(self, sources: Sequence[Text], truths: Sequence[str]) -> Outputs:
        """What it says of the targets' own tokens, of a task with a `likelihood`."""
        return self.runner.predict([(as_one(source), truth) for source, truth in zip(sources, truths, strict=True)])

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
        told = None if self.of_answers.likelihood is None else self.tell(texts, truths)
        return Judged(
            texts=texts, truths=truths, answers=answers, outputs=outputs,
            confidence_N=self.confidence(outputs, answers),
            losses_N=self.of_answers.losses(truths, outputs if told is None else told, self.runner.space),
            scores_N=self.of_measures.scores(truths, answers),
            units=units, space=self.runner.space, seed=seed, columns=columns, told=told,
        )  # fmt: skip


def opened(folder: Path, how: Generation | None = None) -> Opened:
    """The model in `folder`, on all cores, with its task's parts.

    `how` it writes, where it does; None: as `generation_of` its folder.
    """
    runner = open_runner(folder, threads=cores(), how=how)
    parts = (plugins.part(TASKS, runner.task, part, key=f"{folder}: task") for part in ("answers", "measures"))
    of_answers, of_measures = parts
    description = describe(folder)
    written = None if runner.write is None else how or generation_of(description)
    return Opened(runner, of_answers, of_measures, written, description.get("max_tokens"))
