"""The answers of a model that writes on: how likely a text is, and the text that it writes.

The outputs for a text are the logarithms of the probabilities of its own tokens, each given those before. The text's
answer is the sum of them, its nats. N rows, T tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from stages.tasks.contract import Outputs, Space, TaskAnswers
from stages.tasks.shared.likelihood import agreement, divergence, of_rows
from stages.tasks.shared.written import BITS, in_a_line
from stages.tasks.text_generation import scores

DECIMALS = 3  # of nats


def answers(outputs: Outputs, _space: Space) -> list[str]:
    """The nats of each text."""
    return [f"{nats:.{DECIMALS}f}" for nats in (-of_rows(outputs)).tolist()]


def losses(_truths: Sequence[str], outputs: Outputs, _space: Space) -> np.ndarray:
    """(N,): the nats of each text."""
    return -of_rows(outputs)


def score(truths: Sequence[str], given: Sequence[str], _space: Space) -> dict[str, float]:
    """Each measure with its sign turned: higher is better."""
    return scores.score(truths, given)


def record(outputs: Outputs, row: int, text: str, _space: Space) -> dict[str, Any]:
    """What was written on, where the model was asked to; how many bits a byte of the text takes, and its nats."""
    assert outputs.offsets is not None
    if outputs.written is not None:
        return {**NOTHING, "written": outputs.written[row]}
    values = outputs.values[outputs.offsets[row] : outputs.offsets[row + 1], 0].astype(np.float64)
    nats, bytes_ = -float(values.sum()) + 0.0, max(1, len(text.encode("utf-8", "surrogatepass")))
    return {"written": None, "bits_per_byte": round(nats / BITS / bytes_, 6), "nats": round(nats, DECIMALS)}


def shown(record: Mapping[str, Any]) -> str:
    """The text that was written, in a line; of a text that was only read its bits a byte."""
    if record["written"] is not None:
        return in_a_line(record["written"])
    return "null" if record["bits_per_byte"] is None else f"{record['bits_per_byte']:.4f}"


NOTHING = {"written": None, "bits_per_byte": None, "nats": None}

ANSWERS = TaskAnswers(
    activate=lambda values: values, size=lambda _: 1, answers=answers, confidence=None, losses=losses, score=score,
    divergence=divergence, agreement=agreement, record=record, shown=shown, nothing=NOTHING,
)  # fmt: skip
