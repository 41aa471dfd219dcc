"""Binary cross-entropy of one number."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from stages.tasks.toy_task.scores import right
from torch.nn import functional

from stages.core.contracts import Head
from stages.tasks.contract import TaskLearning


def loss(
    logits_B1: torch.Tensor,
    targets_B: torch.Tensor,
    *,
    label_smoothing: float = 0.0,
    class_weights_C: torch.Tensor | None = None,
) -> torch.Tensor:
    """(B,)."""
    known_B = ~targets_B.isnan()
    each_B = functional.binary_cross_entropy_with_logits(
        logits_B1.float()[:, 0], torch.where(known_B, targets_B, 0.0), reduction="none"
    )
    return torch.where(known_B, each_B, 0.0)


def distilled(
    student: torch.Tensor, teacher: torch.Tensor, _mask_BT: torch.Tensor, *, temperature: float
) -> torch.Tensor:
    """(B,)."""
    return ((student - teacher) / temperature).square()[:, 0]


def score(targets_N: Sequence[float], logits_N: Sequence[np.ndarray]) -> dict[str, float]:
    """The share of right answers."""
    return {"right": right([str(y > 0.5) for y in targets_N], [str(x[0] > 0) for x in logits_N])}


LEARNING = TaskLearning(
    head=lambda _: Head("row", 1), loss=loss, distilled=distilled, score=score, guess=lambda _: math.log(2)
)
