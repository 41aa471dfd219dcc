"""A model's inner vectors: caught as it runs, and kept for all rows of a split."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import nn

from stages.core.contracts import Taps
from stages.training.inference import predict_logits
from stages.training.rows import TokenRows

Answers = TypeVar("Answers")
Vectors = dict[str, torch.Tensor]
"""By name, as `values.5` or `embeddings`: (B, T, width)."""


def vector_names(kinds: Sequence[str], layers: Sequence[int]) -> list[str]:
    """The names of those kinds of vectors at those layers; embeddings have no layer."""
    return [
        name for kind in kinds for name in (["embeddings"] if kind == "embeddings" else [f"{kind}.{n}" for n in layers])
    ]


@contextmanager
def caught(taps: Taps, names: Sequence[str], *, when_training: bool = False) -> Iterator[Vectors]:
    """A dict that holds, after each run of the model, its vectors with these `names`.

    `when_training`: only those of runs in training mode. Raises ValueError for a layer that the model does not have.
    """
    vectors: Vectors = {}
    hooks = []
    try:
        for name in names:
            hooks.append(_module(taps, name).register_forward_hook(_keep(vectors, name, when_training)))
        yield vectors
    finally:
        for hook in hooks:
            hook.remove()


def _keep(vectors: Vectors, name: str, when_training: bool) -> Callable[..., None]:
    def hook(module: nn.Module, _inputs: object, output: torch.Tensor | tuple[torch.Tensor, ...]) -> None:
        if module.training or not when_training:
            vectors[name] = output[0] if isinstance(output, tuple) else output

    return hook


def _module(taps: Taps, name: str) -> nn.Module:
    kind, _, layer = name.partition(".")
    if kind == "embeddings":
        return taps.embeddings
    modules: Sequence[nn.Module] = getattr(taps, kind)
    if int(layer) >= len(modules):
        raise ValueError(
            f"params.yaml: cache_logits.layers has {layer}. Allowed: 0 to {len(modules) - 1}, as the teacher has"
            f" {len(modules)} layers."
        )
    return modules[int(layer)]


def predict_logits_and_vectors(
    model: nn.Module,
    taps: Callable[[], Taps],
    names: Sequence[str],
    rows: TokenRows,
    *,
    folder: Path,
    pad_id: int,
    precision: str,
    title: str,
    predict: Callable[..., Answers] = predict_logits,  # type: ignore[assignment]
) -> tuple[Answers, dict[str, np.ndarray]]:
    """What `predict` gives, as logits; and, by name, the vectors (tokens, width) float16 of all `rows`, row after row.

    The model runs once over the rows; its `taps` are asked for where there are `names`. The vectors are not in memory
    but in unnamed files of `folder`, which vanish with the arrays.
    """
    kept: dict[str, np.ndarray] = {}
    begins = rows.sequences
    with ExitStack() as stack:
        vectors = stack.enter_context(caught(taps(), names)) if names else {}

        def keep(numbers: np.ndarray) -> None:
            for name, vectors_BTX in vectors.items():
                found_BTX = vectors_BTX.half().cpu().numpy()
                if name not in kept:
                    kept[name] = _on_disk(folder, (int(rows.offsets[-1]), found_BTX.shape[-1]))
                for at, number in enumerate(rows.sequences_of(numbers)):
                    begin, end = begins[number], begins[number + 1]
                    kept[name][begin:end] = found_BTX[at, : end - begin]

        answers = predict(model, rows, pad_id=pad_id, precision=precision, title=title, after_batch=keep)
    return answers, kept


def _on_disk(folder: Path, shape: tuple[int, int]) -> np.ndarray:
    """An array in an unnamed file. Raises OSError where the disk has no room, which later writing would not."""
    with tempfile.TemporaryFile(dir=folder) as file:
        os.posix_fallocate(file.fileno(), 0, max(1, 2 * shape[0] * shape[1]))
        return np.memmap(file, dtype=np.float16, shape=shape)


def padded(kept: torch.Tensor, offsets: np.ndarray, rows: np.ndarray, tokens: int) -> torch.Tensor:
    """The vectors of some rows, as `predict_logits_and_vectors` kept them, as a batch (B, tokens, width) float32.

    It is padded with zeros.
    """
    batch_BTX = torch.zeros(len(rows), tokens, kept.shape[1])
    for at, row in enumerate(rows):
        start, end = int(offsets[row]), int(offsets[row + 1])
        batch_BTX[at, : end - start] = kept[start:end].float()
    return batch_BTX
