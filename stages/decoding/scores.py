"""Logits to the scores by which tokens are chosen, as transformers' logits processors make them. V tokens, R rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def log_softmax(logits_RV: np.ndarray) -> np.ndarray:
    """(R, V) float32: natural logarithms of the probabilities."""
    shifted_RV = logits_RV - logits_RV.max(axis=-1, keepdims=True)
    return shifted_RV - np.log(np.exp(shifted_RV).sum(axis=-1, keepdims=True))


def penalize(scores_V: np.ndarray, seen: Sequence[int], penalty: float) -> None:
    """Make the tokens `seen` less likely, in place: positive scores over the penalty, negative ones times it.

    Source: Keskar et al. 2019, arXiv:1909.05858, section 4.1.
    """
    at = np.unique(np.asarray(seen, dtype=np.int64))
    own = scores_V[at]
    scores_V[at] = np.where(own < 0, own * np.float32(penalty), own / np.float32(penalty))


def likeliest(scores_V: np.ndarray, *, top_k: int, top_p: float) -> np.ndarray:
    """The tokens among which one is drawn, the likeliest first: (N,) int64, one at least.

    Those that are not less likely than the `top_k`-th (0: all); of these the fewest whose probabilities come to
    `top_p`. Source of the second: Holtzman et al. 2020, arXiv:1904.09751.
    """
    at_N = np.arange(len(scores_V))
    if 0 < top_k < len(scores_V):
        at_N = np.flatnonzero(scores_V >= np.partition(scores_V, -top_k)[-top_k])
    at_N = at_N[np.argsort(-scores_V[at_N], kind="stable")]
    if top_p >= 1:
        return at_N
    # What is less likely than each token, itself included, counts: a token goes where that is under 1 - top_p.
    tail_N = probabilities(scores_V[at_N])[::-1].cumsum()[::-1]
    return at_N[: max(1, int((tail_N > 1 - top_p).sum()))]


def probabilities(scores_N: np.ndarray) -> np.ndarray:
    """(N,) float64, summing to 1."""
    exponentials_N = np.exp(scores_N.astype(np.float64) - scores_N.max())
    return exponentials_N / exponentials_N.sum()
