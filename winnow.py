"""A model that Winnow made, in Python: `load(folder)(texts)`. The quantized one needs no torch.

from winnow import load

classify = load("artifacts/models/quantized")
classify(["Return the eigenvalues of a symmetric matrix."])  # [Answer(label='scipy', probability=0.41)]

A model of another task answers with a dictionary for each text, as `winnow predict --json` does.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from stages.backends.records import records
from stages.backends.runners import open_runner
from stages.core import plugins
from stages.core.machine import cores
from stages.tasks import TASKS

if TYPE_CHECKING:
    import numpy as np

    from stages.core.contracts import Runner, Text
    from stages.tasks.contract import TaskAnswers

__all__ = ["Answer", "Classifier", "Model", "load"]


class Answer(NamedTuple):
    """What a classifier says of one text, or of one pair."""

    label: str
    probability: float


class Classifier:
    """A classifier, opened."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    @property
    def labels(self) -> tuple[str, ...]:
        """All that it can say, in the order of `probabilities`' columns."""
        return tuple(self._runner.space["labels"])

    def __call__(self, texts: Sequence[Text]) -> list[Answer]:
        """The likeliest label of each text, in their order; to a model of pairs, each is a pair: (text, text_pair).

        Texts of similar length are run together.
        """
        return [Answer(self.labels[row.argmax()], float(row.max())) for row in self.probabilities(texts)]

    def probabilities(self, texts: Sequence[Text]) -> np.ndarray:
        """Of each label for each text: (N, C) float32.

        Raises TypeError for one text in the place of several, ValueError for single texts in the place of pairs, and
        the other way round.
        """
        return self._runner.predict(_several(texts)).values


class Model:
    """A model of any task, opened."""

    def __init__(self, runner: Runner, task: TaskAnswers) -> None:
        self._runner, self._task = runner, task

    def __call__(self, texts: Sequence[Text]) -> list[dict[str, Any]]:
        """What it says of each text, in their order. Raises as `Classifier.probabilities`."""
        given = _several(texts)
        return list(records(self._runner.predict(given), given, self._task, self._runner.space))


def _several(texts: Sequence[Text]) -> list[Text]:
    if isinstance(texts, str):
        raise TypeError("texts is one text. Give a list: [text].")
    return list(texts)


def load(folder: str | Path, *, threads: int | None = None) -> Any:
    """The model in `folder`, after checking every file against its manifest; `threads`: of the CPU, all by default.

    A text classifier is a `Classifier`, any other a `Model`. Raises FileNotFoundError where there is no model, and
    ValueError where a file is not the one that was sealed.
    """
    runner = open_runner(Path(folder), threads=threads or cores())
    if runner.task == "text_classification":
        return Classifier(runner)
    return Model(runner, plugins.part(TASKS, runner.task, "answers", key=f"{folder}/model.json: task"))
