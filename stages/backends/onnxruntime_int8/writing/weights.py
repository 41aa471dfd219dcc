"""The weights of models that write, under the names that the graphs use, whatever stands in front of theirs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

Weights = Mapping[str, np.ndarray]
Config = Mapping[str, Any]


def behind(weights: Weights, known: str) -> dict[str, np.ndarray] | None:
    """The weights without what stands in front of the name `known`, wherever it does; None where no name ends so."""
    ends = [name for name in weights if name == known or name.endswith(f".{known}")]
    if not ends:
        return None
    prefix = min(ends, key=len).removesuffix(known)
    return {name.removeprefix(prefix): array for name, array in weights.items()}


def vocabulary_of(weights: Weights, table_VH: np.ndarray) -> tuple[np.ndarray, bool]:
    """The matrix that makes logits (V, H), and whether it is the table of the embeddings."""
    own = [array for name, array in weights.items() if f".{name}".endswith(".lm_head.weight")]
    if not own or (own[0].shape == table_VH.shape and np.array_equal(own[0], table_VH)):
        return table_VH, True
    return own[0], False
