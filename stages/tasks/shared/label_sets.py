"""Sets of labels as texts, one for each set: '["politics","sports"]', '[]'; and as a matrix. N rows, C labels."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Sequence

import numpy as np


def as_text(labels: Iterable[str]) -> str:
    """The labels as one canonical text: compact JSON, sorted, each once."""
    return json.dumps(sorted(set(labels)), separators=(",", ":"), ensure_ascii=False)


@functools.lru_cache(maxsize=1 << 16)
def from_text(text: str) -> tuple[str, ...]:
    """The labels of such a text, sorted. Raises ValueError where it is no list of texts."""
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, list) or not all(isinstance(label, str) for label in found):
        raise ValueError(f"{text[:80]!r} is no list of labels. Allowed: a JSON list of texts, [] for none.")
    return tuple(sorted(set(found)))


def held(sets_N: Sequence[Sequence[str]], labels: Sequence[str]) -> np.ndarray:
    """(N, C) bool: whether a row's set holds a label. Raises KeyError for a label that is not among `labels`."""
    place = {label: number for number, label in enumerate(labels)}
    found_NC = np.zeros((len(sets_N), len(labels)), dtype=bool)
    for row, names in enumerate(sets_N):
        found_NC[row, [place[name] for name in names]] = True
    return found_NC
