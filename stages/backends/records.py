"""What a user gets of each text that a model was asked about: one way for the command line, Python, files and HTTP."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from stages.core.contracts import Outputs, Space, Text
from stages.tasks.contract import TaskAnswers


def records(outputs: Outputs, texts: Sequence[Text], task: TaskAnswers, space: Space) -> Iterator[dict[str, Any]]:
    """The record of each text, or pair, with its places in the text as it was asked; `outputs` are those of `texts`."""
    for number, text in enumerate(texts):
        asked = text if isinstance(text, str) else text[0]
        # Of a model with one output a row, an answer names no places of the text.
        clean = asked if outputs.texts is None else outputs.texts[number]
        yield task.placed(task.record(outputs, number, clean, space), clean, asked)
