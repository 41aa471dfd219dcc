"""Similarities as numbers from 0 to 1; of pairs that belong together, which query and which text they are.

Each of a row's two texts is a sequence by itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from stages.tasks.contract import Space, TargetError, TaskEncoding
from stages.tasks.shared.matched_texts import digest, is_pair

DIGITS = 6  # of a digest: 24 bits, the whole numbers that a float32 holds


def space(targets: Sequence[str]) -> Space:
    """`targets`: "numbers", with the `low` and the `high` of the training rows, or "pairs".

    Raises ValueError where there are both, and where all numbers are the same.
    """
    numbers = [float(target) for target in targets if not is_pair(target)]
    if not numbers:
        return {"targets": "pairs"}
    if others := len(targets) - len(numbers):
        raise ValueError(
            f"{len(numbers):,} training rows have a number, and {others:,} a text. Allowed: numbers that say how"
            " similar the texts of a row are, or in each row the second text again, or a name of it that is no number."
        )
    low, high = min(numbers), max(numbers)
    if low == high:
        raise ValueError(f"all training rows have the number {targets[0]}: there is nothing to learn. Add other rows.")
    return {"targets": "numbers", "low": low, "high": high}


def scaled(target: str, space: Space) -> float:
    """A number of the data as a similarity: the training rows' least is 0, their largest 1."""
    return (float(target) - space["low"]) / (space["high"] - space["low"])


def targets(
    targets_N: Sequence[str | None], encodings: Sequence[Any], at: Sequence[int], space: Space
) -> list[list[float]]:
    """For each row [similarity], or [number of the query, number of the text]; NaN without a target.

    Raises TargetError for a number among pairs, and the other way round.
    """
    are_pairs = space["targets"] == "pairs"
    found = []
    for row, pair in zip(at, encodings, strict=True):
        target = targets_N[row]
        if target is None:
            found.append([math.nan] * (1 + are_pairs))
            continue
        if is_pair(target) != are_pairs:
            raise TargetError(row, f"its target is {'a number' if are_pairs else 'a text'}, unlike the training rows'.")
        found.append([_number(text.ids) for text in pair] if are_pairs else [scaled(target, space)])
    return found


def _number(tokens: Sequence[int]) -> float:
    """The same for texts of the same tokens, which a model cannot tell apart."""
    return float(int(digest(" ".join(map(str, tokens)))[:DIGITS], 16))


ENCODING = TaskEncoding(space=space, targets=targets, feature="vector_float32", apart=True)
