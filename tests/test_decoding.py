"""Decoding: greedy and beams write what transformers' generate writes; sampling; stop strings; pieces of text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, T5Config, T5ForConditionalGeneration
from transformers import GenerationConfig, TopKLogitsWarper, TopPLogitsWarper

from stages.backends.pytorch.stepping import DecoderStepper, EncoderDecoderStepper
from stages.core.contracts import Generation
from stages.decoding.pieces import TextSoFar
from stages.decoding.scores import likeliest, log_softmax
from stages.decoding.stepper import Prompt, TokenModel
from stages.decoding.writing import stream, write

VOCABULARY, END, START, POSITIONS = 96, 1, 0, 64


def gpt2() -> Any:
    return GPT2LMHeadModel(GPT2Config(vocab_size=VOCABULARY, n_positions=POSITIONS, n_embd=32, n_layer=2, n_head=4))


def llama() -> Any:
    return LlamaForCausalLM(
        LlamaConfig(vocab_size=VOCABULARY, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
                    num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=POSITIONS)
    )  # fmt: skip


def t5() -> Any:
    return T5ForConditionalGeneration(
        T5Config(vocab_size=VOCABULARY, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4,
                 decoder_start_token_id=START)
    )  # fmt: skip


LAYOUTS: dict[str, Callable[[], Any]] = {"gpt2": gpt2, "llama": llama, "t5": t5}


def sharp(layout: str) -> Any:
    """A small random model that is sure of its tokens, and ends a text now and then."""
    torch.manual_seed(5)
    model = LAYOUTS[layout]().eval()
    for weight in model.parameters():
        if weight.dim() > 1:
            torch.nn.init.normal_(weight, std=0.4 if layout == "t5" else 0.25)
    with torch.no_grad():
        model.get_output_embeddings().weight[END] *= 5 if layout == "t5" else 1.5
    return model


def letters(ids: Sequence[int]) -> str:
    return "".join(chr(32 + number) for number in ids)


def opened(model: Any) -> TokenModel:
    if model.config.is_encoder_decoder:
        return TokenModel(lambda: EncoderDecoderStepper(model), letters, END)
    return TokenModel(lambda: DecoderStepper(model), letters, END, POSITIONS)


def prompts_of(model: Any, count: int) -> list[Prompt]:
    draw = np.random.default_rng(3)
    rows = [draw.integers(2, VOCABULARY, draw.integers(1, 30)).tolist() for _ in range(count)]
    if model.config.is_encoder_decoder:
        return [Prompt([START], row) for row in rows]
    return [Prompt(row) for row in rows]


def generated(model: Any, prompt: Prompt, **settings: Any) -> list[int]:
    """The tokens that transformers writes behind one prompt."""
    asked = torch.tensor([list(prompt.ids if prompt.source is None else prompt.source)])
    how = GenerationConfig(eos_token_id=END, pad_token_id=START, decoder_start_token_id=START, **settings)
    found = model.generate(asked, attention_mask=torch.ones_like(asked), generation_config=how)[0].tolist()
    own = found[len(prompt.ids) :]
    return own[: own.index(END) + 1] if END in own else own


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
def test_two_hundred_prompts_are_written_as_transformers_writes_them(layout: str, beams: int) -> None:
    compare(layout, 200, Generation(24, beams=beams), num_beams=beams, do_sample=False)
