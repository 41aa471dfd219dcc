"""An n-gram model of bytes, which knows the probability of any text: the floor of models that write on.

What it foretells from n - 1 bytes before, it mixes with what it foretells from n - 2, and so on down to all bytes
alike: interpolated Kneser-Ney smoothing. A text begins and ends with a symbol of its own.
Source: Kneser and Ney 1995, doi:10.1109/ICASSP.1995.479394; Chen and Goodman 1999, doi:10.1006/csla.1999.0128.

N texts, T symbols to be foretold: the bytes of each text and its end.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

EDGE = 256  # the symbol before a text and behind it
SYMBOLS = 257
LONGEST = 7  # more symbols do not go into 64 bits
USUAL_DISCOUNT = 0.75  # where too few n-grams occur once or twice to tell


class Order(NamedTuple):
    """The n-grams of one length, with what is foretold behind each context."""

    keys: np.ndarray
    """int64, sorted: the symbols as one number."""
    counts: np.ndarray
    contexts: np.ndarray
    """int64, sorted: the n-grams without their last symbols, each once."""
    totals: np.ndarray
    """(contexts,): the counts behind each."""
    kinds: np.ndarray
    """(contexts,): the different symbols behind each."""
    discount: float


class Symbols(NamedTuple):
    """Texts as symbols."""

    padded: np.ndarray
    """int64: of each text n - 1 edges, its bytes, and an edge; one text behind the other."""
    at: np.ndarray
    """(T,): where in `padded` the symbols stand that are to be foretold."""
    offsets: np.ndarray
    """(N + 1,): where those of each text begin."""


def symbols(texts: Sequence[str], longest: int) -> Symbols:
    """The symbols of texts, for n-grams of up to `longest` of them."""
    before = [EDGE] * (longest - 1)
    parts = [np.frombuffer(text.encode("utf-8", "surrogatepass"), dtype=np.uint8) for text in texts]
    padded = [np.concatenate([before, part, [EDGE]]).astype(np.int64) for part in parts]
    starts = np.cumsum([0, *(len(part) for part in padded)])
    at = [np.arange(start + longest - 1, end) for start, end in itertools.pairwise(starts)]
    offsets = np.cumsum([0, *(len(part) + 1 for part in parts)])
    nothing = np.zeros(0, dtype=np.int64)
    return Symbols(np.concatenate(padded or [nothing]), np.concatenate(at or [nothing]), offsets)


def _keys(found: Symbols, length: int) -> np.ndarray:
    """(T,) int64: the `length` symbols that end with each, as one number."""
    keys = np.zeros(len(found.at), dtype=np.int64)
    for back in range(length - 1, -1, -1):
        keys = keys * SYMBOLS + found.padded[found.at - back]
    return keys


def fitted(texts: Sequence[str], longest: int) -> dict[str, np.ndarray]:
    """The n-grams of texts, as arrays by their names; lengths from 1 to `longest`, which LONGEST bounds."""
    assert 1 <= longest <= LONGEST
    found = symbols(texts, longest)
    keys, counts = np.unique(_keys(found, longest), return_counts=True)
    arrays = {f"keys.{longest}": keys, f"counts.{longest}": counts.astype(np.int32)}
    for length in range(longest - 1, 0, -1):
        # A shorter n-gram counts once for each symbol that it was seen behind.
        keys, counts = np.unique(keys % SYMBOLS**length, return_counts=True)
        arrays |= {f"keys.{length}": keys, f"counts.{length}": counts.astype(np.int32)}
    return arrays


def opened(arrays: Mapping[str, np.ndarray], longest: int) -> list[Order]:
    """The orders of a fitted model, the shortest n-grams first."""
    return [_order(arrays[f"keys.{length}"], arrays[f"counts.{length}"]) for length in range(1, longest + 1)]


def _order(keys: np.ndarray, counts: np.ndarray) -> Order:
    contexts, starts, kinds = np.unique(keys // SYMBOLS, return_index=True, return_counts=True)
    totals = np.add.reduceat(counts.astype(np.int64), starts) if len(keys) else np.zeros(0, dtype=np.int64)
    once, twice = (int((counts == times).sum()) for times in (1, 2))
    discount = once / (once + 2 * twice) if once and twice else USUAL_DISCOUNT
    return Order(keys, counts, contexts, totals, kinds, discount)


def log_probabilities(orders: Sequence[Order], found: Symbols) -> np.ndarray:
    """(T,) float64: the logarithm of the probability of each symbol, given those before it."""
    probability_T = np.full(len(found.at), 1 / SYMBOLS)
    for length, order in enumerate(orders, start=1):
        keys = _keys(found, length)
        count_T = _looked_up(order.keys, order.counts, keys)
        total_T, kinds_T = (_looked_up(order.contexts, of, keys // SYMBOLS) for of in (order.totals, order.kinds))
        own_T = np.maximum(count_T - order.discount, 0) + order.discount * kinds_T * probability_T
        probability_T = np.where(total_T > 0, own_T / np.maximum(total_T, 1), probability_T)
    return np.log(probability_T)


def _looked_up(keys: np.ndarray, values: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """(T,): the value of each key that is asked for; 0 of those that are not there."""
    if not len(keys):
        return np.zeros(len(asked), dtype=np.int64)
    at = np.minimum(np.searchsorted(keys, asked), len(keys) - 1)
    return np.where(keys[at] == asked, values[at], 0)


def characters(text: str) -> np.ndarray:
    """(T, 2): where the character of each byte stands in its text; twice its length for the end."""
    sizes = [len(character.encode("utf-8", "surrogatepass")) for character in text]
    places = np.repeat(np.arange(len(text)), sizes)
    return np.concatenate([np.stack([places, places + 1], axis=1), [[len(text), len(text)]]]).astype(np.int64)
