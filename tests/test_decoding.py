"""Decoding: greedy and beams write what transformers' generate writes; sampling; stop strings; pieces of text."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from tokenizers import decoders
from transformers import TopKLogitsWarper, TopPLogitsWarper
from writing_fixtures import END, LAYOUTS, POSITIONS, START, VOCABULARY, generated, sharp

from stages.backends.onnxruntime_int8.writing.prepared import prepare
from stages.backends.onnxruntime_int8.writing.stepper import GraphStepper, Sessions, open_sessions
from stages.backends.pytorch.stepping import stepper_of
from stages.core.contracts import Generation
from stages.core.params.generate import GenerateParams
from stages.decoding.pieces import TextSoFar
from stages.decoding.scores import likeliest, log_softmax
from stages.decoding.stepper import Prompt, TokenModel
from stages.decoding.writing import stream, write


def letters(ids: Sequence[int]) -> str:
    return "".join(chr(32 + number) for number in ids)


def opened(model: Any) -> TokenModel:
    positions = None if model.config.is_encoder_decoder else POSITIONS
    return TokenModel(lambda: stepper_of(model), letters, END, positions)


def prompts_of(model: Any, count: int) -> list[Prompt]:
    draw = np.random.default_rng(3)
    rows = [draw.integers(2, VOCABULARY, draw.integers(1, 30)).tolist() for _ in range(count)]
    if model.config.is_encoder_decoder:
        return [Prompt([START], row) for row in rows]
    return [Prompt(row) for row in rows]


def compare(layout: str, count: int, how: Generation, **settings: Any) -> None:
    model = sharp(layout)
    prompts = prompts_of(model, count)
    ours = [one.ids for one in write(opened(model), prompts, how)]
    theirs = [generated(model, one, max_new_tokens=how.max_new_tokens, **settings) for one in prompts]
    assert ours == theirs
    assert len({len(ids) for ids in ours}) > 2, "some end early"


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("beams", [1, 4])
def test_it_writes_what_transformers_writes_token_for_token(layout: str, beams: int) -> None:
    compare(layout, 12, Generation(16, beams=beams), num_beams=beams, do_sample=False)


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("beams", [1, 4])
def test_two_hundred_prompts_are_written_as_transformers_writes_them(layout: str, beams: int, tmp_path: Path) -> None:
    """With PyTorch's cache, and by the graphs for ONNX Runtime before they are quantized."""
    model = sharp(layout)
    prompts, how = prompts_of(model, 200), Generation(24, beams=beams)
    theirs = [generated(model, one, max_new_tokens=24, num_beams=beams, do_sample=False) for one in prompts]
    assert [one.ids for one in write(opened(model), prompts, how)] == theirs
    sessions = float_graphs(model, tmp_path)
    graphs = opened(model)._replace(open=lambda: GraphStepper(sessions))
    assert [one.ids for one in write(graphs, prompts, how)] == theirs


def float_graphs(model: Any, folder: Path) -> Sessions:
    weights = {name: weight.numpy() for name, weight in model.state_dict().items()}
    found = prepare(weights, json.loads(model.config.to_json_string(use_diff=False)), per_channel=True)
    found.write(folder, found.matrices)
    return open_sessions(folder, 1)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_penalties_and_a_length_penalty_are_those_of_transformers(layout: str) -> None:
    how = Generation(10, repetition_penalty=1.7)
    compare(layout, 6, how, repetition_penalty=1.7, do_sample=False)
    how = Generation(10, beams=3, repetition_penalty=1.3, length_penalty=-0.6)
    compare(layout, 6, how, num_beams=3, repetition_penalty=1.3, length_penalty=-0.6, do_sample=False)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    "how", [Generation(8), Generation(8, beams=3), Generation(8, temperature=0.9, top_k=20, top_p=0.9, seed=4)]
)
def test_a_text_does_not_hang_on_the_others_of_its_batch(layout: str, how: Generation) -> None:
    model = sharp(layout)
    prompts = prompts_of(model, 9)
    together = write(opened(model), prompts, how)
    assert together == [write(opened(model), [one], how)[0] for one in prompts]
    assert together[::-1] == write(opened(model), prompts[::-1], how)


class Scripted:
    """A stepper whose next tokens are known: behind each sequence those of a script; all others are far less likely."""

    def __init__(self, script: Sequence[int], vocabulary: int = VOCABULARY) -> None:
        self._script, self._vocabulary, self._at = script, vocabulary, 0

    def begin(self, ids: Sequence[Sequence[int]], sources: Sequence[Sequence[int]] | None) -> np.ndarray:
        assert sources is None
        return self._logits(len(ids))

    def step(self, tokens_R: np.ndarray, order_R: np.ndarray | None) -> np.ndarray:
        assert order_R is None or len(order_R) == len(tokens_R)
        self._at += 1
        return self._logits(len(tokens_R))

    def _logits(self, rows: int) -> np.ndarray:
        logits_RV = np.zeros((rows, self._vocabulary), dtype=np.float32)
        logits_RV[:, self._script[min(self._at, len(self._script) - 1)]] = 30
        return logits_RV


def scripted(text: str) -> TokenModel:
    return TokenModel(lambda: Scripted([ord(letter) - 32 for letter in text] + [END]), letters, END)


def test_a_stop_string_that_spans_tokens_ends_a_text_and_is_not_part_of_it() -> None:
    one = write(scripted("Say this. STOP here"), [Prompt([5])], Generation(40, stop=("nope", ". ST", "here")))[0]
    assert one.text == "Say this"
    assert one.ended == "stop"
    beams = write(scripted("Say this. STOP here"), [Prompt([5])], Generation(40, beams=2, stop=(". ST",)))[0]
    assert (beams.text, beams.ended) == ("Say this", "stop")


def test_streamed_pieces_hold_back_what_may_begin_a_stop_string() -> None:
    how = Generation(40, stop=("END",))
    pieces = list(stream(scripted("An E, an EN, an END. More"), Prompt([5]), how))
    assert "".join(pieces) == "An E, an EN, an "
    assert pieces[3:5] == ["E,", " "], "the E was held until it was known to begin nothing"
    ends_in_it = scripted("THE E")
    assert "".join(stream(ends_in_it, Prompt([5]), how)) == "THE E"


def test_beams_are_streamed_as_one_piece() -> None:
    assert list(stream(scripted("abc"), Prompt([5]), Generation(9, beams=2))) == ["abc"]


@pytest.mark.parametrize(
    ("how", "said"),
    [
        (Generation(0), r"max_new_tokens is 0. Allowed: whole numbers from 1"),
        (Generation(4, beams=2, temperature=0.7), "beams is 2 and temperature 0.7"),
        (Generation(4, top_p=0), "top_p is 0. Allowed: above 0"),
        (Generation(4, temperature=float("nan")), "temperature is nan"),
        (Generation(4, stop=("",)), "none of them empty"),
        (Generation(4, seed=-1), "seed is -1"),
        (Generation(4, temperature=10**400), "temperature is 1000"),
        (Generation(4, repetition_penalty=1e-300), r"repetition_penalty is 1e-300. Allowed: from 0.001 to 1000"),
        (Generation(4, repetition_penalty=1e300), "repetition_penalty is 1e\\+300"),
        (Generation(4, beams=2, length_penalty=10**6), r"length_penalty is 1000000. Allowed: from -10 to 10"),
    ],
)
def test_settings_that_write_nothing_are_refused(how: Generation, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        write(scripted("abc"), [Prompt([5])], how)
    with pytest.raises(ValueError, match=said):
        stream(scripted("abc"), Prompt([5]), how)
    with pytest.raises(ValueError, match="GenerateParams"):  # before anything is trained
        GenerateParams.model_validate(how.described())


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("penalty", [0.001, 1000.0])
@pytest.mark.parametrize("length_penalty", [-10.0, 10.0])
def test_the_largest_settings_overflow_nothing(penalty: float, length_penalty: float) -> None:
    beams = Generation(40, beams=3, repetition_penalty=penalty, length_penalty=length_penalty)
    for how in (beams, Generation(40, temperature=1e-300, top_k=2, repetition_penalty=penalty)):
        assert write(scripted("Some words"), [Prompt([5])], how)[0].ids


def test_a_stop_string_of_a_megabyte_costs_no_more_than_the_text() -> None:
    began = time.monotonic()
    assert "".join(stream(scripted("abc"), Prompt([5]), Generation(9, stop=("b" * 1_000_000,)))) == "abc"
    assert time.monotonic() - began < 2


def test_writing_ends_where_the_context_does() -> None:
    model = scripted("abcdefgh")._replace(positions=6)
    assert write(model, [Prompt([5, 6, 7])], Generation(40))[0] == ("abc", [65, 66, 67], "length")
    with pytest.raises(ValueError, match="a prompt has 6 tokens, and the model reads and writes 6 together"):
        write(model, [Prompt([5] * 6)], Generation(40))


SCORES = st.lists(st.floats(-9, 9, width=32), min_size=1, max_size=40, unique=True)


@given(SCORES, st.integers(1, 50), st.floats(0.05, 1))
@settings(deadline=None)  # the first starts torch
@example([0.0, 2.0, 3.03e-33], 3, 0.875)  # the first and the last have one probability, to rounding
def test_the_tokens_that_may_be_drawn_are_those_of_transformers(scores: list[float], top_k: int, top_p: float) -> None:
    wanted = torch.tensor([scores])
    for warper in (TopKLogitsWarper(top_k), TopPLogitsWarper(top_p)):
        wanted = warper(torch.zeros(1, 1, dtype=torch.long), wanted)
    kept = likeliest(np.array(scores, dtype=np.float32), top_k=top_k, top_p=top_p)
    # Where the probabilities come to `top_p` but for rounding, which token is the last is the rounding's.
    shares = np.sort(np.exp(np.sort(np.array(scores, dtype=np.float64))[::-1][:top_k] - max(scores)))[::-1]
    assume(np.abs((shares / shares.sum()).cumsum() - top_p).min() > 1e-6)
    assert sorted(kept.tolist()) == torch.isfinite(wanted[0]).nonzero()[:, 0].tolist()


@pytest.mark.parametrize("top_p", [0.01, 0.5, 0.9, 0.999])
def test_of_a_large_vocabulary_the_same_tokens_may_be_drawn(top_p: float) -> None:
    scores_V = np.random.default_rng(0).normal(size=20_000).astype(np.float32)
    wanted = TopPLogitsWarper(top_p)(torch.zeros(1, 1, dtype=torch.long), torch.from_numpy(scores_V)[None].double())
    assert likeliest(scores_V, top_k=0, top_p=top_p).tolist() == torch.isfinite(wanted[0]).nonzero()[:, 0].tolist()


def test_of_tokens_with_equal_scores_the_first_may_be_drawn() -> None:
    scores_V = np.tile(np.array([0, 30], dtype=np.float32), 500)
    assert likeliest(scores_V, top_k=0, top_p=0.199).tolist() == list(range(1, 200, 2)), "100 of 500 alike"


def test_drawn_tokens_have_the_shares_of_their_probabilities() -> None:
    model = TokenModel(lambda: Known(np.log([0.6, 0.3, 0.1, 1e-9])), letters, end=3)
    prompts = [Prompt([0, number]) for number in range(3000)]
    drawn = [one.ids[0] for one in write(model, prompts, Generation(1, temperature=1.0, seed=1))]
    assert np.bincount(drawn) / len(drawn) == pytest.approx([0.6, 0.3, 0.1], abs=0.03)
    again = [one.ids[0] for one in write(model, prompts[:50], Generation(1, temperature=1.0, seed=1))]
    other = [one.ids[0] for one in write(model, prompts[:50], Generation(1, temperature=1.0, seed=2))]
    assert again == drawn[:50] != other


@pytest.mark.parametrize("temperature", [1e-300, 1e-9, 1e-3])
def test_a_low_temperature_draws_the_likeliest_token(temperature: float) -> None:
    model = TokenModel(lambda: Known(np.array([3.0, 5.0, 4.99])), letters, end=0)
    assert write(model, [Prompt([0])], Generation(3, temperature=temperature, top_p=0.9))[0].ids == [1, 1, 1]


class Known:
    """A stepper that puts out the same logits (V,) behind everything."""

    def __init__(self, logits_V: np.ndarray) -> None:
        self._logits_V = logits_V.astype(np.float32)

    def begin(self, ids: Sequence[Sequence[int]], sources: Sequence[Sequence[int]] | None) -> np.ndarray:
        assert sources is None
        return np.tile(self._logits_V, (len(ids), 1))

    def step(self, tokens_R: np.ndarray, order_R: np.ndarray | None) -> np.ndarray:
        assert order_R is None or len(order_R) == len(tokens_R)
        return np.tile(self._logits_V, (len(tokens_R), 1))


def test_log_probabilities_sum_to_one() -> None:
    logits_RV = np.random.default_rng(0).normal(size=(3, 50)).astype(np.float32) * 20
    assert np.exp(log_softmax(logits_RV)).sum(-1) == pytest.approx(1, abs=1e-5)


def in_bytes(ids: Sequence[int]) -> str:
    return bytes(ids).decode("utf-8", "replace")


@given(st.text(max_size=30))
def test_pieces_hold_whole_characters_and_are_together_the_text(text: str) -> None:
    growing = TextSoFar(in_bytes, b"before ", ())
    pieces = []
    for byte in text.encode():
        growing.add(byte)
        pieces.append(growing.take())
        assert "\ufffd" not in pieces[-1] or "\ufffd" in text
    growing.finish()
    assert "".join([*pieces, growing.take()]) == text.rstrip("\ufffd")


@given(st.lists(st.integers(0, 255), max_size=40))
def test_bytes_that_are_no_text_are_decoded_as_all_at_once(values: list[int]) -> None:
    growing = TextSoFar(in_bytes, (), ())
    for byte in values:
        growing.add(byte)
    growing.finish()
    assert growing.text == in_bytes(values).rstrip("\ufffd")


def decoded_by(decoder: Any, pieces: Sequence[str]) -> Callable[[Sequence[int]], str]:
    return lambda ids: decoder.decode([pieces[number] for number in ids])


BYTES = [f"<0x{number:02X}>" for number in (0xE2, 0x82, 0xAC, 0x41, 0xFF)]
WORDS = ["▁", "▁the", "the", "▁▁", "a", "▁é", ".", "▁."]
DECODERS = {
    "metaspace": (decoders.Metaspace(), WORDS),
    "llama": (
        decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
                           decoders.Strip(" ", 1, 0)]), [*WORDS, *BYTES],
    ),
    "bytes": (decoders.ByteLevel(), ["Ġ", "Ġthe", "Ã", "©", "a", "â", "Ĥ", "¬", "Ċ"]),
}  # fmt: skip


@pytest.mark.parametrize("kind", DECODERS)
@given(ids=st.lists(st.integers(0, 12), max_size=12), context=st.integers(0, 3))
def test_pieces_are_together_what_a_tokenizer_decodes_at_once(kind: str, ids: list[int], context: int) -> None:
    decoder, pieces = DECODERS[kind]
    decode = decoded_by(decoder, pieces)
    ids, before = [number % len(pieces) for number in ids], [1] * context
    growing, streamed = TextSoFar(decode, before, ()), ""
    for token in ids:
        growing.add(token)
        streamed += growing.take()
    growing.finish()
    assert streamed + growing.take() == growing.text
    whole = decode([*before, *ids])[len(decode(before)) :]
    # Of a run of bytes that are no text Llama's decoder drops all, also those that were read before.
    assert growing.text == whole.rstrip("\ufffd") or (kind == "llama" and "\ufffd" in whole)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_beams_whose_scores_fall_below_what_is_ruled_out_still_write(layout: str) -> None:
    how = Generation(60, beams=2, length_penalty=-10.0)
    assert all(one.ids for one in write(opened(sharp(layout)), prompts_of(sharp(layout), 3), how))
