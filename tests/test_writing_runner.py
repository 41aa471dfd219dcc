"""Runners of models that write: what is written behind a text or for a source, and how likely texts are."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, pre_tokenizers, trainers
from writing_fixtures import (
    END,
    MAX_TOKENS,
    SHAPES,
    START,
    TEXTS,
    VOCABULARY,
    Source,
    described,
    generated,
    sharp,
    tokenizer_of,
)

from stages.backends.pytorch.stepping import stepper_of
from stages.backends.writing import Backed, writing_runner
from stages.core.contracts import Generation, Runner, Writing
from stages.decoding.stepper import Prompt


class Opened:
    """A small random model with its runner."""

    def __init__(self, folder: Path, layout: str, source: Source, **more: Any) -> None:
        self.tokenizer = tokenizer_of(folder / "tokenizer.json")
        self.model = sharp(layout, self.tokenizer.get_vocab_size())
        self.writing = Writing.of(described(source)["writing"])
        self.runner = self.opened_again(folder, **more)

    def opened_again(self, folder: Path, **more: Any) -> Runner:
        description = described(self.writing.source, **more)

        def run(*inputs: np.ndarray) -> np.ndarray:
            names = ("input_ids", "attention_mask", "decoder_input_ids")
            with torch.inference_mode():
                return self.model(**dict(zip(names, map(torch.from_numpy, inputs), strict=False))).logits.numpy()

        return writing_runner(folder, description, Backed(lambda: stepper_of(self.model), run))

    def prompt(self, text: str) -> Prompt:
        ids = self.tokenizer.encode(self.writing.prefix + text, add_special_tokens=False).ids
        if self.writing.source == "apart":
            return Prompt([START], [*ids, END])
        return Prompt([START, *ids, *self.writing.separator])

    def nats(self, prompt: Prompt, ids: list[int]) -> list[float]:
        """The log-probability of each of `ids` behind a prompt, each from a run of its own."""
        found = []
        for at, token in enumerate(ids):
            decoded = torch.tensor([[*prompt.ids, *ids[:at]]])
            with torch.inference_mode():
                if prompt.source is None:
                    logits = self.model(input_ids=decoded).logits
                else:
                    logits = self.model(input_ids=torch.tensor([prompt.source]), decoder_input_ids=decoded).logits
            found.append(float(torch.log_softmax(logits[0, -1].double(), -1)[token]))
        return found


def write(runner: Runner, texts: list[str], most: int) -> list[str]:
    assert runner.write is not None
    return runner.write(texts, Generation(most))


def stream(runner: Runner, text: str, most: int) -> Iterator[str]:
    assert runner.stream is not None
    return runner.stream(text, Generation(most))


@pytest.fixture(params=SHAPES, ids=str)
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Opened:
    return Opened(tmp_path, *request.param)


def test_texts_are_written_as_transformers_writes_their_tokens(opened: Opened) -> None:
    for text, written in zip(TEXTS[:4], write(opened.runner, TEXTS[:4], 12), strict=True):
        ids = generated(opened.model, opened.prompt(text), max_new_tokens=12, do_sample=False)
        assert written == opened.tokenizer.decode(ids).rstrip("\ufffd")
        assert "".join(stream(opened.runner, text, 12)) == written


def test_what_is_written_has_the_probabilities_of_its_tokens(opened: Opened) -> None:
    assert opened.runner.written is not None
    found = opened.runner.written(TEXTS[:3], Generation(6))
    assert found.offsets is not None
    assert found.written == write(opened.runner, TEXTS[:3], 6)
    for row, text in enumerate(TEXTS[:3]):
        ids = generated(opened.model, opened.prompt(text), max_new_tokens=6, do_sample=False)
        own = found.values[found.offsets[row] : found.offsets[row + 1], 0]
        assert own == pytest.approx(opened.nats(opened.prompt(text), ids), abs=1e-3)


def test_a_text_or_a_target_has_the_probability_of_each_token_and_of_its_end(opened: Opened) -> None:
    if opened.writing.source is None:
        asked: list[Any] = TEXTS[:3]
        prompt, target = Prompt([START]), TEXTS[1]
    else:
        asked = [(text, other) for text, other in itertools.pairwise(TEXTS[:4])]
        prompt, target = opened.prompt(TEXTS[1]), TEXTS[2]
    found = opened.runner.predict(asked)
    assert found.offsets is not None
    assert found.characters is not None
    encoding = opened.tokenizer.encode(target, add_special_tokens=False)
    own = slice(found.offsets[1], found.offsets[2])
    assert found.values[own, 0] == pytest.approx(opened.nats(prompt, [*encoding.ids, END]), abs=1e-3)
    assert [tuple(place) for place in found.characters[own]] == [*encoding.offsets, (len(target),) * 2]
    assert found.values.dtype == np.float32
    assert found.written is None


def test_a_source_alone_is_written_for_as_the_model_says(tmp_path: Path) -> None:
    opened = Opened(tmp_path, "t5", "apart")
    found = opened.runner.predict(TEXTS[:3])
    assert found.written is not None
    assert found.written == write(opened.runner, TEXTS[:3], 12)
    assert found.of_rows([2]).written == found.written[2:]


def test_a_long_text_is_read_in_windows_each_token_once(tmp_path: Path) -> None:
    opened = Opened(tmp_path, "gpt2", None, long_texts="windows", stride=8)
    text = " ".join(TEXTS * 4)
    found = opened.runner.predict([text, "short"])
    assert found.offsets is not None
    assert found.characters is not None
    assert found.texts is not None
    assert [found.texts[0][a:b] for a, b in found.characters[: found.offsets[1]]] == [
        text[a:b] for a, b in [*opened.tokenizer.encode(text).offsets, (len(text),) * 2]
    ]
    cut = Opened(tmp_path, "gpt2", None).runner.predict([text, "short"])
    assert cut.offsets is not None
    assert cut.characters is not None
    assert cut.texts is not None
    assert np.diff(cut.offsets)[0] == MAX_TOKENS
    assert text.startswith(cut.texts[0])
    assert cut.characters[cut.offsets[1] - 1][1] == len(cut.texts[0])


def test_the_blank_before_what_is_written_is_kept(tmp_path: Path) -> None:
    """A Metaspace decoder drops the blank of a text's first token, which is not the first of what is continued."""
    opened = Opened(tmp_path, "gpt2", None)
    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.train_from_iterator(TEXTS * 4, trainers.BpeTrainer(vocab_size=VOCABULARY, special_tokens=["<s>", "</s>"]))
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    again = opened.opened_again(tmp_path)
    ids = tokenizer.encode("the cat").ids
    own = generated(opened.model, Prompt([START, *ids]), max_new_tokens=8, do_sample=False)
    whole, before = tokenizer.decode([*ids, *own]), tokenizer.decode(ids)
    assert before + write(again, ["the cat"], 8)[0] == whole
    assert before + "".join(stream(again, "the cat", 8)) == whole
    assert whole != before + tokenizer.decode(own), "decoded alone it lost its blank"


def test_what_has_no_room_is_refused(tmp_path: Path) -> None:
    runner = Opened(tmp_path, "gpt2", None).runner
    with pytest.raises(ValueError, match=r"text 2 has \d+ tokens, and the model reads and writes 48 tokens together"):
        write(runner, ["one", " ".join(TEXTS * 4)], 4)
    with pytest.raises(ValueError, match="text 1 has 1,000,000 characters"):
        stream(runner, "x" * 1_000_000, 4)
    assert write(runner, [""], 4)[0] is not None, "the begin token stands before it"


def test_an_empty_source_is_refused_and_a_long_one_cut(tmp_path: Path) -> None:
    runner = Opened(tmp_path, "t5", "apart").runner
    with pytest.raises(ValueError, match="text 2 is empty: there is nothing to write for"):
        write(runner, ["one", "  "], 4)
    long = "one two " * 125_000
    assert write(runner, [long], 4) == write(runner, [long[:1000]], 4)
    with pytest.raises(ValueError, match=r"text 1: its target has .* tokens.*Allowed: 48"):
        runner.predict([("one", " ".join(TEXTS * 4))])


def test_half_a_surrogate_pair_is_read_as_a_question_mark(opened: Opened) -> None:
    assert write(opened.runner, ["one \ud83d two"], 4) == write(opened.runner, ["one ? two"], 4)
