"""Decoders (GPT-2, Llama): models that write one token after another, and read a source in front of what they write.

B examples, T tokens, V tokens of the vocabulary.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import nn
from transformers import GPT2LMHeadModel, LlamaForCausalLM
from transformers.pytorch_utils import Conv1D

from stages.core.contracts import Parts, Taps, Units
from stages.models import writers
from stages.models.writers import Kind, Made, Writer

COMPARED, NO_VECTORS = "compared with its teacher by inner vectors", "cache_logits.vectors []"


class Decoder(Writer):
    """A decoder of transformers. Its positions follow from the mask, so that padding, on any side, changes nothing."""

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, _token_type_ids: torch.Tensor | None = None
    ) -> torch.Tensor:
        """input_ids, attention_mask (B, T) int64 -> logits (B, T, V), of each place those of the next token.

        The mask is 0 for padding. Where several texts are packed into a row it is 1, 2, ..., their numbers: no token
        sees another text's, and each text begins at position 0.
        """
        seen_BTT = seen(attention_mask)
        mask_B1TT = seen_BTT.unsqueeze(1)
        if self.config._attn_implementation == "eager":  # it adds the mask to the scores
            weight = self.table.weight
            least = torch.finfo(weight.dtype).min
            mask_B1TT = torch.zeros_like(mask_B1TT, dtype=weight.dtype).masked_fill(~mask_B1TT, least)
        logits: torch.Tensor = self.language(
            input_ids=input_ids, attention_mask=mask_B1TT, position_ids=seen_BTT.sum(-1) - 1, use_cache=False
        ).logits
        return logits


def seen(numbers_BT: torch.Tensor) -> torch.Tensor:
    """(B, T, T) bool: which tokens each token sees: itself, and those before it in a text of the same number.

    What fills a batch up, number 0, sees itself alone, as shares of nothing are no numbers; nobody else sees it.
    """
    tokens = torch.arange(numbers_BT.shape[1], device=numbers_BT.device)
    before_TT = tokens[:, None] >= tokens
    same_BTT = (numbers_BT[:, :, None] == numbers_BT[:, None, :]) & (numbers_BT[:, None, :] > 0)
    return (same_BTT & before_TT) | (tokens[:, None] == tokens)


def _with_linear_layers(language: Any) -> None:
    """Matrices of GPT-2 as nn.Linear, for which everything else is written; files have them transposed."""
    for name, module in list(language.named_modules()):
        if isinstance(module, Conv1D):
            language.set_submodule(name, nn.Linear(module.nx, module.nf))


def _without_padding_row(language: Any) -> None:
    """Llama's table would never learn the token for padding, which in many models is also the one that ends a text."""
    language.get_input_embeddings().padding_idx = None


def _split_of_gpt2(language: Any, _heads: object = None) -> None:
    for layer in language.transformer.h:
        layer.attn.split_size = layer.attn.c_proj.in_features


def _units_of_gpt2(language: Any) -> dict[str, list[Units]]:
    layers = language.transformer.h

    def resized(attention: Any, count: int) -> None:
        attention.split_size = count * attention.head_dim

    return {
        "heads": [
            Units(
                (layer.attn.c_attn,), layer.attn.c_proj, layer.attn.head_dim, blocks=3,
                resized=partial(resized, layer.attn),
            )
            for layer in layers
        ],
        "feed_forward": [Units((layer.mlp.c_fc,), layer.mlp.c_proj, 1) for layer in layers],
    }  # fmt: skip


def _units_of_llama(language: Any) -> dict[str, list[Units]]:
    """Heads that share their keys and values are one unit."""
    layers = language.model.layers

    def group(attention: Any) -> Units:
        producers = (attention.q_proj, attention.k_proj, attention.v_proj)
        one, shared = attention.head_dim, attention.num_key_value_groups
        return Units(producers, attention.o_proj, shared * one, sizes=(shared * one, one, one))

    return {
        "heads": [group(layer.self_attn) for layer in layers],
        "feed_forward": [Units((layer.mlp.gate_proj, layer.mlp.up_proj), layer.mlp.down_proj, 1) for layer in layers],
    }


def units(model: Any) -> dict[str, list[Units]]:
    """The attention heads, of Llama with the keys and values that some share, and the neurons of each layer."""
    return _UNITS[model.config.model_type](model.language)


_UNITS = {"gpt2": _units_of_gpt2, "llama": _units_of_llama}


KINDS = {
    "gpt2": Kind(
        language=GPT2LMHeadModel, base="transformer.", table="transformer.wte.weight",
        stacks={"transformer.h.": "n_layer"}, neurons="n_inner", dropouts=("resid_pdrop", "embd_pdrop", "attn_pdrop"),
        prepare=_with_linear_layers, shrink=_split_of_gpt2, spread=lambda config: config.initializer_range,
        transposed=("c_attn.weight", "c_proj.weight", "c_fc.weight"), ignored=(".attn.bias", ".attn.masked_bias"),
    ),
    "llama": Kind(
        language=LlamaForCausalLM, base="model.", table="model.embed_tokens.weight",
        stacks={"model.layers.": "num_hidden_layers"}, neurons="intermediate_size", dropouts=("attention_dropout",),
        prepare=_without_padding_row, shrink=lambda _language, _heads: None,
        spread=lambda config: config.initializer_range,
    ),
}  # fmt: skip
MADE = Made(KINDS, Decoder, units)


def parts(model: Any) -> Parts:
    """All of it is the encoder: nothing is new, and the head has no weights of its own.

    A layer that makes logits, where there is one, is trained at the rate of the layer below it.
    """
    base = model.language.base_model
    layers, norm = (base.h, base.ln_f) if model.config.model_type == "gpt2" else (base.layers, base.norm)
    above = (norm, model.language.lm_head)
    return Parts(model.language, embeddings=model.table, layers=tuple(layers), head=nn.Identity(), above=above)


def taps(model: Any) -> Taps:
    """The modules that put out the vectors of embeddings, layers and attentions."""
    config = model.config
    if config.model_type == "gpt2":
        raise writers.cannot("decoder", f"{COMPARED}: GPT-2 makes queries, keys and values with one matrix", NO_VECTORS)
    if config.num_key_value_heads != config.num_attention_heads:
        raise writers.cannot("decoder", f"{COMPARED} where heads share keys and values", NO_VECTORS)
    layers = model.language.model.layers
    return Taps(
        embeddings=model.table,
        hidden=list(layers),
        queries=[layer.self_attn.q_proj for layer in layers],
        keys=[layer.self_attn.k_proj for layer in layers],
        values=[layer.self_attn.v_proj for layer in layers],
    )


FAMILY = writers.family("decoder", MADE, parts=parts, taps=taps)
