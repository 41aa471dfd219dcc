"""The likeliest tokens of a model that writes, at each place that has a target, over many rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import nn

from stages.core.contracts import NO_LABEL, inputs_of
from stages.core.progress import progress
from stages.tasks.shared.next_tokens import likeliest
from stages.training.batches import collate
from stages.training.inference import WRITTEN_BATCH_SIZE, autocast
from stages.training.rows import TokenRows
from stages.training.samplers import length_sorted_batches

FAINTEST = -60.0  # nats: what is less likely is as good as impossible, and -inf would make differences no numbers


class MeanOf(nn.Module):
    """Several models that are asked as one: the mean of their logits."""

    def __init__(self, models: Sequence[nn.Module]) -> None:
        super().__init__()
        self.models = nn.ModuleList(models)

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        """The mean of the models' logits, float32."""
        return torch.stack([model(*inputs).float() for model in self.models]).mean(0)


def predict_likeliest(
    model: nn.Module,
    rows: TokenRows,
    *,
    count: int,
    pad_id: int,
    precision: str,
    title: str,
    after_batch: Callable[[np.ndarray], None] = lambda _: None,
) -> dict[str, np.ndarray]:
    """Of all places with a target, P of them, row after row, the `count` likeliest tokens k; by the names of Likeliest.

    `tokens` (P, k) int32, `log_probabilities` (P, k) and `log_rest` (P,) float16. `after_batch` as in `predict_logits`.
    """
    device = next(model.parameters()).device
    model.eval()
    begins = np.concatenate([[0], np.cumsum(rows.n_targets)])
    kept: dict[str, np.ndarray] = {}
    with torch.inference_mode(), autocast(device, precision):
        for numbers in progress(length_sorted_batches(rows.lengths, batch_size=WRITTEN_BATCH_SIZE), title):
            batch = collate([rows[number] for number in numbers], pad_id=pad_id)
            logits_BTV = model(*(tensor.to(device) for tensor in inputs_of(batch)))
            found = likeliest(logits_BTV[batch["labels"].to(device) != NO_LABEL], count)
            places = np.concatenate([np.arange(begins[number], begins[number + 1]) for number in numbers])
            for name, part in zip(found._fields, found, strict=True):
                array = part.clamp(min=FAINTEST).cpu().numpy().astype(np.int32 if name == "tokens" else np.float16)
                if name not in kept:
                    kept[name] = np.zeros((int(begins[-1]), *array.shape[1:]), dtype=array.dtype)
                kept[name][places] = array
            after_batch(numbers)
    return kept
