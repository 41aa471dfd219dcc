"""Tokenizers of every kind: the model's own, and one that is trained on the corpus; what is refused, and why."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from conftest import REPOSITORY, TOPICS
from test_models import IDS, MASK, build
from test_tokenize import ROWS, contents, params, write_clean
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoModel, PreTrainedTokenizerFast

from stages.backends.batching import Reader, open_reader, outputs
from stages.compression.vocabulary import cut_tokenizer
from stages.models.encoder import FAMILY
from stages.models.pretrained import load_tokenizer
from stages.tokenize import tokenize
from stages.tokens.literal import literal
from stages.tokens.pieces import new_tokens
from stages.tokens.scratch import scratch_tokenizer
from stages.tokens.trained import train_tokenizer

CORPUS = [" ".join(words) for words in TOPICS.values()] * 3
TIES = ["Wel come to the Tok en izers libr ary."]  # every pair is there once: what is joined first, ties decide
KINDS = ("wordpiece", "byte_level_bpe", "unigram")


def fast(kind: str, texts: list[str] = CORPUS, *, size: int = 300, **changes: Any) -> PreTrainedTokenizerFast:
    """A tokenizer as the models that brought the kind have it: BERT; RoBERTa; XLM-R and ALBERT."""
    if kind == "wordpiece":
        special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
        engine = Tokenizer(models.WordPiece({}, unk_token="[UNK]"))
        engine.normalizer, engine.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
        engine.train_from_iterator(texts, trainers.WordPieceTrainer(vocab_size=size, special_tokens=special))
        engine.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
        named = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    elif kind == "byte_level_bpe":
        special = ["<s>", "<pad>", "</s>", "<unk>"]
        engine = Tokenizer(models.BPE())
        engine.pre_tokenizer, engine.decoder = pre_tokenizers.ByteLevel(), decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        engine.train_from_iterator(
            texts, trainers.BpeTrainer(vocab_size=size, special_tokens=special, initial_alphabet=alphabet)
        )
        engine.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
        named = {"pad_token": "<pad>", "unk_token": "<unk>", "cls_token": "<s>", "sep_token": "</s>"}
    else:
        special = ["<s>", "<pad>", "</s>", "<unk>"]
        engine = Tokenizer(models.Unigram())
        engine.normalizer, engine.pre_tokenizer = normalizers.NFKC(), pre_tokenizers.Metaspace()
        engine.train_from_iterator(
            texts, trainers.UnigramTrainer(vocab_size=100, special_tokens=special, unk_token="<unk>")
        )
        engine.post_processor = processors.TemplateProcessing(
            single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
        )
        named = {"pad_token": "<pad>", "unk_token": "<unk>", "cls_token": "<s>", "sep_token": "</s>"}
    kept = {name: token for name, token in (named | changes).items() if token is not None}
    return PreTrainedTokenizerFast(tokenizer_object=engine, model_max_length=80, **kept)


def with_tokenizer(tiny: Path, folder: Path, tokenizer: PreTrainedTokenizerFast) -> Path:
    """The tiny model's folder with another tokenizer, and embeddings for its tokens."""
    shutil.copytree(tiny, folder)
    tokenizer.save_pretrained(folder)
    model = AutoModel.from_pretrained(folder)
    model.resize_token_embeddings(max(len(tokenizer), model.config.vocab_size), mean_resizing=False)
    model.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("long_texts", ["truncate", "windows"])
def test_any_fast_tokenizer_gives_training_and_the_folder_the_same_tokens(
    kind: str, long_texts: str, tiny_models: Callable[[str], Path], tmp_path: Path
) -> None:
    model = with_tokenizer(tiny_models("bert"), tmp_path / "model", fast(kind))
    paths = write_clean(tmp_path / "project", ROWS)
    tokenize(params(model, 6, long_texts=long_texts, stride=2), paths)
    described = json.loads((paths.tokens / "space.json").read_text())
    assert described["pad_id"] == load_tokenizer(params(model).model).pad_token_id
    reader = open_reader(paths.tokenizer, {**described, "long_texts": long_texts})
    windows = reader.read([text for _, text, _, split in ROWS if split == "train"])
    ids = [encoding.ids for encoding in windows.encodings]
    assert datasets.load_from_disk(str(paths.tokens / "train"))["input_ids"][:] == ids
    assert max(map(len, ids)) == 6
    assert (len(windows.at) > len(set(windows.at))) == (long_texts == "windows")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("trimmed", [True, False])
def test_the_blank_before_a_word_is_no_part_of_its_first_token(kind: str, trimmed: bool) -> None:
    engine = fast(kind).backend_tokenizer
    if not trimmed:  # as ModernBERT's
        engine.post_processor = processors.TemplateProcessing(single="$A $A", special_tokens=[])
    reader = Reader(engine, 30, None, characters=True)
    text = "the  ship near oven"
    found = outputs([text], reader, lambda ids, _mask: ids[..., None].astype(np.float32), size=1)
    assert found.characters is not None
    pieces = [text[start:end] for start, end in found.characters if start < end]
    assert "".join(pieces) in ("theshipnearoven", "theshipnearoven" * 2)
    (ship,) = {start for start, end in found.characters.tolist() if start < end and start <= 5 < end}
    assert ship == 5


def test_a_tokenizer_without_a_token_for_padding_fills_with_any(
    tiny_models: Callable[[str], Path], tmp_path: Path
) -> None:
    model = with_tokenizer(tiny_models("bert"), tmp_path / "model", fast("byte_level_bpe", pad_token=None))
    paths = write_clean(tmp_path / "project", ROWS)
    tokenize(params(model), paths)
    assert json.loads((paths.tokens / "space.json").read_text())["pad_id"] == 0
    with torch.inference_mode():  # whatever fills is hidden
        other = torch.where(MASK == 0, 7, IDS)
        assert torch.equal(*(build(tiny_models("bert"))(ids, MASK) for ids in (IDS, other)))


def test_the_side_on_which_a_tokenizer_would_pad_or_cut_does_not_matter(
    tiny_models: Callable[[str], Path], tmp_path: Path
) -> None:
    tokenizer, tokens = fast("wordpiece"), []
    for side in ("right", "left"):
        model = with_tokenizer(tiny_models("bert"), tmp_path / side, tokenizer)
        config = json.loads((model / "tokenizer_config.json").read_text())
        config |= {"padding_side": side, "truncation_side": side}
        (model / "tokenizer_config.json").write_text(json.dumps(config))
        assert load_tokenizer(params(model).model).truncation_side == side
        paths = write_clean(tmp_path / f"project-{side}", ROWS)
        tokenize(params(model), paths)
        tokens.append(datasets.load_from_disk(str(paths.tokens / "train"))["input_ids"][:])
    assert tokens[0] == tokens[1]


def test_a_tokenizer_that_puts_nothing_around_a_text_is_refused(
    tiny_models: Callable[[str], Path], tmp_path: Path
) -> None:
    bare = fast("byte_level_bpe", pad_token=None)
    bare.backend_tokenizer.post_processor = processors.ByteLevel()  # as GPT-2 has it
    model = with_tokenizer(tiny_models("bert"), tmp_path / "model", bare)
    with pytest.raises(ValueError, match="puts no special tokens around a text"):
        tokenize(params(model), write_clean(tmp_path / "project", ROWS))


@pytest.mark.parametrize("file", [True, False])
def test_a_tokenizer_that_is_only_there_in_python_is_refused_with_its_name(
    file: bool, tiny_models: Callable[[str], Path], tmp_path: Path
) -> None:
    model = tmp_path / "model"
    shutil.copytree(tiny_models("bert"), model)
    (model / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "CanineTokenizer"}))
    if not file:
        (model / "tokenizer.json").unlink()
    with pytest.raises(
        ValueError, match=r"no fast tokenizer \(tokenizer\.json\); its own is CanineTokenizer\. Allowed"
    ):
        load_tokenizer(params(model).model)


@pytest.mark.parametrize("kind", KINDS)
def test_training_gives_the_same_tokenizer_each_time_also_where_ties_decide(kind: str) -> None:
    pretrained = fast(kind, size=400)
    size = 290 if kind == "byte_level_bpe" else 60
    found = {train_tokenizer(pretrained, TIES, size)[0].backend_tokenizer.to_str() for _ in range(20)}
    assert len(found) == 1


def test_training_gives_the_same_bytes_in_any_process_with_any_threads(tiny_models: Callable[[str], Path]) -> None:
    code = (
        "import sys; from transformers import AutoModel, PreTrainedTokenizerFast as T\n"
        "from stages.tokens.trained import train_tokenizer\n"
        "tokenizer, pieces = train_tokenizer(T(tokenizer_file=sys.argv[1], unk_token='[UNK]'), sys.argv[2:], 60)\n"
        "print(tokenizer.backend_tokenizer.to_str(), pieces)"
    )
    command = [sys.executable, "-c", code, str(tiny_models("bert") / "tokenizer.json"), *TIES, *TIES]
    written = set()
    for number, parallel in (("1", "false"), ("2", "true")):
        seeds = {"PYTHONHASHSEED": number, "RAYON_NUM_THREADS": number, "TOKENIZERS_PARALLELISM": parallel}
        done = subprocess.run(
            command, cwd=REPOSITORY, env={**os.environ, **seeds}, check=True, capture_output=True, text=True
        )
        written.add(done.stdout)
    assert len(written) == 1
    assert "##z" in written.pop()


@pytest.mark.parametrize("kind", KINDS)
def test_a_trained_tokenizer_writes_its_corpus_in_fewer_tokens_with_the_same_ones_around(kind: str) -> None:
    pretrained = fast(kind, ["a b"], size=270)  # knows letters, or bytes, at best
    texts = ["zebra zebra violin", "zebra violin violin"]
    trained, _ = train_tokenizer(pretrained, texts, 300)
    found = trained.convert_ids_to_tokens(trained(texts[0])["input_ids"])
    around = pretrained.convert_ids_to_tokens(pretrained("")["input_ids"])
    assert [found[0], found[-1]] == around
    assert len(found) == 2 + 3
    assert trained.pad_token_id == pretrained.pad_token_id


def test_tokens_that_the_pretrained_tokenizer_has_keep_their_number_and_others_are_their_pieces() -> None:
    pretrained = fast("wordpiece", ["sea ##x seaside side se a"], size=60)
    trained, pieces = train_tokenizer(pretrained, ["seasea seasea sea ~"], 60)
    old, new = pretrained.get_vocab(), trained.get_vocab()
    assert "sea" in old.keys() & new.keys()
    assert pieces[new["sea"]] == [old["sea"]]
    assert pieces[new["[CLS]"]] == [old["[CLS]"]]
    assert "seasea" in new.keys() - old.keys()
    assert pieces[new["seasea"]] == pretrained("seasea", add_special_tokens=False)["input_ids"]
    assert len(pieces[new["seasea"]]) > 1
    assert pieces[new["~"]] == [old["[UNK]"]]  # no text of the pretrained one had it
    assert new_tokens(pieces) == len(new.keys() - old.keys())


def test_the_other_splits_teach_the_tokenizer_nothing(
    tiny_models: Callable[[str], Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trained, others = [], [*ROWS[:3], ("v1", "violin " * 5, "sea", "validation"), ROWS[4]]
    settings = params(tiny_models("bert"), tokenizer="trained", vocabulary_size=120)
    limits = settings.validate_.model_copy(update={"warn_only": ["max_truncated_share", "max_unknown_share"]})
    for name, rows in (("as it is", ROWS), ("changed", others)):
        paths = write_clean(tmp_path / name, rows)
        tokenize(settings.model_copy(update={"validate_": limits}), paths)
        trained.append(contents(paths.tokenizer))
    assert trained[0] == trained[1]
    assert "It was learned from the training rows: set tokenize.tokenizer to pretrained" in caplog.text


@pytest.mark.parametrize(
    ("model", "named"),
    [(models.BPE(continuing_subword_prefix="##"), "BPE with marks within words"), (models.WordLevel(), "WordLevel")],
)
def test_kinds_that_come_out_otherwise_each_time_are_not_trained(model: models.Model, named: str) -> None:
    pretrained = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(model))
    with pytest.raises(ValueError, match=rf"of the kind {named}\. Allowed for it: pretrained"):
        train_tokenizer(pretrained, CORPUS, 200)


def test_a_unigram_tokenizer_keeps_its_unknown_token_and_writes_each_character_of_the_corpus() -> None:
    pretrained = fast("unigram")
    trained, pieces = train_tokenizer(pretrained, [*CORPUS, "zzz q"], 120)
    unknown = trained.convert_tokens_to_ids("<unk>")
    assert trained.unk_token_id == unknown
    assert unknown not in trained.backend_tokenizer.encode("zzz q").ids
    assert unknown in trained.backend_tokenizer.encode("海").ids
    assert len(pieces) == len(trained) <= 120
    old, new = pretrained.get_vocab(), trained.get_vocab()
    assert pieces[new["</s>"]] == [old["</s>"]]
    assert all(pieces[new[piece]] == [old[piece]] for piece in old.keys() & new.keys())


def test_a_tokenizer_of_t5s_layout_is_trained_again_with_its_bytes_and_reads_any_text() -> None:
    whole = scratch_tokenizer("t5", CORPUS, 400, max_tokens=80)
    trained, _ = train_tokenizer(whole, CORPUS[:2], 330)
    assert len(trained) <= 330
    engine = literal(trained.backend_tokenizer)
    for text in (*CORPUS, "a</s>b <0x41> 海é😀"):
        assert engine.decode(engine.encode(text).ids) == text
    assert (trained.pad_token_id, trained.eos_token_id, trained.unk_token_id) == (0, 1, 2)


def test_the_unknown_token_is_there_though_no_special_one_is_named() -> None:
    pretrained = fast("wordpiece")
    bare = json.loads(pretrained.backend_tokenizer.to_str()) | {"added_tokens": [], "post_processor": None}
    trained, _ = train_tokenizer(
        PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(json.dumps(bare))), CORPUS, 90
    )
    assert trained.backend_tokenizer.encode("ship ~").tokens[-1] == "[UNK]"


def test_a_vocabulary_without_room_for_the_characters_is_refused() -> None:
    with pytest.raises(ValueError, match=r"vocabulary_size is 9\. Allowed: \d+ or more"):
        train_tokenizer(fast("wordpiece"), CORPUS, 9)


@pytest.mark.parametrize("kind", ["bert", "distilbert", "albert", "roberta"])
def test_new_tokens_start_as_the_mean_of_their_pieces(tiny_models: Callable[[str], Path], kind: str) -> None:
    model = build(tiny_models(kind))
    pieces = [[0], [2], [3], [50, 51], [52], [53]]
    changed: Any = FAMILY.new_vocabulary(model, pieces).eval()
    before, after = (found.encoder.get_input_embeddings().weight for found in (model, changed))
    assert after.shape == (6, before.shape[1])
    assert torch.equal(after[4], before[52])
    assert torch.allclose(after[3], (before[50] + before[51]) / 2)
    ids = torch.tensor([[1, 4, 5, 2]])
    with torch.inference_mode():
        expected = model(torch.tensor([[2, 52, 53, 3]]), torch.ones_like(ids))
        assert torch.allclose(changed(ids, torch.ones_like(ids)), expected, atol=1e-6)


def test_a_model_that_counts_positions_from_its_padding_wants_it_where_it_was(
    tiny_models: Callable[[str], Path],
) -> None:
    with pytest.raises(ValueError, match=r"padding is number 1; this model counts positions from number 0\."):
        FAMILY.new_vocabulary(build(tiny_models("roberta")), [[2], [0], [3]])


def test_the_vocabulary_of_a_trained_tokenizer_can_be_pruned(tmp_path: Path) -> None:
    trained, _ = train_tokenizer(fast("wordpiece", ["a b"]), CORPUS, 200)
    whole, cut = tmp_path / "whole.json", tmp_path / "cut.json"
    whole.write_text(trained.backend_tokenizer.to_str())
    cut_tokenizer(whole, cut, trained("ship harbour")["input_ids"], common=3)
    smaller = Tokenizer.from_file(str(cut))
    assert smaller.get_vocab_size() < len(trained)
    assert smaller.encode("ship harbour").tokens == Tokenizer.from_file(str(whole)).encode("ship harbour").tokens
    assert "[UNK]" not in smaller.encode("squirrel").tokens


def test_frozen_embeddings_of_new_tokens_are_warned_of(
    tiny_models: Callable[[str], Path], caplog: pytest.LogCaptureFixture
) -> None:
    from stages.finetune import with_new_tokens

    for frozen in (False, True):
        with_new_tokens(build(tiny_models("bert")), FAMILY, [[0], [50, 51]], frozen=frozen)
    [warning] = caplog.messages
    assert warning.startswith("finetune: 1 of the trained tokenizer's 2 tokens are new")
