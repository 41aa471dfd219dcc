"""The pieces of a trained tokenizer's tokens: of each, its number in the pretrained one or its parts'."""

from __future__ import annotations

from collections.abc import Sequence


def new_tokens(pieces: Sequence[Sequence[int]]) -> int:
    """How many of the tokens the pretrained tokenizer does not have.

    Those that it has are one piece each, and no two are the same; what it cannot write at all is its unknown token.
    """
    return len(pieces) - len({old[0] for old in pieces if len(old) == 1})
