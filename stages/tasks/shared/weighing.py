"""The weights of classes, for the examples that have them."""

from __future__ import annotations

import torch


def weights_of(class_weights_C: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The weight of each label, in the shape of `labels`; anything where there is none (below 0)."""
    return class_weights_C.to(labels.device)[labels.clamp(min=0)]
