"""The training loop that `finetune` and `distill` share."""

from __future__ import annotations

import copy
import logging
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from dvclive import Live
from torch import nn

from stages.contracts import Family, Task
from stages.params import TrainingParams
from stages.progress import progress
from stages.training.engine import Engine, start_engine
from stages.training.inference import predict_logits
from stages.training.rows import TrainingData
from stages.training.samplers import length_bucketed_batches

log = logging.getLogger("winnow")
LOG_EVERY = 20  # optimizer steps between two points of a curve

Loss = Callable[[torch.Tensor, torch.Tensor, np.ndarray], torch.Tensor]
"""loss(logits_BC, labels_B, row_numbers_B): a scalar, the mean over B."""


def train(
    model: nn.Module,
    data: TrainingData,
    *,
    family: Family,
    task: Task,
    loss: Loss,
    params: TrainingParams,
    seed: int,
    curves: Path,
) -> tuple[nn.Module, dict[str, Any]]:
    """A copy of `model` with the weights that were best on validation, and a report of the run.

    DVCLive's curves go to the folder `curves`. Raises ValueError where the loss stops being a finite number, or where
    no update was made. The report holds nothing that depends on the clock.
    """
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True, warn_only=True)
    epochs = [
        length_bucketed_batches(data.train.lengths, batch_size=params.batch_size, seed=seed, epoch=epoch)
        for epoch in range(params.epochs)
    ]
    total_steps = max(1, sum(map(len, epochs)) // params.accumulation_steps)
    trained = copy.deepcopy(model)  # the engine takes the other apart: ZeRO-3 leaves its tensors empty
    engine = start_engine(model, family.parts(model), params, total_steps)
    best_score, best_epoch, best_weights = -1.0, -1, engine.weights()
    history: list[dict[str, float]] = []
    log.info(
        "training: %d rows, %s, ZeRO-%d, on %s", len(data.train), engine.precision, engine.zero_stage, engine.device
    )
    with Live(str(curves), dvcyaml=None, save_dvc_exp=False, monitor_system=False) as live:
        for epoch, batches in enumerate(epochs):
            started = time.perf_counter()
            train_loss = _one_epoch(engine, batches, data, task, loss, live, f"epoch {epoch + 1}/{params.epochs}")
            logits = predict_logits(
                engine.deepspeed.module, data.validation, task.collate,
                pad_id=data.pad_id, precision=engine.precision, title="validation",
            )  # fmt: skip
            scores = task.score(data.validation.labels.tolist(), logits.argmax(1).tolist())
            history.append({"train_loss": round(train_loss, 6), **{name: round(s, 6) for name, s in scores.items()}})
            for name, score in scores.items():
                live.log_metric(f"validation/{name}", score)
            live.next_step()
            seconds = time.perf_counter() - started
            log.info(
                "epoch %d/%d: loss %.4f, validation %s, %.0f tokens/s", epoch + 1, params.epochs, train_loss,
                ", ".join(f"{name} {score:.4f}" for name, score in scores.items()), data.train.lengths.sum() / seconds,
            )  # fmt: skip
            if scores[params.select_by] > best_score:
                best_score, best_epoch, best_weights = scores[params.select_by], epoch, engine.weights()
            elif epoch - best_epoch >= params.patience:
                log.info("stopped early: no better %s for %d epochs", params.select_by, params.patience)
                break
    updates = engine.deepspeed.global_steps - engine.deepspeed.skipped_steps
    if updates < 1:
        raise ValueError(
            f"training: no update was made in {engine.deepspeed.global_steps} steps: the loss scaler skipped them all."
            " Set precision to bf16 or fp32, or lower the learning rates."
        )
    trained.load_state_dict(best_weights)
    return trained, {
        "precision": engine.precision,
        "zero_stage": engine.zero_stage,
        "processes": engine.deepspeed.world_size,
        "updates": updates,
        "train_rows": len(data.train),
        "best_epoch": best_epoch + 1,
        "epochs_run": len(history),
        f"best_validation_{params.select_by}": round(best_score, 6),
        "history": history,
    }


def _one_epoch(
    engine: Engine, batches: list[np.ndarray], data: TrainingData, task: Task, loss: Loss, live: Live, title: str
) -> float:
    """One pass over the training rows. Returns the mean loss over the rows."""
    module = engine.deepspeed
    module.train()
    summed, seen, since, since_rows = 0.0, 0, 0.0, 0
    shown_batches = progress(batches, title)
    for numbers in shown_batches:
        batch = task.collate([data.train[number] for number in numbers], pad_id=data.pad_id)
        labels = batch["labels"].to(engine.device)
        logits = module(batch["input_ids"].to(engine.device), batch["attention_mask"].to(engine.device))
        value = loss(logits, labels, numbers)
        module.backward(value)
        stepped = module.is_gradient_accumulation_boundary()
        module.step()
        shown = value.item()
        if not math.isfinite(shown):
            names = ", ".join(data.train.row_ids[number] for number in numbers[:5])
            raise ValueError(
                f"{title}: the loss is {shown} at step {module.global_steps}, in the batch of rows {names}, ..."
                " Lower the learning rates, or set precision to fp32."
            )
        summed, seen = summed + shown * len(numbers), seen + len(numbers)
        since, since_rows = since + shown * len(numbers), since_rows + len(numbers)
        if stepped and module.global_steps % LOG_EVERY == 0:
            shown_batches.set_postfix(loss=f"{since / since_rows:.3f}")
            live.step = module.global_steps
            live.log_metric("train/loss", since / since_rows)
            live.log_metric("train/learning_rate", module.get_lr()[0])
            since, since_rows = 0.0, 0
    live.step = module.global_steps
    return summed / seen
