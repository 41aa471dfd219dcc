"""The layers of CLIP's towers as ONNX graphs, written from their weights: norms stand before attention and neurons.

B rows, T tokens, S pixels of a side, W width of a tower.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from stages.backends.onnxruntime_int8.graph import ACTIVATIONS, MICROSOFT, Graph, Precision, Weights
from stages.backends.onnxruntime_int8.tower_parts import (
    PATCHES,
    PIXELS,
    finished,
    input_of_pixels,
    norm,
    of_patches,
    patches,
)
from stages.core.contracts import INPUTS

EMBEDDINGS = "embeddings"
OF_ACTIVATIONS = {**ACTIVATIONS, "quick_gelu": ("QuickGelu", {"alpha": 1.702, "domain": MICROSOFT})}
PARTS = ("query_key_value", "attention_output", "feed_forward_in", "feed_forward_out")


def image_matrices(config: Mapping[str, Any]) -> tuple[str, ...]:
    """The matrices of a tower of images that can be int8, from the input to the output."""
    return (PATCHES, *(f"layer.{i}.{part}" for i in range(config["num_hidden_layers"]) for part in PARTS))


def text_matrices(config: Mapping[str, Any]) -> tuple[str, ...]:
    """The matrices of CLIP's tower of texts that can be int8, from the input to the output."""
    return (EMBEDDINGS, *image_matrices(config)[1:])


def of_images(
    weights: Weights, config: Mapping[str, Any], precision: Precision, *, tapped: bool = False
) -> onnx.ModelProto:
    """The tower of images: input pixel_values (B, S, S, 3) uint8, output logits (B, W), the pooled vector."""
    graph, size, patch = Graph(precision), config["image_size"], config["patch_size"]
    side, width = size // patch, config["hidden_size"]
    filters = weights["encoder.embeddings.patch_embedding.weight"]
    seen = graph.linear(PATCHES, patches(graph, size, patch), *of_patches(filters, None, config))
    rows = graph.node("Shape", [PIXELS], "rows", start=0, end=1)
    of_class = graph.constant("class", weights["encoder.embeddings.class_embedding"].reshape(1, 1, width))
    rest = graph.constant("one_token", np.array([1, width], dtype=np.int64))
    shape = graph.node("Concat", [rows, rest], "class_shape", axis=0)
    classes = graph.node("Expand", [of_class, shape], "classes")
    tokens = graph.node("Concat", [classes, seen], "tokens", axis=1)
    places = graph.constant("places", weights["encoder.embeddings.position_embedding.weight"][None, : side * side + 1])
    placed = graph.node("Add", [tokens, places], "placed")
    hidden = norm(graph, "before", placed, weights, "encoder.pre_layrnorm", config["layer_norm_eps"])
    for number in range(config["num_hidden_layers"]):
        hidden = _layer(graph, number, hidden, "", weights, config)
    first = graph.node("Gather", [hidden, graph.constant("first", np.array(0, dtype=np.int64))], "pooled", axis=1)
    pooled = norm(graph, "after", first, weights, "encoder.post_layernorm", config["layer_norm_eps"])
    return finished(graph, "images", pooled, [input_of_pixels(size)], image_matrices(config) if tapped else ())


def of_texts(
    weights: Weights, config: Mapping[str, Any], precision: Precision, *, max_tokens: int, tapped: bool = False
) -> onnx.ModelProto:
    """CLIP's tower of texts: inputs input_ids, attention_mask (B, T) int64, output logits (B, W), the pooled vector."""
    graph = Graph(precision)
    words = graph.words(weights["encoder.embeddings.token_embedding.weight"])
    table = graph.constant("positions", weights["encoder.embeddings.position_embedding.weight"][:max_tokens])
    tokens = graph.node("Shape", ["input_ids"], "tokens", start=1, end=2)
    places = graph.node("Slice", [table, graph.constant("start", np.array([0], dtype=np.int64)), tokens], "places")
    hidden, mask = graph.node("Add", [words, places], "placed"), "attention_mask"
    mask = graph.node("Cast", [mask], "mask", to=TensorProto.INT32)
    for number in range(config["num_hidden_layers"]):
        hidden = _layer(graph, number, hidden, mask, weights, config, unidirectional=1)
    end = graph.constant("end", np.array(config["eos_token_id"], dtype=np.int64))
    ends = graph.node("Cast", [graph.node("Equal", ["input_ids", end], "is_end")], "ends", to=TensorProto.INT32)
    last = graph.node("ArgMax", [ends], "last", axis=1, keepdims=1)
    read = graph.node("GatherND", [hidden, last], "pooled", batch_dims=1)
    pooled = norm(graph, "after", read, weights, "encoder.final_layer_norm", config["layer_norm_eps"])
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, ["B", "T"]) for name in INPUTS[:2]]
    return finished(graph, "texts", pooled, inputs, text_matrices(config)[1:] if tapped else ())


def _layer(
    graph: Graph, number: int, x: str, mask: str, weights: Weights, config: Mapping[str, Any], **attributes: int
) -> str:
    name, prefix = f"layer.{number}", f"encoder.encoder.layers.{number}."
    normed = norm(graph, f"{name}.attention", x, weights, f"{prefix}layer_norm1", config["layer_norm_eps"])
    query_key_value = [f"{prefix}self_attn.{part}_proj" for part in ("q", "k", "v")]
    weight, bias = (
        np.concatenate([weights[f"{part}.{kind}"] for part in query_key_value]) for kind in ("weight", "bias")
    )
    heads = len(bias) // 3 // (config["hidden_size"] // config["num_attention_heads"])
    attended = graph.attention(f"{name}.query_key_value", normed, mask, weight, bias, heads, **attributes)

    def linear(part: str, of: str, source: str) -> str:
        own = (weights[f"{prefix}{source}.{kind}"] for kind in ("weight", "bias"))
        return graph.linear(f"{name}.{part}", of, *own)

    mixed = linear("attention_output", attended, "self_attn.out_proj")
    x = graph.node("Add", [x, mixed], f"{name}.attention.residual")
    normed = norm(graph, f"{name}.feed_forward", x, weights, f"{prefix}layer_norm2", config["layer_norm_eps"])
    wide = linear("feed_forward_in", normed, "mlp.fc1")
    operator, how = OF_ACTIVATIONS[config["hidden_act"]]
    active = graph.node(operator, [wide], f"{name}.activation", **how)
    return graph.node("Add", [x, linear("feed_forward_out", active, "mlp.fc2")], f"{name}.feed_forward.residual")
