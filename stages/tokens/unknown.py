"""Unknown tokens of the rows: their share, the rows that have them, and examples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stages.core.contracts import Text
from stages.reading.clean_rows import texts_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

EXAMPLES = 5  # of rows, and of words
LOOKED_AT = 200  # rows, at most, for words
WORD_CHARS = 20  # of a word


def unread(
    windows: pa.ChunkedArray, full_lengths: np.ndarray, rows: pa.Table, tokenizer: PreTrainedTokenizerFast
) -> dict[str, Any]:
    """The statistics of unknown tokens in the rows, whose tokens are given: `counts`, and `unknown_words`.

    `windows` (W,) are lists of ids; `full_lengths` (W,) as the task's `encode` gives them.
    """
    unknown = unknown_id(tokenizer)
    found, at = counts(
        np.concatenate([chunk.flatten().to_numpy() for chunk in windows.chunks]),
        pc.list_value_length(windows).to_numpy(),
        np.cumsum(full_lengths > 0) - 1,  # further windows of a text have the length 0
        rows["row_id"].to_numpy(),
        unknown=unknown,
        special=tokenizer.all_special_ids,
    )
    texts = texts_of(rows.take(pa.array(at[:LOOKED_AT])))
    return {**found, "unknown_words": unknown_words(texts, tokenizer, unknown)}


def unknown_id(tokenizer: PreTrainedTokenizerFast) -> int | None:
    """The id of the unknown token; None where there is none, or where it also stands for something else."""
    unknown = tokenizer.unk_token_id
    ends = (tokenizer.bos_token_id, tokenizer.eos_token_id)  # GPT-2 has one token for all three
    return None if unknown in (*ends, *tokenizer.backend_tokenizer.encode("").ids) else unknown


def unknown_words(texts: Sequence[Text], tokenizer: PreTrainedTokenizerFast, unknown: int | None) -> list[str]:
    """The commonest words of the texts that are unknown tokens, cut to WORD_CHARS characters."""
    found: Counter[str] = Counter()
    for text in texts:
        parts = (text,) if isinstance(text, str) else text
        read = tokenizer.backend_tokenizer.encode(*parts)
        for token, part, (start, end) in zip(read.ids, read.sequence_ids, read.offsets, strict=True):
            if token == unknown and part is not None:
                found[parts[part][start : min(end, start + WORD_CHARS)]] += 1
    return [word for word, _ in sorted(found.items(), key=lambda item: (-item[1], item[0]))[:EXAMPLES]]


def counts(
    tokens: np.ndarray, lengths: np.ndarray, row_of_window: np.ndarray, row_ids: np.ndarray, *, unknown: int | None,
    special: Collection[int],
) -> tuple[dict[str, Any], np.ndarray]:  # fmt: skip
    """Counts of `unknown` tokens, and the positions (K,) of all rows that have one.

    The counts are their share of all tokens but `special` ones, the number of rows that have no other token, and the
    rows with the largest share.

    `tokens` are those of all windows, concatenated; `lengths` (W,), 1 or more, and `row_of_window` (W,) assign them to
    windows and rows.
    """
    is_unknown = np.zeros(len(tokens), dtype=bool) if unknown is None else tokens == unknown
    is_text = is_unknown | ~np.isin(tokens, [token for token in special if token != unknown])
    starts = np.cumsum(lengths) - lengths
    missed, read = (
        np.bincount(row_of_window, np.add.reduceat(those, starts, dtype=np.int64), len(row_ids)).astype(np.int64)
        for those in (is_unknown, is_text)
    )
    with_some = np.flatnonzero(missed)
    worst = with_some[np.argsort(-missed[with_some] / read[with_some], kind="stable")]
    return {
        "unknown_share": round(float(missed.sum() / max(read.sum(), 1)), 6),
        "unread_rows": int((missed == read).sum()),
        "unknown_rows": row_ids[worst][:EXAMPLES].tolist(),
    }, worst
