"""A model that Winnow made, in Python: `load(folder)(texts)`. The quantized one needs no torch.

from winnow import load

classify = load("artifacts/models/quantized")
classify(["Return the eigenvalues of a symmetric matrix."])  # [Answer(label='scipy', probability=0.41)]
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from stages.backends.runners import open_runner
from stages.core.machine import cores

if TYPE_CHECKING:
    import numpy as np

    from stages.core.contracts import Runner, Text

__all__ = ["Answer", "Classifier", "load"]


class Answer(NamedTuple):
    """What a model says of one text, or of one pair."""

    label: str
    probability: float


class Classifier:
    """A model, opened."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    @property
    def labels(self) -> tuple[str, ...]:
        """All that it can say, in the order of `probabilities`' columns."""
        return self._runner.labels

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
        if isinstance(texts, str):
            raise TypeError("texts is one text. Give a list: [text].")
        return self._runner.predict(list(texts))


def load(folder: str | Path, *, threads: int | None = None) -> Classifier:
    """The model in `folder`, after checking every file against its manifest; `threads`: of the CPU, all by default.

    Raises FileNotFoundError where there is no model, and ValueError where a file is not the one that was sealed.
    """
    return Classifier(open_runner(Path(folder), threads=threads or cores()))
