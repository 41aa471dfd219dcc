"""Tokenizers for models from scratch, learned from the training rows, with the special tokens that each layout has.

    gpt2    byte-level BPE; <|endoftext|> begins and ends a text; nothing is put around it
    llama   byte-level BPE; <|begin_of_text|> stands before a text, <|end_of_text|> ends it
    t5      Unigram with ▁ for blanks, and bytes for rare letters; </s> stands behind a text; <pad>, <unk>

Any text can be written with them and read back, but for a blank at the beginning, and a ▁, with T5's. The same texts
give the same bytes, in any process and with any number of threads.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from stages.tokens.literal import BYTE, parting
from stages.tokens.unigram import BLANK, learn_pieces, letters_of

SEEN_TWICE = 2  # a pair of tokens that is there once is not joined


def scratch_tokenizer(kind: str, texts: Sequence[str], size: int, *, max_tokens: int) -> PreTrainedTokenizerFast:
    """The tokenizer of a model of the layout `kind`, one of LAYOUTS, with at most `size` tokens of `texts`.

    `max_tokens` is how many the model takes. Only T5's has a token for padding. Raises ValueError where `size` is less
    than the special tokens, the bytes and the letters of the texts need.
    """
    if kind not in LAYOUTS:
        raise ValueError(f"params.yaml: model.scratch.kind is '{kind}'. Allowed: {', '.join(LAYOUTS)}.")
    engine, special = LAYOUTS[kind](texts, size)
    return PreTrainedTokenizerFast(
        tokenizer_object=engine, model_max_length=max_tokens, clean_up_tokenization_spaces=False, **special
    )


def _gpt2(texts: Sequence[str], size: int) -> tuple[Tokenizer, Mapping[str, str]]:
    end = "<|endoftext|>"
    engine = _byte_level(texts, size, [end])
    engine.post_processor = processors.ByteLevel(trim_offsets=False)
    return engine, {"bos_token": end, "eos_token": end, "unk_token": end}


def _llama(texts: Sequence[str], size: int) -> tuple[Tokenizer, Mapping[str, str]]:
    begin, end = "<|begin_of_text|>", "<|end_of_text|>"
    engine = _byte_level(texts, size, [begin, end])
    around = processors.TemplateProcessing(
        single=f"{begin} $A", pair=f"{begin} $A {begin} $B:1", special_tokens=[(begin, 0)]
    )
    engine.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), around])
    return engine, {"bos_token": begin, "eos_token": end}


def _byte_level(texts: Sequence[str], size: int, special: list[str]) -> Tokenizer:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())  # the trainer numbers it so, which decides ties
    _refuse_small(size, len(special) + len(alphabet), "the special tokens and the 256 bytes")
    engine = Tokenizer(models.BPE())
    engine.pre_tokenizer, engine.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=special, initial_alphabet=alphabet, min_frequency=SEEN_TWICE,
        show_progress=False,
    )  # fmt: skip
    engine.train_from_iterator(texts, trainer)
    return engine


def _t5(texts: Sequence[str], size: int) -> tuple[Tokenizer, Mapping[str, str]]:
    padding, end, unknown = special = ["<pad>", "</s>", "<unk>"]
    before = parting(
        {"type": "Metaspace", "replacement": BLANK, "prepend_scheme": "always", "split": True}, [BYTE, *special]
    )
    words = _words(_with(Tokenizer(models.Unigram()), before), texts)
    of_bytes = [f"<0x{byte:02X}>" for byte in range(256)]
    least = len(special) + len(of_bytes)
    _refuse_small(size, least + len(letters_of(words)), "the special tokens, the 256 bytes and the common letters")
    pieces = learn_pieces(words, size - least)
    lowest = min((score for _, score in pieces), default=0.0)
    vocabulary = [*((name, 0.0) for name in special), *((name, lowest) for name in of_bytes), *pieces]
    engine = _with(Tokenizer(models.Unigram(vocabulary, special.index(unknown), byte_fallback=True)), before)
    engine.decoder = decoders.Sequence(
        [decoders.Replace(BLANK, " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    engine.post_processor = processors.TemplateProcessing(
        single=f"$A {end}", pair=f"$A {end} $B {end}", special_tokens=[(end, special.index(end))]
    )
    engine.add_special_tokens(special)
    return engine, {"eos_token": end, "pad_token": padding, "unk_token": unknown}


def _with(engine: Tokenizer, before: Mapping[str, Any]) -> Tokenizer:
    """The tokenizer with another pre-tokenizer, as tokenizer.json has it."""
    return Tokenizer.from_str(json.dumps({**json.loads(engine.to_str()), "pre_tokenizer": before}))


def _words(engine: Tokenizer, texts: Sequence[str]) -> Counter[str]:
    assert engine.pre_tokenizer is not None
    return Counter(word for text in texts for word, _ in engine.pre_tokenizer.pre_tokenize_str(text))


def _refuse_small(size: int, least: int, what: str) -> None:
    if size < least:
        raise ValueError(
            f"params.yaml: tokenize.vocabulary_size is {size}. Allowed: {least} or more, {what} of the training rows."
        )


LAYOUTS: Mapping[str, Callable[[Sequence[str], int], tuple[Tokenizer, Mapping[str, str]]]] = MappingProxyType(
    {"gpt2": _gpt2, "llama": _llama, "t5": _t5}
)
