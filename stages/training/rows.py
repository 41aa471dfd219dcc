"""Tokenized rows as flat arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset

from stages.core.contracts import NO_LABEL
from stages.core.files import read_json
from stages.core.paths import TRANSFER, Paths


class TokenRows:
    """The rows of one split: `row_id`, `input_ids` (T,) int32 and `label`.

    Where long texts become windows each window is a row here, behind that before it, with the `row_id` of its text.
    A row without a label has NO_LABEL. `lengths` (N,) int64 holds the number of tokens of each row; `offsets` (N + 1,)
    where each begins among all tokens; `boundaries` (N,), of pairs alone, how many tokens of each have the type 0, the
    others having the type 1.
    """

    def __init__(
        self,
        row_ids: list[str],
        labels: np.ndarray,
        offsets: np.ndarray,
        tokens: np.ndarray,
        boundaries: np.ndarray | None = None,
    ) -> None:
        self.row_ids, self.labels, self.offsets, self._tokens = row_ids, labels, offsets, tokens
        self.boundaries = boundaries
        self.lengths: np.ndarray = np.diff(offsets).astype(np.int64)

    def __len__(self) -> int:
        return len(self.row_ids)

    def __getitem__(self, index: int | np.integer) -> dict[str, Any]:
        start, end = self.offsets[index], self.offsets[index + 1]
        row = {"input_ids": self._tokens[start:end], "label": int(self.labels[index])}
        return row if self.boundaries is None else {**row, "boundary": int(self.boundaries[index])}

    def by_text(self, values: np.ndarray) -> np.ndarray:
        """The mean of values (N, ...) over the windows of each text, weighted by their tokens.

        Where each text is one row, the values are returned unchanged, to the last bit.
        """
        first = np.flatnonzero([i == 0 or self.row_ids[i] != self.row_ids[i - 1] for i in range(len(self))])
        tokens_N = self.lengths.astype(np.float64).reshape(-1, *[1] * (values.ndim - 1))
        mean = np.add.reduceat(values * tokens_N, first, axis=0) / np.add.reduceat(tokens_N, first, axis=0)
        return mean.astype(values.dtype)

    def used_tokens(self) -> list[int]:
        """The ids that occur, each once."""
        return np.unique(self._tokens[self.offsets[0] : self.offsets[-1]]).tolist()

    def renumbered(self, kept: Sequence[int]) -> TokenRows:
        """The same rows with `kept[i]` renumbered to i. Every token that occurs must be kept."""
        number = np.full(max(kept) + 1, -1, dtype=np.int32)
        number[list(kept)] = np.arange(len(kept), dtype=np.int32)
        return TokenRows(self.row_ids, self.labels, self.offsets, number[self._tokens], self.boundaries)

    def and_unlabelled(self, tokens: np.ndarray, lengths: np.ndarray) -> TokenRows:
        """These rows, followed by others without labels: `tokens` are all their tokens, `lengths` the number of each.

        For pairs they are copies: equally many of each row, one row's after the other's, each as long as the row.
        """
        names = [f"unlabelled {number}" for number in range(len(lengths))]
        labels = np.full(len(lengths), NO_LABEL, dtype=self.labels.dtype)
        repeated = None if self.boundaries is None else np.repeat(self.boundaries, len(lengths) // len(self))
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        return self.and_rows(TokenRows(names, labels, offsets, tokens, repeated))

    def and_rows(self, others: TokenRows) -> TokenRows:
        """These rows, followed by others of the same kind: single texts, or pairs."""
        both = (self, others)
        boundaries = [rows.boundaries for rows in both if rows.boundaries is not None]
        lengths = np.concatenate([rows.lengths for rows in both])
        return TokenRows(
            [*self.row_ids, *others.row_ids],
            np.concatenate([rows.labels for rows in both]),
            np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
            np.concatenate([rows._tokens[rows.offsets[0] : rows.offsets[-1]] for rows in both]),
            np.concatenate(boundaries) if boundaries else None,
        )


def first_batches(
    rows: TokenRows, collate: Callable[..., dict[str, torch.Tensor]], *, count: int, pad_id: int, batch_size: int = 32
) -> list[dict[str, torch.Tensor]]:
    """The first `count` rows, or all where there are fewer, in batches of their order.

    They are for computations row by row, whose results depend on `batch_size` by rounding alone.
    """
    numbers = range(min(count, len(rows)))
    return [
        collate([rows[number] for number in numbers[start : start + batch_size]], pad_id=pad_id)
        for start in numbers[::batch_size]
    ]


def rows_of(row_ids: list[str], labels: np.ndarray, encoded: Mapping[str, Sequence[Any]]) -> TokenRows:
    """Rows from the result of the task's `encode`."""
    input_ids = encoded["input_ids"]
    tokens = np.fromiter((token for row in input_ids for token in row), dtype=np.int32)
    boundaries = np.array(encoded["boundary"], dtype=np.int32) if "boundary" in encoded else None
    return TokenRows(row_ids, labels, np.cumsum([0, *map(len, input_ids)], dtype=np.int64), tokens, boundaries)


def read_tokens(folder: Path) -> TokenRows:
    """The rows of one split, from Arrow."""
    table = Dataset.load_from_disk(str(folder)).data.table.combine_chunks()
    tokens = table["input_ids"].combine_chunks()
    return TokenRows(
        table["row_id"].to_pylist(), table["label"].to_numpy(), tokens.offsets.to_numpy(), tokens.values.to_numpy(),
        table["boundary"].to_numpy() if "boundary" in table.column_names else None,
    )  # fmt: skip


@dataclass(frozen=True)
class TrainingData:
    """The input of one training run.

    `pad_id` fills batches; no row has more than `max_tokens`; neighbouring windows share `stride` of them (None: long
    texts were cut).
    """

    train: TokenRows
    validation: TokenRows
    pad_id: int
    max_tokens: int
    stride: int | None = None

    @property
    def reading(self) -> dict[str, Any]:
        """The settings by which texts become tokens, for model.json."""
        windows = {} if self.stride is None else {"long_texts": "windows", "stride": self.stride}
        return {"max_tokens": self.max_tokens, "pad_id": self.pad_id, **windows}


def open_training_data(paths: Paths, *, transfer: bool = False) -> TrainingData:
    """The tokenized training and validation rows; with `transfer`, the rows of that split follow those of training."""
    description = read_json(paths.tokens / "labels.json")
    train = read_tokens(paths.tokens / "train")
    if transfer and (paths.tokens / TRANSFER).is_dir():
        train = train.and_rows(read_tokens(paths.tokens / TRANSFER))
    return TrainingData(
        train=train,
        validation=read_tokens(paths.tokens / "validation"),
        pad_id=description["pad_id"],
        max_tokens=description["max_tokens"],
        stride=description.get("stride"),
    )
