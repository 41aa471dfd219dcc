"""Texts as they are learned: each token's target is the token behind it (stages/tokens/writing.py)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from stages.tasks.contract import Space, TaskEncoding


def space(_targets: Sequence[str]) -> Space:
    """Nothing: any text can be written."""
    return {}


def targets(*_arguments: Any) -> list[Any]:
    """Never asked: targets are the tokens of the texts."""
    raise AssertionError("stages.tokens.writing makes the rows of tasks that write")


ENCODING = TaskEncoding(space=space, targets=targets, feature="list_int32", writes="text")
