"""Tokens a second of models that write, one stream and batches: Winnow's int8 graphs beside torch and plain tools.

    python benchmarks/writing.py [--threads 2] [--rounds 3] [--tokens 48] [--prompt 32] [--streams 1 8 32] [--tiny]

Weights are random, as speed does not hang on them. All take turns in one process, several rounds. Each writes as many
tokens behind the same prompts (of an encoder-decoder: for the same sources), greedily, its choice of them included. A
figure is the best round's tokens of all streams over the seconds that their steps took; reading the prompt is a figure
of its own. The ratios are of Winnow's int8 to the faster torch, and to ONNX Runtime's own tools for the same weights.
`--shapes` takes some of the shapes, `--tiny` small ones, to see whether it runs. Writes writing.json beside this file.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import record
import torch
import writers
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
)

from stages.backends.quiet import quiet

START, FIRST = 0, 3  # T5 begins with token 0; prompts are of the tokens from 3 on
LLAMA_135M: dict[str, Any] = {
    "vocab_size": 49152, "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30,
    "num_attention_heads": 9, "num_key_value_heads": 3, "max_position_embeddings": 2048, "tie_word_embeddings": True,
}  # fmt: skip
TINY_LLAMA: dict[str, Any] = {
    **LLAMA_135M, "vocab_size": 200, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2,
}  # fmt: skip
TINY_T5: dict[str, Any] = {"vocab_size": 200, "d_model": 64, "d_kv": 16, "d_ff": 128, "num_layers": 2, "num_heads": 4}


def gpt2(**shape: Any) -> Any:
    """GPT-2, whose usual shape has 12 layers of the width 768 and 50,257 tokens."""
    return GPT2LMHeadModel(GPT2Config(**shape))


def llama(**shape: Any) -> Any:
    """A Llama."""
    return LlamaForCausalLM(LlamaConfig(**shape))


def t5(**shape: Any) -> Any:
    """T5, whose usual shape is t5-small's: 6 and 6 layers of the width 512, and 32,128 tokens."""
    return T5ForConditionalGeneration(T5Config(**shape))


SHAPES: dict[str, Callable[[], Any]] = {
    "gpt2, 12 x 768": gpt2,
    "gpt2, 6 x 512, 16,000 tokens": lambda: gpt2(vocab_size=16000, n_embd=512, n_layer=6, n_head=8),
    "llama, 30 x 576": lambda: llama(**LLAMA_135M),
    "t5-small": t5,
}
TINY: dict[str, Callable[[], Any]] = {
    "gpt2, tiny": lambda: gpt2(vocab_size=200, n_embd=64, n_layer=2, n_head=4),
    "llama, tiny": lambda: llama(**TINY_LLAMA),
    "t5, tiny": lambda: t5(**TINY_T5),
}


def measured(made: writers.Open, streams: int, tokens: int, prompt: int, *, apart: bool, most: int) -> dict[str, float]:
    """Tokens a second of all streams together, and the milliseconds in which their prompts were read."""
    prompts = np.random.default_rng(streams).integers(FIRST, most, (streams, prompt)).tolist()
    stepper = made()
    started = time.perf_counter()
    logits_RV = stepper.begin(*([[START]] * streams, prompts) if apart else (prompts, None))
    begun = time.perf_counter()
    for _ in range(tokens):
        logits_RV = stepper.step(logits_RV.argmax(axis=-1), None)
    ended = time.perf_counter()
    return {"tokens_per_s": streams * tokens / (ended - begun), "prompt_ms": (begun - started) * 1000}


def best(rounds: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Of some rounds the best rate, and the shortest time."""
    return {
        "tokens_per_s": round(max(figures["tokens_per_s"] for figures in rounds), 1),
        "prompt_ms": round(min(figures["prompt_ms"] for figures in rounds), 2),
    }


def ratios(found: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """How many times as fast Winnow's int8 is."""
    rate = {name: figures["tokens_per_s"] for name, figures in found.items()}
    ours, torchs = rate[writers.OURS], max(rate[writers.EAGER], rate[writers.COMPILED])
    return {"to_torch": round(ours / torchs, 2), "to_plain_tools": round(ours / rate[writers.PLAIN], 2)}


def of_shape(make: Callable[[], Any], asked: argparse.Namespace) -> dict[str, Any]:
    """The figures of one model."""
    torch.manual_seed(0)
    model = make().eval()
    apart, most = model.config.is_encoder_decoder, model.config.vocab_size
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        room = (1 if apart else asked.prompt) + asked.tokens
        with quiet():
            contestants = writers.taking_part(model, Path(scratch), threads=asked.threads, room=room)
        for streams in asked.streams:
            rounds: dict[str, list[dict[str, float]]] = {name: [] for name in contestants}
            for warming in (True, *[False] * asked.rounds):
                for name, made in contestants.items():
                    tokens = 2 if warming else asked.tokens
                    figures = measured(made, streams, tokens, asked.prompt, apart=apart, most=most)
                    rounds[name] += [] if warming else [figures]
            own = {name: best(figures) for name, figures in rounds.items()}
            found[f"streams_{streams}"] = {**own, "ratios": ratios(own)}
    return found


def main() -> None:
    """Measure, and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, usual in (("threads", 2), ("rounds", 3), ("tokens", 48), ("prompt", 32)):
        parser.add_argument(f"--{name}", type=int, default=usual)
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--shapes", nargs="+", choices=list(SHAPES), default=list(SHAPES))
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".json"))
    asked = parser.parse_args()
    shapes = TINY if asked.tiny else {name: SHAPES[name] for name in asked.shapes}
    figures = {name: of_shape(make, asked) for name, make in shapes.items()}
    settings = {name: getattr(asked, name) for name in ("threads", "rounds", "tokens", "prompt")}
    record.write(asked.output, {**settings, **figures})


if __name__ == "__main__":
    main()
