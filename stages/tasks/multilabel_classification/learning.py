"""The training of a multi-label classifier: the binary cross-entropy of each label. B examples, C labels."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional

from stages.core.contracts import Head
from stages.tasks.contract import Space, TaskLearning
from stages.tasks.multilabel_classification import scores
from stages.tasks.shared.probabilities import sigmoid


def loss(
    logits_BC: torch.Tensor,
    targets_BC: torch.Tensor,
    *,
    label_smoothing: float = 0.0,
    class_weights_C: torch.Tensor | None = None,
) -> torch.Tensor:
    """(B,): of each example the mean over the labels of their cross-entropy, in nats; 0 without a target.

    Computed in float32. Smoothed targets are `label_smoothing` nearer to a half. `class_weights_C`: how much a label
    counts where it holds; where it does not, it counts 1, smoothed or not.
    """
    known_BC = ~targets_BC.isnan()
    smooth_BC = torch.where(known_BC, targets_BC, 0.0) * (1 - label_smoothing) + label_smoothing / 2
    of_labels_BC = functional.binary_cross_entropy_with_logits(logits_BC.float(), smooth_BC, reduction="none")
    if class_weights_C is not None:
        of_labels_BC = of_labels_BC * torch.where(targets_BC > 0.5, class_weights_C.to(targets_BC.device), 1.0)
    return torch.where(known_BC, of_labels_BC, 0.0).mean(1)


def distilled(
    student_BC: torch.Tensor, teacher_BC: torch.Tensor, _mask_BT: torch.Tensor, *, temperature: float
) -> torch.Tensor:
    """(B,): KL(teacher || student) of the softened labels, times temperature squared; the mean over the labels.

    In nats. Each label is a choice of two, to which Hinton et al. 2015, arXiv:1503.02531, section 2, is applied.
    """
    student_BC, teacher_BC = student_BC.float() / temperature, teacher_BC.float() / temperature
    holds_BC = teacher_BC.sigmoid()
    if_holds_BC = functional.logsigmoid(teacher_BC) - functional.logsigmoid(student_BC)
    if_not_BC = functional.logsigmoid(-teacher_BC) - functional.logsigmoid(-student_BC)
    return (holds_BC * if_holds_BC + (1 - holds_BC) * if_not_BC).mean(1) * temperature**2


def score(targets_N: Sequence[Sequence[float]], logits_N: Sequence[np.ndarray]) -> dict[str, float]:
    """The measures of labels whose logit is above 0. Rows without a target are passed by."""
    targets_NC, logits_NC = np.asarray(targets_N), np.asarray(logits_N)
    known_N = ~np.isnan(targets_NC).any(1)
    return scores.score(targets_NC[known_N] > 0.5, logits_NC[known_N] > 0)


def fitted(targets_N: Sequence[Sequence[float]], logits_N: Sequence[np.ndarray], space: Space, measure: str) -> Space:
    """The space with `thresholds`, by label. Rows without a target are passed by."""
    targets_NC, logits_NC = np.asarray(targets_N), np.asarray(logits_N)
    known_N = ~np.isnan(targets_NC).any(1)
    return scores.fitted(targets_NC[known_N] > 0.5, sigmoid(logits_NC[known_N]), space, measure)


def class_weights(targets_NC: np.ndarray, _space: Space) -> np.ndarray:
    """(C,): for each label, such that the rows that have it count as much as those that do not."""
    holds_C = (targets_NC > 0.5).sum(0)
    return (len(targets_NC) - holds_C).clip(min=1) / holds_C.clip(min=1)


def holds(targets_NC: np.ndarray, _space: Space) -> np.ndarray:
    """(N, C) bool: each row's labels."""
    return targets_NC > 0.5


LEARNING = TaskLearning(
    head=lambda space: Head("row", len(space["labels"])), loss=loss, distilled=distilled, score=score,
    guess=lambda _: math.log(2), outputs_apart=True, class_weights=class_weights, holds=holds,
    names=lambda space: space["labels"], fitted=fitted,
)  # fmt: skip
