"""Training runs of a tiny model, one after another in one process: `python tests/training_run.py RUNS.json`.

Started by torch elastic, it is one of several processes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import os
import resource
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
import psutil
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional

from stages.core.contracts import NO_LABEL, Family, Head, Space, inputs_of
from stages.core.params.model import ModelParams, ScratchParams
from stages.core.params.training import FinetuneParams
from stages.core.paths import Paths
from stages.models import decoder, encoder, encoder_decoder, scratch
from stages.tasks.contract import TaskLearning
from stages.tasks.text2text_generation.learning import LEARNING as WRITING
from stages.tasks.text_classification.learning import LEARNING
from stages.training import loop
from stages.training.batches import collate
from stages.training.checkpoints import Checkpoints
from stages.training.engine import Engine
from stages.training.people import Scales
from stages.training.processes import rank, world_size
from stages.training.rows import TokenRows, TrainingData, open_training_data
from stages.training.treatment import Treatment
from stages.training.whole_batch import mean_of_rows

VOCABULARY = 40  # of models that write


def main(runs: list[dict[str, Any]]) -> None:
    """Make each run. Of several, one that cannot end well leaves its message in `error.txt`, and the next begins."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("winnow").setLevel(logging.INFO)
    torch.set_num_threads(1)
    for options in runs:
        out = Path(options["out"])
        try:
            one_run(options, out)
        except ValueError as error:
            if len(runs) == 1:
                raise
            out.mkdir(parents=True, exist_ok=True)
            (out / "error.txt").write_text(str(error))


def one_run(options: dict[str, Any], out: Path) -> None:
    """Train as `options` say; the first process writes the weights and the report."""
    loop.LOG_EVERY = options.get("log_every", 2)
    params, data = FinetuneParams(**options["params"]), open_training_data(Paths(Path(options["root"])))
    torch.manual_seed(0)
    built, subject = writer(options["writes"], options) if "writes" in options else classifier(options)
    if params.lora is not None:
        from stages.training.adapters import adapt

        adapt(subject.family.parts(built), params, params.lora)
    gradients = out / "gradients.safetensors" if options.get("gradients") else None
    if options.get("plain"):
        weights, report = plain(built, subject, data, params, seed=5, gradients=gradients)
    else:
        weights, report = on_engine(built, subject, data, params, options, out, gradients)
    if rank() == 0:
        save_tensors(weights, out / "weights.safetensors")
        (out / "report.json").write_text(json.dumps({**report, "world": world_size()}))


class Subject(NamedTuple):
    """What is trained."""

    family: Family
    task: TaskLearning


def classifier(options: dict[str, Any]) -> tuple[nn.Module, Subject]:
    """The tiny encoder in a folder, with a head for labels."""
    model = ModelParams(
        family="encoder", name="tiny", revision=None, sha256=None, pooling="mean",
        encoder_dropout=0.0, head_dropout=options.get("dropout", 0.0), scratch=None, image=None, image_augmentation=0.0,
    )  # fmt: skip
    head = Head("row", options.get("labels", 2))
    task = dataclasses.replace(LEARNING, fitted=with_first_logit) if options.get("fitted") else LEARNING
    return encoder.FAMILY.build(Path(options["model"]), model, head), Subject(encoder.FAMILY, task)


def with_first_logit(_targets: Sequence[int], logits: Sequence[np.ndarray], space: Space, _measure: str) -> Space:
    """The space with what tells one epoch's model from another's."""
    return {**space, "first": float(logits[0][0])}


def writer(kind: str, options: dict[str, Any]) -> tuple[nn.Module, Subject]:
    """A tiny model that writes, with random weights."""
    shape = {"layers": 2, "width": 16, "heads": 2, "feed_forward": 32, "positions": 32}
    own = ScratchParams.model_validate({"kind": kind, **shape})
    model = ModelParams(
        family="decoder", name="scratch", revision=None, sha256=None, pooling="mean",
        encoder_dropout=options.get("dropout", 0.0), head_dropout=0.0, scratch=own, image=None, image_augmentation=0.0,
    )  # fmt: skip
    family = encoder_decoder.FAMILY if kind == "t5" else decoder.FAMILY
    built = family.build(scratch.folder_of(own), model, Head("vocabulary", 0))
    return family.new_vocabulary(built, [[]] * VOCABULARY), Subject(family, WRITING)


@contextlib.contextmanager
def faults_of_the_engine(options: dict[str, Any]) -> Iterator[None]:
    with contextlib.ExitStack() as faults:
        if options.get("stuck"):
            faults.enter_context(mock.patch.object(Engine, "updates", property(lambda _: 0)))
        if options.get("broken_by_the_last_step"):
            faults.enter_context(mock.patch.object(loop, "predict_logits", broken_before(loop.predict_logits)))
        yield


def broken_before(predict: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    """`predict_logits` for a model one of whose weights the last step has made no number."""

    def broken(model: nn.Module, *arguments: Any, **more: Any) -> np.ndarray:
        with torch.no_grad():
            next(iter(model.parameters())).view(-1)[0] = torch.nan
        return predict(model, *arguments, **more)

    return broken


def on_engine(
    model: nn.Module, subject: Subject, data: TrainingData, params: FinetuneParams, options: dict[str, Any], out: Path,
    gradients: Path | None,
) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:  # fmt: skip
    """With the fault that `options` name."""
    if "repeat" in options:
        rows: Any = Repeated(data.train, options["repeat"])
        data = dataclasses.replace(data, train=rows)
    if "kill_at_rename" in options:
        kill_at_rename(options["kill_at_rename"])
    if "spare_mb" in options:
        used = psutil.Process().memory_info().vms
        resource.setrlimit(resource.RLIMIT_AS, (used + options["spare_mb"] * 2**20, resource.RLIM_INFINITY))
    folder = options.get("checkpoints")
    key = options.get("keys", ["0" * 16] * world_size())[rank()]
    kept = Checkpoints(Path(folder) if folder else None, key, every_seconds=0.0)
    steps = 0
    treated = game_of(options, data)

    def loss(logits: torch.Tensor, batch: Mapping[str, torch.Tensor], rows: np.ndarray) -> torch.Tensor:
        nonlocal steps
        steps += 1
        if steps == options.get("kill_at") and rank() == options.get("kill_rank", 0):
            os.kill(os.getpid(), signal.SIGKILL)
        if options.get("overflow"):  # a finite loss whose gradients are not
            logits.register_hook(lambda gradient: gradient * torch.inf)
        if steps == options.get("nan_at"):
            logits = logits * torch.nan
        each = treated.losses(model, subject.task.loss(logits, batch["labels"]), batch, rows)
        return mean_of_rows(each, batch.get("weights"))

    measure = "chrf" if subject.task is WRITING else "macro_f1"
    learner = loop.Learner(*subject, loss, options.get("measure", measure), treated.scales)
    with keeping_gradients(gradients), faults_of_the_engine(options):
        trained, report, speed, space = loop.train(
            model, data, learner, loop.Places(out / "curves", out / "steps.jsonl", kept), params=params, seed=5
        )  # fmt: skip
    by_the_first(out / "space.json", space)
    if options.get("kill_after"):
        os.kill(os.getpid(), signal.SIGKILL)
    by_the_first(out / "speed.json", speed)
    return dict(trained.state_dict()), {**report, **({"q": treated.scales.q_G.tolist()} if treated.scales else {})}


def game_of(options: dict[str, Any], data: TrainingData) -> Treatment:
    """Where `options` have a `step_size`, the game between two groups, of which the second is every fourth row."""
    if "step_size" not in options:
        return Treatment()
    return Treatment("worst_group", scales=Scales(np.arange(len(data.train)) % 4 // 3, step_size=options["step_size"]))


def by_the_first(file: Path, content: Mapping[str, Any]) -> None:
    """Write it, in the first process."""
    if rank() == 0:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(content))


class Repeated:
    """Rows so many times over."""

    def __init__(self, rows: TokenRows, times: int) -> None:
        self._rows, self.lengths, self.row_ids = rows, np.tile(rows.lengths, times), rows.row_ids * times
        self.decoded, self.beside = rows.decoded, rows.beside

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, at: int) -> dict[str, Any]:
        return self._rows[at % len(self._rows)]


def kill_at_rename(number: int) -> None:
    """SIGKILL this process when it is about to give a checkpoint its name, the so manieth time."""
    seen = 0

    def look(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal seen
        if event == "os.rename" and "step-" in str(arguments[1]):
            seen += 1
            if seen == number:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(look)


@contextlib.contextmanager
def keeping_gradients(file: Path | None) -> Iterator[None]:
    """Write those of the first step, as DeepSpeed has them before it takes that step; None: do not."""
    from deepspeed.utils import safe_get_full_grad

    start = loop.start_engine

    def watched(*arguments: Any, **more: Any) -> Any:
        engine = start(*arguments, **more)
        module, step = engine.deepspeed, engine.deepspeed.step

        def first() -> None:
            found = {name: safe_get_full_grad(p) for name, p in module.module.named_parameters()}
            if rank() == 0 and file:
                save_tensors(found, file)
            module.step = step
            step()

        module.step = first
        return engine

    vars(loop)["start_engine"] = watched if file else start
    try:
        yield
    finally:
        vars(loop)["start_engine"] = start


def save_tensors(tensors: dict[str, torch.Tensor], file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.detach().float().contiguous().clone() for name, tensor in tensors.items()}, file)


def plain(
    model: nn.Module, subject: Subject, data: TrainingData, params: FinetuneParams, *, seed: int, gradients: Path | None
) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """What anybody would write in torch, without an engine: the same batches, rates and clipping."""
    parts = subject.family.parts(model)
    groups = [
        {"params": [p for p in part.parameters() if (p.ndim > 1) == matrix], "peak": rate, "weight_decay": decay}
        for part, rate in ((parts.encoder, params.encoder_learning_rate), (parts.head, params.head_learning_rate))
        for matrix, decay in ((True, params.weight_decay), (False, 0.0))
    ]
    optimizer = torch.optim.AdamW([group for group in groups if group["params"]])
    epochs = [loop.steps_of(data, params, seed, epoch) for epoch in range(params.epochs)]
    total = sum(map(len, epochs))
    warmup, done, losses = round(params.warmup_ratio * total), 0, []
    for steps in epochs:
        model.train()
        for rows in steps:
            scale = (done + 1) / (warmup + 1) if done < warmup else (total - done) / max(1, total - warmup)
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * scale
            batch = collate([data.train[row] for row in rows], pad_id=data.pad_id)
            logits = model(*inputs_of(batch))
            classes, targets = logits.flatten(0, -2), batch["labels"].flatten()
            value = functional.cross_entropy(classes, targets, ignore_index=NO_LABEL)
            optimizer.zero_grad()
            value.backward()
            if gradients and not done:
                found = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
                save_tensors(found, gradients)
            nn.utils.clip_grad_norm_(model.parameters(), params.max_gradient_norm)
            optimizer.step()
            losses.append((value.item(), int((targets != NO_LABEL).sum())))
            done += 1
    return dict(model.state_dict()), {"losses": losses}


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
