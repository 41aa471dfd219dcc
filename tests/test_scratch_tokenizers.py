"""Tokenizers of models from scratch: their special tokens, exact texts, and the same bytes each time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import REPOSITORY, TOPICS
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
)

from stages.core.files import sha256
from stages.core.params.file import load_params
from stages.core.params.model import ModelParams
from stages.models.pretrained import load_tokenizer
from stages.models.written_tokenizer import tokenizer_as_it_stands
from stages.tokenize import start_of
from stages.tokens.literal import literal
from stages.tokens.scratch import LAYOUTS, scratch_tokenizer
from stages.tokens.unigram import learn_pieces, letters_of

WHOLE = load_params(REPOSITORY / "params.yaml")
CORPUS = [" ".join(words) for words in TOPICS.values()] * 3
KINDS = tuple(LAYOUTS)
ODD = "a</s>b <pad> <0x41> <unk> <|endoftext|> <|begin_of_text|>  海é😀 two\n\tlines "


def scratch(kind: str, texts: list[str] = CORPUS, size: int = 400) -> PreTrainedTokenizerFast:
    return scratch_tokenizer(kind, texts, size, max_tokens=80)


@pytest.mark.parametrize("kind", KINDS)
def test_any_text_is_written_and_read_back_also_with_the_names_of_special_tokens(kind: str) -> None:
    engine = literal(scratch(kind).backend_tokenizer)
    for text in (ODD, "", *CORPUS):
        ids = engine.encode(text, add_special_tokens=False).ids
        assert engine.decode(ids, skip_special_tokens=False) == text
        assert not {engine.token_to_id(name) for name in scratch(kind).all_special_tokens} & set(ids)


@pytest.mark.parametrize(
    ("kind", "begin", "end", "pad", "around"),
    [
        ("gpt2", 0, 0, None, []),
        ("llama", 0, 1, None, ["<|begin_of_text|>"]),
        ("t5", None, 1, 0, ["</s>"]),
    ],
)
def test_special_tokens_are_those_of_the_layout(
    kind: str, begin: int | None, end: int, pad: int | None, around: list[str]
) -> None:
    found = scratch(kind)
    assert (found.bos_token_id, found.eos_token_id, found.pad_token_id) == (begin, end, pad)
    assert found.backend_tokenizer.encode("").tokens == around
    assert found.model_max_length == 80


@pytest.mark.parametrize("kind", KINDS)
def test_a_corpus_is_written_in_fewer_tokens_than_characters_and_no_more_tokens_are_learned_than_asked_for(
    kind: str,
) -> None:
    small, large = scratch(kind, size=290), scratch(kind, size=400)
    assert len(small) <= 290 < len(large) <= 400
    counts = [sum(len(of(text, add_special_tokens=False)["input_ids"]) for text in CORPUS) for of in (small, large)]
    assert counts[1] < counts[0] < sum(map(len, CORPUS))


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_texts_give_the_same_bytes_in_any_process_with_any_threads(kind: str) -> None:
    code = (
        "import sys; from stages.tokens.scratch import scratch_tokenizer\n"
        "print(scratch_tokenizer(sys.argv[1], sys.argv[2:], 320, max_tokens=80).backend_tokenizer.to_str())"
    )
    texts = [*CORPUS, "Wel come to the Tok en izers libr ary.", ODD]  # ties decide what is joined
    written = set()
    for number, parallel in (("1", "false"), ("2", "true")):
        seeds = {
            "PYTHONHASHSEED": number, "RAYON_NUM_THREADS": number, "OMP_NUM_THREADS": number,
            "TOKENIZERS_PARALLELISM": parallel,
        }  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-c", code, kind, *texts], cwd=REPOSITORY, env={**os.environ, **seeds}, check=True,
            capture_output=True, text=True,
        )  # fmt: skip
        written.add(done.stdout)
    assert len(written) == 1
    assert scratch(kind, texts, 320).backend_tokenizer.to_str() + "\n" in written


@pytest.mark.parametrize(("kind", "least"), [("gpt2", 257), ("llama", 258), ("t5", 282)])
def test_a_vocabulary_without_room_for_bytes_and_letters_is_refused(kind: str, least: int) -> None:
    with pytest.raises(ValueError, match=rf"vocabulary_size is 200\. Allowed: {least} or more"):
        scratch(kind, size=200)
    assert len(scratch(kind, size=least)) == least


def test_a_layout_that_is_not_known_is_refused() -> None:
    with pytest.raises(ValueError, match=r"scratch\.kind is 'bart'\. Allowed: gpt2, llama, t5\."):
        scratch("bart")


def test_pieces_are_parts_of_words_with_the_scores_of_how_often_they_are_used() -> None:
    pieces = dict(learn_pieces({"▁sea": 90, "▁seas": 10, "▁see": 1}, 8))
    assert next(iter(pieces)) == "▁sea"  # the likeliest first
    assert {"▁", "s", "e", "a"} <= pieces.keys()
    assert all(score < 0 for score in pieces.values())
    assert pieces["▁sea"] > pieces["s"] > pieces["a"]


def test_no_piece_has_letters_and_signs() -> None:
    pieces = [piece for piece, _ in learn_pieces({"▁sea.": 50, "▁sea,": 50, "▁the": 9, "▁(2024)": 30}, 40)]
    assert "▁sea" in pieces
    assert not {"a.", "▁sea.", "4)", "(2"} & set(pieces)


def test_letters_that_hardly_occur_are_written_in_bytes() -> None:
    words = {"▁aaaa": 10_000, "▁é": 1}
    assert letters_of(words) == ["a", "▁"]
    pieces = {piece for piece, _ in learn_pieces(words, 20)}
    assert "▁aaaa" in pieces
    assert not any("é" in piece for piece in pieces)


def test_fewer_pieces_than_letters_are_refused() -> None:
    with pytest.raises(ValueError, match="2 pieces are fewer than the 4 letters"):
        learn_pieces({"▁abc": 3}, 2)


def write_folder(folder: Path, tokenizer: PreTrainedTokenizerFast, **config: object) -> Path:
    """The tokenizer's files and a config.json, as a model's folder has them."""
    tokenizer.save_pretrained(folder)
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("named", ["GPT2Tokenizer", "LlamaTokenizer", "T5Tokenizer", "PreTrainedTokenizerFast"])
def test_a_folders_tokenizer_is_read_as_its_file_says_whatever_class_is_named(
    kind: str, named: str, tmp_path: Path
) -> None:
    own = scratch(kind)
    write_folder(tmp_path, own)
    settings = json.loads((tmp_path / "tokenizer_config.json").read_text()) | {"tokenizer_class": named}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    found = tokenizer_as_it_stands(tmp_path, {})
    assert json.loads(found.backend_tokenizer.to_str()) == json.loads(own.backend_tokenizer.to_str())
    assert (found.bos_token, found.eos_token, found.pad_token) == (own.bos_token, own.eos_token, own.pad_token)


def test_config_json_names_the_end_where_the_tokenizer_does_not(tmp_path: Path) -> None:
    scratch("llama").save_pretrained(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text("{}")
    found = tokenizer_as_it_stands(tmp_path, {"bos_token_id": 0, "eos_token_id": [1, 5], "pad_token_id": None})
    assert (found.bos_token_id, found.eos_token_id, found.pad_token_id) == (0, 1, None)


@pytest.mark.parametrize("end", [None, -1, 50256])
def test_a_tokenizer_without_a_token_that_ends_a_text_is_refused(end: int | None, tmp_path: Path) -> None:
    scratch("gpt2").save_pretrained(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text("{}")
    with pytest.raises(ValueError, match=r"names the token that ends a text.* Name it in tokenizer_config\.json"):
        tokenizer_as_it_stands(tmp_path, {"eos_token_id": end})


def tiny(kind: str, tokenizer: PreTrainedTokenizerFast, folder: Path, rows: int) -> ModelParams:
    """A tiny model of the layout, as transformers writes it, with embeddings for so many tokens."""
    layers = {"num_hidden_layers": 1, "num_attention_heads": 2, "max_position_embeddings": 24}
    model = {
        "gpt2": lambda: GPT2LMHeadModel(GPT2Config(vocab_size=rows, n_positions=24, n_embd=8, n_layer=1, n_head=2)),
        "llama": lambda: LlamaForCausalLM(
            LlamaConfig(vocab_size=rows, hidden_size=8, intermediate_size=16, **layers)  # type: ignore[arg-type]
        ),
        "t5": lambda: T5ForConditionalGeneration(
            T5Config(vocab_size=rows, d_model=8, d_kv=4, d_ff=16, num_layers=1, num_heads=2)
        ),
    }[kind]()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    family = "encoder_decoder" if kind == "t5" else "decoder"
    return WHOLE.model.model_copy(
        update={
            "name": str(folder), "family": family, "revision": None, "sha256": sha256(folder / "model.safetensors"),
        }
    )  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_load_tokenizer_opens_folders_of_models_that_write(kind: str, tmp_path: Path) -> None:
    own = scratch(kind)
    found = load_tokenizer(tiny(kind, own, tmp_path, len(own)))
    assert json.loads(found.backend_tokenizer.to_str()) == json.loads(own.backend_tokenizer.to_str())
    assert found.model_max_length == (80 if kind == "t5" else 24)
    assert (found.eos_token_id, found.pad_token_id) == (own.eos_token_id, own.pad_token_id)


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_with_fewer_embeddings_than_tokens_is_refused(kind: str, tmp_path: Path) -> None:
    own = scratch(kind)
    said = f"largest token is number {len(own) - 1}, and the model has embeddings for 99"
    with pytest.raises(ValueError, match=said):
        load_tokenizer(tiny(kind, own, tmp_path, 99))


@pytest.mark.parametrize("start", [None, 5000])
def test_a_decoder_of_which_no_first_token_is_known_is_refused(start: int | None, tmp_path: Path) -> None:
    own = scratch("t5")
    model = tiny("t5", own, tmp_path, len(own))
    config = json.loads((tmp_path / "config.json").read_text()) | {"decoder_start_token_id": start}
    (tmp_path / "config.json").write_text(json.dumps(config))
    params = WHOLE.model_copy(update={"model": model})
    if start is None:
        assert start_of(own, params) == "<pad>"
        own.pad_token = None
    with pytest.raises(ValueError, match=r"its config\.json has decoder_start_token_id (null|5000), which is no token"):
        start_of(own, params)
