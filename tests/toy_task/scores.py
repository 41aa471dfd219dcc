"""The share of right answers."""

from __future__ import annotations

from collections.abc import Sequence


def right(truths: Sequence[str], answers: Sequence[str]) -> float:
    """In [0, 1]."""
    return sum(one == other for one, other in zip(truths, answers, strict=True)) / len(truths)
