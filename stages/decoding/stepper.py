"""What decoding asks of a model: the logits of the next token, from a cache that grows by a token a call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    import numpy as np


class Stepper(Protocol):
    """One batch of sequences, with its cache of keys and values."""

    def begin(self, ids: Sequence[Sequence[int]], sources: Sequence[Sequence[int]] | None) -> np.ndarray:
        """Read R sequences of any lengths, each of one token at least -> logits (R, V) of what follows each; float32.

        `sources`: of a model that reads its source apart, the tokens of each; None of others. Sequences do not see what
        fills a batch, so each has the logits that it has alone, but for rounding.
        """
        ...

    def step(self, tokens_R: np.ndarray, order_R: np.ndarray | None) -> np.ndarray:
        """Append a token to each sequence -> logits (R, V) of what follows; float32.

        Sequence r first becomes the one that was `order_R[r]` (int64): one may go on several times, or not at all, so
        that R may change. None: all go on as they are.
        """
        ...


class Prompt(NamedTuple):
    """What a text is written behind."""

    ids: Sequence[int]
    """The tokens that the written ones follow; of a model that reads its source apart, the start token."""
    source: Sequence[int] | None = None
    """The tokens of the source, of such a model."""
    context: Sequence[int] = ()
    """The last tokens of the text that is continued, so that the first written one keeps the blank before it.

    Empty where the written text stands by itself.
    """


class TokenModel(NamedTuple):
    """A model that writes tokens, and what they mean."""

    open: Callable[[], Stepper]
    """open(): a stepper, for one batch."""
    decode: Callable[[Sequence[int]], str]
    """decode(ids): their text, without special tokens; bytes that are no whole character as U+FFFD."""
    end: int
    """The token that ends a text."""
    positions: int | None = None
    """The most tokens of a prompt and what is written behind it; None: there is no such limit."""


class Written(NamedTuple):
    """A text that was written."""

    text: str
    """Without its stop string."""
    ids: list[int]
    """All tokens that were chosen, that of the end among them."""
    ended: str
    """Why nothing follows: "end" (the end token), "stop" (a stop string) or "length"."""
