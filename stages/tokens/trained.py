"""A tokenizer of the same kind as a pretrained one, trained on a corpus; and its tokens' pieces in the pretrained one.

The same texts give the same bytes, in any process and with any number of threads.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
from tokenizers import Tokenizer, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from stages.core.tokenizer_kinds import untrainable
from stages.reading.clean_rows import texts_of
from stages.tasks.contract import TaskEncoding
from stages.tokens.literal import BYTE
from stages.tokens.unigram import COVERED, learn_pieces, letters_of

SPECIAL = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")


def texts_to_read(rows: pa.Table, task: TaskEncoding) -> list[str]:
    """All that a tokenizer must read: the rows' texts, and their targets where these are written."""
    read = ((text,) if isinstance(text, str) else text[task.images :] for text in texts_of(rows))  # of images no text
    texts = [part for text in read for part in text]
    return texts + [label for label in rows["label"].to_pylist() if label] if task.writes == "target" else texts


def train_tokenizer(
    pretrained: PreTrainedTokenizerFast, texts: Sequence[str], size: int
) -> tuple[PreTrainedTokenizerFast, list[list[int]]]:
    """A tokenizer with the special tokens and the pipeline of `pretrained`, and at most `size` tokens of `texts`.

    With it comes, for each of its tokens, the number in `pretrained`, or those of its pieces there. Raises ValueError
    for a kind whose training is not reproducible, or where `size` is less than the special tokens and the characters of
    the texts need.
    """
    source = json.loads(pretrained.backend_tokenizer.to_str())
    special = [token["content"] for token in sorted(source["added_tokens"], key=lambda token: token["id"])]
    if (unknown := _unknown(source["model"])) and unknown not in special:
        special.append(unknown)
    engine = Tokenizer.from_str(json.dumps(_empty(source)))
    if source["model"]["type"] == "Unigram":
        trained = _unigram(source, engine, special, texts, size)
        vocabulary = {piece: number for number, (piece, _) in enumerate(trained["model"]["vocab"])}
    else:
        trained = _joined(source, engine, special, texts, size)
        vocabulary = trained["model"]["vocab"]
    trained["added_tokens"] = [{**token, "id": vocabulary[token["content"]]} for token in source["added_tokens"]]
    trained["post_processor"] = _renumbered(source["post_processor"], vocabulary)
    tokenizer = rebuilt(Tokenizer.from_str(json.dumps(trained)), pretrained)
    return tokenizer, _pieces(tokenizer, pretrained)


def _joined(
    source: Mapping[str, Any], engine: Tokenizer, special: Sequence[str], texts: Sequence[str], size: int
) -> dict[str, Any]:
    """The tokenizer of WordPiece or BPE, whose tokens are joined pair by pair."""
    letters = _letters(engine, texts, source["model"].get("continuing_subword_prefix") or "")
    _refuse_small(size, len(special) + len(letters))
    # The trainer numbers ## letters as its hash table has them, which decides ties: given beforehand, they are sorted.
    engine.train_from_iterator(texts, _trainer(source["model"]["type"], size, [*special, *letters], source))
    found: dict[str, Any] = json.loads(engine.to_str())
    return found


def _unigram(
    source: Mapping[str, Any], engine: Tokenizer, special: Sequence[str], texts: Sequence[str], size: int
) -> dict[str, Any]:
    """The tokenizer of Unigram. Where it writes bytes, these write the letters that hardly occur."""
    model, words = source["model"], Counter(_words(engine, texts))
    of_bytes = [piece for piece, _ in model["vocab"] if model.get("byte_fallback") and re.fullmatch(BYTE, piece)]
    covered = COVERED if of_bytes else 1.0
    first = len(special) + len(of_bytes)
    _refuse_small(size, first + len(letters_of(words, covered=covered)))
    pieces = [one for one in learn_pieces(words, size - first, covered=covered) if one[0] not in special]
    least = min((score for _, score in pieces), default=0.0)
    vocabulary = [*((name, 0.0) for name in special), *((name, least) for name in of_bytes), *pieces]
    unknown = model.get("unk_id")
    number = None if unknown is None else special.index(model["vocab"][unknown][0])
    return {**source, "model": {**model, "vocab": vocabulary, "unk_id": number}}


def _refuse_small(size: int, least: int) -> None:
    if least > size:
        raise ValueError(
            f"params.yaml: tokenize.vocabulary_size is {size}. Allowed: {least} or more, the special tokens and the"
            " characters of the training rows."
        )


def rebuilt(engine: Tokenizer, pretrained: PreTrainedTokenizerFast) -> PreTrainedTokenizerFast:
    """`engine` as a tokenizer with the special tokens and the length of `pretrained`."""
    special = {name: str(token) for name in SPECIAL if (token := getattr(pretrained, name)) is not None}
    return PreTrainedTokenizerFast(tokenizer_object=engine, model_max_length=pretrained.model_max_length, **special)


def _unknown(model: Mapping[str, Any]) -> str | None:
    """The name of the unknown token; None where there is none."""
    if model["type"] == "Unigram":
        return None if model.get("unk_id") is None else model["vocab"][model["unk_id"]][0]
    found: str | None = model.get("unk_token")
    return found


def _empty(source: Mapping[str, Any]) -> dict[str, Any]:
    """The tokenizer without tokens. Raises ValueError for a kind whose training is not reproducible."""
    model = source["model"]
    if fault := untrainable(model):
        raise ValueError(fault)
    if model["type"] == "Unigram":
        emptied = {**model, "vocab": [], "unk_id": None}
    else:
        emptied = {**model, "vocab": {}, **({"merges": []} if model["type"] == "BPE" else {})}
    return {**source, "added_tokens": [], "post_processor": None, "model": emptied}


def _letters(engine: Tokenizer, texts: Sequence[str], prefix: str) -> list[str]:
    """The characters of the texts, sorted: those at the start of a word and, with `prefix`, those within one."""
    found: set[str] = set()
    for word in _words(engine, texts):
        found.update(word)
        if prefix:
            found.update(f"{prefix}{character}" for character in word[1:])
    return sorted(found)


def _words(engine: Tokenizer, texts: Sequence[str]) -> Iterator[str]:
    for text in texts:
        normalized = engine.normalizer.normalize_str(text) if engine.normalizer else text
        yield from (
            [word for word, _ in engine.pre_tokenizer.pre_tokenize_str(normalized)]
            if engine.pre_tokenizer
            else [normalized]
        )


def _trainer(kind: str, size: int, first: list[str], source: Mapping[str, Any]) -> Any:
    if kind == "WordPiece":
        return trainers.WordPieceTrainer(
            vocab_size=size, special_tokens=first, show_progress=False,
            continuing_subword_prefix=source["model"]["continuing_subword_prefix"],
        )  # fmt: skip
    bytes_too = pre_tokenizers.ByteLevel.alphabet() if '"ByteLevel"' in json.dumps(source["pre_tokenizer"]) else []
    return trainers.BpeTrainer(
        vocab_size=size, special_tokens=first, show_progress=False, initial_alphabet=sorted(bytes_too)
    )


def _renumbered(around: Any, vocabulary: Mapping[str, int]) -> Any:
    """The post-processor, which puts special tokens around a text, with their new numbers."""
    if not isinstance(around, dict):
        return around
    changed = dict(around)
    if "processors" in changed:  # Sequence
        changed["processors"] = [_renumbered(one, vocabulary) for one in changed["processors"]]
    for end in ("cls", "sep"):  # BertProcessing, RobertaProcessing
        if end in changed:
            changed[end] = [changed[end][0], vocabulary[changed[end][0]]]
    if "special_tokens" in changed:  # TemplateProcessing
        changed["special_tokens"] = {
            name: {**one, "ids": [vocabulary[token] for token in one["tokens"]]}
            for name, one in changed["special_tokens"].items()
        }
    return changed


def _pieces(trained: PreTrainedTokenizerFast, pretrained: PreTrainedTokenizerFast) -> list[list[int]]:
    """For each token, in order, its pieces by the pretrained model, which gets it as it stands, with its ## or Ġ.

    One that it cannot write is its unknown token; where it has none, all special tokens.
    """
    known, model = pretrained.get_vocab(), pretrained.backend_tokenizer.model
    unknown = [pretrained.unk_token_id] if pretrained.unk_token_id is not None else sorted(pretrained.all_special_ids)
    tokens = sorted(trained.get_vocab().items(), key=lambda item: item[1])
    return [
        [known[token]] if token in known else [piece.id for piece in model.tokenize(token)] or unknown
        for token, _ in tokens
    ]
