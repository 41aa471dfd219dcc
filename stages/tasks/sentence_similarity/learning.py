"""The training of vectors: cosines near to the data's numbers, or a query's own text nearest to it among a batch's.

B examples, K numbers of a vector.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from stages.core.contracts import Head
from stages.tasks.contract import Space, TaskLearning
from stages.tasks.sentence_similarity import scores
from stages.tasks.shared.contrastive import contrastive
from stages.tasks.shared.distillation import kd_loss
from stages.tasks.shared.ranking import ranks
from stages.tasks.shared.without_labels import refuse_labels

SCALE = 20.0  # of cosines that a softmax is taken of: a temperature of 0.05
GUESSED_FROM = 64  # texts of a batch, one of which a model that knows nothing takes


def loss(
    vectors_B2K: torch.Tensor,
    targets_BC: torch.Tensor,
    *,
    label_smoothing: float = 0.0,
    class_weights_C: torch.Tensor | None = None,
) -> torch.Tensor:
    """(B,): the squared error of each row's cosine, (B, 1) targets; or of pairs, (B, 2), `contrastive`.

    0 without a target, which no other row is told apart from either. ValueError for what is about labels.
    """
    refuse_labels(label_smoothing, class_weights_C)
    first_BK, second_BK = vectors_B2K.float().unbind(1)
    known_B = ~targets_BC.isnan().any(1)
    if targets_BC.shape[1] > 1:
        return torch.where(known_B, contrastive(first_BK @ second_BK.T, targets_BC, known_B, scale=SCALE), 0.0)
    errors_B = (first_BK * second_BK).sum(1) - torch.where(known_B, targets_BC[:, 0], 0.0)
    return torch.where(known_B, errors_B.square(), 0.0)


def distilled(
    student_B2K: torch.Tensor, teacher_B2K: torch.Tensor, _mask_BT: torch.Tensor, *, temperature: float
) -> torch.Tensor:
    """(B,): how far the student's cosines are from the teacher's, whose vectors may have another width.

    KL(teacher || student) of each text's cosines with all second texts of the batch, softened, times temperature
    squared, the mean of both directions; and the squared difference of the row's own cosine.
    """
    student_BB, teacher_BB = (side.float()[:, 0] @ side.float()[:, 1].T for side in (student_B2K, teacher_B2K))
    directions = ((student_BB, teacher_BB), (student_BB.T, teacher_BB.T))
    there_B, back_B = (kd_loss(SCALE * one, SCALE * other, temperature=temperature) for one, other in directions)
    return (there_B + back_B) / 2 + (student_BB - teacher_BB).diagonal().square()


def score(targets_N: Sequence[Sequence[float]], vectors_N: Sequence[np.ndarray]) -> dict[str, float]:
    """The measures that the targets have. Rows without a target are passed by."""
    targets_NC, vectors_N2K = np.asarray(targets_N), np.stack(vectors_N)
    known_N = ~np.isnan(targets_NC).any(1)
    targets_NC, vectors_N2K = targets_NC[known_N], vectors_N2K[known_N]
    if targets_NC.shape[1] == 1:
        return scores.score_of_numbers(targets_NC[:, 0], scores.similarity(vectors_N2K))
    return scores.score_of_ranks(ranks(vectors_N2K[:, 0], vectors_N2K[:, 1], *targets_NC.T))


def guess(space: Space) -> float:
    """A cosine that is half the range from its number; or one text of a batch taken by chance."""
    return 0.25 if space["targets"] == "numbers" else math.log(GUESSED_FROM)


LEARNING = TaskLearning(
    head=lambda _: Head("vector", 0), loss=loss, distilled=distilled, score=score, guess=guess, whole_batch=True
)
