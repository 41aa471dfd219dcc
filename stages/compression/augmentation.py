"""Additional texts on which a student learns its teacher's answers: rows with some of their tokens hidden."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np


def with_tokens_hidden(
    rows: Iterable[np.ndarray], *, copies: int, share: float, hide_as: int, special: Iterable[int], seed: int
) -> Iterator[np.ndarray]:
    """`copies` of each row (T,) in which each token, except the `special` ones, is `hide_as` with probability `share`.

    The same seed gives the same rows, whatever comes before or after them.
    Source: Tang et al. 2019, arXiv:1903.12136, section 3.3 (masking).
    """
    never = np.array(sorted(special))
    for number, ids_T in enumerate(rows):
        random = np.random.default_rng([seed, number])
        for _ in range(copies):
            hidden_T = (random.random(len(ids_T)) < share) & ~np.isin(ids_T, never)
            yield np.where(hidden_T, hide_as, ids_T).astype(ids_T.dtype)
