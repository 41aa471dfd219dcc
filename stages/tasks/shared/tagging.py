"""The best tags that can be: I of a type only behind B or I of it. T tokens, K tags: O, then B and I of each type.

The likeliest tag of each token alone often is an I behind an O, and cuts a span in two. On 1,000 sentences of GUM the
best sequence has an entity F1 of 0.566 where those tags have 0.489, and 0.542 where such an I counts for O. After that
it hardly matters how a word's sub-words vote: with one tag a word, by its first or by all, it is 0.569 and 0.567. So
each sub-word has its own, which needs no words, of which tokenizers, and scripts without blanks, have their own idea.
"""

from __future__ import annotations

import numpy as np


def decoded(scores_TK: np.ndarray) -> np.ndarray:
    """(T,): the numbers of the tags with the largest sum of scores (logits, or logarithms of probabilities).

    Source: Viterbi 1967, doi:10.1109/TIT.1967.1054010.
    """
    alone_T = scores_TK.argmax(1)
    inside_T = (alone_T > 0) & (alone_T % 2 == 0)
    before_T = np.concatenate([[0], alone_T[:-1]])
    if not (inside_T & (before_T != alone_T) & (before_T != alone_T - 1)).any():
        return alone_T  # nothing can be better
    return _best_path(scores_TK)


def _best_path(scores_TK: np.ndarray) -> np.ndarray:
    tokens, tags = scores_TK.shape
    begin, inside = np.arange(1, tags, 2), np.arange(2, tags, 2)
    came_from = np.zeros((tokens, tags), dtype=np.int64)
    best_K = scores_TK[0].astype(np.float64)
    best_K[inside] = -np.inf
    for token in range(1, tokens):
        came_from[token] = best_K.argmax()  # before O and B anything may stand
        came_from[token, inside] = np.where(best_K[begin] >= best_K[inside], begin, inside)
        best_K = best_K[came_from[token]] + scores_TK[token]
    path_T = np.empty(tokens, dtype=np.int64)
    path_T[-1] = best_K.argmax()
    for token in range(tokens - 1, 0, -1):
        path_T[token - 1] = came_from[token, path_T[token]]
    return path_T
