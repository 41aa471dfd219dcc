"""Sequence classification: one label for a text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from sklearn.metrics import accuracy_score, f1_score
from torch.nn import functional
from transformers import PreTrainedTokenizerFast

from stages.contracts import Task


def encode(
    rows: Mapping[str, Sequence[Any]],
    *,
    tokenizer: PreTrainedTokenizerFast,
    labels: Sequence[str],
    max_tokens: int,
) -> dict[str, list[Any]]:
    """Columns `text` and `label` -> `input_ids` (`max_tokens` at most), `label` (a number), `full_length`.

    `full_length` is the number of tokens, special ones included, before cutting. Raises ValueError, with the
    row's id where `rows` has a column `row_id`, for a label that is not one of `labels`.
    """
    numbers = {label: number for number, label in enumerate(labels)}
    unknown = [at for at, label in enumerate(rows["label"]) if label not in numbers]
    if unknown:
        where = f"row {rows['row_id'][unknown[0]]}" if "row_id" in rows else f"row number {unknown[0]}"
        raise ValueError(
            f"{where} has the label '{rows['label'][unknown[0]]}', which no training row has. "
            f"Allowed: {', '.join(labels)}. Give it training rows, or take it out."
        )
    input_ids, full_lengths = _tokens(list(rows["text"]), tokenizer, max_tokens)
    return {
        "input_ids": input_ids,
        "label": [numbers[label] for label in rows["label"]],
        "full_length": full_lengths,
    }


def _tokens(texts: list[str], tokenizer: PreTrainedTokenizerFast, max_tokens: int) -> tuple[list[list[int]], list[int]]:
    """The first piece of each text, and the length of all its pieces put together."""
    pieces = tokenizer(
        texts,
        truncation=True,
        max_length=max_tokens,
        padding=False,
        return_overflowing_tokens=True,
        return_attention_mask=False,
        return_token_type_ids=False,
    )
    special = tokenizer.num_special_tokens_to_add()
    input_ids: list[list[int]] = [[] for _ in texts]
    full_lengths = [0] * len(texts)
    for ids, text in zip(pieces["input_ids"], pieces["overflow_to_sample_mapping"], strict=True):
        if full_lengths[text]:
            full_lengths[text] += len(ids) - special
        else:
            input_ids[text], full_lengths[text] = ids, len(ids)
    return input_ids, full_lengths


def collate(examples: Sequence[Mapping[str, Any]], *, pad_id: int) -> dict[str, torch.Tensor]:
    """`input_ids` and `attention_mask` (B, T), padded to the longest, and `labels` (B,): all int64."""
    longest = max(len(example["input_ids"]) for example in examples)
    input_ids = np.full((len(examples), longest), pad_id, dtype=np.int64)
    attention_mask = np.zeros((len(examples), longest), dtype=np.int64)
    for row, example in enumerate(examples):
        length = len(example["input_ids"])
        input_ids[row, :length] = example["input_ids"]
        attention_mask[row, :length] = 1
    return {
        "input_ids": torch.from_numpy(input_ids),
        "attention_mask": torch.from_numpy(attention_mask),
        "labels": torch.tensor([int(example["label"]) for example in examples], dtype=torch.int64),
    }


def cross_entropy(logits_BC: torch.Tensor, labels_B: torch.Tensor) -> torch.Tensor:
    """The mean cross-entropy over B examples, in nats; computed in float32."""
    return functional.cross_entropy(logits_BC.float(), labels_B)


def accuracy_and_f1(labels: Sequence[int], predicted: Sequence[int]) -> dict[str, float]:
    """`accuracy` and `macro_f1`, each in [0, 1]; the macro-average is over the labels present."""
    present = sorted(set(labels))
    return {
        "accuracy": float(accuracy_score(labels, predicted)),
        "macro_f1": float(f1_score(labels, predicted, labels=present, average="macro", zero_division=0)),
    }


TASK = Task(
    families=frozenset({"encoder"}),
    encode=encode,
    collate=collate,
    loss=cross_entropy,
    score=accuracy_and_f1,
)
