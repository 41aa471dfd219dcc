"""Additional texts on which a student learns its teacher's answers: rows with some of their tokens hidden."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sized
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from tokenizers import Tokenizer

from stages.core.params.distill import CacheLogitsParams
from stages.core.tokenizer_kinds import HIDING, nothing_to_hide_behind


class Rows(Sized, Protocol):
    """Rows of tokens."""

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Row `index`, with its `input_ids`."""
        ...


def hidden_copies(rows: Rows, params: CacheLogitsParams, tokenizer: Path, seed: int) -> dict[str, np.ndarray]:
    """The tokens of the rows' copies, all together, and the number of tokens of each copy; empty without copies.

    `tokenizer`: tokenizer.json. Raises ValueError where it has no token to hide others behind.
    """
    if not params.augmented_copies:
        return {}
    reader = Tokenizer.from_file(str(tokenizer))
    special = [number for number, token in reader.get_added_tokens_decoder().items() if token.special]
    known = [number for name in HIDING if (number := reader.token_to_id(name)) is not None]
    if not known:
        raise ValueError(nothing_to_hide_behind(params.augmented_copies))
    copies = list(
        with_tokens_hidden(
            (rows[number]["input_ids"] for number in range(len(rows))), copies=params.augmented_copies,
            share=params.hidden_share, hide_as=known[0], special=special, seed=seed,
        )
    )  # fmt: skip
    return {"input_ids": np.concatenate(copies), "lengths": np.array([len(copy) for copy in copies], dtype=np.int64)}


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
