"""What plug-ins are: frozen records of functions. Nothing heavy is imported here."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import nn

    from stages.params import ModelParams


class RawRow(NamedTuple):
    """A row as a source gives it; nothing is judged yet."""

    text: str | None
    label: str | None
    origin: str  # where it stands, stable over machines: "train.csv:17", "pandas/core/frame.py:DataFrame.head"
    split: str | None = None  # train, validation, test, or None where the source brings no splits
    group: str | None = None  # rows of one label that belong together, and so to the same split; None: a row by itself
    kept: str | None = None  # the columns of ingest.keep_columns, as a JSON object of texts and nulls


def as_kept(columns: Sequence[str], values: Sequence[Any]) -> str | None:
    """The `kept` of a row: its values of `columns`; None where there are no columns."""
    if not columns:
        return None
    texts = [as_text(value) for value in values]
    return json.dumps(dict(zip(columns, texts, strict=True)), ensure_ascii=False, sort_keys=True)


def as_text(value: Any) -> str | None:
    """A cell of a source as a text: 1.0 is "1", True "true"; None and NaN are missing; bytes must be UTF-8."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return None if math.isnan(value) else str(int(value)) if value.is_integer() else str(value)
    if isinstance(value, bytes):
        return value.decode("utf-8")
    return (
        json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)
        if isinstance(value, dict | list)
        else str(value)
    )


@dataclass(frozen=True)
class Task:
    """What one NLP task does differently.

    B examples, C classes, T tokens.
    """

    families: frozenset[str]
    """The model families that can learn it."""
    encode: Callable[..., dict[str, list[Any]]]
    """encode(rows, *, tokenizer, labels, max_tokens): columns of clean rows -> columns of numbers."""
    collate: Callable[..., dict[str, torch.Tensor]]
    """collate(examples, *, pad_id): a list of examples -> padded tensors (B, T), and `labels` (B,)."""
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    """loss(logits_BC, labels_B): a scalar, the mean over B."""
    score: Callable[[Sequence[int], Sequence[int]], dict[str, float]]
    """score(labels, predicted): accuracy and macro_f1, each in [0, 1]."""


@dataclass(frozen=True)
class Family:
    """How one family of models is built, taken apart, written and opened."""

    build: Callable[[Path, ModelParams, int], nn.Module]
    """build(folder, model, n_labels): pretrained weights and a new head; call with input_ids, attention_mask (B, T)."""
    parts: Callable[[nn.Module], Mapping[str, nn.Module]]
    """The modules `encoder`, `embeddings` (inside the encoder) and `head`."""
    student: Callable[[nn.Module, Sequence[int]], nn.Module]
    """student(teacher, layers): a copy of the teacher that has only those layers."""
    write: Callable[[nn.Module, Path], None]
    """write(model, folder): config.json and model.safetensors, byte-stable."""
    open: Callable[[Path], nn.Module]
    """open(folder): the model that `write` wrote there, in evaluation mode."""


@dataclass(frozen=True)
class Runner:
    """An opened model, whatever runs it."""

    labels: tuple[str, ...]
    predict: Callable[[Sequence[str]], np.ndarray]
    """predict(texts): probabilities (N, C), float32, in the order of the texts."""


@dataclass(frozen=True)
class Answers:
    """What one model said of the test rows, for the measures. N rows, C labels."""

    runner: Runner
    texts: Sequence[str]
    columns: Mapping[str, Sequence[str | None]]
    """Other columns of the rows, by name: `label`, and those that `ingest.keep_columns` carries along."""
    truth_N: np.ndarray
    """Positions in `runner.labels` of the true labels."""
    predicted_N: np.ndarray
    """Positions in `runner.labels` of the labels given."""
    probabilities_NC: np.ndarray
    seed: int
