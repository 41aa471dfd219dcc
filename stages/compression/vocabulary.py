"""Vocabulary pruning: the tokens that a corpus uses, and enough others that any text can still be written with them."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from stages.compression.pieces import KINDS
from stages.compression.refusals import vocabulary_fault
from stages.core.files import read_json, write_json


def cut_tokenizer(whole: Path, cut: Path, used: Iterable[int], *, common: int) -> list[int]:
    """Write to `cut` the tokenizer (tokenizer.json) `whole` with only the `tokens_to_keep`, which are returned.

    Raises ValueError where it is of a kind that cannot be cut.
    """
    original = read_json(whole)
    kept = tokens_to_keep(original, used, common=common)
    write_json(cut, with_vocabulary(original, kept))
    _refuse_other_tokens(whole, cut, kept)
    return kept


def tokens_to_keep(tokenizer: dict[str, Any], used: Iterable[int], *, common: int) -> list[int]:
    """The ids to keep, ascending, of the `tokenizer` (tokenizer.json): BPE, Unigram or WordPiece.

    They are the special tokens, those that are `used`, the first `common` words by frequency, and what KINDS needs:
    each single character, with any token that is the only way to write a character. So every text that could be written
    before still can be, if in smaller pieces, and texts of which all tokens were used are written as before.

    Raises ValueError for a tokenizer of another type.
    """
    if fault := vocabulary_fault(tokenizer):
        raise ValueError(fault)
    model = tokenizer["model"]
    kind = KINDS[model["type"]]
    special = {token["id"] for token in tokenizer["added_tokens"]}
    if isinstance(model["vocab"], dict) and (unknown := model.get("unk_token")) in model["vocab"]:
        special.add(model["vocab"][unknown])
    words = kind.words(model, special)[:common]
    return sorted(kind.parts(model, special | set(used) | set(words) | kind.needed(model, special)))


def with_vocabulary(tokenizer: dict[str, Any], kept: list[int]) -> dict[str, Any]:
    """The `tokenizer` with only the tokens `kept`, renumbered in that order throughout."""
    number = {old: new for new, old in enumerate(kept)}
    cut = copy.deepcopy(tokenizer)
    cut["model"] = KINDS[cut["model"]["type"]].cut(cut["model"], number)
    for token in cut["added_tokens"]:
        token["id"] = number[token["id"]]
    _renumber_around(cut.get("post_processor") or {}, number)
    return cut


def _renumber_around(around: dict[str, Any], number: Mapping[int, int]) -> None:
    """Renumber the special tokens that the post-processor `around` puts around a text."""
    for one in around.get("processors", ()):  # Sequence
        _renumber_around(one, number)
    if isinstance(around.get("special_tokens"), dict):  # TemplateProcessing
        for special in around["special_tokens"].values():
            special["ids"] = [number[old] for old in special["ids"]]
    for end in ("cls", "sep"):  # BertProcessing, RobertaProcessing
        if end in around:
            around[end][1] = number[around[end][1]]


def _refuse_other_tokens(whole: Path, cut: Path, kept: list[int]) -> None:
    """Raise ValueError where the cut tokenizer numbers its tokens, or puts special ones around texts, otherwise."""
    tokenizers = [Tokenizer.from_file(str(path)) for path in (whole, cut)]
    before, after = (of.encode("").ids + of.encode("", "").ids for of in tokenizers)
    names, renumbered = (of.get_vocab() for of in tokenizers)
    number = {old: new for new, old in enumerate(kept)}
    expected = {name: number[old] for name, old in names.items() if old in number}
    if [number.get(old) for old in before] != after or renumbered != expected:
        raise ValueError(
            "params.yaml: prune.vocabulary is corpus, and the special tokens of this tokenizer stand in a way that"
            " cannot be renumbered yet. Allowed for it: all."
        )
