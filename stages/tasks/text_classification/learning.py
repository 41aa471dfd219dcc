"""The training of a classifier: the cross-entropy of its labels, and how far a student is from its teacher."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional

from stages.core.contracts import NO_LABEL, Head
from stages.tasks.contract import Space, TaskLearning
from stages.tasks.shared.distillation import kd_loss
from stages.tasks.shared.weighing import weights_of
from stages.tasks.text_classification import scores


def cross_entropy(
    logits_BC: torch.Tensor,
    labels_B: torch.Tensor,
    *,
    label_smoothing: float = 0.0,
    class_weights_C: torch.Tensor | None = None,
) -> torch.Tensor:
    """The cross-entropy of each of B examples, in nats, times the weight of its label; computed in float32.

    Smoothing comes first (Szegedy et al. 2016, arXiv:1512.00567, section 7): torch's own `weight` would give what it
    spreads over other labels the weights of those, and so teach a rare label to every row.
    """
    losses_B = functional.cross_entropy(
        logits_BC.float(), labels_B, ignore_index=NO_LABEL, reduction="none", label_smoothing=label_smoothing
    )
    return losses_B if class_weights_C is None else losses_B * weights_of(class_weights_C, labels_B)


def distilled(
    student_BC: torch.Tensor, teacher_BC: torch.Tensor, _mask_BT: torch.Tensor, *, temperature: float
) -> torch.Tensor:
    """Hinton et al. 2015, arXiv:1503.02531: (B,)."""
    return kd_loss(student_BC, teacher_BC, temperature=temperature)


def score(labels_N: Sequence[int], logits_NC: Sequence[np.ndarray]) -> dict[str, float]:
    """The score of the labels with the largest logits."""
    return scores.score(list(labels_N), np.asarray(logits_NC).argmax(1).tolist(), {})


def guess(space: Space) -> float:
    """The loss of who thinks all labels equally likely."""
    return math.log(max(2, len(space["labels"])))


def class_weights(labels_N: np.ndarray, space: Space) -> np.ndarray:
    """(C,) a weight for each label, such that all labels count the same and the mean over the rows is 1."""
    n_labels = len(space["labels"])
    counts_C = np.bincount(labels_N, minlength=n_labels).clip(min=1)
    return len(labels_N) / (n_labels * counts_C)


def holds(labels_N: np.ndarray, space: Space) -> np.ndarray:
    """(N, C) bool: each row's label."""
    return labels_N[:, None] == np.arange(len(space["labels"]))


LEARNING = TaskLearning(
    head=lambda space: Head("row", len(space["labels"])), loss=cross_entropy, distilled=distilled, score=score,
    guess=guess, class_weights=class_weights, holds=holds,
    names=lambda space: space["labels"],
)  # fmt: skip
