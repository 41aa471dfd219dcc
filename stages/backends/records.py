"""What a user gets of each text that a model was asked about: one way for the command line, Python, files and HTTP."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from stages.core.contracts import Outputs, Runner, Space, Text, UnwritableError
from stages.tasks.contract import TaskAnswers


def records(outputs: Outputs, texts: Sequence[Text], task: TaskAnswers, space: Space) -> Iterator[dict[str, Any]]:
    """The record of each text, or pair, with its places in the text as it was asked; `outputs` are those of `texts`."""
    for number, text in enumerate(texts):
        asked = text if isinstance(text, str) else text[0]
        # Of a model with one output a row, an answer names no places of the text.
        clean = asked if outputs.texts is None else outputs.texts[number]
        yield task.placed(task.record(outputs, number, clean, space), clean, asked)


def asked(runner: Runner, texts: Sequence[Text]) -> tuple[Outputs, Mapping[int, str]]:
    """The outputs for all texts but those for which nothing can be written, and why not, by their numbers."""
    reasons: dict[int, str] = {}
    while True:
        others = [number for number in range(len(texts)) if number not in reasons]
        try:
            return runner.predict([texts[number] for number in others]), reasons
        except UnwritableError as error:  # of one kind: among the others there may be texts of another
            reasons |= {others[at]: reason for at, reason in error.reasons.items()}
