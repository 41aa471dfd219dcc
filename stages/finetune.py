"""Stage `finetune`: the teacher, a pretrained model trained on the rows' targets, or on pairs of rows, on DeepSpeed."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import nn

from stages.cleaning.rules import cleaner, cleaning_of
from stages.compression.refusals import faults_of_lora, refuse_layers, refuse_unprunable
from stages.core import plugins
from stages.core.contracts import Family
from stages.core.entry import run_stage
from stages.core.files import read_json
from stages.core.params.file import Params
from stages.core.paths import Paths
from stages.models import FAMILIES
from stages.models.pretrained import as_it_is, locate, without_path
from stages.tasks import TASKS
from stages.tasks.contract import TaskLearning
from stages.tokens.literal import ids_of
from stages.tokens.pieces import new_tokens
from stages.training.checkpoints import Checkpoints, open_checkpoints
from stages.training.contrastive import VECTOR
from stages.training.described import described
from stages.training.engine import resolve_precision
from stages.training.first_values import give_first_values
from stages.training.launch import launch
from stages.training.loop import Learner, Places, Trained
from stages.training.outcome import write_co_teachers, write_outcome
from stages.training.rows import TrainingData, open_training_data
from stages.training.teaching import taught, with_adapters, without_adapters
from stages.training.treatment import balanced_weights, treatment
from stages.training.whole_batch import mean_of_rows, of_each

log = logging.getLogger("winnow")


def finetune(params: Params, paths: Paths) -> None:
    """Train the teacher; write its folder, its curves and metrics/training/teacher.json; and `paths.co_teachers`.

    Raises ValueError for an unknown family or task, where training goes wrong, and, before training, where the stages
    `cache_logits`, `distill` and `prune` could not treat the model as they are to.
    """
    task: TaskLearning = plugins.part(TASKS, params.task.name, "learning", key="task.name")
    family: Family = plugins.load(FAMILIES, params.model.family, key="model.family")
    if faults := list(faults_of_lora(params)):
        raise ValueError("\n".join(faults))
    data = open_training_data(paths)
    tokenizer = paths.tokenizer / "tokenizer.json"
    masks, language, max_chars = params.clean.masks, params.clean.stop_word_language, params.clean.max_chars
    cleaning = cleaning_of(params.clean.rules, masks, language, max_chars)
    read = partial(ids_of, tokenizer, data.max_tokens, cleaner(cleaning))
    others = range(params.seed + 1, params.seed + params.finetune.teachers)
    names = {params.seed: "teacher"} | {seed: f"co_teacher-{seed}" for seed in others}
    runs = {seed: learned(seed, name, data, params, paths, family, task, read) for seed, name in names.items()}
    trained, checkpoints = runs.pop(params.seed)
    description = described(
        data, backend="pytorch", task=params.task.name, cleaning=cleaning._asdict(),
        pretrained=without_path(params.model.name), family=params.model.family,
    )  # fmt: skip
    write_co_teachers(paths.co_teachers, runs, family=family, tokenizer=tokenizer, description=description)
    write_outcome(
        paths, "teacher", trained, family=family, tokenizer=tokenizer, description=description, checkpoints=checkpoints
    )


def learned(
    seed: int, name: str, data: TrainingData, params: Params, paths: Paths, family: Family, task: TaskLearning,
    read: Callable[[Sequence[str]], list[list[int]]],
) -> tuple[Trained, Checkpoints]:  # fmt: skip
    """One teacher, trained with a seed of its own, and its checkpoints, which stay until all teachers are written."""
    torch.manual_seed(seed)
    pretrained = locate(params.model)
    model = family.build(pretrained, params.model, task.head(data.space))
    if paths.token_pieces.is_file():
        model = with_new_tokens(model, family, read_json(paths.token_pieces), frozen=params.finetune.freeze_embeddings)
    refuse_unprunable(  # it changes nothing of what is trained, so no value that it reads has this stage run again
        params, paths.tokenizer / "tokenizer.json", units=lambda: family.units(model), taps=lambda: family.taps(model),
        readers=lambda: family.readers(model),
    )  # fmt: skip
    refuse_layers(pretrained / "config.json", params)
    fixed = give_first_values(model, family, data)
    adapted = with_adapters(family.parts(model), params.finetune)
    weights_C = balanced_weights(task, data, params) if params.finetune.class_weights == "balanced" else None
    own = partial(task.loss, label_smoothing=params.finetune.label_smoothing, class_weights_C=weights_C)
    head = family.parts(model).head
    treated = treatment(params.debias, task, data, head)

    def loss(logits: torch.Tensor, batch: Mapping[str, torch.Tensor], rows_B: np.ndarray) -> torch.Tensor:
        each_B = of_each(task, own, logits, batch["labels"], counted_B=batch.get("counted"))
        return mean_of_rows(treated.losses(head, each_B, batch, rows_B), batch.get("weights"))

    checkpoints = open_checkpoints(
        paths.checkpoints(name),
        [
            *(seed, params.task.name, params.task.measure, resolve_precision(params.finetune.precision)),
            *(params.model.model_dump(mode="json"), params.finetune.model_dump(mode="json", exclude={"teachers"})),
            *([] if params.debias.by_group is None else [params.debias.model_dump(mode="json")]),
            *fixed,
        ],
        [paths.tokens, paths.tokenizer, pretrained],
        keep_finished=params.finetune.teachers > 1,
    )
    places = Places(paths.curves(name), paths.step_log(name), checkpoints)
    learner = Learner(family, replace(task, loss=own), loss, params.task.measure, treated.scales)
    drawn = replace(data, balanced_N=treated.balanced_N)
    encoder = partial(as_it_is, family, params.model, VECTOR, paths.token_pieces)
    trained = taught(model, drawn, learner, places, params, seed, encoder, read)
    treated.ended(family.parts(trained.model).head)
    trained = without_adapters(trained, adapted)
    gc.collect()  # DeepSpeed's engine refers to itself, and would keep its memory on the GPU from the next teacher
    return trained._replace(report={**trained.report, **treated.described()}), checkpoints


def with_new_tokens(model: nn.Module, family: Family, pieces: list[list[int]], *, frozen: bool) -> nn.Module:
    """The model for a trained tokenizer: each token's embedding is the mean of those of its pretrained pieces."""
    if frozen and (new := new_tokens(pieces)):
        log.warning(
            "finetune: %d of the trained tokenizer's %d tokens are new, and as finetune.freeze_embeddings is true,"
            " their embeddings stay the means that they start as. Set it to false, so that they are learned.",
            new, len(pieces),
        )  # fmt: skip
    return family.new_vocabulary(model, pieces)


if __name__ == "__main__":
    run_stage(finetune, launch=launch)
