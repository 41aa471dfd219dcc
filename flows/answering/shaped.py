"""Answers in another shape: none where the model is too unsure, or the likeliest few; a task's functions wrapped."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from stages.core.contracts import Outputs, Space
from stages.tasks.contract import TaskAnswers

BY_LABEL = "probabilities"
"""The entry of a task's record that has the probability of each of its labels."""


def unsure(confidence: float, threshold: float) -> str:
    """Why an answer is withheld; `confidence` with so many digits that it looks smaller, which it is."""
    texts = (f"{confidence:.{digits}f}" for digits in range(4, 18))
    shown = next((text for text in texts if float(text) < threshold), repr(confidence))
    return f"not sure enough: {shown} is under the threshold {threshold:.15g}"


def refuse_threshold(task: TaskAnswers, noun: str) -> None:
    """Raise ValueError where models of the task have no confidence."""
    if task.confidence is None:
        raise ValueError(
            f"--threshold: a {noun} answers without a confidence, so no answer can be told to be unsure. Leave it out."
        )


def refuse_top(task: TaskAnswers, noun: str) -> None:
    """Raise ValueError where models of the task give no label a probability."""
    if BY_LABEL not in task.nothing:
        raise ValueError(f"--top: a {noun} does not give each of its answers a probability. Leave it out.")


def abstaining(task: TaskAnswers, threshold: float) -> TaskAnswers:
    """The task, with no answer, but the reason as `error`, where the confidence is under the threshold.

    `task.confidence` is not None.
    """
    known = task.confidence
    assert known is not None

    def record(outputs: Outputs, row: int, text: str, space: Space) -> dict[str, Any]:
        own = outputs.of_rows([row])
        sure = float(known(own, task.answers(own, space), space)[0])
        return task.record(outputs, row, text, space) if sure >= threshold else {"error": unsure(sure, threshold)}

    def placed(found: dict[str, Any], clean: str, asked: str) -> dict[str, Any]:
        return {**task.nothing, **found} if "error" in found else task.placed(found, clean, asked)

    return replace(task, record=record, placed=placed)


def with_top(task: TaskAnswers, count: int) -> TaskAnswers:
    """The task, with the `count` likeliest labels of each row as `top`; a line shows them all, tabs between."""

    def placed(found: dict[str, Any], clean: str, asked: str) -> dict[str, Any]:
        return {**(record := task.placed(found, clean, asked)), "top": top_of(record, count)}

    def shown(record: Mapping[str, Any]) -> str:
        if not record.get("top"):
            return "\t".join(["null"] * 2 * count)
        return "\t".join(f"{one['label']}\t{one['probability']:.4f}" for one in record["top"])

    return replace(task, placed=placed, shown=shown)


def top_of(record: Mapping[str, Any], count: int) -> list[dict[str, Any]]:
    """The likeliest labels, each with its probability, the likeliest first; none of a row without an answer."""
    by_label = record[BY_LABEL] or {}
    best = heapq.nsmallest(count, by_label, key=lambda label: -by_label[label])  # of equals the first, as a sort has it
    return [{"label": label, "probability": by_label[label]} for label in best]
