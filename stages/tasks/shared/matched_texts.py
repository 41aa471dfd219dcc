"""Targets and answers of pairs of texts as canonical texts: how similar the two are, or that they belong together.

target            "3.8"                      how similar they are, in the data's own unit
                  "pair 9f86d081884c7d65"    the second text belongs to the first: the digest says which one it is
answer            "0.8123"                   the cosine of their vectors
                  "0.81, rank 3"             and how many second texts are nearer to the first, plus one
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

PAIR, RANK = "pair ", ", rank "
DECIMALS = 6
BESIDE_RANK = 2  # decimals of a similarity that nothing is measured by


def digest(text: str) -> str:
    """16 hexadecimal digits."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def pair_of(text: str) -> str:
    """The target of a row whose second text is known by this text: itself, or a name of it."""
    return PAIR + digest(text)


def is_pair(target: str) -> bool:
    """Whether the target says that two texts belong together, and no number."""
    return target.startswith(PAIR)


class Found(NamedTuple):
    """An answer."""

    similarity: float
    rank: int | None = None

    def as_text(self) -> str:
        """Its canonical text."""
        if self.rank is None:
            return f"{round(self.similarity, DECIMALS) + 0.0:.{DECIMALS}g}"
        return f"{round(self.similarity, BESIDE_RANK) + 0.0:g}{RANK}{self.rank}"


def from_text(answer: str) -> Found:
    """The answer that such a text is of."""
    similarity, is_ranked, rank = answer.partition(RANK)
    return Found(float(similarity), int(rank) if is_ranked else None)
