"""The contract of a task: frozen records of functions, one in each file of its folder, named by its readers.

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
    """The task's encoding of rows as tokens."""

    encode: Callable[..., dict[str, list[Any]]]
    """encode(rows, *, tokenizer, labels, max_tokens, stride=None): columns of clean rows -> columns of numbers.

    With a `stride`, there is a row for each window. A row whose label is None gets NO_LABEL. For pairs there is
    `boundary`: how many of a row's tokens have the type 0; the others have the type 1.
    """


@dataclass(frozen=True)
class TaskLearning:
    """The task's training: batches, loss and score."""

    families: frozenset[str]
    """The model families that can learn it."""
    collate: Callable[..., dict[str, torch.Tensor]]
    """collate(examples, *, pad_id): a list of examples -> padded tensors (B, T), as in INPUTS, and `labels` (B,)."""
    loss: Callable[..., torch.Tensor]
    """loss(logits_BC, labels_B, *, label_smoothing=0, class_weights_C=None): a scalar, the mean over B."""
    score: Callable[[Sequence[int], np.ndarray], dict[str, float]]
    """score(labels_N, logits_NC): accuracy and macro_f1, each in [0, 1], by which the epoch is chosen."""


@dataclass(frozen=True)
class TaskAnswers:
    """The task's evaluation of a model's outputs."""

    score: Callable[[Sequence[int], np.ndarray], dict[str, float]]
    """score(labels_N, outputs_NC): accuracy and macro_f1, each in [0, 1]; of logits or of probabilities."""
    agreement: Callable[[np.ndarray, np.ndarray], float]
    """agreement(one_NC, other_NC): the share of the rows to which both give the same answer."""
