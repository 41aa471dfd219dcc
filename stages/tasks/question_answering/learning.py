"""The training of a question answerer: the cross-entropy of an answer's first token, and of its last one.

B examples, which are windows, W windows, T tokens; of the two outputs of a token the first says how likely an answer
begins there, the second how likely it ends there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional

from stages.core.contracts import NO_LABEL
from stages.tasks.contract import Head, Space, TaskLearning
from stages.tasks.question_answering.scores import MEASURED, counted, measured, relative
from stages.tasks.shared import places
from stages.tasks.shared.distillation import kd_loss
from stages.tasks.shared.odds_threshold import best_threshold
from stages.tasks.shared.places import END, FURTHER, OUTSIDE, START, Passage

NEVER = -1e9  # a logit of no token
USUAL = 512  # tokens of a window


def loss(
    logits_BT2: torch.Tensor,
    numbers_BT: torch.Tensor,
    *,
    label_smoothing: float = 0.0,
    class_weights_C: torch.Tensor | None = None,  # noqa: ARG001 - there are no classes
) -> torch.Tensor:
    """(B,): the mean of the cross-entropies of the first and of the last token, over a window's tokens, in nats.

    0 without a target. Computed in float32.
    """
    real_BT = numbers_BT != NO_LABEL
    log_p_B2T = _log_softmax(logits_BT2, real_BT)
    wanted_B2T = torch.stack([(numbers_BT & bit > 0) & real_BT for bit in (START, END)], dim=1)
    right_B2 = torch.where(wanted_B2T, log_p_B2T, 0.0).sum(2)
    if label_smoothing:
        of_all_B2 = torch.where(real_BT[:, None], log_p_B2T, 0.0).sum(2) / real_BT.sum(1, keepdim=True).clamp(min=1)
        right_B2 = (1 - label_smoothing) * right_B2 + label_smoothing * of_all_B2
    return -right_B2.mean(1)


def _log_softmax(logits_BT2: torch.Tensor, real_BT: torch.Tensor) -> torch.Tensor:
    """(B, 2, T): the logarithms of the probabilities over the real tokens."""
    return functional.log_softmax(_over_tokens(logits_BT2, real_BT), dim=2)


def _over_tokens(logits_BT2: torch.Tensor, real_BT: torch.Tensor) -> torch.Tensor:
    """(B, 2, T) float32."""
    return logits_BT2.float().transpose(1, 2).masked_fill(~real_BT[:, None], NEVER)


def distilled(
    student_BT2: torch.Tensor, teacher_BT2: torch.Tensor, mask_BT: torch.Tensor, *, temperature: float
) -> torch.Tensor:
    """(B,): KL(teacher || student) of the softened places, times temperature squared; the mean of first and last.

    In nats. Source: Hinton et al. 2015, arXiv:1503.02531, section 2, with a window's tokens for classes.
    """
    student_B2T, teacher_B2T = (_over_tokens(one, mask_BT.bool()) for one in (student_BT2, teacher_BT2))
    return kd_loss(student_B2T, teacher_B2T, temperature=temperature).mean(1)


def score(targets_W: Sequence[np.ndarray], logits_W: Sequence[np.ndarray]) -> dict[str, float]:
    """The measures, with tokens for words: of each window the numbers of its tokens (T,), and its logits (T, 2).

    Windows without a target are passed by. A text has the likeliest answer of all its windows; and none where none is
    likelier still, if some text has none. No answer is longer than the longest true one.
    """
    found = _likeliest_of_each(targets_W, logits_W)
    least = 0.0 if any(one.of_nothing for one in found) else -math.inf
    right = [one.given if one.odds >= least else (one.of_nothing, one.of_nothing) for one in found]
    has_answer_N = np.array([not one.of_nothing for one in found], dtype=bool)
    return measured(counted(np.array(right, dtype=np.float64).reshape(-1, 2), has_answer_N))


def fitted(targets_W: Sequence[np.ndarray], logits_W: Sequence[np.ndarray], space: Space, measure: str) -> Space:
    """The space with the `threshold` by which the measure, with tokens for words, is best.

    It stays as it is where all training rows have an answer.
    """
    if not space["unanswerable"]:
        return space
    at = list(MEASURED).index(measure)
    odds = [(one.odds, one.given[at] - one.of_nothing) for one in _likeliest_of_each(targets_W, logits_W)]
    odds_N, gains_N = np.array([one for one in odds if math.isfinite(one[0])], dtype=np.float64).reshape(-1, 2).T
    return {**space, "threshold": best_threshold(odds_N, gains_N)}


class Likeliest(NamedTuple):
    """The likeliest answer of a text."""

    odds: float
    """The logarithm of its odds against none; -inf where the text has no token."""
    given: tuple[float, float]
    """Its F1 and exact match."""
    of_nothing: float
    """Those of no answer: 1 where the text has none."""


def _likeliest_of_each(targets_W: Sequence[np.ndarray], logits_W: Sequence[np.ndarray]) -> list[Likeliest]:
    """Of each text that has a target; no answer is longer than the longest true one."""
    texts = _texts(targets_W, logits_W)
    truths = [[_truth(window) for window in windows] for windows in texts]
    longest = max((one.last - one.first + 1 for own in truths for one in own if one), default=1)
    return [
        _likeliest(own, [logits_T2[_inside(targets_T)] for targets_T, logits_T2 in windows], longest)
        for own, windows in zip(truths, texts, strict=True)
    ]


Window = tuple[np.ndarray, np.ndarray]
"""The numbers of its tokens (T,), and their logits (T, 2)."""


def _texts(targets_W: Sequence[np.ndarray], logits_W: Sequence[np.ndarray]) -> list[list[Window]]:
    """The windows of each text that have a target."""
    texts: list[list[Window]] = []
    for targets, logits in zip(targets_W, logits_W, strict=True):
        targets_T = np.asarray(targets)
        if (targets_T == NO_LABEL).all():
            continue
        if not targets_T[0] & FURTHER or not texts:
            texts.append([])
        texts[-1].append((targets_T, relative(np.asarray(logits))))
    return texts


def _inside(targets_T: np.ndarray) -> np.ndarray:
    """(T,) bool: the tokens of the text, which an answer can have."""
    inside_T = (targets_T & OUTSIDE) == 0
    inside_T[0] = False
    return inside_T


def _truth(window: Window) -> Passage | None:
    """The answer in a window, by the numbers of its tokens among those of the text."""
    targets_T = window[0][_inside(window[0])]
    first, last = (np.flatnonzero(targets_T & bit) for bit in (START, END))
    return Passage(int(first[0]), int(last[0])) if len(first) and len(last) else None


def _likeliest(truths: Sequence[Passage | None], logits: Sequence[np.ndarray], longest: int) -> Likeliest:
    """The likeliest answer of a text; `logits` (T, 2) of each window's tokens of the text."""
    given: tuple[float, Passage] | None = None
    truth: Passage | None = None
    for own, logits_T2 in zip(truths, logits, strict=True):
        most_T = np.minimum(np.arange(len(logits_T2), 0, -1), longest)
        found = places.best(places.scores(logits_T2[:, 0], logits_T2[:, 1], most_T))
        if found is not None and (given is None or found[0] > given[0]):
            given, truth = found, own
    of_nothing = float(not any(truths))
    if given is None:
        return Likeliest(-math.inf, (of_nothing, of_nothing), of_nothing)
    right = (places.overlap(truth, given[1]), float(truth == given[1])) if truth else (0.0, 0.0)
    return Likeliest(given[0], right, of_nothing)


LEARNING = TaskLearning(
    head=lambda _: Head("token", 2), loss=loss, distilled=distilled, score=score, guess=lambda _: math.log(USUAL),
    whole_rows=True, fitted=fitted,
)  # fmt: skip
