"""Inference over many rows, without gradients."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from stages.core.contracts import Space, inputs_of
from stages.core.progress import progress
from stages.tasks.contract import TaskLearning
from stages.training.batches import by_row, collate
from stages.training.processes import rank, total, world_size
from stages.training.rows import TokenRows
from stages.training.samplers import length_sorted_batches

INFERENCE_BATCH_SIZE = 64
WRITTEN_BATCH_SIZE = 8  # where each token has logits of a whole vocabulary


def predict_logits(
    model: nn.Module,
    rows: TokenRows,
    *,
    pad_id: int,
    precision: str,
    title: str,
    after_batch: Callable[[np.ndarray], None] = lambda _: None,
    reduced: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None = None,
) -> np.ndarray:
    """Logits float32 of all `rows`, in their order: (N, K), or of a token head (tokens, K), row after row.

    Of rows whose two texts are read apart (N, 2, K). Of a source that is read apart there are none: they are 0.
    `model` is left in the mode that it was in. With `reduced`, one of a task, what that makes of the logits (tokens, R)
    is kept in their place.

    The processes of a training run share the work, and all get all of the logits. `after_batch` is called with the
    numbers of the rows that this process's model has just run on, in their order in the batch.
    """
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    batches = length_sorted_batches(rows.lengths, batch_size=WRITTEN_BATCH_SIZE if reduced else INFERENCE_BATCH_SIZE)
    if not batches:
        raise ValueError(f"{title}: there are no rows.")
    logits: np.ndarray | None = None
    with torch.inference_mode(), autocast(device, precision):
        for turn in progress(range(-(-len(batches) // world_size())), title):
            own = turn * world_size() + rank()
            numbers = batches[min(own, len(batches) - 1)]  # ZeRO-3 wants every process in every turn
            batch = collate([rows[number] for number in numbers], pad_id=pad_id)
            raw = model(*(tensor.to(device) for tensor in inputs_of(batch)))
            out = by_row((reduced(raw, batch["labels"].to(device)) if reduced else raw).float(), batch)
            of_tokens = out.ndim == 3 and not rows.has_two
            places = rows.places_of_outputs(numbers) if of_tokens else numbers
            found = (out[_has_output(rows, numbers, out.shape[1])] if of_tokens else out).cpu().numpy()
            if logits is None:
                count = int(rows.offsets[-1]) if of_tokens else len(rows)
                logits = np.zeros((count, *found.shape[1:]), dtype=np.float32)
            if own < len(batches):
                logits[places] = found
                after_batch(numbers)
    model.train(was_training)
    assert logits is not None
    return total(torch.from_numpy(logits).to(device)).cpu().numpy()


def _has_output(rows: TokenRows, numbers: np.ndarray, width: int) -> torch.Tensor:
    """(B, width) bool: the places of a batch of these rows that have an output, and are none of padding."""
    counts_B = rows.lengths[numbers] - rows.begins_of(numbers)
    return torch.arange(width) < torch.from_numpy(counts_B)[:, None]


def scores_of(logits: np.ndarray, rows: TokenRows, score: Callable[..., dict[str, float]]) -> dict[str, float]:
    """The task's `score` of the logits of `rows`; a text in windows has their mean, unless each token has its own."""
    return score(*rows.answered(logits))


def space_of(logits: np.ndarray, rows: TokenRows, task: TaskLearning, space: Space, measure: str) -> Space:
    """The space with what the logits of validation rows say of how to answer, for the best `measure`."""
    return space if task.fitted is None else task.fitted(*rows.answered(logits), space, measure)


def autocast(device: torch.device, precision: str) -> contextlib.AbstractContextManager[Any]:
    """bf16 autocast where the precision is bf16; a float16 model already is in float16."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")
