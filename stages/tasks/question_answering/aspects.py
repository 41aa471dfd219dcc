"""The aspect of an answer to a question: the probability that this passage is it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from stages.tasks.contract import Outputs, Space
from stages.tasks.shared.aspects import TaskAspects, Value
from stages.tasks.shared.passages import rows_of
from stages.tasks.shared.quotes import Quote, from_text


def values(answer: str, _text: str, space: Space) -> list[Value]:
    """The value of the answer, of which there is one or none."""
    return [Value(quote.text, "probability", _probability_of(quote, space)) for quote in from_text(answer)]


def _probability_of(quote: Quote, space: Space) -> Callable[[Outputs], np.ndarray]:
    def probability(outputs: Outputs) -> np.ndarray:
        passages = [(row, row.tokens(quote)) for row in rows_of(outputs, space)]
        return np.array([row.probability(passage) if passage else 0.0 for row, passage in passages])

    return probability


ASPECTS = TaskAspects(values)
