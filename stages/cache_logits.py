"""Stage `cache_logits`: run the teacher once over the training rows; every distillation reuses its answers.

It keeps logits always, of several teachers their mean; and inner vectors of the first where params.yaml asks for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer

from stages.compression.augmentation import with_tokens_hidden
from stages.core import plugins
from stages.core.contracts import Family
from stages.core.entry import run_stage
from stages.core.files import publish, read_json, write_json
from stages.core.model_folder import describe, plugin_of
from stages.core.params.distill import CacheLogitsParams
from stages.core.params.file import Params
from stages.core.paths import Paths
from stages.models import FAMILIES
from stages.tasks import TASKS
from stages.tasks.contract import TaskLearning
from stages.training.inference import predict_logits, scores_of
from stages.training.processes import own_device
from stages.training.rows import TokenRows, open_training_data
from stages.training.vectors import predict_logits_and_vectors, vector_names


def cache_logits(params: Params, paths: Paths) -> None:
    """Write the teacher's logits float32, its vectors, and their sizes; logits are (N, K), or of tokens (tokens, K).

    Of rows whose two texts are read apart they are (N, 2, K). The rows are the training rows, then the transfer rows,
    then the copies of both. With several teachers the logits are the mean of theirs, and the vectors are the first's.

    The vectors pass through unnamed files beside `paths.logits`: they need their room on the disk twice, not in memory.

    Raises ValueError where cache_logits.layers names a layer that the teacher does not have, and where its logits are
    not those that its task wants.
    """
    task: TaskLearning = plugins.part(TASKS, params.task.name, "learning", key="task.name")
    family: Family = plugin_of(paths.model("teacher"), "family", FAMILIES)
    teacher = family.open(paths.model("teacher")).to(own_device())
    data = open_training_data(paths, transfer=True)
    more = augmented(data.train, params.cache_logits, paths, params.seed)
    rows = data.train.and_unlabelled(more["input_ids"], more["lengths"]) if more else data.train
    precision = read_json(paths.training("teacher"))["precision"]
    names = vector_names(params.cache_logits.vectors, params.cache_logits.layers)
    logits, vectors = predict_logits_and_vectors(
        teacher, lambda: family.taps(teacher), names, rows,
        folder=paths.logits.parent, pad_id=data.pad_id, precision=precision, title="teacher's logits",
    )  # fmt: skip
    kind, wanted, _ = task.head(describe(paths.model("teacher"))["space"])
    if kind != "vector" and logits.shape[1] != wanted:
        raise ValueError(
            f"{paths.model('teacher')}: the model has {logits.shape[1]} outputs, and by its model.json {wanted}."
            " Make it again: `dvc repro --force finetune`."
        )
    report: dict[str, Any] = {"rows": len(rows)}
    if others := co_teachers(paths.co_teachers):
        ask = partial(predict_logits, pad_id=data.pad_id, precision=precision)
        answers, scored = [logits], [ask(teacher, data.validation, title="validation")]
        for folder in others:
            model = family.open(folder).to(own_device())
            answers.append(ask(model, rows, title=f"logits of teacher {folder.name}"))
            scored.append(ask(model, data.validation, title="validation"))
        logits = mean_of(answers)
        report["validation"], *report["validation_of_each"] = (
            {name: round(score, 6) for name, score in scores_of(one, data.validation, task.score).items()}
            for one in (mean_of(scored), *scored)
        )
    kept = {"logits": logits, **more, **vectors}
    with publish(paths.logits) as draft:
        save_file(kept, draft)
    sizes = {f"{name}_mb": round(array.nbytes / 1e6, 3) for name, array in kept.items()}
    write_json(paths.cache_report, report | sizes)


def co_teachers(folder: Path) -> list[Path]:
    """The folders of the co-teachers, in the order of their seeds."""
    models = (model for model in folder.glob("*") if model.is_dir() and model.name.isdigit())
    return sorted(models, key=lambda model: int(model.name))


def mean_of(logits: Sequence[np.ndarray]) -> np.ndarray:
    """The mean of the logits of several models, of one shape each, float32."""
    return np.stack(logits).mean(axis=0, dtype=np.float32)


def augmented(rows: TokenRows, params: CacheLogitsParams, paths: Paths, seed: int) -> dict[str, np.ndarray]:
    """The tokens of the rows' copies, all together, and the number of tokens of each copy; empty without copies."""
    if not params.augmented_copies:
        return {}
    tokenizer = Tokenizer.from_file(str(paths.tokenizer / "tokenizer.json"))
    special = [number for number, token in tokenizer.get_added_tokens_decoder().items() if token.special]
    hide_as = tokenizer.token_to_id("[MASK]") or tokenizer.token_to_id("<mask>") or tokenizer.token_to_id("[UNK]")
    if hide_as is None:
        raise ValueError(
            f"params.yaml: cache_logits.augmented_copies is {params.augmented_copies}. Allowed: 0, as the tokenizer of"
            " this model has no token to hide others behind ([MASK], <mask>, [UNK])."
        )
    copies = list(
        with_tokens_hidden(
            (rows[number]["input_ids"] for number in range(len(rows))), copies=params.augmented_copies,
            share=params.hidden_share, hide_as=hide_as, special=special, seed=seed,
        )
    )  # fmt: skip
    return {"input_ids": np.concatenate(copies), "lengths": np.array([len(copy) for copy in copies], dtype=np.int64)}


if __name__ == "__main__":
    run_stage(cache_logits)
