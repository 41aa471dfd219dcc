"""Texts that hold the names of special tokens are read as text, by every kind of tokenizer."""

from __future__ import annotations

import pytest
from test_fast_tokenizers import CORPUS, KINDS, fast
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

from stages.tokens.literal import literal


def t5_like() -> Tokenizer:
    """Control symbols among the pieces, as T5 has them; no < and no braces."""
    letters = [(letter, -4.0) for letter in "/abdknpsux0123456789"]
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0), (">", -5.0), *letters, ("▁a", -3.0)]
    engine = Tokenizer(models.Unigram(pieces, 2, False))
    engine.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    engine.decoder = decoders.Metaspace()
    engine.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    engine.add_special_tokens(["<pad>", "</s>", "<unk>"])
    return engine


def whole_words() -> Tokenizer:
    """BPE that takes a word as it is where it knows it, as Llama 3 does, and splits at blanks alone."""
    vocabulary = {"<end>": 0, **{letter: at for at, letter in enumerate("<>abden", start=1)}}
    engine = Tokenizer(models.BPE(vocabulary, [], ignore_merges=True))
    engine.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    engine.add_special_tokens(["<end>"])
    return engine


def test_encode_special_tokens_alone_does_not_keep_a_unigram_tokenizer_from_reading_an_end() -> None:
    engine = t5_like()
    engine.encode_special_tokens = True
    assert engine.encode("a</s>b", add_special_tokens=False).tokens == ["▁a", "</s>", "b"]


def test_a_unigram_tokenizer_reads_an_end_that_somebody_wrote_as_characters_where_they_stand() -> None:
    found = literal(t5_like()).encode("a</s>b")
    assert found.ids.count(1) == 1
    assert found.ids[-1] == 1  # its own
    assert found.tokens[2:] == ["/", "s", ">", "b", "</s>"]  # behind "▁a", and "<", which it does not know
    assert found.offsets[2:6] == [(2, 3), (3, 4), (4, 5), (5, 6)]


def test_a_tokenizer_that_takes_whole_words_does_not_take_the_name_of_its_end() -> None:
    engine = whole_words()
    engine.encode_special_tokens = True
    assert engine.encode("a <end> b").ids.count(0) == 1
    assert literal(whole_words()).encode("a <end> b").tokens == ["a", "<", "e", "n", "d", ">", "b"]


@pytest.mark.parametrize("kind", KINDS)
def test_other_texts_give_the_tokens_that_they_gave(kind: str) -> None:
    before = fast(kind).backend_tokenizer
    after = literal(before)
    for text in CORPUS:
        assert before.encode(text).ids == after.encode(text).ids
        assert before.encode(text).offsets == after.encode(text).offsets


@pytest.mark.parametrize("kind", KINDS)
def test_no_special_token_is_read_from_a_text_that_names_all_of_them(kind: str) -> None:
    tokenizer = fast(kind)
    names = " ".join(tokenizer.all_special_tokens)
    special = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}
    assert special & set(tokenizer.backend_tokenizer.encode(names, add_special_tokens=False).ids)
    assert not special & set(literal(tokenizer.backend_tokenizer).encode(names, add_special_tokens=False).ids)


@pytest.mark.parametrize("engine", [t5_like, whole_words, lambda: fast("wordpiece").backend_tokenizer])
def test_a_second_call_changes_nothing(engine: object) -> None:
    assert callable(engine)
    once = literal(engine())
    assert literal(once).to_str() == once.to_str()
    opened = Tokenizer.from_str(once.to_str())
    assert not opened.encode_special_tokens  # the file does not keep it
    assert literal(opened).encode("a</s>b <end>").ids == once.encode("a</s>b <end>").ids
