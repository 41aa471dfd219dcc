"""Comparison keys of texts: their letters, marks and digits, case-folded, separated by single spaces.

Where texts of one key have several labels, their forms are compared as well, which also hold symbols: `C++` and `C#`.

ASCII texts go through a table of bytes, whole batches at once; others through Unicode's own rules.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

import daft
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stages.cleaning.batches import not_ascii
from stages.core.unseen import ASCII_CONTROL, HIDDEN_CHARACTER, without_hidden, without_selectors

PAIR_SEPARATOR = "\x1f"  # between the keys of a pair's two texts: a control character, which no key holds
_GONE = 1  # in the table: bytes that leave nothing behind
_SPACE = ord(" ")
SLICE = 512  # texts at once: what is made of them on the way then stays in the processor's cache, six times faster


def _table() -> bytes:
    """The translation table of bytes; texts with a byte beyond ASCII get their key by `_of_unicode` in the end."""
    table = bytearray(b" " * 256)
    for code in range(128):
        character = chr(code)
        if character.isalnum():
            table[code] = ord(character.lower())
        elif ASCII_CONTROL.match(character):
            table[code] = _GONE
    return bytes(table)


_TABLE = _table()


@daft.func.batch(return_dtype=daft.DataType.string(), use_process=False)
def comparison_key(texts: daft.Series) -> pa.Array:
    """The key of each text. A text without any letter or digit (emoji) is its own key."""
    return keys_of(texts.to_arrow())


def texts_of(keys: pa.Array) -> list[pa.Array]:
    """The keys of each key's texts: of single texts the keys themselves, of pairs those of the first and the second."""
    if len(keys) == 0 or PAIR_SEPARATOR not in keys[0].as_py():
        return [keys]
    both = pc.split_pattern(keys, PAIR_SEPARATOR).flatten()
    return [both.take(pa.array(np.arange(place, len(both), 2))) for place in (0, 1)]


def keys_of(array: pa.LargeStringArray) -> pa.LargeStringArray:
    """The key of each text, as `comparison_key` gives it; null where there is no text."""
    other = pc.fill_null(not_ascii(array), False)
    if not pc.any(other).as_py():
        return in_slices(_of_ascii, array)
    return pc.replace_with_mask(in_slices(_of_ascii, array), other, _of_unicode(array.filter(other)))


def _of_ascii(array: pa.LargeStringArray) -> pa.LargeStringArray:
    data, bounds = buffers(array)
    data = np.frombuffer(data.tobytes().translate(_TABLE), dtype=np.uint8)
    data, bounds = _without(data, bounds, data == _GONE)
    is_space = data == _SPACE
    again = np.zeros(len(data), dtype=bool)
    again[1:] = is_space[1:] & is_space[:-1]
    starts = bounds[:-1][np.diff(bounds) > 0]
    again[starts] = is_space[starts]
    data, bounds = _without(data, bounds, again)
    return _filled(pc.ascii_rtrim_whitespace(as_strings(data, bounds, array.is_valid())), array)


def _without(data: np.ndarray, bounds: np.ndarray, gone: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The remaining bytes, and where each text begins in them."""
    at = np.flatnonzero(gone)
    return (data[~gone], bounds - np.searchsorted(at, bounds)) if len(at) else (data, bounds)


def _of_unicode(array: pa.LargeStringArray) -> pa.LargeStringArray:
    folded = pa.array([_fold(text) for text in array.to_pylist()], pa.large_string())
    keys = pc.utf8_trim(pc.replace_substring_regex(folded, r"[^\pL\pM\pN]+", " "), " ")
    return _filled(keys, array)


def _filled(keys: pa.LargeStringArray, texts: pa.LargeStringArray) -> pa.LargeStringArray:
    """The keys; where one is empty, the folded text."""
    empty = pc.fill_null(pc.equal(keys, ""), False)
    if not pc.any(empty).as_py():
        return keys
    folded = pa.array([_fold(text) for text in texts.filter(empty).to_pylist()], pa.large_string())
    return pc.replace_with_mask(keys, empty, folded)


def _fold(text: str) -> str:
    """Lower-case letters in Unicode's compatible form, without invisible characters."""
    text = HIDDEN_CHARACTER.sub("", text)
    if text.isascii():
        return text.lower()
    return HIDDEN_CHARACTER.sub("", _compatible(_compatible(text).casefold()))


def _compatible(text: str) -> str:
    return unicodedata.normalize("NFKC", text)


# Quotes, and what ends a sentence or a part of it: texts are no others for want of them.
_QUOTES = re.compile("[\"'\u201c\u201d\u00ab\u00bb\u2018\u2019]")
_ENDS = re.compile(r"(?<=\S)[.,;:!?\u2026\u3002\uff01\uff1f]+(?=\s|$)")


def form_of(text: str) -> str:
    """The form of a text, in which readers tell texts of one key apart: with symbols, emoji, joiners, tags of flags."""
    seen = without_selectors(without_hidden(text))
    return " ".join(_ENDS.sub("", _QUOTES.sub("", _compatible(_compatible(seen).casefold()))).split())


# Scripts of which a character says as much as some letters do, and emoji.
_EMOJI = r"\x{2300}-\x{23FF}\x{2600}-\x{27BF}\x{2B00}-\x{2BFF}\x{1F000}-\x{1FAFF}"
_DENSE = rf"[\p{{Han}}\p{{Hiragana}}\p{{Katakana}}\p{{Hangul}}\p{{Bopomofo}}{_EMOJI}]"
LETTERS = 3  # that a character of those counts for


@daft.func.batch(return_dtype=daft.DataType.int64(), use_process=False)
def written(texts: daft.Series) -> pa.Array:
    """The length of each text for a reader: its characters, of which Chinese ones, say, count for LETTERS each."""
    return written_lengths(texts.to_arrow())


def written_lengths(array: pa.LargeStringArray) -> pa.Int64Array:
    """The lengths that `written` gives; null where there is no text."""
    lengths, other = pc.utf8_length(array), pc.fill_null(not_ascii(array), False)
    if pc.any(other).as_py():
        dense = pc.count_substring_regex(array.filter(other), _DENSE)
        more = pc.add(lengths.filter(other), pc.multiply(dense, LETTERS - 1))
        lengths = pc.replace_with_mask(lengths, other, more.cast(lengths.type))
    return lengths.cast(pa.int64())


def in_slices(change: Callable[[pa.Array], pa.Array], array: pa.Array) -> pa.Array:
    """Apply `change` to a few thousand texts at a time, and concatenate the results."""
    if len(array) <= SLICE:
        return change(array)
    return pa.concat_arrays([change(array.slice(at, SLICE)) for at in range(0, len(array), SLICE)])


def buffers(array: pa.LargeStringArray) -> tuple[np.ndarray, np.ndarray]:
    """The UTF-8 bytes (B,) uint8 of N texts, and where each begins and the last ends (N + 1,) int64."""
    offsets = np.frombuffer(array.buffers()[1], dtype=np.int64)[array.offset : array.offset + len(array) + 1]
    if len(array) == 0 or array.buffers()[2] is None:
        return np.empty(0, dtype=np.uint8), np.zeros(len(array) + 1, dtype=np.int64)
    data = np.frombuffer(array.buffers()[2], dtype=np.uint8)[offsets[0] : offsets[-1]]
    return data, offsets - offsets[0]


def as_strings(data: np.ndarray, offsets: np.ndarray, valid: pa.BooleanArray | None = None) -> pa.LargeStringArray:
    """The texts of which `data` (B,) uint8 are the UTF-8 bytes, from `offsets` (N + 1,) int64."""
    holds = [pa.py_buffer(np.ascontiguousarray(offsets, dtype=np.int64)), pa.py_buffer(np.ascontiguousarray(data))]
    if valid is None or pc.all(valid).as_py():
        return pa.LargeStringArray.from_buffers(len(offsets) - 1, holds[0], holds[1])
    return pc.if_else(valid, pa.LargeStringArray.from_buffers(len(offsets) - 1, holds[0], holds[1]), None)
