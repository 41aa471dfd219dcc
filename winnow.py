"""A model that Winnow made, in Python: `load(folder)(texts)`. The quantized one needs no torch.

from winnow import load

classify = load("artifacts/models/quantized")
classify(["Return the eigenvalues of a symmetric matrix."])  # [Answer(label='scipy', probability=0.41)]

A model that writes gives texts: `write(["Return the"])`, or one as it is written: `stream("Return the")`. A model of
another task answers with a dictionary for each text, as `winnow predict --json` does.
"""

from __future__ import annotations

import importlib.util
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, TypeVar

from stages.backends.records import records
from stages.backends.runners import as_writer, generation_with, open_runner
from stages.core import plugins
from stages.core.machine import cores
from stages.core.model_folder import describe
from stages.decoding.settings import adjusted
from stages.tasks import TASKS
from stages.tasks.shared.likelihood import of_rows

if TYPE_CHECKING:
    import numpy as np

    from stages.core.contracts import Generation, Runner, Text
    from stages.tasks.contract import TaskAnswers

Asked = TypeVar("Asked")
"""A text, or a pair."""

__all__ = ["Answer", "Classifier", "Model", "TextWriter", "load"]


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


class TextWriter:
    """A model that writes texts, opened.

    Its settings are those of Generation (stages/core/contracts.py): max_new_tokens, beams, temperature, top_k, top_p,
    repetition_penalty, length_penalty, stop, seed. What is not given is as the model itself says, in `generation`.
    """

    def __init__(self, runner: Runner, task: TaskAnswers, generation: Generation) -> None:
        if runner.write is None or runner.stream is None:
            raise TypeError("the model writes nothing")
        self._runner, self._task = runner, task
        self._write, self._stream = runner.write, runner.stream
        self.generation = generation

    def write(self, texts: Sequence[str], **settings: Any) -> list[str]:
        """What follows each text, or is written for it, in their order; it does not hang on the others.

        With a temperature it is drawn, by the seed and the text alone. Raises TypeError for one text in the place of
        several; ValueError for settings that there are not, and for a text that is empty or leaves no room.
        """
        return self._write(_several(texts), adjusted(self.generation, settings))

    def stream(self, text: str, **settings: Any) -> Iterator[str]:
        """The same of one text, in pieces of whole characters as they come; with beams in one. Raises as `write`."""
        return self._stream(text, adjusted(self.generation, settings))

    def __call__(self, texts: Sequence[str], **settings: Any) -> list[dict[str, Any]]:
        """The same as `write`, as records of `winnow predict --json`."""
        given = _several(texts)
        runner = as_writer(self._runner, adjusted(self.generation, settings))
        return list(records(runner.predict(given), given, self._task, runner.space))

    def nats(self, texts: Sequence[Text]) -> list[float]:
        """How unlikely each text is, -log(p); of a model that writes for a source, each is a pair: (source, target).

        Of a text longer than the model reads it is that of the part that is read. Raises ValueError for a source alone.
        """
        given = _several(texts)
        found = self._runner.predict(given)
        if given and found.written is not None:
            raise ValueError("a source alone has no target whose probability there were. Give pairs: (source, target).")
        return (-of_rows(found)).tolist()


def _several(texts: Sequence[Asked]) -> list[Asked]:
    if isinstance(texts, str):
        raise TypeError("texts is one text. Give a list: [text].")
    return list(texts)


def load(folder: str | Path, *, threads: int | None = None) -> Any:
    """The model in `folder`, after checking every file against its manifest; `threads`: of the CPU, all by default.

    A text classifier is a `Classifier`, a model that writes a `TextWriter`, any other a `Model`. Raises
    FileNotFoundError where there is no model, and ValueError where a file is not the one that was sealed.
    """
    folder = Path(folder)
    runner, answers = opened(folder, threads=threads or cores())
    if runner.task == "text_classification":
        return Classifier(runner)
    return Model(runner, answers) if runner.write is None else TextWriter(runner, answers, generation_with(folder, {}))


def opened(folder: Path, *, threads: int) -> tuple[Runner, TaskAnswers]:
    """The model in `folder`, and how its task answers: what `load`, `winnow predict` and `winnow app` stand on.

    Raises as `load`; ValueError also for a model that the light install, where this is one, does not open.
    """
    try:
        with _without_scipy():
            runner = open_runner(folder, threads=threads)
            return runner, plugins.part(TASKS, runner.task, "answers", key=f"{folder}/model.json: task")
    except ModuleNotFoundError as error:
        if not str(error.name).startswith("stages."):
            raise
        raise ValueError(
            f"{folder}: its backend is '{describe(folder)['backend']}', which the light install does not open (it has"
            f" no {error.name}). Take the folder `quantized`, or install the whole of Winnow: docs/deployment.md."
        ) from None


_SPARSE = ("csr_array", "hstack", "issparse")  # what modules that answers import take of scipy.sparse
_standing_in = threading.Lock()


@contextmanager
def _without_scipy() -> Iterator[None]:
    """Inside, modules that take SciPy's sparse arrays can be imported where it is not installed: in the light install.

    A task's answers import its scores, which count in sparse arrays; no answer calls what does. Behind it, SciPy is
    again not to be had.
    """
    with _standing_in:
        if importlib.util.find_spec("scipy") is not None:
            yield
            return
        sparse = ModuleType("scipy.sparse")
        vars(sparse).update(dict.fromkeys(_SPARSE, _measures))
        stand_ins = {"scipy": ModuleType("scipy"), sparse.__name__: sparse}
        sys.modules.update(stand_ins)
        try:
            yield
        finally:
            for name in stand_ins:
                del sys.modules[name]


def _measures(*_: object, **__: object) -> NoReturn:
    raise ModuleNotFoundError("measuring needs SciPy, which is not installed: pip install scipy", name="scipy")
