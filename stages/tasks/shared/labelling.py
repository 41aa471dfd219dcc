"""What a person is asked who labels rows, and which targets are doubted. N rows, C labels.

A task whose rows a person can label says so in its `labelling.py`, as LABELLING; one whose targets can be doubted by
what a model says of them in its `doubts.py`, as DOUBTS. No stage reads them, so a task may lack both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np

from stages.tasks.contract import Outputs, Space


@dataclass(frozen=True)
class TaskLabelling:
    """How rows of a task are labelled by a person."""

    chosen: Literal["one", "several", "number"]
    """What a target is: one of the labels, several of them or none, or a number."""
    uncertainties: Mapping[str, Callable[[Outputs, Space], np.ndarray]] = field(default_factory=dict)
    """By name, uncertainty(outputs, space): (N,) in [0, 1], how unsure a model is of each row; the first is the usual.

    Empty: outputs do not say.
    """
    likeliest: Callable[[Outputs, Space, int], list[list[str]]] = lambda outputs, _space, _count: [
        [] for _ in outputs.values
    ]
    """likeliest(outputs, space, count): of each row so many labels, the likeliest first; none where there are none."""


class Doubts(NamedTuple):
    """What a model that did not learn from N rows says of their targets."""

    quality_N: np.ndarray
    """In [0, 1]; the lower, the likelier a target is wrong."""
    flagged_N: np.ndarray
    """bool: those that the method takes for wrong, where it draws a line."""


@dataclass(frozen=True)
class TaskDoubts:
    """How targets of a task are doubted."""

    aligned: Callable[[Outputs, Space, Space], Outputs]
    """aligned(outputs, own, space): the outputs of a model that knows the space `own`, as one of `space` has them."""
    doubts: Callable[[Sequence[str], Outputs, Space], Doubts]
    """doubts(targets, outputs, space): of N targets that the space knows."""


def by_label(outputs: Outputs, own: Space, space: Space) -> Outputs:
    """Probabilities (N, own labels) as (N, labels of `space`); 0 for a label that the model does not know."""
    place = {label: at for at, label in enumerate(space["labels"])}
    found_NC = np.zeros((len(outputs.values), len(place)), dtype=outputs.values.dtype)
    found_NC[:, [place[label] for label in own["labels"]]] = outputs.values
    return outputs._replace(values=found_NC)


def likeliest_labels(outputs: Outputs, space: Space, count: int) -> list[list[str]]:
    """Of each row the `count` labels with the largest probability, the largest first; of equals the first."""
    order_NC = np.argsort(-outputs.values, axis=1, kind="stable")[:, :count]
    return [[space["labels"][at] for at in row] for row in order_NC]
