"""What of an answer can be explained by itself, where that is not a class with a column of its own. N rows.

A task that has such aspects says so in its `aspects.py`, as ASPECTS; it is the one part that a task may lack.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from stages.tasks.contract import Outputs, Space


class Value(NamedTuple):
    """A number that a model says of a text, to be asked of the text's variants too; their places are the text's."""

    name: str
    """In words: a label, `person: Ada Lovelace`."""
    unit: str
    """What the number is: "probability", "confidence", "number"."""
    of: Callable[[Outputs], np.ndarray]
    """of(outputs): (N,) float64."""


@dataclass(frozen=True)
class TaskAspects:
    """The aspects of a task's answers."""

    values: Callable[[str, str, Space], list[Value]]
    """values(answer, text, space): those of an answer to a text; none where it says nothing."""
