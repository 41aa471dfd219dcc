"""A model that Winnow made, in Python: `load(folder)(texts)`. The quantized one needs no torch.

from winnow import load

classify = load("artifacts/models/quantized")
classify(["Return the eigenvalues of a symmetric matrix."])  # [Answer(label='scipy', probability=0.41)]

A model that writes gives texts: `write(["Return the"])`, or one as it is written: `stream("Return the")`. One of images
and texts compares them: `similarity(["a.png"], ["a red fox"])`. A model of another task answers with a dictionary for
each text, as `winnow predict --json` does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

from stages.backends.records import records
from stages.backends.runners import as_writer, generation_with, image_at, open_runner, reading_files
from stages.core import plugins
from stages.core.machine import cores
from stages.core.model_folder import describe, reads_images
from stages.decoding.settings import adjusted
from stages.tasks import TASKS
from stages.tasks.shared.likelihood import of_rows

if TYPE_CHECKING:
    from stages.core.contracts import Generation, Runner, Text
    from stages.tasks.contract import TaskAnswers

Asked = TypeVar("Asked")
"""A text, or a pair."""

__all__ = ["Answer", "Classifier", "Matcher", "Model", "TextWriter", "load"]


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


class Matcher(Model):
    """A model of images and texts, opened. An image is a path of a file, which is read as those of training were."""

    def __init__(self, runner: Runner, task: TaskAnswers, folder: Path) -> None:
        super().__init__(reading_files(runner, folder), task)
        self._of_texts = runner
        self._description = describe(folder)

    def images(self, paths: Sequence[str | Path]) -> np.ndarray:
        """(N, K) float32: the vector of each image, of length 1. Raises ValueError for one that cannot be read."""
        return _directions(self._of_images(paths))

    def texts(self, texts: Sequence[str]) -> np.ndarray:
        """(N, K) float32: the vector of each text, of length 1."""
        return _directions(self._of_texts.predict(_several(texts)).values)

    def similarity(self, images: Sequence[str | Path], texts: Sequence[str]) -> np.ndarray:
        """(N, M) float32: the cosine of each of N images with each of M texts."""
        return self.images(images) @ self.texts(texts).T

    def zero_shot(
        self, images: Sequence[str | Path], labels: Sequence[str], templates: Sequence[str] = ("{}",)
    ) -> np.ndarray:
        """(N, L) float32: how likely each of L labels is for each image, among these labels.

        A label's vector is the mean over the templates, such as "a drawing of a {}", with the label put in. Source:
        Radford et al. 2021, arXiv:2103.00020, section 3.1.4. Raises ValueError for a template without {}.
        """
        if without := [template for template in templates if "{}" not in template]:
            raise ValueError(
                f"the template {without[0]!r} has no {{}} for the label. Write one: 'a drawing of a {{}}'."
            )
        asked = [template.replace("{}", label) for label in _several(labels) for template in templates]
        of_labels = self.texts(asked).reshape(len(labels), len(templates), -1).mean(1)
        found = self._of_images(images)
        scale = np.square(np.linalg.norm(found, axis=1, keepdims=True))  # of cosines, as it was learned
        logits = scale * (_directions(found) @ _directions(of_labels).T)
        likely = np.exp(logits - logits.max(1, keepdims=True))
        return likely / likely.sum(1, keepdims=True)

    def _of_images(self, paths: Sequence[str | Path]) -> np.ndarray:
        return self._runner.predict([image_at(path, self._description) for path in _several(paths)]).values


def _directions(vectors_NK: np.ndarray) -> np.ndarray:
    return vectors_NK / np.linalg.norm(vectors_NK, axis=1, keepdims=True)


def _several(texts: Sequence[Asked]) -> list[Asked]:
    if isinstance(texts, str):
        raise TypeError("texts is one text. Give a list: [text].")
    return list(texts)


def load(folder: str | Path, *, threads: int | None = None) -> Any:
    """The model in `folder`, after checking every file against its manifest; `threads`: of the CPU, all by default.

    A text classifier is a `Classifier`, a model that writes a `TextWriter`, one of images and texts a `Matcher`, any
    other a `Model`. Raises FileNotFoundError where there is no model, and ValueError where a file is not the one that
    was sealed.
    """
    folder = Path(folder)
    runner, answers = opened(folder, threads=threads or cores())
    if runner.task == "text_classification":
        return Classifier(runner)
    if reads_images(describe(folder)):
        return Matcher(runner, answers, folder)
    return Model(runner, answers) if runner.write is None else TextWriter(runner, answers, generation_with(folder, {}))


def opened(folder: Path, *, threads: int) -> tuple[Runner, TaskAnswers]:
    """The model in `folder`, and how its task answers: what `load`, `winnow predict` and `winnow app` stand on.

    Raises as `load`; ValueError also for a model that the light install, where this is one, does not open.
    """
    try:
        runner = open_runner(folder, threads=threads)
        return runner, plugins.part(TASKS, runner.task, "answers", key=f"{folder}/model.json: task")
    except ModuleNotFoundError as error:
        if not str(error.name).startswith("stages."):
            raise
        raise ValueError(
            f"{folder}: its backend is '{describe(folder)['backend']}', which the light install does not open (it has"
            f" no {error.name}). Take the folder `quantized`, or install the whole of Winnow: docs/deployment.md."
        ) from None
