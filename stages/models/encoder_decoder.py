"""Encoder-decoders (T5): an encoder reads a source, and a decoder writes one token after another of what it read.

B examples, T tokens of a source, U tokens that are written, V tokens of the vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NoReturn

import torch
from torch import nn
from transformers import T5ForConditionalGeneration
from transformers.models.t5.modeling_t5 import T5Attention

from stages.core.contracts import Parts, Units
from stages.models import writers
from stages.models.writers import BorrowedTable, Kind, Made, Writer

STACKS = ("encoder", "decoder")


class EncoderDecoder(Writer):
    """An encoder-decoder of transformers. It knows distances alone, so that padding changes nothing."""

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, decoder_input_ids: torch.Tensor
    ) -> torch.Tensor:
        """input_ids, attention_mask (B, T), decoder_input_ids (B, U) int64 -> logits (B, U, V) of the next tokens.

        What is written is filled up at its end, where no token sees it.
        """
        logits: torch.Tensor = self.language(
            input_ids=input_ids, attention_mask=attention_mask, decoder_input_ids=decoder_input_ids, use_cache=False
        ).logits
        return logits


class SelfAttention(T5Attention):
    """T5's, which may have lost heads. The table of distances stays whole, as a stack's layers share the first's."""

    heads: list[int]

    def forward(
        self, hidden_states: Any, mask: Any = None, key_value_states: Any = None, position_bias: Any = None,
        past_key_values: Any = None, **more: Any,
    ) -> Any:  # fmt: skip
        """As transformers', whose layers hand the biases of all heads on to the next."""
        whole = position_bias
        if whole is None:
            before = 0 if past_key_values is None else past_key_values.get_seq_length(self.layer_idx)
            length = hidden_states.shape[1]
            whole = self.compute_bias(length, length + before, hidden_states.device, past_seen_tokens=before)
        own = whole if len(self.heads) == whole.shape[1] else whole[:, self.heads]
        out, _, weights = super().forward(
            hidden_states, mask, key_value_states, own, past_key_values=past_key_values, **more
        )
        return out, whole, weights


class CrossAttention(T5Attention):
    """T5's, which may have lost heads: each layer makes its own biases, which are 0."""

    def forward(
        self, hidden_states: Any, mask: Any = None, key_value_states: Any = None, position_bias: Any = None,
        past_key_values: Any = None, **more: Any,
    ) -> Any:  # fmt: skip
        """As transformers'."""
        assert position_bias is None
        out, _, weights = super().forward(
            hidden_states, mask, key_value_states, position_bias, past_key_values=past_key_values, **more
        )
        return out, None, weights


def _prepare(language: Any) -> None:
    """One table of tokens, and attentions that can lose heads; they keep the weights that they have."""
    for name in STACKS:
        stack = language.get_submodule(name)
        stack.embed_tokens = BorrowedTable(language.shared)
        for block in stack.block:
            own = block.layer[0].SelfAttention
            own.__class__, own.heads = SelfAttention, list(range(own.n_heads))
            if name == "decoder":
                block.layer[1].EncDecAttention.__class__ = CrossAttention


def _shrink(language: Any, heads: Mapping[str, Sequence[Sequence[int]]]) -> None:
    for name in STACKS:
        stack = language.get_submodule(name)
        for at, block in enumerate(stack.block):
            if heads:
                block.layer[0].SelfAttention.heads = list(heads[name][at])
            for attention in _attentions(block):
                attention.n_heads = attention.o.in_features // attention.key_value_proj_dim


def _attentions(block: Any) -> list[Any]:
    own = [block.layer[0].SelfAttention]
    return [*own, block.layer[1].EncDecAttention] if len(block.layer) > 2 else own


def _heads(model: Any) -> dict[str, list[list[int]]]:
    """By stack and layer the heads of self-attention that are left; empty where all are."""
    language = model.language
    found = {
        name: [list(block.layer[0].SelfAttention.heads) for block in language.get_submodule(name).block]
        for name in STACKS
    }
    every = list(range(model.config.num_heads))
    return {} if all(own == every for of in found.values() for own in of) else found


def units(model: Any) -> dict[str, list[Units]]:
    """The heads of each attention, those of the decoder that look at the source too, and each layer's neurons."""
    blocks = _blocks(model)
    return {
        "heads": [_heads_of(attention) for block in blocks for attention in _attentions(block)],
        "feed_forward": [_neurons_of(block.layer[-1].DenseReluDense) for block in blocks],
    }


def _blocks(model: Any) -> list[Any]:
    return [*model.language.encoder.block, *model.language.decoder.block]


def _heads_of(attention: Any) -> Units:
    def selected(kept: Sequence[int]) -> None:
        if isinstance(attention, SelfAttention):
            attention.heads = [attention.heads[number] for number in kept]

    return Units(
        (attention.q, attention.k, attention.v), attention.o, attention.key_value_proj_dim,
        resized=partial(setattr, attention, "n_heads"), selected=selected,
    )  # fmt: skip


def _neurons_of(dense: Any) -> Units:
    gated = hasattr(dense, "wi_0")
    return Units((dense.wi_0, dense.wi_1) if gated else (dense.wi,), dense.wo, 1)


KINDS = {
    "t5": Kind(
        language=T5ForConditionalGeneration, base="", table="shared.weight",
        stacks={"encoder.block.": "num_layers", "decoder.block.": "num_decoder_layers"}, neurons="d_ff",
        dropouts=("dropout_rate",), prepare=_prepare, shrink=_shrink,
        spread=lambda config: config.initializer_factor,
        ignored=(".EncDecAttention.relative_attention_bias.weight", "embed_tokens.weight"),
    )
}  # fmt: skip
MADE = Made(KINDS, EncoderDecoder, units, _heads)


def parts(model: Any) -> Parts:
    """All of it is the encoder: nothing is new, and the head has no weights of its own.

    The decoder's layers stand above the encoder's. A layer that makes logits, where there is one, is trained at the
    rate of the layer below it.
    """
    language, layers = model.language, tuple(_blocks(model))
    above = (language.encoder.final_layer_norm, language.decoder.final_layer_norm, language.lm_head)
    return Parts(language, embeddings=model.table, layers=layers, head=nn.Identity(), above=above)


def _taps(_: nn.Module) -> NoReturn:
    raise writers.cannot(
        "encoder_decoder", "compared with its teacher by inner vectors, as it has two stacks", "cache_logits.vectors []"
    )


FAMILY = writers.family("encoder_decoder", MADE, parts=parts, taps=_taps)
