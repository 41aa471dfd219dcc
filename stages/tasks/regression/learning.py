"""The training of a regressor: squared errors of standardised numbers. B examples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from stages.core.contracts import Head
from stages.tasks.contract import TaskLearning
from stages.tasks.regression import scores


def squared_error(
    numbers_B1: torch.Tensor,
    targets_B: torch.Tensor,
    *,
    label_smoothing: float = 0.0,
    class_weights_C: torch.Tensor | None = None,
) -> torch.Tensor:
    """(B,): of each example, in squared deviations; 0 without a target. ValueError for what is about labels."""
    if label_smoothing or class_weights_C is not None:
        raise ValueError(
            "params.yaml: finetune.label_smoothing and finetune.class_weights are about labels. Allowed for regression:"
            " 0.0, none."
        )
    known_B = ~targets_B.isnan()
    errors_B = numbers_B1.float()[:, 0] - torch.where(known_B, targets_B, 0.0)
    return torch.where(known_B, errors_B.square(), 0.0)


def distilled(
    student_B1: torch.Tensor, teacher_B1: torch.Tensor, _mask_BT: torch.Tensor, *, temperature: float
) -> torch.Tensor:
    """(B,): the squared difference, whatever the `temperature`, which softens probabilities."""
    assert temperature > 0
    return (student_B1.float() - teacher_B1.float()).square()[:, 0]


def score(targets_N: Sequence[float], numbers_N: Sequence[np.ndarray]) -> dict[str, float]:
    """Of standardised numbers, which change no measure but the error: that is in deviations."""
    return scores.score(targets_N, [float(number[0]) for number in numbers_N])


LEARNING = TaskLearning(
    head=lambda _: Head("row", 1), loss=squared_error, distilled=distilled, score=score, guess=lambda _: 1.0
)
