"""The likeliest passage of a text, of which each token says how likely it is the first one, and how likely the last.

    start   0.1  2.0  0.3         first token   one token   two   three
    end     0.0  0.5  1.0         0             0.1         0.6   1.1
                                  1             2.5         3.0   -inf
                                  2             1.3         -inf  -inf

T tokens of a text, D tokens of the longest passage.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

START, END, FURTHER, OUTSIDE = 1, 2, 4, 8
"""What a token of a window is: the first of the answer; its last; the first of a further window of a text; none of it.
"""


class Passage(NamedTuple):
    """A passage, by the numbers of its first and its last token."""

    first: int
    last: int


def scores(start_T: np.ndarray, end_T: np.ndarray, most_T: np.ndarray) -> np.ndarray:
    """(T, D) float64: in row i and column d the score of the passage of d + 1 tokens from token i on.

    `most_T`: of how many tokens a passage may be that begins at each; -inf for longer ones.
    """
    longest = int(most_T.max(initial=0))
    if longest == 0:
        return np.empty((len(start_T), 0))
    padded = np.concatenate([end_T.astype(np.float64), np.full(longest - 1, -np.inf)])
    ends_TD = np.lib.stride_tricks.sliding_window_view(padded, longest)
    return np.where(np.arange(longest) < most_T[:, None], start_T.astype(np.float64)[:, None] + ends_TD, -np.inf)


def most_tokens(characters_T2: np.ndarray, longest: int) -> np.ndarray:
    """(T,): of how many tokens a passage of `longest` characters may be that begins at each; at least of one."""
    starts_T, ends_T = characters_T2.T
    count_T = np.searchsorted(ends_T, starts_T + longest, side="right") - np.arange(len(characters_T2))
    return np.maximum(count_T, 1)


def best(scores_TD: np.ndarray) -> tuple[float, Passage] | None:
    """The largest score, and its passage: of equal ones the first, and of those the shortest; None without any."""
    if scores_TD.size == 0:
        return None
    first, more = np.unravel_index(scores_TD.argmax(), scores_TD.shape)
    return float(scores_TD[first, more]), Passage(int(first), int(first + more))


def total(scores_TD: np.ndarray, *others: float) -> float:
    """The logarithm of the sum of the exponentials of all scores, and of `others`; -inf of none."""
    every = np.concatenate([scores_TD.ravel(), others])
    largest = every.max(initial=-np.inf)
    return float(largest + np.log(np.exp(every - largest).sum())) if np.isfinite(largest) else -np.inf


def within(characters_T2: np.ndarray, start: int, end: int) -> Passage | None:
    """The tokens that share a character with those from `start` to `end` - 1; None where none does."""
    found = np.flatnonzero((characters_T2[:, 0] < end) & (start < characters_T2[:, 1]))
    return Passage(int(found[0]), int(found[-1])) if len(found) else None


def overlap(one: Passage, other: Passage) -> float:
    """F1 of their tokens: 1 where they are the same, 0 where they share none."""
    shared = min(one.last, other.last) - max(one.first, other.first) + 1
    return 2 * max(shared, 0) / (one.last - one.first + other.last - other.first + 2)
