"""The training of a classifier: batches of padded tokens, and the cross-entropy of their labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from stages.tasks.contract import TaskLearning
from stages.tasks.text_classification.answers import score


def collate(examples: Sequence[Mapping[str, Any]], *, pad_id: int) -> dict[str, torch.Tensor]:
    """`input_ids` and `attention_mask` (B, T), padded to the longest, and `labels` (B,): all int64.

    Of pairs `token_type_ids` (B, T) too, 0 for padding.
    """
    longest = max(len(example["input_ids"]) for example in examples)
    input_ids = np.full((len(examples), longest), pad_id, dtype=np.int64)
    attention_mask = np.zeros((len(examples), longest), dtype=np.int64)
    for row, example in enumerate(examples):
        length = len(example["input_ids"])
        input_ids[row, :length] = example["input_ids"]
        attention_mask[row, :length] = 1
    types: dict[str, torch.Tensor] = {}
    if "boundary" in examples[0]:
        before = np.array([[example["boundary"]] for example in examples])
        second = (np.arange(longest) >= before) & (attention_mask == 1)
        types["token_type_ids"] = torch.from_numpy(second.astype(np.int64))
    return {
        **types,
        "input_ids": torch.from_numpy(input_ids),
        "attention_mask": torch.from_numpy(attention_mask),
        "labels": torch.tensor([int(example["label"]) for example in examples], dtype=torch.int64),
    }


def cross_entropy(
    logits_BC: torch.Tensor,
    labels_B: torch.Tensor,
    *,
    label_smoothing: float = 0.0,
    class_weights_C: torch.Tensor | None = None,
) -> torch.Tensor:
    """The mean cross-entropy over B examples, in nats; computed in float32.

    With weights, each example is multiplied by that of its label, and the mean is still over B, so that batches add up.
    """
    weights = class_weights_C.to(logits_BC.device) if class_weights_C is not None else None
    summed = functional.cross_entropy(
        logits_BC.float(), labels_B, weight=weights, reduction="sum", label_smoothing=label_smoothing
    )
    return summed / len(labels_B)


LEARNING = TaskLearning(
    families=frozenset({"bilstm", "encoder"}), collate=collate, loss=cross_entropy, score=score,
)  # fmt: skip
