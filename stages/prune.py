"""Stage `prune`: cut dispensable tokens, heads and neurons out of the student, and train it again."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import nn

from stages.compression.structured import cut_layers, n_weights
from stages.compression.vocabulary import cut_tokenizer
from stages.core import plugins
from stages.core.contracts import Family, Writing, inputs_of
from stages.core.entry import run_stage
from stages.core.files import write_json
from stages.core.model_folder import describe, plugin_of
from stages.core.params.compress import PruneParams
from stages.core.params.distill import HEAD_LOSSES, DistillParams
from stages.core.params.file import Params
from stages.core.paths import Paths
from stages.models import FAMILIES
from stages.reading.clean_rows import read_split
from stages.tasks import TASKS
from stages.tasks.contract import TaskEncoding, TaskLearning
from stages.tokens.encoded import encoded
from stages.tokens.literal import literal
from stages.training.batches import by_row, first_batches
from stages.training.checkpoints import Checkpoints, open_checkpoints
from stages.training.distillation import TeacherAnswers, distillation_loss, read_answers
from stages.training.distillation import renumbered as answers_of_kept
from stages.training.engine import resolve_precision
from stages.training.launch import launch
from stages.training.loop import Learner, Places, Trained, train
from stages.training.outcome import as_it_was, write_outcome
from stages.training.processes import own_device, rank
from stages.training.rows import TrainingData, open_training_data, rows_of


def prune(params: Params, paths: Paths) -> None:
    """Write the pruned model, its curves, metrics/training/pruned.json and metrics/data/pruning.json.

    Raises ValueError where the model, or its tokenizer, is of a kind that cannot be pruned so.
    """
    task: TaskLearning = plugins.part(TASKS, params.task.name, "learning", key="task.name")
    encoding: TaskEncoding = plugins.part(TASKS, params.task.name, "encoding", key="task.name")
    student = paths.model("student")
    family: Family = plugin_of(student, "family", FAMILIES)
    model, data = family.open(student), open_training_data(paths, transfer=True)
    answers = read_answers(paths.logits, data.train)
    data = replace(data, train=answers.rows)
    writing = Writing.of(data.writing) if data.writing else None
    checkpoints = open_checkpoints(
        paths.checkpoints("pruned"),
        [
            *(params.seed, params.task.name, params.task.measure, params.model.model_dump(mode="json")),
            *(params.distill.model_dump(mode="json"), params.prune.model_dump(mode="json")),
            resolve_precision(params.distill.precision),
        ],
        [paths.tokens, student, paths.logits],
    )
    with tempfile.TemporaryDirectory(prefix="winnow-prune-") as scratch:
        whole, tokenizer = (Path(folder) / "tokenizer.json" for folder in (paths.tokenizer, scratch))
        shutil.copyfile(whole, tokenizer)
        report: dict[str, Any] = {"parameters": [n_weights(model)]}
        if params.prune.vocabulary == "corpus":
            around = writing.tokens if writing else ()
            used = [data.pad_id, *data.train.used_tokens(targets=writing is not None), *around]
            kept = cut_tokenizer(whole, tokenizer, used, common=params.prune.common_words)
            report["tokens"] = [Tokenizer.from_file(str(whole)).get_vocab_size(), len(kept)]
            model = family.cut_vocabulary(model, kept, data.max_tokens)
            data = renumbered(data, tokenizer, kept, paths, encoding)
            answers = answers_of_kept(answers, kept) if writing else answers
        report |= cut_units(model, params.prune, family, task, data)
        report["parameters"].append(n_weights(model))
        trained = recover(model, data, answers, params, paths, family, task, checkpoints) if len(report) > 1 else None
        paths.curves("pruned").mkdir(parents=True, exist_ok=True)
        write_outcome(
            paths, "pruned", trained or as_it_was(model, "student", paths), family=family, tokenizer=tokenizer,
            description={**describe(student), **data.numbered}, checkpoints=checkpoints,
        )  # fmt: skip
    if rank() == 0:
        write_json(paths.pruning_report, report)


def renumbered(
    data: TrainingData, tokenizer: Path, kept: list[int], paths: Paths, encoding: TaskEncoding
) -> TrainingData:
    """The same rows with the cut tokenizer's ids; all tokens of the training rows were kept."""
    writing = Writing.of(data.writing).of_kept(kept) if data.writing else None
    engine = Tokenizer.from_file(str(tokenizer))
    validation = encoded(
        read_split(paths.clean, "validation").to_pydict(), task=encoding,
        tokenizer=engine if writing is None else literal(engine), space=data.space, max_tokens=data.max_tokens,
        stride=data.stride, writing=writing,
    )  # fmt: skip
    return replace(
        data, train=data.train.renumbered(kept, targets=writing is not None), pad_id=kept.index(data.pad_id),
        validation=rows_of(validation, data.validation.pixels), writing=writing and writing.described(),
    )  # fmt: skip


def cut_units(
    model: nn.Module, params: PruneParams, family: Family, task: TaskLearning, data: TrainingData
) -> dict[str, Any]:
    """Cut the least important heads and neurons out of `model`. Returns how many each layer had, and has."""
    model.eval().to(device := own_device())  # in training mode, dropout would draw lots

    def summed_loss(batch: dict[str, torch.Tensor]) -> torch.Tensor:
        logits = by_row(model(*(tensor.to(device) for tensor in inputs_of(batch))), batch)
        return task.loss(logits, batch["labels"].to(device)).sum()

    batches = first_batches(data.validation, count=params.importance_rows, pad_id=data.pad_id)
    shares = {"heads": params.heads_kept, "feed_forward": params.feed_forward_kept}
    counts = cut_layers(model, family.units, shares, batches, summed_loss)
    model.cpu()
    return counts


def recover(
    model: nn.Module, data: TrainingData, answers: TeacherAnswers, params: Params, paths: Paths, family: Family,
    task: TaskLearning, checkpoints: Checkpoints,
) -> Trained:  # fmt: skip
    """Train the pruned model on the teacher's logits and the rows' targets."""
    changes = {name: getattr(params.prune, name) for name in ("epochs", "encoder_learning_rate", "head_learning_rate")}
    recovery: DistillParams = params.distill.model_copy(update=changes)
    weights = {name: getattr(recovery.losses, name) for name in HEAD_LOSSES}
    with distillation_loss(weights, temperature=recovery.temperature, task=task, answers=answers) as loss:
        return train(
            model, data, Learner(family, task, loss, params.task.measure),
            Places(paths.curves("pruned"), paths.step_log("pruned"), checkpoints), params=recovery, seed=params.seed,
        )  # fmt: skip


if __name__ == "__main__":
    run_stage(prune, launch=launch)
