"""Small random models that write: their layouts, their prompts, and sealed folders of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    GenerationConfig,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
)

from stages.core import plugins
from stages.core.contracts import Generation, Head, Writing
from stages.core.model_folder import seal
from stages.core.params.model import ModelParams
from stages.decoding.stepper import Prompt
from stages.models import FAMILIES

VOCABULARY, START, END, POSITIONS = 96, 0, 1, 64
TEXTS = ["the cat sat on the mat", "a dog ate the cat's food", "die Katze saß auf der Matte", "one two three"]
MAX_TOKENS = 48


def gpt2() -> Any:
    return GPT2LMHeadModel(GPT2Config(vocab_size=VOCABULARY, n_positions=POSITIONS, n_embd=32, n_layer=2, n_head=4))


def llama() -> Any:
    return LlamaForCausalLM(
        LlamaConfig(vocab_size=VOCABULARY, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
                    num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=POSITIONS)
    )  # fmt: skip


def t5() -> Any:
    return T5ForConditionalGeneration(
        T5Config(vocab_size=VOCABULARY, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4)
    )


LAYOUTS: dict[str, Callable[[], Any]] = {"gpt2": gpt2, "llama": llama, "t5": t5}
Source = Literal["before", "apart"] | None
SHAPES: list[tuple[str, Source]] = [
    ("gpt2", None), ("llama", None), ("gpt2", "before"), ("llama", "before"), ("t5", "apart"),
]  # fmt: skip


def sharp(layout: str, vocabulary: int = VOCABULARY) -> Any:
    """A small random model that is sure of its tokens, and ends a text now and then."""
    torch.manual_seed(5)
    model = LAYOUTS[layout]().eval()
    if vocabulary != VOCABULARY:
        model.resize_token_embeddings(vocabulary, mean_resizing=False)
    for weight in model.parameters():
        if weight.dim() > 1:
            torch.nn.init.normal_(weight, std=0.4 if layout == "t5" else 0.25)
    with torch.no_grad():
        model.get_output_embeddings().weight[END] *= 5 if layout == "t5" else 1.5
    return model


def generated(model: Any, prompt: Prompt, **settings: Any) -> list[int]:
    """The tokens that transformers writes behind one prompt."""
    asked = torch.tensor([list(prompt.ids if prompt.source is None else prompt.source)])
    how = GenerationConfig(eos_token_id=END, pad_token_id=START, decoder_start_token_id=START, **settings)
    found = model.generate(asked, attention_mask=torch.ones_like(asked), generation_config=how)[0].tolist()
    own = found[len(prompt.ids) :]
    return own[: own.index(END) + 1] if END in own else own


def tokenizer_of(path: Path) -> Tokenizer:
    """A byte-level tokenizer, with START and END as its special tokens; written to `path`."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        TEXTS * 4,
        trainers.BpeTrainer(
            vocab_size=VOCABULARY + 256, special_tokens=["<s>", "</s>"], show_progress=False,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        ),
    )  # fmt: skip
    tokenizer.save(str(path))
    return tokenizer


def described(source: Source, **more: Any) -> dict[str, Any]:
    """The entries of model.json."""
    writing = Writing(START, END, (5,) if source == "before" else (), "to: " if source else "", source, 16)
    return {
        "task": "text_generation" if source is None else "text2text_generation", "space": {}, "max_tokens": MAX_TOKENS,
        "writing": writing.described(), "generation": Generation(12).described(), **more,
    }  # fmt: skip


def write_writer(folder: Path, layout: str, source: Source, **more: Any) -> Any:
    """A sealed folder of the backend pytorch with such a model, which is returned as transformers' own."""
    begins = folder.with_name(f"{folder.name}-begins")
    tokenizer = tokenizer_of(folder / "tokenizer.json")
    model = sharp(layout, tokenizer.get_vocab_size())
    model.save_pretrained(begins)
    name = "encoder_decoder" if source == "apart" else "decoder"
    family = plugins.load(FAMILIES, name, key="model.family")
    params = ModelParams(
        family=name, name=str(begins), revision=None, sha256=None, pooling="mean", encoder_dropout=0.0,
        head_dropout=0.0, scratch=None, image=None, image_augmentation=0.0,
    )  # fmt: skip
    family.write(family.build(begins, params, Head("vocabulary", 0)), folder)
    seal(folder, backend="pytorch", family=name, **described(source, **more))
    return model
