"""The training of models that write: the likelihood of each token, given those before it.

B examples, T places, V tokens of the vocabulary, P places with a target, k likeliest tokens of a teacher.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch.nn import functional

from stages.core.contracts import NO_LABEL, Head, Space
from stages.tasks.contract import Likeliest, TaskLearning

USUAL = 10_000  # tokens of a vocabulary, about: a loss that is worse than a guess among them is no start
NOWHERE = -1e9  # a large negative number, not -inf, whose difference with itself is no number


def loss(
    logits_BTV: torch.Tensor,
    targets_BT: torch.Tensor,
    *,
    label_smoothing: float = 0.0,
    class_weights_C: torch.Tensor | None = None,
) -> torch.Tensor:
    """(B,): of each example the mean cross-entropy over its targets, in nats; 0 where it has none. In float32.

    Raises ValueError for weights of classes, of which there are none.
    """
    if class_weights_C is not None:
        raise ValueError("params.yaml: finetune.class_weights is 'balanced'. Allowed for tasks that write: none.")
    counted_BT = targets_BT != NO_LABEL
    of_places_P = functional.cross_entropy(
        logits_BTV[counted_BT].float(), targets_BT[counted_BT], reduction="none", label_smoothing=label_smoothing
    )
    return _mean(of_places_P, counted_BT)


def distilled(
    student_BTV: torch.Tensor, teacher: Likeliest, mask_BT: torch.Tensor, *, temperature: float
) -> torch.Tensor:
    """(B,): KL(teacher || student) of the softened distributions, times temperature squared; the mean over places.

    The classes are the teacher's likeliest tokens at each place, and all others together as one more. Both are softened
    as such: the probability of a class to the power of 1 / temperature, scaled to a sum of 1. Where the likeliest are
    the whole vocabulary, it is the divergence of the softened logits (Hinton et al. 2015, arXiv:1503.02531, section 2).
    In nats. `teacher`: of the places in `mask_BT`, row after row.
    """
    student_PV = student_BTV[mask_BT].float()
    gone_Pk = teacher.log_probabilities == -math.inf
    student = student_PV.gather(1, teacher.tokens).masked_fill(gone_Pk, NOWHERE)
    own = teacher.log_probabilities.masked_fill(gone_Pk, NOWHERE)
    if student.shape[1] < student_PV.shape[1] or bool(gone_Pk.any()):
        no_others_P = (~gone_Pk).sum(1) == student_PV.shape[1]  # then neither has a rest
        rest_P = teacher.log_rest.masked_fill(no_others_P, NOWHERE)
        student = torch.cat([student, _rest(student_PV, teacher.tokens, ~gone_Pk)[:, None]], 1)
        own = torch.cat([own, rest_P[:, None]], 1)
    student_log = functional.log_softmax(student / temperature, dim=1)
    teacher_log = functional.log_softmax(own / temperature, dim=1)
    each_P = functional.kl_div(student_log, teacher_log, log_target=True, reduction="none").sum(1)
    return _mean(each_P * temperature**2, mask_BT)


def _rest(logits_PV: torch.Tensor, tokens_Pk: torch.Tensor, are_there_Pk: torch.Tensor) -> torch.Tensor:
    """(P,): the logarithm of the sum of the exponentials of all logits but those of these tokens."""
    places_Pk = torch.arange(len(logits_PV), device=logits_PV.device)[:, None].expand_as(tokens_Pk)
    others_PV = logits_PV.clone()
    others_PV[places_Pk[are_there_Pk], tokens_Pk[are_there_Pk]] = NOWHERE
    return others_PV.logsumexp(1)


def likeliest(logits_PV: torch.Tensor, count: int) -> Likeliest:
    """The `count` likeliest tokens at each place, or all where there are fewer, and all others together; in float32."""
    log_PV = functional.log_softmax(logits_PV.float(), dim=1)
    log_Pk, tokens_Pk = log_PV.topk(min(count, log_PV.shape[1]), dim=1)
    rest_P = _rest(log_PV, tokens_Pk, torch.ones_like(tokens_Pk, dtype=torch.bool))
    return Likeliest(tokens_Pk, log_Pk, rest_P)


def reduced(logits_BTV: torch.Tensor, targets_BT: torch.Tensor) -> torch.Tensor:
    """(B, T, 1) float32: the log-probability of each target, in nats; 0 where there is none."""
    counted_BT = targets_BT != NO_LABEL
    found_BT = torch.zeros(targets_BT.shape, dtype=torch.float32, device=logits_BTV.device)
    found_BT[counted_BT] = -functional.cross_entropy(
        logits_BTV[counted_BT].float(), targets_BT[counted_BT], reduction="none"
    )
    return found_BT[..., None]


def _mean(of_places_P: torch.Tensor, counted_BT: torch.Tensor) -> torch.Tensor:
    """(B,): of each example the mean over its places; 0 without any."""
    of_places_BT = torch.zeros(counted_BT.shape, dtype=of_places_P.dtype, device=of_places_P.device)
    of_places_BT[counted_BT] = of_places_P
    return of_places_BT.sum(1) / counted_BT.sum(1).clamp(min=1)


def mean_log_probability(targets_N: Sequence[np.ndarray], logs_N: Sequence[np.ndarray]) -> float:
    """The mean log-probability of all targets, in nats; of each row its targets (T,), and their `reduced` (T, 1)."""
    summed = count = 0.0
    for targets, logs in zip(targets_N, logs_N, strict=True):
        counted_T = np.asarray(targets) != NO_LABEL
        summed += float(np.asarray(logs, dtype=np.float64)[counted_T, 0].sum())
        count += int(counted_T.sum())
    return summed / max(count, 1)


def learning(measures: Sequence[str]) -> TaskLearning:
    """The training of a task with these measures.

    On validation each is the mean log-probability of a token: texts are not written to choose an epoch by.
    """

    def score(targets_N: Sequence[np.ndarray], logs_N: Sequence[np.ndarray]) -> dict[str, float]:
        return dict.fromkeys(measures, mean_log_probability(targets_N, logs_N))

    head: Callable[[Space], Head] = lambda _: Head("vocabulary", 0)  # noqa: E731
    return TaskLearning(
        head=head, loss=loss, distilled=distilled, score=score, guess=lambda _: math.log(USUAL), by_tokens=True,
        reduced=reduced,
    )  # fmt: skip
