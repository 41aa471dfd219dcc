"""Tokenized rows as flat arrays."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset

from stages.files import read_json
from stages.paths import Paths


class TokenRows:
    """The rows of one split: `row_id`, `input_ids` (T,) int32 and `label`, read from Arrow.

    `lengths` (N,) int64 holds the number of tokens of each row.
    """

    def __init__(self, folder: Path) -> None:
        table = Dataset.load_from_disk(str(folder)).data.table.combine_chunks()
        tokens = table["input_ids"].combine_chunks()
        self.row_ids: list[str] = table["row_id"].to_pylist()
        self.labels: np.ndarray = table["label"].to_numpy()
        self._offsets: np.ndarray = tokens.offsets.to_numpy()
        self._values: np.ndarray = tokens.values.to_numpy()
        self.lengths: np.ndarray = np.diff(self._offsets).astype(np.int64)

    def __len__(self) -> int:
        return len(self.row_ids)

    def __getitem__(self, index: int | np.integer) -> dict[str, Any]:
        start, end = self._offsets[index], self._offsets[index + 1]
        return {"input_ids": self._values[start:end], "label": int(self.labels[index])}


@dataclass(frozen=True)
class TrainingData:
    """What one training run reads. `pad_id` fills batches; `max_tokens` is where `tokenize` cut."""

    train: TokenRows
    validation: TokenRows
    pad_id: int
    max_tokens: int


def open_training_data(paths: Paths) -> TrainingData:
    """The tokenized training and validation rows."""
    description = read_json(paths.tokens / "labels.json")
    return TrainingData(
        train=TokenRows(paths.tokens / "train"),
        validation=TokenRows(paths.tokens / "validation"),
        pad_id=description["pad_id"],
        max_tokens=description["max_tokens"],
    )
