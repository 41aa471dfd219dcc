"""The pieces of a trained tokenizer's tokens: for each, its number in the pretrained one, or those of its parts."""

from __future__ import annotations

from collections.abc import Sequence


def new_tokens(pieces: Sequence[Sequence[int]]) -> int:
    """The number of tokens that the pretrained tokenizer does not have.

    Those that it has are one piece each, and no two are the same; a token that it cannot write is its unknown token.
    """
    return len(pieces) - len({old[0] for old in pieces if len(old) == 1})
