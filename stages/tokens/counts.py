"""The statistics of `tokenize`: lengths in tokens, tokens lost by truncation, unknown tokens; and their limits."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from stages.core.paths import SPLITS

EXAMPLES = 5  # of rows that were cut
LANGUAGES = {"CJK": "Chinese", "HIRAGANA": "Japanese", "KATAKANA": "Japanese", "HANGUL": "Korean"}
SYMBOLS = "emoji and symbols"
READERS = {  # what to name: models that are known to read it, by what it is
    True: "a byte-level one such as FacebookAI/roberta-base",
    False: "a multilingual one such as intfloat/multilingual-e5-small or distilbert/distilbert-base-multilingual-cased",
}


def statistics(full_lengths: np.ndarray, row_ids: np.ndarray, max_tokens: int, *, windows: bool) -> dict[str, Any]:
    """Statistics of the lengths in tokens before truncation, and of the truncation itself.

    They hold the shares of rows and of tokens that were cut, some of those rows, and the number of windows a row.
    """
    lengths = full_lengths[full_lengths > 0]  # further windows of a text have none
    lost = np.zeros_like(lengths) if windows else np.maximum(lengths - max_tokens, 0)
    return {
        "rows": len(lengths),
        "mean_tokens": round(float(lengths.mean()), 3),
        "p95_tokens": round(float(np.percentile(lengths, 95)), 3),
        "truncated_share": round(float((lost > 0).mean()), 6),
        "truncated_rows": row_ids[lost > 0][:EXAMPLES].tolist(),
        "lost_token_share": round(float(lost.sum() / lengths.sum()), 6),
        "windows_per_row": round(len(full_lengths) / len(lengths), 3),
    }


def beyond(
    report: Mapping[str, Any], max_tokens: int, *, max_truncated_share: float | None, max_unknown_share: float | None
) -> Iterator[tuple[str, str]]:
    """The name of each limit that a split's counts in `report` exceed, with a message."""
    for split in SPLITS:
        of = report[split]
        if max_truncated_share is not None and of["truncated_share"] > max_truncated_share:
            yield "max_truncated_share", _too_long(split, of, max_truncated_share, max_tokens)
        if max_unknown_share is not None and of["unknown_share"] > max_unknown_share:
            yield "max_unknown_share", _unread(split, of, max_unknown_share, is_trained="vocabulary" in report)


def _too_long(split: str, of: Mapping[str, Any], limit: float, max_tokens: int) -> str:
    return (
        f"tokens: truncated_share of {split}: found {of['truncated_share']:.4g}, allowed {limit:g} or less. "
        f"tokenize.max_tokens is {max_tokens}; 95 in 100 texts have {of['p95_tokens']:g} or "
        f"less, so raise it. Rows: {', '.join(of['truncated_rows'])}."
    )


def _unread(split: str, of: Mapping[str, Any], limit: float, *, is_trained: bool) -> str:
    kinds = kinds_of(of["unknown_words"])
    shown = ", ".join(f"'{word}'" for word in of["unknown_words"])
    nothing = f", and nothing at all of {of['unread_rows']:,} of {of['rows']:,} rows" if of["unread_rows"] else ""
    reader = READERS[kinds == [SYMBOLS]]
    step = (
        "It was learned from the training rows: set tokenize.tokenizer to pretrained, with a model.name that can"
        if is_trained
        else f"Name a model that can in model.name, {reader}, or set tokenize.tokenizer to trained"
    )
    return (
        f"tokens: unknown_share of {split}: found {of['unknown_share']:.4g}, allowed {limit:g} or less. The tokenizer"
        f" cannot read such as {shown} ({', '.join(kinds)}){nothing}. {step}. Rows: {', '.join(of['unknown_rows'])}."
    )


def kinds_of(words: Sequence[str]) -> list[str]:
    """The scripts, or for some the languages, of the words; the commonest first."""
    kinds: dict[str, int] = {}
    for character in "".join(words):
        kind = unicodedata.category(character)[0]
        if kind in "LS":
            script = unicodedata.name(character, "unnamed").partition(" ")[0].partition("-")[0]
            name = SYMBOLS if kind == "S" else LANGUAGES.get(script, script.capitalize())
            kinds[name] = kinds.get(name, 0) + 1
    return sorted(kinds, key=lambda name: (-kinds[name], name)) or ["other characters"]
