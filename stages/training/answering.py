"""What teachers answer to rows: the logits of each, or of those that write the likeliest tokens, and inner vectors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torch import nn

from stages.core.contracts import Taps
from stages.tasks.contract import TaskLearning
from stages.training.inference import predict_logits, scores_of
from stages.training.likeliest import MeanOf, predict_likeliest
from stages.training.rows import TokenRows
from stages.training.vectors import predict_logits_and_vectors

Answers = tuple[dict[str, np.ndarray], dict[str, Any]]
"""What is kept, by name, and figures of it."""


class Teachers(NamedTuple):
    """Models of one task whose answers are kept together."""

    first: nn.Module
    """The one whose inner vectors are kept."""
    taps: Callable[[], Taps]
    """taps(): the modules that put these out."""
    others: Sequence[Callable[[], nn.Module]]
    """Each opens one."""
    task: TaskLearning
    precision: str


class Kept(NamedTuple):
    """What is to be kept besides answers, and where it passes through."""

    vectors: Sequence[str]
    """Names of inner vectors."""
    folder: Path
    """Of unnamed files, until they are written."""
    pad_id: int


def logits_of(teachers: Teachers, rows: TokenRows, validation: TokenRows, kept: Kept) -> Answers:
    """The mean of the teachers' logits, and the first one's vectors; of several the scores on validation rows."""
    how: dict[str, Any] = {"pad_id": kept.pad_id, "precision": teachers.precision}
    logits: np.ndarray
    logits, vectors = predict_logits_and_vectors(
        teachers.first, teachers.taps, kept.vectors, rows, folder=kept.folder, title="teacher's logits", **how
    )
    figures: dict[str, Any] = {}
    if teachers.others:
        answers, scored = [logits], [predict_logits(teachers.first, validation, title="validation", **how)]
        for number, opened in enumerate(teachers.others, start=2):
            model = opened()
            answers.append(predict_logits(model, rows, title=f"logits of teacher {number}", **how))
            scored.append(predict_logits(model, validation, title="validation", **how))
        logits = mean_of(answers)
        figures = _scores(teachers.task, validation, [mean_of(scored), *scored])
    return {"logits": logits, **vectors}, figures


def likeliest_of(teachers: Teachers, rows: TokenRows, validation: TokenRows, kept: Kept, *, count: int) -> Answers:
    """The `count` likeliest tokens at each place with a target, by the mean of the teachers' logits; else as above.

    Among the figures is the share of all other tokens (`rest_share`), the mean over the places.
    """
    others = [opened() for opened in teachers.others]
    asked = MeanOf([teachers.first, *others]) if others else teachers.first
    how: dict[str, Any] = {"pad_id": kept.pad_id, "precision": teachers.precision}
    found, vectors = predict_logits_and_vectors(
        asked, teachers.taps, kept.vectors, rows, folder=kept.folder, title="teacher's likeliest tokens",
        predict=partial(predict_likeliest, count=count), **how,
    )  # fmt: skip
    rest = np.exp(found["log_rest"].astype(np.float64)).mean()
    figures: dict[str, Any] = {"rest_share": round(float(rest), 6)}
    if others:
        how |= {"title": "validation", "reduced": teachers.task.reduced}
        scored = [predict_logits(model, validation, **how) for model in (asked, teachers.first, *others)]
        figures |= _scores(teachers.task, validation, scored)
    return found | vectors, figures


def mean_of(logits: Sequence[np.ndarray]) -> np.ndarray:
    """The mean of the logits of several models, of one shape each, float32."""
    return np.stack(logits).mean(axis=0, dtype=np.float32)


def _scores(task: TaskLearning, validation: TokenRows, answers: Sequence[np.ndarray]) -> dict[str, Any]:
    """Of answers to the validation rows, those of all teachers together first: their scores, and each one's."""
    together, *each = (
        {name: round(score, 6) for name, score in scores_of(one, validation, task.score).items()} for one in answers
    )
    return {"validation": together, "validation_of_each": each}
