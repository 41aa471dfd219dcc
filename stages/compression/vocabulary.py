"""Vocabulary pruning: the tokens that a corpus uses, and enough others that any text can still be written with them."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from stages.compression.refusals import vocabulary_fault
from stages.core.files import read_json, write_json


def cut_tokenizer(whole: Path, cut: Path, used: Iterable[int], *, common: int) -> list[int]:
    """Write to `cut` the tokenizer (tokenizer.json) `whole` with only the `tokens_to_keep`, which are returned.

    Raises ValueError where it is of a kind that cannot be cut.
    """
    original = read_json(whole)
    kept = tokens_to_keep(original, used, common=common)
    write_json(cut, with_vocabulary(original, kept))
    _refuse_other_special_tokens(whole, cut, kept)
    return kept


def tokens_to_keep(tokenizer: dict[str, Any], used: Iterable[int], *, common: int) -> list[int]:
    """The ids to keep, ascending, of the WordPiece `tokenizer` (tokenizer.json).

    They are the special tokens, those that are `used`, the first `common` whole words (WordPiece learners number words
    by frequency), and each single character, at the start of a word and within one, with any token that is the only way
    to write a character. So every text that could be written before still can be, if in smaller pieces.

    Raises ValueError for a tokenizer of another type.
    """
    if fault := vocabulary_fault(tokenizer):
        raise ValueError(fault)
    model = tokenizer["model"]
    prefix, vocabulary = model["continuing_subword_prefix"], model["vocab"]
    special = {token["id"] for token in tokenizer["added_tokens"]} | {vocabulary[model["unk_token"]]}
    pieces = {number: piece for piece, number in vocabulary.items() if number not in special}
    within = {number: piece.startswith(prefix) for number, piece in pieces.items()}
    letters = {number: piece[len(prefix) :] if within[number] else piece for number, piece in pieces.items()}
    single = {(within[number], text) for number, text in letters.items() if len(text) == 1}
    words = [
        number for number in sorted(pieces) if not within[number] and len(letters[number]) > 1
        and not _is_unused(letters[number])
    ]  # fmt: skip
    needed = {
        number
        for number, text in letters.items()
        if len(text) == 1 or not _can_be_spelled(number, text, within, single)
    }
    return sorted(special | set(used) | set(words[:common]) | needed)


def _is_unused(piece: str) -> bool:
    """Whether the piece stands for no text: BERT's vocabularies have unused places."""
    return piece.startswith("[unused") and piece.endswith("]")


def _can_be_spelled(number: int, text: str, within: dict[int, bool], single: set[tuple[bool, str]]) -> bool:
    """Whether the piece can be written with single characters."""
    return _is_unused(text) or all((within[number] or at > 0, character) in single for at, character in enumerate(text))


def with_vocabulary(tokenizer: dict[str, Any], kept: list[int]) -> dict[str, Any]:
    """The WordPiece `tokenizer` with only the tokens `kept`, renumbered in that order throughout."""
    number = {old: new for new, old in enumerate(kept)}
    cut = copy.deepcopy(tokenizer)
    cut["model"]["vocab"] = {
        piece: number[old] for piece, old in sorted(tokenizer["model"]["vocab"].items(), key=lambda x: x[1])
        if old in number
    }  # fmt: skip
    for token in cut["added_tokens"]:
        token["id"] = number[token["id"]]
    around = cut.get("post_processor") or {}
    for special in around.get("special_tokens", {}).values():  # TemplateProcessing
        special["ids"] = [number[old] for old in special["ids"]]
    for end in ("cls", "sep"):  # BertProcessing
        if end in around:
            around[end][1] = number[around[end][1]]
    return cut


def _refuse_other_special_tokens(whole: Path, cut: Path, kept: list[int]) -> None:
    """Raise ValueError where the cut tokenizer puts other special tokens around texts than the whole one."""
    tokenizers = [Tokenizer.from_file(str(path)) for path in (whole, cut)]
    before, after = (of.encode("").ids + of.encode("", "").ids for of in tokenizers)
    if [kept[number] if number < len(kept) else -1 for number in after] != before:
        raise ValueError(
            "params.yaml: prune.vocabulary is corpus, and this tokenizer puts its special tokens around a text in a way"
            " that cannot be renumbered yet. Allowed for it: all."
        )
