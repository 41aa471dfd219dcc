"""Which image and which text each row has, as numbers beside the tokens of the text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from stages.tasks.contract import Space, TaskEncoding
from stages.tasks.shared.matched_texts import digest

DIGITS = 6  # of a digest: 24 bits, the whole numbers that a float32 holds


def targets(
    targets_N: Sequence[str | None], encodings: Sequence[Any], at: Sequence[int], _space: Space
) -> list[list[float]]:
    """For each row [number of the image, number of the text]; NaN without a target.

    Texts of the same tokens, which a model cannot tell apart, have the same number. Of thousands of images or texts two
    may share a number by chance; then each is left out of what the other is compared with.
    """
    return [
        [math.nan] * 2 if targets_N[row] is None else [_number(image), _number(" ".join(map(str, text.ids)))]
        for row, (image, text) in zip(at, encodings, strict=True)
    ]


def _number(name: str) -> float:
    return float(int(digest(name)[:DIGITS], 16))


ENCODING = TaskEncoding(space=lambda _: {}, targets=targets, feature="vector_float32", images=True)
