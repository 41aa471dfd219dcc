"""The aspects of a tagger's answer: each span, by the least probability of the tags of its tokens."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from stages.tasks.contract import Outputs, Space
from stages.tasks.shared.aspects import TaskAspects, Value
from stages.tasks.shared.spans import Span, as_text, from_text
from stages.tasks.token_classification.answers import confidence


def values(answer: str, text: str, space: Space) -> list[Value]:
    """A value for each span."""
    return [
        Value(f"{span.type}: {text[span.start : span.end]}", "probability", _sure_of(span, space))
        for span in from_text(answer)
    ]


def _sure_of(span: Span, space: Space) -> Callable[[Outputs], np.ndarray]:
    def sure(outputs: Outputs) -> np.ndarray:
        assert outputs.offsets is not None
        own = _inside(outputs, span)
        assert own.offsets is not None
        found_N = confidence(own, [as_text([span])] * (len(own.offsets) - 1), space)
        return np.where(np.diff(own.offsets) > 0, found_N, 0.0)  # a text without the span's tokens has no such span

    return sure


def _inside(outputs: Outputs, span: Span) -> Outputs:
    """The outputs of the tokens that have one of the span's characters."""
    assert outputs.offsets is not None
    assert outputs.characters is not None
    inside = (outputs.characters[:, 0] < span.end) & (outputs.characters[:, 1] > span.start)
    before = np.concatenate([[0], np.cumsum(inside)])
    return outputs._replace(
        values=outputs.values[inside], offsets=before[outputs.offsets], characters=outputs.characters[inside]
    )


ASPECTS = TaskAspects(values)
