"""What a task says of itself: frozen records of functions, one a file of its folder, named by who reads it.

    stages/tasks/NAME/encoding.py    ENCODING    tokenize, prune
                      learning.py    LEARNING    finetune, cache_logits, distill, prune
                      answers.py     ANSWERS     quantize, and learning.py

So a changed loss has the stages from finetune on run again, and nothing before. Nothing heavy is imported here.
N rows, B examples, C classes, T tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import torch


@dataclass(frozen=True)
class TaskEncoding:
    """How rows become tokens."""

    encode: Callable[..., dict[str, list[Any]]]
    """encode(rows, *, tokenizer, labels, max_tokens, stride=None): columns of clean rows -> columns of numbers; with a
    `stride`, a row for each window. A row whose label is None gets NO_LABEL. Of pairs, `boundary` is among them: how
    many of a row's tokens have the type 0; the others have the type 1."""


@dataclass(frozen=True)
class TaskLearning:
    """What a model learns."""

    families: frozenset[str]
    """The model families that can learn it."""
    collate: Callable[..., dict[str, torch.Tensor]]
    """collate(examples, *, pad_id): a list of examples -> padded tensors (B, T), as in INPUTS, and `labels` (B,)."""
    loss: Callable[..., torch.Tensor]
    """loss(logits_BC, labels_B, *, label_smoothing=0, class_weights_C=None): a scalar, the mean over B."""
    score: Callable[[Sequence[int], np.ndarray], dict[str, float]]
    """score(labels_N, logits_NC): what the epoch is chosen by: accuracy and macro_f1, each in [0, 1]."""


@dataclass(frozen=True)
class TaskAnswers:
    """What a model's outputs say."""

    score: Callable[[Sequence[int], np.ndarray], dict[str, float]]
    """score(labels_N, outputs_NC): accuracy and macro_f1, each in [0, 1]; of logits or of probabilities."""
    agreement: Callable[[np.ndarray, np.ndarray], float]
    """agreement(one_NC, other_NC): the share of the rows to which both give the same answer."""
