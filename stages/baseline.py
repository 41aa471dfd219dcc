"""Stage `baseline`: the task's linear model, the honest floor that a transformer must beat."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from stages.cleaning.rules import cleaning_of
from stages.core import plugins
from stages.core.entry import run_stage
from stages.core.files import publish, write_json
from stages.core.model_folder import seal
from stages.core.params.file import Params
from stages.core.paths import Paths
from stages.reading.clean_rows import read_split, texts_of
from stages.tasks import TASKS
from stages.tasks.contract import TaskAnswers, TaskBaseline, TaskEncoding

log = logging.getLogger("winnow")


def baseline(params: Params, paths: Paths) -> None:
    """Fit the baseline to the training rows; write its folder (JSON and safetensors, no pickle).

    How it answers, such as from which probability on, is fitted to the validation rows, as that of every model.
    """
    task: TaskBaseline = plugins.part(TASKS, params.task.name, "baseline", key="task.name")
    encoding: TaskEncoding = plugins.part(TASKS, params.task.name, "encoding", key="task.name")
    answers: TaskAnswers = plugins.part(TASKS, params.task.name, "answers", key="task.name")
    train = read_split(paths.clean, "train")
    texts, targets = texts_of(train, paths.images), train["label"].to_pylist()
    space = encoding.space(targets)
    model = task.fit(texts, targets, space, params.baseline, params.seed)
    weights = {name: as_stored(array) for name, array in model.weights.items()}
    log.info("fitted: %d rows, %d features", len(texts), len(model.features) or sum(map(len, weights.values())))
    if answers.fitted is not None:
        validation = read_split(paths.clean, "validation")
        outputs = task.opened(model._replace(weights=weights))(texts_of(validation, paths.images))
        space = answers.fitted(validation["label"].to_pylist(), outputs, space, params.task.measure)
    masks, language, max_chars = params.clean.masks, params.clean.stop_word_language, params.clean.max_chars
    cleaning = cleaning_of(params.clean.rules, masks, language, max_chars)
    with publish(paths.model("baseline")) as folder:
        folder.mkdir()
        write_json(folder / "vocabulary.json", list(model.features))
        save_file(weights, folder / "weights.safetensors")
        pairs: dict[str, Any] = {} if isinstance(texts[0], str) else {"pairs": True}
        pairs |= {"images": params.ingest.images.model_dump()} if encoding.images and params.ingest.images else {}
        more = {**model.settings, "cleaning": cleaning._asdict(), **pairs}
        seal(folder, backend="linear", task=params.task.name, space=space, **more)


def as_stored(array: np.ndarray) -> np.ndarray:
    """Whole numbers as they are, others as float32."""
    return np.ascontiguousarray(array, dtype=None if np.issubdtype(array.dtype, np.integer) else np.float32)


if __name__ == "__main__":
    run_stage(baseline)
