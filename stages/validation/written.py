"""Targets that are texts to be written, beside their sources: lengths, copies, and targets that come again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
import regex

from stages.core.contracts import as_label

COLUMNS = (
    "median_target_chars", "p95_target_chars", "p95_length_ratio", "copied_target_share", "repeated_target_share",
)  # fmt: skip
LANGUAGES = ("other_language", "other_target_language")  # reasons of `clean`
SHOWN = 5  # rows
_WORD = regex.compile(r"[\p{L}\p{M}\p{N}]+")  # `re` takes the vowel signs of Hindi and Thai for no letters


class Targets(NamedTuple):
    """What is found of N rows with targets, a number a column, and rows of which it is, by their ids."""

    found: Mapping[str, float]
    examples: Mapping[str, list[str]]


def targets_of(clean: pd.DataFrame) -> Targets:
    """Lengths in characters, the ratio of lengths, and the shares of copies and of targets that several rows have.

    `clean` has row_id, text and label. A ratio is that of the longer of text and target to the other, so it is 1 or
    more. Two texts are the same where they differ in case, punctuation or blanks alone. All are 0 without rows.
    """
    rows = clean.dropna(subset=["text", "label"])
    if rows.empty:
        return Targets(dict.fromkeys(COLUMNS, 0.0), {})
    source, target = rows["text"].astype(str), rows["label"].astype(str)
    chars, of_source = target.str.len(), source.str.len()
    ratio = np.maximum(chars, of_source) / np.maximum(np.minimum(chars, of_source), 1)
    key = target.map(_key)
    copied, repeated = key == source.map(_key), key.duplicated(keep=False)
    ids = rows["row_id"]
    return Targets(
        {
            "median_target_chars": float(chars.median()),
            "p95_target_chars": float(chars.quantile(0.95)),
            "p95_length_ratio": float(ratio.quantile(0.95)),
            "copied_target_share": float(copied.mean()),
            "repeated_target_share": float(repeated.mean()),
        },
        {
            "median_target_chars": _first(ids, chars.sort_values(kind="stable")),
            "p95_target_chars": _first(ids, chars.sort_values(kind="stable", ascending=False)),
            "p95_length_ratio": _first(ids, ratio.sort_values(kind="stable", ascending=False)),
            "copied_target_share": ids[copied].head(SHOWN).tolist(),
            "repeated_target_share": ids[repeated].head(SHOWN).tolist(),
        },
    )


def _first(ids: pd.Series, ordered: pd.Series) -> list[str]:
    return ids.loc[ordered.index[:SHOWN]].tolist()


def _key(text: str) -> str:
    """The letters and digits of a text in small letters; the text itself where it has none."""
    return " ".join(_WORD.findall((as_label(text) or "").casefold())) or text
