"""Vocabularies that are cut to a corpus: BPE, Unigram and WordPiece write its texts as before, and others in pieces."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from test_fast_tokenizers import CORPUS, KINDS, fast
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from stages.compression.refusals import vocabulary_fault
from stages.compression.vocabulary import cut_tokenizer, tokens_to_keep, with_vocabulary
from stages.tokens.literal import literal
from stages.tokens.scratch import LAYOUTS, scratch_tokenizer

USED = CORPUS[:1]
UNKNOWN = ("[UNK]", "<unk>")
OTHERS = ("squirrel on the ship", "the kitchen", "Zebra 42", "ships", "")


def cut(kind: str, folder: Path, *, common: int = 0, engine: Tokenizer | None = None) -> tuple[Tokenizer, Tokenizer]:
    """A tokenizer of the kind, and the same cut to what the first text uses."""
    whole = engine or fast(kind).backend_tokenizer
    whole.save(str(folder / "whole.json"))
    used = [number for text in USED for number in whole.encode(text).ids]
    kept = cut_tokenizer(folder / "whole.json", folder / "cut.json", used, common=common)
    smaller = Tokenizer.from_file(str(folder / "cut.json"))
    assert smaller.get_vocab_size() == len(kept) < whole.get_vocab_size()
    return whole, smaller


@pytest.mark.parametrize("kind", KINDS)
def test_texts_whose_tokens_were_used_are_written_as_before(kind: str, tmp_path: Path) -> None:
    whole, smaller = cut(kind, tmp_path)
    for text in USED:
        assert smaller.encode(text).tokens == whole.encode(text).tokens
        assert smaller.encode(text).offsets == whole.encode(text).offsets


@pytest.mark.parametrize("kind", KINDS)
def test_what_could_be_written_still_can_be_and_the_rest_is_unknown_as_before(kind: str, tmp_path: Path) -> None:
    whole, smaller = cut(kind, tmp_path)
    for text in OTHERS:
        before, after = (of.encode(text).tokens for of in (whole, smaller))
        assert [after.count(unknown) for unknown in UNKNOWN] == [before.count(unknown) for unknown in UNKNOWN], text
        assert len(after) >= len(before)
    if kind == "byte_level_bpe":
        assert smaller.decode(smaller.encode("¿Qué? 海").ids).strip() == "¿Qué? 海"


@pytest.mark.parametrize("kind", KINDS)
def test_common_words_stay_too(kind: str, tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("none", "ten")]
    for folder in folders:
        folder.mkdir()
    sizes = [
        cut(kind, folder, common=common)[1].get_vocab_size() for folder, common in zip(folders, (0, 10), strict=True)
    ]
    assert sizes[0] < sizes[1] <= sizes[0] + 10 * 8  # of a BPE's word all that it is made of stays


@pytest.mark.parametrize("kind", KINDS)
def test_a_special_token_behind_the_vocabulary_is_renumbered_and_stays_special(kind: str, tmp_path: Path) -> None:
    engine = fast(kind).backend_tokenizer
    engine.add_special_tokens([AddedToken("[MASK]", special=True)])
    last = engine.get_vocab_size() - 1
    assert engine.token_to_id("[MASK]") == last
    _, smaller = cut(kind, tmp_path, engine=engine)
    assert smaller.token_to_id("[MASK]") == smaller.get_vocab_size() - 1
    assert "[MASK]" in smaller.encode("ship [MASK]").tokens


def test_special_tokens_around_a_text_are_renumbered_in_a_sequence_of_processors(tmp_path: Path) -> None:
    engine = fast("byte_level_bpe").backend_tokenizer
    end = engine.get_vocab_size()
    engine.add_special_tokens(["<end>"])
    around = processors.TemplateProcessing(single="<s> $A <end>", special_tokens=[("<s>", 0), ("<end>", end)])
    engine.post_processor = processors.Sequence([processors.ByteLevel(), around])
    _, smaller = cut("byte_level_bpe", tmp_path, engine=engine)
    found = smaller.encode("ship")
    assert (found.tokens[0], found.tokens[-1]) == ("<s>", "<end>")
    assert found.ids[-1] == smaller.get_vocab_size() - 1 < end


def test_a_joined_token_keeps_those_that_it_is_made_of_and_merges_without_their_tokens_go() -> None:
    vocab = {token: number for number, token in enumerate(["<s>", "a", "b", "c", "ab", "bc", "abc", "ca", "cab"])}
    merges = [["a", "b"], ["b", "c"], ["a", "bc"], ["ab", "c"], ["c", "a"], ["c", "ab"]]
    model = {"type": "BPE", "vocab": vocab, "merges": merges}
    tokenizer: dict[str, Any] = {"added_tokens": [{"id": 0, "content": "<s>"}], "model": model}
    kept = tokens_to_keep(tokenizer, [vocab["abc"]], common=0)
    assert [token for token, number in vocab.items() if number in kept] == ["<s>", "a", "b", "c", "ab", "bc", "abc"]
    smaller = with_vocabulary(tokenizer, kept)["model"]
    assert smaller["merges"] == merges[:4]
    older = {**tokenizer, "model": {**model, "merges": [" ".join(pair) for pair in merges]}}
    assert tokens_to_keep(older, [vocab["abc"]], common=0) == kept
    assert with_vocabulary(older, kept)["model"]["merges"] == ["a b", "b c", "a bc", "ab c"]


def test_the_price_of_an_unknown_character_stays_as_the_least_likely_piece_does() -> None:
    pieces = [
        ["<pad>", 0.0],
        ["<unk>", 0.0],
        ["▁", -2.0],
        ["a", -3.0],
        ["▁a", -1.5],
        ["▁aa", -4.0],
        ["aa", -9.0],
        ["éa", -5.0],
    ]
    tokenizer: dict[str, Any] = {
        "added_tokens": [{"id": 0, "content": "<pad>"}], "model": {"type": "Unigram", "unk_id": 1, "vocab": pieces},
    }  # fmt: skip
    kept = tokens_to_keep(tokenizer, [], common=1)
    # control symbols, single characters, "▁a" as the likeliest word, "aa" as the least likely, "éa" as the only é
    assert kept == [0, 1, 2, 3, 4, 6, 7]
    smaller = with_vocabulary(tokenizer, [1, 0, *kept[2:]])["model"]
    assert (smaller["unk_id"], smaller["vocab"][:2]) == (0, [["<unk>", 0.0], ["<pad>", 0.0]])


def test_a_unigram_vocabulary_without_an_unknown_token_is_refused_before_anything_is_trained() -> None:
    tokenizer = {"model": {"type": "Unigram", "unk_id": None, "vocab": [["a", -1.0]]}}
    assert "tokenizer's type is Unigram without an unknown token. Allowed for it: all" in str(
        vocabulary_fault(tokenizer)
    )


def test_a_kind_that_is_not_known_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"tokenizer's type is WordLevel\. Allowed for it: all\. .*: BPE, Unigram, Word"
    ):
        tokens_to_keep({"model": {"type": "WordLevel"}}, [], common=0)


def test_a_tokenizer_whose_tokens_would_get_other_numbers_is_refused(tmp_path: Path) -> None:
    engine = json.loads(fast("wordpiece").backend_tokenizer.to_str())
    engine["added_tokens"][0]["content"] = "[OTHER]"  # a name that its number does not have in the vocabulary
    (tmp_path / "whole.json").write_text(json.dumps(engine))
    with pytest.raises(ValueError, match="special tokens of this tokenizer stand in a way"):
        cut_tokenizer(tmp_path / "whole.json", tmp_path / "cut.json", [0], common=0)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_that_write_are_cut_so_that_used_texts_are_the_same_and_any_other_can_be_written(
    layout: str, tmp_path: Path
) -> None:
    whole = literal(scratch_tokenizer(layout, CORPUS, 420, max_tokens=80).backend_tokenizer)
    used = [*CORPUS[:1], "a</s>b <0x41>  <|endoftext|>\n"]
    whole.save(str(tmp_path / "whole.json"))
    numbers = [number for text in used for number in whole.encode(text).ids]
    kept = cut_tokenizer(tmp_path / "whole.json", tmp_path / "cut.json", numbers, common=0)
    smaller = literal(Tokenizer.from_file(str(tmp_path / "cut.json")))
    assert smaller.get_vocab_size() == len(kept) < whole.get_vocab_size()
    for text in used:
        assert [kept[number] for number in smaller.encode(text).ids] == whole.encode(text).ids
    for text in (*CORPUS, *OTHERS, "¿Qué? 海 </s> <|end_of_text|>\t"):
        assert smaller.decode(smaller.encode(text).ids) == text
        assert len(smaller.encode(text).ids) >= len(whole.encode(text).ids)


def test_a_bpe_vocabulary_that_draws_lots_is_refused() -> None:
    tokenizer: dict[str, Any] = {"model": {"type": "BPE", "vocab": {"a": 0}, "merges": [], "dropout": 0.1}}
    with pytest.raises(ValueError, match=r"type is BPE that drops joined tokens by chance\. Allowed for it: all"):
        tokens_to_keep(tokenizer, [], common=0)
    assert vocabulary_fault({"model": {**tokenizer["model"], "dropout": 0.0}}) is None


@pytest.mark.parametrize("seed", range(5))
def test_a_unigram_vocabulary_of_random_prices_and_ties_keeps_the_ways_in_which_used_texts_are_written(
    seed: int, tmp_path: Path
) -> None:
    lots = random.Random(seed)
    pieces = sorted({"".join(lots.choices("abc▁", k=lots.randint(1, 4))) for _ in range(60)} | set("abc▁"))
    priced = [("<unk>", 0.0), *((piece, -float(lots.randint(1, 4))) for piece in pieces)]
    engine = Tokenizer(models.Unigram(priced, 0, False))
    engine.save(str(tmp_path / "whole.json"))
    used = ["".join(lots.choices("abc▁é", k=12)) for _ in range(6)]
    numbers = [number for text in used for number in engine.encode(text).ids]
    kept = cut_tokenizer(tmp_path / "whole.json", tmp_path / "cut.json", numbers, common=0)
    assert len(kept) < len(priced)
    smaller = Tokenizer.from_file(str(tmp_path / "cut.json"))
    for text in used:
        assert [kept[number] for number in smaller.encode(text).ids] == engine.encode(text).ids


@pytest.mark.parametrize("seed", range(5))
def test_a_bpe_vocabulary_that_takes_whole_words_keeps_the_ways_in_which_used_texts_are_written(
    seed: int, tmp_path: Path
) -> None:
    lots = random.Random(seed)
    engine = Tokenizer(models.BPE())
    engine.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    words = ["".join(lots.choices("abcd", k=lots.randint(1, 7))) for _ in range(200)]
    engine.train_from_iterator([" ".join(words)], trainers.BpeTrainer(vocab_size=60, show_progress=False))
    described = json.loads(engine.to_str())
    more = {word: number for number, word in enumerate(sorted(set(words) - set(engine.get_vocab())), start=60)}
    assert more  # no merges make them
    described["model"] |= {"ignore_merges": True, "vocab": described["model"]["vocab"] | more}
    whole = Tokenizer.from_str(json.dumps(described))
    whole.save(str(tmp_path / "whole.json"))
    used = [" ".join(words[:20]), " ".join("".join(lots.choices("abcd", k=9)) for _ in range(9))]
    numbers = [number for text in used for number in whole.encode(text).ids]
    kept = cut_tokenizer(tmp_path / "whole.json", tmp_path / "cut.json", numbers, common=0)
    smaller = Tokenizer.from_file(str(tmp_path / "cut.json"))
    for text in used:
        assert [kept[number] for number in smaller.encode(text).ids] == whole.encode(text).ids


def llama_2_like() -> Tokenizer:
    """BPE on characters with ▁ for blanks, not split into words, that writes other characters in bytes."""
    special = ["<unk>", "<s>", "</s>"]
    engine = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    engine.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    of_bytes = [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(vocab_size=420, special_tokens=[*special, *of_bytes], show_progress=False)
    engine.train_from_iterator([word for text in CORPUS for word in text.split()], trainer)
    described = json.loads(engine.to_str())
    described["added_tokens"] = described["added_tokens"][: len(special)]  # bytes are no tokens of a text's
    engine = Tokenizer.from_str(json.dumps(described))
    engine.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    engine.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return engine


def test_a_bpe_vocabulary_that_writes_bytes_is_cut_exactly_too(tmp_path: Path) -> None:
    whole = literal(llama_2_like())
    whole.save(str(tmp_path / "whole.json"))
    used = [CORPUS[0], "海 </s> <0x41>"]
    numbers = [number for text in used for number in whole.encode(text).ids]
    kept = cut_tokenizer(tmp_path / "whole.json", tmp_path / "cut.json", numbers, common=0)
    smaller = literal(Tokenizer.from_file(str(tmp_path / "cut.json")))
    assert smaller.get_vocab_size() < whole.get_vocab_size()
    for text in used:
        assert [kept[number] for number in smaller.encode(text).ids] == whole.encode(text).ids
    for text in (*CORPUS, *OTHERS, "¿Qué?  <s>😀</s> <0x41>"):
        assert smaller.decode(smaller.encode(text).ids) == whole.decode(whole.encode(text).ids) == text
