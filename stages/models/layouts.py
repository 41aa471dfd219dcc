"""The layouts of encoders' layers: where each kind of model has its layers, and in them its matrices and norms."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

from torch import nn

from stages.core.contracts import Units

STACKS = ("encoder.layer", "transformer.layer", "layers", "encoder.layers")


class Layout(NamedTuple):
    """The names of a layer's matrices."""

    query: str
    key: str
    value: str
    attention_output: str
    up: str
    down: str
    of_positions: tuple[str, ...] = ()
    """Further matrices that make keys and queries, of positions; not all models of the kind have them."""
    counter: str = ""
    """The module that holds the number of its heads as `num_attention_heads`, where the code asks for it."""
    plain: bool = True
    """Whether a layer is run once, and each matrix in it: then what comes out of them are its inner vectors."""

    @property
    def matrices(self) -> tuple[str, ...]:
        """Those that every layer of the kind has."""
        return (self.query, self.key, self.value, self.attention_output, self.up, self.down)

    @property
    def fused(self) -> bool:
        """Whether one matrix makes queries, keys and values."""
        return self.query == self.value


LAYOUTS = (
    Layout(  # BERT, RoBERTa, ELECTRA
        "attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense",
        "intermediate.dense", "output.dense",
    ),
    Layout(  # DistilBERT
        "attention.q_lin", "attention.k_lin", "attention.v_lin", "attention.out_lin", "ffn.lin1", "ffn.lin2"
    ),
    Layout(  # ALBERT, whose layer is run many times
        "attention.query", "attention.key", "attention.value", "attention.dense", "ffn", "ffn_output", plain=False
    ),
    Layout(  # DeBERTa, whose matrices are run once more, on relative positions
        "attention.self.query_proj", "attention.self.key_proj", "attention.self.value_proj", "attention.output.dense",
        "intermediate.dense", "output.dense", ("attention.self.pos_key_proj", "attention.self.pos_query_proj"),
        counter="attention.self", plain=False,
    ),
    Layout(  # CLIP, of either tower
        "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.out_proj", "mlp.fc1", "mlp.fc2",
        plain=False,
    ),
    Layout("attn.Wqkv", "attn.Wqkv", "attn.Wqkv", "attn.Wo", "mlp.Wi", "mlp.Wo", plain=False),  # ModernBERT
)  # fmt: skip
# Kinds whose layers are laid out so, but break where heads are missing: their attention is written for all of them.
WHOLE_HEADS = ("megatron-bert", "rembert")
# Where the norms of a layer are: behind its attention, and at its end.
NORMS = (("attention.output.LayerNorm", "output.LayerNorm"), ("sa_layer_norm", "output_layer_norm"))


def stack_of(encoder: Any) -> nn.ModuleList | None:
    """The list of the encoder's layers; None where all layers share their weights (ALBERT).

    Raises ValueError for an encoder of another layout.
    """
    for name in STACKS:
        try:
            found = encoder.get_submodule(name)
        except AttributeError:
            continue
        if isinstance(found, nn.ModuleList):
            return found
    if {getattr(encoder.config, name, None) for name in ("num_hidden_groups", "inner_group_num")} == {1}:
        return None
    raise ValueError(f"model.name: layers of a {encoder.config.model_type} model cannot be chosen yet.")


def laid_out(encoder: Any) -> list[tuple[nn.Module, Layout]]:
    """Each layer that has weights of its own, with the names of its matrices; empty where they are unknown."""
    if encoder.config.model_type in WHOLE_HEADS:
        return []
    layers = stack_of(encoder) or encoder.encoder.albert_layer_groups[0].albert_layers
    found = []
    for layer in layers:
        names = dict(layer.named_modules())
        found += [(layer, layout) for layout in LAYOUTS if names.keys() >= set(layout.matrices)]
    return found


def head_size(config: Any) -> int:
    """The width of an attention head; of MobileBERT, whose layers are narrower than its states, that of its layers."""
    width: int = getattr(config, "true_hidden_size", config.hidden_size)
    return width // int(config.num_attention_heads)


def heads_of(layer: nn.Module, layout: Layout, size: int) -> Units:
    """The attention heads of a layer, each `size` wide."""
    part: dict[str, Any] = dict(layer.named_modules())
    names = dict.fromkeys((layout.query, layout.key, layout.value, *layout.of_positions))
    producers = tuple(part[name] for name in names if name in part)
    blocks = 3 if layout.fused else 1
    if not layout.counter:
        return Units(producers, part[layout.attention_output], size, blocks)
    resized = partial(setattr, part[layout.counter], "num_attention_heads")
    return Units(producers, part[layout.attention_output], size, blocks, resized)


def neurons_of(layer: nn.Module, layout: Layout) -> Units:
    """The feed-forward neurons of a layer; of gated ones the rows of all gates stand behind those of all neurons."""
    part: dict[str, Any] = dict(layer.named_modules())
    up, down = part[layout.up], part[layout.down]
    return Units((up,), down, 1, blocks=up.out_features // down.in_features)
