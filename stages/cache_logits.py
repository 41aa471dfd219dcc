"""Stage `cache_logits`: run the teacher once over the training rows; every distillation reuses its answers.

It keeps logits always, of several teachers their mean; and inner vectors of the first where params.yaml asks for them.
Of a teacher that writes it keeps the likeliest tokens at each place, and where asked for what it writes itself.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer
from torch import nn

from stages.backends.pytorch.stepping import stepper_of
from stages.compression.augmentation import hidden_copies
from stages.core import plugins
from stages.core.contracts import Family, Generation, Writing
from stages.core.entry import run_stage
from stages.core.files import publish, read_json, write_json
from stages.core.model_folder import describe, plugin_of
from stages.core.params.file import Params
from stages.core.paths import Paths
from stages.decoding.stepper import Prompt, TokenModel
from stages.decoding.writing import write
from stages.models import FAMILIES
from stages.tasks import TASKS
from stages.tasks.contract import TaskLearning
from stages.training.answering import Kept, Teachers, likeliest_of, logits_of
from stages.training.processes import own_device
from stages.training.rows import TrainingData, open_training_data
from stages.training.sequences import as_columns, asked_of
from stages.training.vectors import vector_names


def cache_logits(params: Params, paths: Paths) -> None:
    """Write the teacher's logits float32, its vectors, and their sizes; logits are (N, K), or of tokens (tokens, K).

    Of rows whose two texts are read apart they are (N, 2, K). The rows are the training rows, then the transfer rows,
    then the copies of both. With several teachers the logits are the mean of theirs, and the vectors are the first's.

    The vectors pass through unnamed files beside `paths.logits`: they need their room on the disk twice, not in memory.

    Of a task that writes there are, in the place of logits, the teacher's `cache_logits.likeliest` likeliest tokens at
    each place with a target (Likeliest); with several teachers by the mean of their logits.

    Raises ValueError where cache_logits.layers names a layer that the teacher does not have, and where its logits are
    not those that its task wants.
    """
    task: TaskLearning = plugins.part(TASKS, params.task.name, "learning", key="task.name")
    family: Family = plugin_of(paths.model("teacher"), "family", FAMILIES)
    teacher = family.open(paths.model("teacher")).to(own_device())
    data = open_training_data(paths, transfer=True)
    teachers = Teachers(
        teacher, lambda: family.taps(teacher),
        [partial(opened, family, folder) for folder in co_teachers(paths.co_teachers)],
        task, read_json(paths.training("teacher"))["precision"],
    )  # fmt: skip
    own = params.cache_logits
    kept = Kept(vector_names(own.vectors, own.layers), paths.logits.parent, data.pad_id)
    if data.writing is not None:
        more = written(teacher, data, params, paths)
        rows = data.train.and_written(**more) if more else data.train
        answers, figures = likeliest_of(teachers, rows, data.validation, kept, count=own.likeliest)
    else:
        more = hidden_copies(data.train, own, paths.tokenizer / "tokenizer.json", params.seed)
        rows = data.train.and_unlabelled(more["input_ids"], more["lengths"]) if more else data.train
        answers, figures = logits_of(teachers, rows, data.validation, kept)
        kind, wanted, _ = task.head(describe(paths.model("teacher"))["space"])
        if kind != "vector" and (found := answers["logits"].shape[1]) != wanted:
            raise ValueError(
                f"{paths.model('teacher')}: the model has {found} outputs, and by its model.json {wanted}."
                " Make it again: `dvc repro --force finetune`."
            )
    with publish(paths.logits) as draft:
        save_file(answers | more, draft)
    sizes = {f"{name}_mb": round(array.nbytes / 1e6, 3) for name, array in (answers | more).items()}
    write_json(paths.cache_report, {"rows": len(rows)} | figures | sizes)


def opened(family: Family, folder: Path) -> nn.Module:
    """The model in that folder, where it runs."""
    return family.open(folder).to(own_device())


def co_teachers(folder: Path) -> list[Path]:
    """The folders of the co-teachers, in the order of their seeds."""
    models = (model for model in folder.glob("*") if model.is_dir() and model.name.isdigit())
    return sorted(models, key=lambda model: int(model.name))


def written(teacher: Any, data: TrainingData, params: Params, paths: Paths) -> dict[str, np.ndarray]:
    """Rows with what the teacher, the first of several, writes for each source; or none.

    Each is the likeliest that a search with `cache_logits.sequence_beams` finds, of no more tokens than a target may
    have. Raises ValueError where targets have no source.
    """
    assert data.writing is not None
    writing, own = Writing.of(data.writing), params.cache_logits
    if not own.sequence_beams:
        return {}
    if writing.source is None:
        raise ValueError(
            f"params.yaml: cache_logits.sequence_beams is {own.sequence_beams}. Allowed for task '{params.task.name}',"
            " which has no sources to write for: 0."
        )
    tokenizer = Tokenizer.from_file(str(paths.tokenizer / "tokenizer.json"))
    model = TokenModel(
        open=lambda: stepper_of(teacher.eval().language),
        decode=lambda ids: tokenizer.decode(list(ids), skip_special_tokens=True),
        end=writing.end,
    )
    asked = asked_of(data.train)
    how = Generation(writing.max_target_tokens, beams=own.sequence_beams)
    found = write(model, [Prompt(one.ids, one.source) for one in asked], how)
    return as_columns(asked, [one.ids for one in found])


if __name__ == "__main__":
    run_stage(cache_logits)
