"""Rows of tokens as batches of tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Sized
from typing import Any

import numpy as np
import torch

from stages.core.contracts import BEGINS, NO_LABEL, PLACE
from stages.training.rows import TokenRows, TrainingData
from stages.training.samplers import packed_into


def collate(examples: Sequence[dict[str, Any]], *, pad_id: int) -> dict[str, torch.Tensor]:
    """`input_ids` and `attention_mask` (B, T) int64, padded to the longest, and `labels`: what is to be learned.

    `labels` are (B,), int64 or float32, or vectors (B, C) float32; where each token has a target (B, T) int64, padded
    with NO_LABEL. Of pairs there are `token_type_ids` (B, T) int64 too, 0 for padding. Of pairs whose texts are read
    apart there are 2 B sequences: the first texts of all examples, then the second ones; `by_row` puts them together.

    Of rows with images there are `pixel_values` (B, S, S, 3) uint8 too.

    Of rows whose source is read apart, `input_ids` are the sources alone, and there are `decoder_input_ids` (B, U)
    int64, to which the `labels` (B, U) belong.
    """
    if BEGINS in examples[0]:
        return _with_sources(examples, pad_id)
    sequences = _sequences(examples)
    real_BT = _real(sequences)
    types: dict[str, torch.Tensor] = {}
    if PLACE[False] in examples[0]:
        before_B1 = np.array([[example[PLACE[False]]] for example in examples])
        second_BT = (np.arange(real_BT.shape[1]) >= before_B1) & real_BT
        types["token_type_ids"] = torch.from_numpy(second_BT.astype(np.int64))
    pixels: dict[str, torch.Tensor] = {}
    if "pixel_values" in examples[0]:
        pixels["pixel_values"] = torch.from_numpy(np.stack([example["pixel_values"] for example in examples]))
    return {
        **types,
        **pixels,
        "input_ids": _padded(sequences, real_BT, pad_id),
        "attention_mask": torch.from_numpy(real_BT.astype(np.int64)),
        "labels": _targets([example["target"] for example in examples], real_BT),
    }


def collate_packed(blocks: Sequence[Sequence[Mapping[str, Any]]], *, pad_id: int) -> dict[str, torch.Tensor]:
    """`input_ids`, `attention_mask` and `labels` (B, T) int64 of blocks of several rows, each of which stays apart.

    The mask has the number of each token's row in its block, from 1, and 0 for padding; `labels` are of each token.
    """
    sequences = [np.concatenate([row["input_ids"] for row in block]) for block in blocks]
    real_BT = _real(sequences)
    numbers = [np.repeat(np.arange(1, len(block) + 1), [len(row["input_ids"]) for row in block]) for block in blocks]
    targets = [np.concatenate([row["target"] for row in block]) for block in blocks]
    return {
        "input_ids": _padded(sequences, real_BT, pad_id),
        "attention_mask": _padded(numbers, real_BT, 0),
        "labels": _padded(targets, real_BT, NO_LABEL),
    }


def batch_of(
    data: TrainingData, numbers: np.ndarray, *, packed: bool, n_targets: np.ndarray | None
) -> tuple[np.ndarray, dict[str, torch.Tensor]]:
    """A batch of some training rows, with their numbers in the order in which it has them.

    With `packed` its examples are blocks of several rows, as `collate_packed` makes them. `n_targets` (N,): where the
    loss is the mean over targets, how many each row has; the batch then has `weights` (B,), those of each example.
    """
    train, pad_id = data.train, data.pad_id
    if packed:
        examples = [numbers[block] for block in packed_into(train.lengths[numbers], size=data.max_tokens)]
        batch = collate_packed([[train[row] for row in rows] for rows in examples], pad_id=pad_id)
    else:
        examples = np.split(numbers, len(numbers))
        batch = collate([train[row] for row in numbers], pad_id=pad_id)
    if n_targets is not None:
        batch["weights"] = torch.tensor([int(n_targets[rows].sum()) for rows in examples])
    return np.concatenate(examples), batch


def _with_sources(examples: Sequence[Mapping[str, Any]], pad_id: int) -> dict[str, torch.Tensor]:
    begins = [example[BEGINS] for example in examples]
    ids = [example["input_ids"] for example in examples]
    sources = [own[:begin] for own, begin in zip(ids, begins, strict=True)]
    written = [own[begin:] for own, begin in zip(ids, begins, strict=True)]
    targets = [example["target"][begin:] for example, begin in zip(examples, begins, strict=True)]
    real_BT, real_BU = _real(sources), _real(written)
    return {
        "input_ids": _padded(sources, real_BT, pad_id),
        "attention_mask": torch.from_numpy(real_BT.astype(np.int64)),
        "decoder_input_ids": _padded(written, real_BU, pad_id),
        "labels": _padded(targets, real_BU, NO_LABEL),
    }


def _real(sequences: Sequence[Sized]) -> np.ndarray:
    """(B, T) bool: the places of a batch that are none of padding."""
    lengths_B = np.array([len(ids) for ids in sequences])
    return np.arange(lengths_B.max()) < lengths_B[:, None]


def _sequences(examples: Sequence[Mapping[str, Any]]) -> list[Sequence[int]]:
    place = PLACE[True]
    if place not in examples[0]:
        return [example["input_ids"] for example in examples]
    firsts = [example["input_ids"][: example[place]] for example in examples]
    return firsts + [example["input_ids"][example[place] :] for example in examples]


def by_row(out: Any, batch: Mapping[str, torch.Tensor]) -> Any:
    """The outputs of a batch's sequences, an array or a tensor, by its rows: of two sequences a row (B, 2, K)."""
    rows = len(batch["labels"])
    return out if len(out) == rows else out.reshape(2, rows, -1).swapaxes(0, 1)


def _padded(values: Sequence[np.ndarray | Sequence[int]], real_BT: np.ndarray, fill: int) -> torch.Tensor:
    padded_BT = np.full(real_BT.shape, fill, dtype=np.int64)
    padded_BT[real_BT] = np.concatenate(values)
    return torch.from_numpy(padded_BT)


def _targets(targets_B: Sequence[Any], real_BT: np.ndarray) -> torch.Tensor:
    first = np.asarray(targets_B[0])
    if first.ndim and first.dtype.kind != "f":  # the numbers of tokens are whole ones
        return _padded(targets_B, real_BT, NO_LABEL)
    numbers = np.asarray(targets_B)
    return torch.from_numpy(numbers.astype(np.float32 if first.dtype.kind == "f" else np.int64))


def first_batches(rows: TokenRows, *, count: int, pad_id: int, batch_size: int = 32) -> list[dict[str, torch.Tensor]]:
    """The first `count` rows, or all where there are fewer, in batches of their order.

    They are for computations row by row, whose results depend on `batch_size` by rounding alone.
    """
    numbers = range(min(count, len(rows)))
    return [
        collate([rows[number] for number in numbers[start : start + batch_size]], pad_id=pad_id)
        for start in numbers[::batch_size]
    ]
