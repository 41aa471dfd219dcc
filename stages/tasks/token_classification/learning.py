"""The training of an entity tagger: the cross-entropy of each token's tag. B examples, T tokens, K tags."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional

from stages.core.contracts import NO_LABEL
from stages.tasks.contract import Head, TaskLearning
from stages.tasks.shared.distillation import kd_loss
from stages.tasks.shared.spans import Span, of_tags
from stages.tasks.shared.tagging import decoded
from stages.tasks.shared.weighing import weights_of
from stages.tasks.token_classification.scores import score as score_of_spans


def loss(
    logits_BTK: torch.Tensor,
    tags_BT: torch.Tensor,
    *,
    label_smoothing: float = 0.0,
    class_weights_C: torch.Tensor | None = None,
) -> torch.Tensor:
    """(B,): of each example the mean cross-entropy over its tokens with a tag, in nats; 0 where none has one.

    Computed in float32. With weights, each token is multiplied by that of its tag.
    """
    of_tokens_BT = functional.cross_entropy(
        logits_BTK.float().transpose(1, 2), tags_BT, ignore_index=NO_LABEL, reduction="none",
        label_smoothing=label_smoothing,
    )  # fmt: skip
    if class_weights_C is not None:
        of_tokens_BT = of_tokens_BT * weights_of(class_weights_C, tags_BT)
    return _mean(of_tokens_BT, tags_BT != NO_LABEL)


def distilled(
    student_BTK: torch.Tensor, teacher_BTK: torch.Tensor, mask_BT: torch.Tensor, *, temperature: float
) -> torch.Tensor:
    """(B,): KL(teacher || student) of the softened logits, times temperature squared; the mean over real tokens.

    In nats. Source: Hinton et al. 2015, arXiv:1503.02531, section 2, for each token.
    """
    return _mean(kd_loss(student_BTK, teacher_BTK, temperature=temperature), mask_BT.bool())


def _mean(of_tokens_BT: torch.Tensor, counted_BT: torch.Tensor) -> torch.Tensor:
    """(B,): the mean over the tokens that count; 0 without any."""
    summed_B = torch.where(counted_BT, of_tokens_BT, 0.0).sum(1)
    return summed_B / counted_BT.sum(1).clamp(min=1)


def score(targets_N: Sequence[np.ndarray], logits_N: Sequence[np.ndarray]) -> dict[str, float]:
    """The measures, with tokens for characters: of each row the numbers of its tags (T,) and its logits (T, K).

    Tokens without a tag are passed by, and so are rows without any.
    """
    truths, answers = [], []
    for targets, logits in zip(targets_N, logits_N, strict=True):
        targets_T = np.asarray(targets)
        counted = targets_T != NO_LABEL
        if counted.any():
            truths.append(_spans(targets_T[counted]))
            answers.append(_spans(decoded(np.asarray(logits)[counted])))
    return score_of_spans(truths, answers)


def _spans(numbers_T: np.ndarray) -> tuple[Span, ...]:
    """The spans of tags by number (O, B and I of the first type, ...), counted in tokens."""
    tags = [f"{'B' if number % 2 else 'I'}-{(number - 1) // 2}" if number else "O" for number in numbers_T.tolist()]
    return of_tags(tags, [(token, token + 1) for token in range(len(tags))])


LEARNING = TaskLearning(
    head=lambda space: Head("token", len(space["tags"])),
    loss=loss,
    distilled=distilled,
    score=score,
    guess=lambda space: math.log(len(space["tags"])),
)
