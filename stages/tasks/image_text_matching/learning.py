"""The training of two towers: an image's own text nearest to it among a batch's, and the other way round.

B examples, K numbers of a vector. Vectors are so long that their products are cosines times the model's learned scale.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional

from stages.core.contracts import Head
from stages.tasks.contract import TaskLearning
from stages.tasks.image_text_matching import scores
from stages.tasks.shared.contrastive import contrastive
from stages.tasks.shared.distillation import kd_loss
from stages.tasks.shared.ranking import ranks_both_ways
from stages.tasks.shared.without_labels import refuse_labels

GUESSED_FROM = 64  # rows of a batch, one of which a model that knows nothing takes


def loss(
    vectors_B2K: torch.Tensor,
    targets_B2: torch.Tensor,
    *,
    label_smoothing: float = 0.0,
    class_weights_C: torch.Tensor | None = None,
) -> torch.Tensor:
    """(B,): `contrastive`; 0 without a target. ValueError for what is about labels.

    Source: Radford et al. 2021, arXiv:2103.00020, section 2.3.
    """
    refuse_labels(label_smoothing, class_weights_C)
    image_BK, text_BK = vectors_B2K.float().unbind(1)
    known_B = ~targets_B2.isnan().any(1)
    return torch.where(known_B, contrastive(image_BK @ text_BK.T, targets_B2, known_B), 0.0)


def distilled(
    student_B2K: torch.Tensor, teacher_B2K: torch.Tensor, _mask_BT: torch.Tensor, *, temperature: float
) -> torch.Tensor:
    """(B,): how far the student's similarities are from the teacher's, and its vectors where they have one width.

    KL(teacher || student) of each image's logits over all texts of the batch, softened, times temperature squared, and
    the same of each text's; the mean of both. To it comes the squared distance of the directions of student and
    teacher, the mean over image and text. Source: Yang et al. 2024, CLIP-KD, arXiv:2307.12732, which calls
    them contrastive relational and feature distillation.
    """
    student_BB, teacher_BB = (side.float()[:, 0] @ side.float()[:, 1].T for side in (student_B2K, teacher_B2K))
    there_B = kd_loss(student_BB, teacher_BB, temperature=temperature)
    similar_B = (there_B + kd_loss(student_BB.T, teacher_BB.T, temperature=temperature)) / 2
    if student_B2K.shape != teacher_B2K.shape:
        return similar_B
    student, teacher = (functional.normalize(side.float(), dim=-1) for side in (student_B2K, teacher_B2K))
    return similar_B + (student - teacher).square().sum(-1).mean(1)


def score(targets_N: Sequence[Sequence[float]], vectors_N: Sequence[np.ndarray]) -> dict[str, float]:
    """The measures. Rows without a target are passed by."""
    targets_N2, vectors_N2K = np.asarray(targets_N), np.stack(vectors_N)
    known_N = ~np.isnan(targets_N2).any(1)
    return scores.scores_of(ranks_both_ways(vectors_N2K[known_N], targets_N2[known_N]))


LEARNING = TaskLearning(
    head=lambda _: Head("vector", 0),
    loss=loss,
    distilled=distilled,
    score=score,
    guess=lambda _: math.log(GUESSED_FROM),
    whole_batch=True,
)
