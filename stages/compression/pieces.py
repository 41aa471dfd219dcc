"""The tokens that each kind of vocabulary cannot do without, and its model with those alone.

WordPiece   un ##want ##ed       a word's pieces, the longest that fits first
BPE         un + want, + ed      characters or bytes, joined pair by pair: a joined token needs those that it is made of
Unigram     ▁un want ed          the pieces that are likeliest together
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

Model = Mapping[str, Any]
"""The section `model` of a tokenizer.json."""

WORD_MARKS = ("Ġ", "▁")  # what stands for the blank before a word, in bytes and in characters
BYTE = re.compile(r"<0x[0-9A-F]{2}>")  # a piece for a byte of a character that the vocabulary does not have


class Kind(NamedTuple):
    """What can be done with a kind of vocabulary."""

    needed: Callable[[Model, Collection[int]], set[int]]
    """needed(model, special): the tokens without which some text could not be written, or would be otherwise."""
    words: Callable[[Model, Collection[int]], Sequence[int]]
    """words(model, special): the tokens that begin a word, the most frequent first."""
    parts: Callable[[Model, Iterable[int]], set[int]]
    """parts(model, kept): these tokens, and those that they are made of."""
    cut: Callable[[Model, Mapping[int, int]], dict[str, Any]]
    """cut(model, number): the model with the tokens of `number` alone, renumbered by it."""


def _as_they_are(_model: Model, kept: Iterable[int]) -> set[int]:
    return set(kept)


def _renumbered(vocabulary: Mapping[str, int], number: Mapping[int, int]) -> dict[str, int]:
    in_turn = sorted(vocabulary.items(), key=lambda item: item[1])
    return {piece: number[old] for piece, old in in_turn if old in number}


# WordPiece


def _letters(model: Model, special: Collection[int]) -> dict[int, tuple[bool, str]]:
    """Of each token whether it stands within a word, and its characters."""
    prefix = model["continuing_subword_prefix"]
    return {
        number: (piece.startswith(prefix), piece.removeprefix(prefix))
        for piece, number in model["vocab"].items()
        if number not in special
    }


def _needed_of_wordpiece(model: Model, special: Collection[int]) -> set[int]:
    """Each single character, at the start of a word and within one, and any other token that alone has a character."""
    letters = _letters(model, special)
    single = {of for of in letters.values() if len(of[1]) == 1}
    return {
        number for number, (within, text) in letters.items()
        if len(text) == 1 or not _can_be_spelled(within, text, single)
    }  # fmt: skip


def _can_be_spelled(within: bool, text: str, single: set[tuple[bool, str]]) -> bool:
    """Whether the piece can be written with single characters."""
    return _is_unused(text) or all((within or at > 0, character) in single for at, character in enumerate(text))


def _is_unused(piece: str) -> bool:
    """Whether the piece stands for no text: BERT's vocabularies have unused places."""
    return piece.startswith("[unused") and piece.endswith("]")


def _words_of_wordpiece(model: Model, special: Collection[int]) -> list[int]:
    """WordPiece learners number words by frequency."""
    letters = sorted(_letters(model, special).items())
    return [number for number, (within, text) in letters if not within and len(text) > 1 and not _is_unused(text)]


def _cut_wordpiece(model: Model, number: Mapping[int, int]) -> dict[str, Any]:
    return {**model, "vocab": _renumbered(model["vocab"], number)}


# BPE


def _merges(model: Model) -> list[tuple[str, str, str]]:
    """Of each merge its two tokens and the one that they become."""
    prefix = len(model.get("continuing_subword_prefix") or "")
    pairs = [merge.split(" ", 1) if isinstance(merge, str) else merge for merge in model["merges"]]
    return [(left, right, left + right[prefix:]) for left, right in pairs]


def _needed_of_bpe(model: Model, _special: Collection[int]) -> set[int]:
    """Whatever no merge makes: characters or bytes."""
    made = {whole for _, _, whole in _merges(model)}
    return {number for piece, number in model["vocab"].items() if piece not in made}


def _words_of_bpe(model: Model, special: Collection[int]) -> list[int]:
    """Pairs are joined, and numbered, by frequency."""
    end = model.get("end_of_word_suffix") or ""
    return sorted(
        number for piece, number in model["vocab"].items()
        if number not in special and len(piece) > 1 and (piece.endswith(end) if end else piece.startswith(WORD_MARKS))
    )  # fmt: skip


def _parts_of_bpe(model: Model, kept: Iterable[int]) -> set[int]:
    """With all tokens on the way to it, a word's pieces are found as before: no merge that was used is gone."""
    vocabulary = model["vocab"]
    made_of: dict[int, list[int]] = {}
    for left, right, whole in _merges(model):
        made_of.setdefault(vocabulary[whole], []).extend((vocabulary[left], vocabulary[right]))
    found, waiting = set(), list(kept)
    while waiting:
        if (token := waiting.pop()) not in found:
            found.add(token)
            waiting += made_of.get(token, [])
    return found


def _cut_bpe(model: Model, number: Mapping[int, int]) -> dict[str, Any]:
    vocabulary = _renumbered(model["vocab"], number)
    kept = [
        merge
        for merge, pieces in zip(model["merges"], _merges(model), strict=True)
        if all(piece in vocabulary for piece in pieces)
    ]
    return {**model, "vocab": vocabulary, "merges": kept}


# Unigram


def _needed_of_unigram(model: Model, _special: Collection[int]) -> set[int]:
    """Single characters, pieces that alone have a character, bytes, control symbols, and the least likely piece.

    The price of a character that the vocabulary lacks is that of the least likely piece and 10 more. Control symbols
    stand for no text, and have the logarithm of no probability.
    """
    pieces, single = model["vocab"], {piece for piece, _ in model["vocab"] if len(piece) == 1}
    least = min(range(len(pieces)), key=lambda number: pieces[number][1])
    return {least, model["unk_id"]} | {
        number for number, (piece, score) in enumerate(pieces)
        if score >= 0 or not single.issuperset(piece) or len(piece) == 1 or BYTE.fullmatch(piece)
    }  # fmt: skip


def _words_of_unigram(model: Model, special: Collection[int]) -> list[int]:
    """By how likely they are."""
    words = [
        (-score, number) for number, (piece, score) in enumerate(model["vocab"])
        if number not in special and len(piece) > 1 and piece.startswith(WORD_MARKS)
    ]  # fmt: skip
    return [number for _, number in sorted(words)]


def _cut_unigram(model: Model, number: Mapping[int, int]) -> dict[str, Any]:
    in_turn = sorted((new, old) for old, new in number.items() if old < len(model["vocab"]))
    return {**model, "vocab": [model["vocab"][old] for _, old in in_turn], "unk_id": number[model["unk_id"]]}


KINDS = {
    "BPE": Kind(_needed_of_bpe, _words_of_bpe, _parts_of_bpe, _cut_bpe),
    "Unigram": Kind(_needed_of_unigram, _words_of_unigram, _as_they_are, _cut_unigram),
    "WordPiece": Kind(_needed_of_wordpiece, _words_of_wordpiece, _as_they_are, _cut_wordpiece),
}
