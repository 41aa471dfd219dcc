"""Logits to the scores by which tokens are chosen, as transformers' logits processors make them. V tokens, R rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

LOOKED_AT = 256  # tokens that are sorted at first: to sort all takes longer than all else


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
    """The tokens among which one is drawn, in the order of the vocabulary: (N,) int64, one at least.

    Those that are not less likely than the `top_k`-th (0: all); of these the fewest whose probabilities come to
    `top_p`. Source of the second: Holtzman et al. 2020, arXiv:1904.09751.
    """
    at_N = _largest(scores_V, top_k)
    return at_N if top_p >= 1 else np.sort(at_N[_nucleus(scores_V[at_N], top_p)])


def _nucleus(scores_N: np.ndarray, top_p: float) -> np.ndarray:
    """The places of the fewest of these scores whose probabilities come to `top_p`, the largest first; one at least.

    Scores are compared, as two may have one probability, to rounding. Of equal ones the first places are taken;
    transformers takes those that torch.sort, which promises no order of equals, puts last.
    """
    shares_N, looked_at = probabilities(scores_N), LOOKED_AT
    while True:
        at = _largest(scores_N, looked_at)
        at = at[np.argsort(-scores_N[at], kind="stable")]
        larger = np.concatenate([[0.0], shares_N[at].cumsum()[:-1]])  # the sum of those before each
        kept = max(1, int((larger < top_p).sum()))
        if kept < len(at) or len(at) == len(shares_N):
            return at[:kept]
        looked_at *= 8


def _largest(scores_N: np.ndarray, count: int) -> np.ndarray:
    """The places, in their order, of the scores that are not smaller than the `count`-th largest; 0: of all."""
    if not 0 < count < len(scores_N):
        return np.arange(len(scores_N))
    return np.flatnonzero(scores_N >= np.partition(scores_N, -count)[-count])


def probabilities(scores_N: np.ndarray) -> np.ndarray:
    """(N,) float64, summing to 1."""
    exponentials_N = np.exp(scores_N.astype(np.float64) - scores_N.max())
    return exponentials_N / exponentials_N.sum()
