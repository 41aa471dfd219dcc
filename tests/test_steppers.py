"""Steppers of PyTorch on models that Winnow has changed: what the cache gives is what the whole model gives."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import test_writers
import torch
from test_writers import MADE, build, family_of

from stages.backends.pytorch.stepping import stepper_of
from stages.compression.structured import cut

written = test_writers.written
SEQUENCES = [[5, 6, 7, 8, 9], [11, 12], [15]]


def pruned(kind: str, folder: Path) -> Any:
    """The model without one head of each layer, another in each, and without a third of its neurons."""
    model = build(kind, folder)
    units = family_of(kind).units(model)
    for number, heads in enumerate(units["heads"]):
        cut(heads, np.array([unit for unit in range(len(heads)) if unit != number % len(heads)]))
    for neurons in units["feed_forward"]:
        cut(neurons, np.arange(32, 96))
    return model


def whole(model: Any, ids: list[list[int]], sources: list[list[int]] | None) -> np.ndarray:
    """The logits (R, V) of what follows, each sequence by itself and without a cache."""
    found = []
    for row, own in enumerate(ids):
        read = torch.tensor([own if sources is None else sources[row]])
        more = () if sources is None else (torch.tensor([own]),)
        with torch.inference_mode():
            found.append(model(read, torch.ones_like(read), *more)[0, -1].numpy())
    return np.stack(found)


@pytest.mark.parametrize("kind", MADE)
def test_a_pruned_model_steps_as_it_reads(kind: str, written: Callable[[str], tuple[Path, Any]]) -> None:
    model = pruned(kind, written(kind)[0])
    apart = kind.startswith("t5")
    sources = SEQUENCES if apart else None
    ids = [[0], [0], [0]] if apart else SEQUENCES
    stepper = stepper_of(model.language)
    found = [stepper.begin(ids, sources)]
    expected = [whole(model, ids, sources)]
    for order in (None, [2, 0, 0, 1], [1, 2, 0, 3], None, [3, 1]):
        if order is not None:
            ids, sources = [ids[row] for row in order], sources and [sources[row] for row in order]
        ids = [[*own, 20 + row] for row, own in enumerate(ids)]
        tokens = np.array([own[-1] for own in ids], dtype=np.int64)
        found.append(stepper.step(tokens, None if order is None else np.array(order)))
        expected.append(whole(model, ids, sources))
    for one, other in zip(found, expected, strict=True):
        assert np.abs(one - other).max() < 1e-4
