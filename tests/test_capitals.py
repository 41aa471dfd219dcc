"""Marks for capitals: what is marked and where, and that nothing else of the tokenizer changes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import TOPICS
from test_fast_tokenizers import fast, with_tokenizer
from test_tokenize import ROWS, params, write_clean
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from stages.core.tokenizer_kinds import ONE, SEVERAL
from stages.tokenize import tokenize
from stages.tokens.capitals import marked
from stages.tokens.trained import train_tokenizer

WORDS = ["the data frame is not a max value my func of paris html parser ea", *(" ".join(of) for of in TOPICS.values())]
UNUSED = ("[unused0]", "[unused1]", "[unused2]")


def uncased() -> PreTrainedTokenizerFast:
    """An uncased tokenizer of BERT's kind, with unused places as BERT's have them."""
    pretrained = fast("wordpiece", WORDS)
    source = json.loads(pretrained.backend_tokenizer.to_str())
    vocabulary = source["model"]["vocab"]
    vocabulary |= {token: len(vocabulary) + at for at, token in enumerate(UNUSED)}
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(json.dumps(source)), **special)


def read(tokenizer: PreTrainedTokenizerFast, text: str) -> list[tuple[str, str]]:
    """The tokens of a text, each with the characters that it stands for."""
    found = tokenizer.backend_tokenizer.encode(text, add_special_tokens=False)
    return [(token, text[start:end]) for token, (start, end) in zip(found.tokens, found.offsets, strict=True)]


def test_one_mark_stands_before_a_capital_and_another_before_several() -> None:
    assert read(marked(uncased()), "The data MAX of Paris") == [
        (ONE, "T"), ("the", "The"), ("data", "data"), (SEVERAL, "M"), ("max", "MAX"), ("of", "of"), (ONE, "P"),
        ("paris", "Paris"),
    ]  # fmt: skip


def test_a_capital_within_a_word_begins_a_new_one() -> None:
    assert read(marked(uncased()), "myFunc DataFrame") == [
        ("my", "my"), (ONE, "F"), ("func", "Func"), (ONE, "D"), ("data", "Data"), (ONE, "F"), ("frame", "Frame"),
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["Éa of ÉA", "E\u0301a of E\u0301A"])
def test_letters_with_accents_are_marked_whichever_way_they_are_written(text: str) -> None:
    tokens = [token for token, _ in read(marked(uncased()), text)]
    assert tokens == [ONE, "ea", "of", SEVERAL, "ea"]


def test_a_text_without_capitals_has_the_tokens_that_it_had() -> None:
    text, before = "the data frame is (not) a max_value, of paris.", uncased()
    after = marked(before)
    assert after.backend_tokenizer.encode(text).ids == before.backend_tokenizer.encode(text).ids
    assert after.backend_tokenizer.encode(text).offsets == before.backend_tokenizer.encode(text).offsets


def test_marks_take_the_places_of_the_first_unused_tokens() -> None:
    pretrained = uncased()
    before, after = pretrained.get_vocab(), marked(pretrained).get_vocab()
    assert after[ONE] == before["[unused0]"]
    assert after[SEVERAL] == before["[unused1]"]
    assert {token: at for token, at in after.items() if token not in (ONE, SEVERAL)} == {
        token: at for token, at in before.items() if token not in UNUSED[:2]
    }


def test_a_tokenizer_that_is_trained_has_the_marks_and_knows_their_places() -> None:
    pretrained = marked(uncased())
    trained, pieces = train_tokenizer(pretrained, ["The data frame, a MAX of it."] * 3, 60)
    assert pieces[trained.get_vocab()[ONE]] == [pretrained.get_vocab()[ONE]]
    assert [token for token, _ in read(trained, "The MAX")] == [ONE, "the", SEVERAL, "max"]


def test_a_tokenizer_that_keeps_capitals_is_refused() -> None:
    with pytest.raises(ValueError, match=r"capitals is 'marked', and .* lower case .*Allowed for this model: pretrain"):
        marked(fast("byte_level_bpe"))


def test_a_vocabulary_without_unused_places_is_refused() -> None:
    with pytest.raises(ValueError, match="no two unused places"):
        marked(fast("wordpiece"))


def test_the_stage_writes_a_tokenizer_file_that_marks_by_itself(
    tiny_models: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = with_tokenizer(tiny_models("bert"), tmp_path / "model", uncased())
    paths = write_clean(tmp_path / "project", ROWS)
    tokenize(params(folder, capitals="marked"), paths)
    written = Tokenizer.from_file(str(paths.tokenizer / "tokenizer.json"))
    assert written.encode("Ship", add_special_tokens=False).tokens[0] == ONE
