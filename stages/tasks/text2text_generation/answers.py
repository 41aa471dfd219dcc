"""The answers of a model that writes a target from its source.

Asked for a source it writes: the outputs are the logarithms of the probabilities of the tokens that it wrote, and the
text. Asked for a pair of source and target, they are those of the target's own tokens. N rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from stages.tasks.contract import Likelihood, Outputs, Space, TaskAnswers
from stages.tasks.shared.likelihood import agreement, divergence, mean_probability, of_rows, tokens
from stages.tasks.shared.written import BITS, canonical, in_a_line


def answers(outputs: Outputs, _space: Space) -> list[str]:
    """The written texts, in canonical form."""
    assert outputs.written is not None
    return [canonical(text) for text in outputs.written]


def losses(_truths: Sequence[str], told: Outputs, _space: Space) -> np.ndarray:
    """(N,): the nats of each target, from the outputs for source and target; NaN where a model gives none."""
    return np.where(tokens(told) > 0, -of_rows(told), np.nan)


def score(truths: Sequence[str], given: Sequence[str], _space: Space) -> dict[str, float]:
    """Each measure of the written texts, in [0, 1]."""
    from stages.tasks.text2text_generation import scores  # sacrebleu, which a released model must not need

    return scores.score(truths, given)


def bits_per_byte(truths: Sequence[str], told: Outputs) -> float:
    """How many bits a byte of the targets takes; with its sign turned, so that higher is better."""
    return float(of_rows(told).sum()) / BITS / max(1, sum(len(truth.encode("utf-8")) for truth in truths))


def record(outputs: Outputs, row: int, _text: str, _space: Space) -> dict[str, Any]:
    """The written text, and how sure the model was: the geometric mean of its tokens' probabilities."""
    assert outputs.written is not None
    sure = float(mean_probability(outputs)[row])
    return {"written": outputs.written[row], "probability": None if np.isnan(sure) else round(sure, 6)}


def shown(record: Mapping[str, Any]) -> str:
    """The text in a line, and how sure the model was of it."""
    if record["written"] is None:
        return "null"
    sure = "" if record["probability"] is None else f"\t{record['probability']:.4f}"
    return f"{in_a_line(record['written'])}{sure}"


ANSWERS = TaskAnswers(
    activate=lambda values: values, size=lambda _: 1, answers=answers, confidence=None, losses=losses, score=score,
    divergence=divergence, agreement=agreement, record=record, shown=shown,
    nothing={"written": None, "probability": None}, likelihood=Likelihood("bits_per_byte", bits_per_byte),
)  # fmt: skip
