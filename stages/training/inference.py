"""A model over many rows, without gradients."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from stages.progress import progress
from stages.training.rows import TokenRows
from stages.training.samplers import length_sorted_batches

INFERENCE_BATCH_SIZE = 64


def predict_logits(
    model: nn.Module,
    rows: TokenRows,
    collate: Callable[..., dict[str, torch.Tensor]],
    *,
    pad_id: int,
    precision: str,
    title: str,
) -> np.ndarray:
    """Logits (N, C) float32 of all `rows`, in their order. `model` is left in the mode that it was in."""
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    batches = length_sorted_batches(rows.lengths, batch_size=INFERENCE_BATCH_SIZE)
    logits: np.ndarray | None = None
    with torch.inference_mode(), autocast(device, precision):
        for numbers in progress(batches, title):
            batch = collate([rows[number] for number in numbers], pad_id=pad_id)
            out = model(batch["input_ids"].to(device), batch["attention_mask"].to(device)).float().cpu().numpy()
            if logits is None:
                logits = np.empty((len(rows), out.shape[1]), dtype=np.float32)
            logits[numbers] = out
    model.train(was_training)
    if logits is None:
        raise ValueError(f"{title}: there are no rows.")
    return logits


def autocast(device: torch.device, precision: str) -> contextlib.AbstractContextManager[Any]:
    """bf16 autocast where the precision is bf16; a float16 model already is in float16."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")
