"""The floor of text generation: an n-gram model of bytes with back-off; no pickle."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from stages.core.contracts import Outputs, Space, Text, as_one
from stages.tasks.contract import Linear, TaskBaseline
from stages.tasks.shared import byte_model

if TYPE_CHECKING:
    from stages.core.params.baseline import BaselineParams

MOST_BYTES = 20_000_000  # of training texts evenly taken


def fit(texts: Sequence[Text], _targets: Sequence[str], _space: Space, params: BaselineParams, _seed: int) -> Linear:
    """The n-grams of the training texts."""
    own = [text for text in texts if isinstance(text, str)]
    step = max(1, -(-sum(len(text.encode("utf-8", "surrogatepass")) for text in own) // MOST_BYTES))
    arrays = byte_model.fitted(own[::step], params.max_bytes)
    return Linear([], arrays, {"max_bytes": params.max_bytes})


def opened(model: Linear) -> Callable[[Sequence[Text]], Outputs]:
    """predict(texts): the logarithms of the probabilities of each text's bytes and of its end, (T, 1)."""
    longest = model.settings["max_bytes"]
    orders = byte_model.opened(model.weights, longest)

    def predict(texts: Sequence[Text]) -> Outputs:
        own = [as_one(text) for text in texts]
        found = byte_model.symbols(own, longest)
        values = byte_model.log_probabilities(orders, found).astype(np.float32)[:, None]
        places = [byte_model.characters(text) for text in own] or [np.zeros((0, 2), dtype=np.int64)]
        return Outputs(values, found.offsets, np.concatenate(places), own)

    return predict


BASELINE = TaskBaseline(fit=fit, opened=opened)
