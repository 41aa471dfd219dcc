"""Answers as others read them: probabilities of six digits, where a float32 has no more to say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

DIGITS = 6
PROBABILITY = "probabilit"  # how the names of such members begin: probability, probabilities


def rounded(record: Mapping[str, Any]) -> dict[str, Any]:
    """The record of an answer with its probabilities rounded, those of its parts too; other numbers stay."""
    return {name: _rounded(value, is_likely=name.startswith(PROBABILITY)) for name, value in record.items()}


def _rounded(value: Any, *, is_likely: bool) -> Any:
    if isinstance(value, float):
        return round(value, DIGITS) if is_likely else value
    if isinstance(value, Mapping) and is_likely:  # of many labels: a call for each would take longer than its JSON
        return {
            name: round(one, DIGITS) if isinstance(one, float) else _rounded(one, is_likely=True)
            for name, one in value.items()
        }
    if isinstance(value, Mapping):
        return rounded(value)
    if isinstance(value, list):
        return [_rounded(one, is_likely=is_likely) for one in value]
    return value
