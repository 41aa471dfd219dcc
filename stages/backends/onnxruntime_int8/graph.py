"""A BERT, or an encoder in its terms (layouts.py), as an ONNX graph of ONNX Runtime's own operators.

It is made from the weights. Exporters give hundreds of small operators, of which ONNX Runtime's optimizer finds few
again; here attention, layer norm, GELU and the int8 matrix products are one operator each from the start. Shapes
are read from the weights, layer by layer, so that pruned layers (fewer heads, a narrower feed-forward) need nothing of
their own.
B rows, T tokens, H hidden width, K numbers of an output.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from stages.core.contracts import INPUTS, Head

OPSET, MICROSOFT = 20, "com.microsoft"
ACTIVATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "gelu": ("Gelu", {}),
    "gelu_new": ("Gelu", {"approximate": "tanh"}),
    "gelu_pytorch_tanh": ("Gelu", {"approximate": "tanh"}),
    "relu": ("Relu", {}),
}
EMBEDDINGS, PROJECTION = "embeddings", "projection"
# Weights are whole numbers of -64 to 64. Processors without VNNI add two products of uint8 and int8 in 16 bits, where
# anything beyond 32,767 is cut off: with 127, answers differed by processor; 2 * 255 * 64 fits.
LARGEST_WEIGHT = 64
EMBEDDING_BLOCK = 128  # weights of a row of the table that share a scale: a power of two, at least 16
OF_EMBEDDINGS = (
    "word_embeddings.weight", "position_embeddings.weight", "token_type_embeddings.weight",
    "LayerNorm.weight", "LayerNorm.bias",
)  # fmt: skip
OF_LAYER = tuple(
    f"{part}.{kind}"
    for part in (
        "attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense",
        "attention.output.LayerNorm", "intermediate.dense", "output.dense", "output.LayerNorm",
    )
    for kind in ("weight", "bias")
)  # fmt: skip
# Of relatives whose embeddings are narrower than their layers, the matrix between (E, H).
OF_PROJECTION = ("encoder.embeddings_project.weight", "encoder.embeddings_project.bias")

Weights = Mapping[str, np.ndarray]
Range = tuple[float, float]


@dataclass(frozen=True)
class Precision:
    """The precision of a graph: which matrices are int8, and how they are quantized."""

    kept: Collection[str]
    """Matrices that stay in float32, by the names that `matrices` gives."""
    ranges: Mapping[str, Range] | None
    """The least and the largest input of each matrix; None: determined for each row as the model runs (dynamic)."""
    per_channel: bool
    """Whether each column of a matrix has a scale of its own, rather than one for the whole matrix."""


def understands(weights: Weights, config: Mapping[str, Any]) -> bool:
    """Whether `build` supports this model: BERT's layout, under its names (see layouts.py), and a known activation."""
    if config["model_type"] != "bert":
        return False
    expected = {f"encoder.embeddings.{name}" for name in OF_EMBEDDINGS}
    expected |= set(OF_PROJECTION) if _projected(config) else set()
    if Head.of(config["winnow"]).kind != "vector":
        expected |= {"head.weight", "head.bias"}
    layers = range(config["num_hidden_layers"])
    expected |= {f"encoder.encoder.layer.{i}.{name}" for i in layers for name in OF_LAYER}
    return (
        weights.keys() == expected
        and config["hidden_act"] in ACTIVATIONS
        and not config.get("is_decoder")
        and config.get("position_embedding_type", "absolute") == "absolute"
    )


def _projected(config: Mapping[str, Any]) -> bool:
    """Whether there is a matrix between embeddings and layers: always in ALBERT, elsewhere between two widths."""
    narrow = config.get("embedding_size", config["hidden_size"])
    return narrow != config["hidden_size"] or "num_hidden_groups" in config


def matrices(config: Mapping[str, Any]) -> tuple[str, ...]:
    """The matrices that can be int8, from the input to the output; the head is tiny and stays in float32."""
    parts = ("query_key_value", "attention_output", "feed_forward_in", "feed_forward_out")
    between = (PROJECTION,) if _projected(config) else ()
    return (EMBEDDINGS, *between, *(f"layer.{i}.{part}" for i in range(config["num_hidden_layers"]) for part in parts))


def build(
    weights: Weights,
    config: Mapping[str, Any],
    precision: Precision,
    *,
    max_tokens: int,
    pairs: bool = False,
    tapped: bool = False,
) -> onnx.ModelProto:
    """The graph: inputs input_ids, attention_mask (B, T) int64, T up to `max_tokens`; output logits float32, (B, K), or
    (B, T, K) of a head for tokens, (B, H) of length 1 of the head `vector`.

    `pairs`: token_type_ids (B, T) int64 is an input too, where the model tells types apart; otherwise all are 0.
    `tapped`: the input of each matrix is an output too, by the matrix's name.
    """
    graph = Graph(precision)
    names = INPUTS[:3] if pairs and config["type_vocab_size"] > 1 else INPUTS[:2]
    hidden = embeddings(graph, weights, config, max_tokens, typed=len(names) > 2)
    if _projected(config):
        hidden = graph.linear(PROJECTION, hidden, *(weights[name] for name in OF_PROJECTION))
    mask = graph.node("Cast", ["attention_mask"], "mask", to=TensorProto.INT32)
    for i in range(config["num_hidden_layers"]):
        prefix = f"encoder.encoder.layer.{i}."
        own = {name: weights[prefix + name] for name in OF_LAYER}
        hidden = _layer(graph, f"layer.{i}", hidden, mask, own, config)
    return finished(graph, "encoder", hidden, weights, config, inputs=names, tapped=matrices(config) if tapped else ())


def finished(
    graph: Graph,
    name: str,
    hidden: str,
    weights: Weights,
    config: Mapping[str, Any],
    *,
    inputs: Sequence[str] = INPUTS[:2],
    tapped: Sequence[str] = (),
) -> onnx.ModelProto:
    """The graph with its head on the last layer's output `hidden`; the inputs of the matrices `tapped` are outputs too.

    Embeddings, the first of them, have no such input.
    """
    kind = Head.of(config["winnow"]).kind
    read = hidden if kind == "token" else pooled(graph, hidden, config["winnow"]["pooling"])
    outputs = [graph.head(read, weights, kind)]
    outputs += [helper.make_tensor_value_info(tap, TensorProto.FLOAT, None) for tap in graph.taps(tapped[1:])]
    return graph.model(
        name, [helper.make_tensor_value_info(one, TensorProto.INT64, ["B", "T"]) for one in inputs], outputs
    )  # fmt: skip


@dataclass
class Graph:
    """A graph under construction: its nodes and constants."""

    precision: Precision
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    initializers: list[onnx.TensorProto] = field(default_factory=list)

    def constant(self, name: str, array: Any) -> str:
        self.initializers.append(numpy_helper.from_array(np.asarray(array, order="C"), name))
        return name

    def node(self, operator: str, inputs: list[str], output: str, domain: str = "", **attributes: Any) -> str:
        self.nodes.append(helper.make_node(operator, inputs, [output], name=output, domain=domain, **attributes))
        return output

    def model(
        self, name: str, inputs: list[onnx.ValueInfoProto], outputs: list[onnx.ValueInfoProto]
    ) -> onnx.ModelProto:
        """The finished graph as an ONNX model."""
        made = helper.make_graph(self.nodes, name, inputs, outputs, self.initializers)
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(MICROSOFT, 1)]
        return helper.make_model(made, opset_imports=opsets, ir_version=10, producer_name="winnow")

    def head(self, x: str, weights: Weights, kind: str) -> onnx.ValueInfoProto:
        """The linear layer on rows (B, H), or on tokens (B, T, H), or rows scaled to length 1 where there is none.

        Returns the description of the output `logits`.
        """
        if kind == "vector":
            self.node("LpNormalization", [x], "logits", axis=-1, p=2)
            return helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["B", "H"])
        weight_KH, size = weights["head.weight"], len(weights["head.bias"])
        weight = self.constant("head.weight", weight_KH.T if kind == "token" else weight_KH)
        bias = self.constant("head.bias", weights["head.bias"])
        if kind == "token":
            self.node("Add", [self.node("MatMul", [x, weight], "head.product"), bias], "logits")
            return helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["B", "T", size])
        self.node("Gemm", [x, weight, bias], "logits", transB=1)
        return helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["B", size])

    def taps(self, names: Sequence[str]) -> list[str]:
        """Name the input of each matrix after the matrix."""
        sources = {node.name: node.input[0] for node in self.nodes}
        return [self.node("Identity", [sources[f"{name}.product"]], name) for name in names]

    def columns(self, name: str, weight_KN: np.ndarray) -> list[str]:
        """The constants int8 weights (of 7 bits), scales and zero points; of several matrices (D, K, N), too."""
        axes = -2 if self.precision.per_channel else (-2, -1)
        largest = np.maximum(np.abs(weight_KN).max(axes, keepdims=True), np.finfo(np.float32).tiny)
        scale = largest / np.float32(LARGEST_WEIGHT)
        rounded = np.clip(np.rint(weight_KN / scale), -LARGEST_WEIGHT, LARGEST_WEIGHT).astype(np.int8)
        scale = scale.squeeze(axes)
        return [
            self.constant(f"{name}.weight", rounded),
            self.constant(f"{name}.scale", scale.astype(np.float32)),
            self.constant(f"{name}.zero_point", np.zeros_like(scale, dtype=np.int8)),
        ]

    def quantized(self, name: str, x: str) -> list[str]:
        """`x` as uint8 by the range of the matrix `name`'s input: the values, their scale, their zero point."""
        assert self.precision.ranges is not None
        scale, zero_point = scale_of(self.precision.ranges[name])
        constants = [self.constant(f"{name}.in_scale", scale), self.constant(f"{name}.in_zero_point", zero_point)]
        return [self.node("QuantizeLinear", [x, *constants], f"{name}.in"), *constants]

    def linear(self, name: str, x: str, weight_NK: np.ndarray, bias_N: np.ndarray) -> str:
        """x times the matrix `name`, plus the bias."""
        bias, product = self.constant(f"{name}.bias", bias_N), f"{name}.product"
        if name in self.precision.kept:
            weight = self.constant(f"{name}.weight", weight_NK.T)
            return self.node("Add", [self.node("MatMul", [x, weight], product), bias], f"{name}.sum")
        weight, scale, zero_point = self.columns(name, weight_NK.T)
        if self.precision.ranges is None:
            return self.node("DynamicQuantizeMatMul", [x, weight, scale, zero_point, bias], product, MICROSOFT)
        values, in_scale, in_zero_point = self.quantized(name, x)
        inputs = [values, weight, in_scale, scale, in_zero_point, zero_point, bias]
        return self.node("MatMulIntegerToFloat", inputs, product, MICROSOFT)

    def attention(
        self, name: str, x: str, mask: str, weight_NK: np.ndarray, bias_N: np.ndarray, heads: int, **attributes: int
    ) -> str:
        """Query, key and value by the matrix `name`, and the attention of `heads` heads.

        `mask`: "" where there is no padding; `attributes`: more ones of the operator.
        """
        bias, product = self.constant(f"{name}.bias", bias_N), f"{name}.product"
        if name in self.precision.kept:
            weight = self.constant(f"{name}.weight", weight_NK.T)
            return self.node("Attention", [x, weight, bias, mask], product, MICROSOFT, num_heads=heads, **attributes)
        weight, scale, zero_point = self.columns(name, weight_NK.T)
        if self.precision.ranges is None:
            values, in_scale, in_zero_point = (f"{name}.{part}" for part in ("in", "in_scale", "in_zero_point"))
            outputs = [values, in_scale, in_zero_point]
            self.nodes.append(helper.make_node("DynamicQuantizeLinear", [x], outputs, name=values))
        else:
            values, in_scale, in_zero_point = self.quantized(name, x)
        inputs = [values, weight, bias, in_scale, scale, mask, in_zero_point, zero_point]
        return self.node("QAttention", inputs, product, MICROSOFT, num_heads=heads, **attributes)

    def words(self, words_VH: np.ndarray) -> str:
        """The embeddings of `input_ids` (B, T): (B, T, H)."""
        if EMBEDDINGS in self.precision.kept:
            return self.node("Gather", [self.constant("words", words_VH), "input_ids"], "embedded")
        block = max(16, min(EMBEDDING_BLOCK, 1 << (words_VH.shape[1] - 1).bit_length()))
        values, scales = blocks(words_VH, block)
        inputs = [self.constant("words", values), "input_ids", self.constant("words.scales", scales)]
        return self.node("GatherBlockQuantized", inputs, "embedded", MICROSOFT, block_size=block, bits=8)

    def add_and_norm(self, name: str, a: str, b: str, weight: np.ndarray, bias: np.ndarray, epsilon: float) -> str:
        """Add and normalise, in two operators: the fused one, a scalar loop on a CPU, is three times slower."""
        inputs = [self.node("Add", [a, b], f"{name}.residual")]
        inputs += [self.constant(f"{name}.norm.weight", weight), self.constant(f"{name}.norm.bias", bias)]
        return self.node("LayerNormalization", inputs, f"{name}.norm", axis=-1, epsilon=epsilon)


def scale_of(ends: Range) -> tuple[np.float32, np.uint8]:
    """Scale and zero point of uint8 over a range, which is extended to hold 0.

    The scale is rounded to three digits: beyond them are rounding errors, which differ from machine to machine.
    """
    low, high = min(ends[0], 0.0), max(ends[1], 0.0)
    scale = float(f"{max(high - low, 1e-6) / 255:.3g}")
    return np.float32(scale), np.uint8(np.clip(round(-low / scale), 0, 255))


def embeddings(graph: Graph, weights: Weights, config: Mapping[str, Any], max_tokens: int, *, typed: bool) -> str:
    """Word, position and token type embeddings, added and normalised.

    Type 0 is folded into the positions; `typed`: the difference of another type is added where one occurs.
    """
    words_VH, positions, types, norm_weight, norm_bias = (weights[f"encoder.embeddings.{n}"] for n in OF_EMBEDDINGS)
    words = graph.words(words_VH)
    table = graph.constant("positions", positions[:max_tokens] + types[0])
    tokens = graph.node("Shape", ["input_ids"], "tokens", start=1, end=2)
    start = graph.constant("start", np.array([0], dtype=np.int64))
    places = graph.node("Slice", [table, start, tokens], "places")
    if typed:
        shifts = graph.node("Gather", [graph.constant("types", types - types[0]), "token_type_ids"], "shifts")
        places = graph.node("Add", [places, shifts], "typed_places")
    return graph.add_and_norm("embeddings", words, places, norm_weight, norm_bias, config["layer_norm_eps"])


def blocks(table_VH: np.ndarray, block: int) -> tuple[np.ndarray, np.ndarray]:
    """The table as uint8 around 128, and the scale of each `block` weights of a row (V, ceil(H / block))."""
    starts = range(0, table_VH.shape[1], block)
    largest = np.stack([np.abs(table_VH[:, i : i + block]).max(1) for i in starts], axis=1)
    scales = np.maximum(largest, np.finfo(np.float32).tiny) / np.float32(127)
    spread = np.repeat(scales, block, axis=1)[:, : table_VH.shape[1]]
    return (np.clip(np.rint(table_VH / spread), -127, 127) + 128).astype(np.uint8), scales.astype(np.float32)


def _layer(graph: Graph, name: str, x: str, mask: str, own: Weights, config: Mapping[str, Any]) -> str:
    query, key, value = (f"attention.self.{part}" for part in ("query", "key", "value"))
    weight_NK = np.concatenate([own[f"{part}.weight"] for part in (query, key, value)])
    bias_N = np.concatenate([own[f"{part}.bias"] for part in (query, key, value)])
    heads = len(own[f"{query}.bias"]) // (config["hidden_size"] // config["num_attention_heads"])
    attended = graph.attention(f"{name}.query_key_value", x, mask, weight_NK, bias_N, heads)
    return behind_attention(graph, name, attended, x, own, config)


def behind_attention(graph: Graph, name: str, attended: str, x: str, own: Weights, config: Mapping[str, Any]) -> str:
    """What of a layer that is given `x` comes behind its attention: its output, and the feed-forward part."""
    out, epsilon = "attention.output", config["layer_norm_eps"]
    mixed = graph.linear(f"{name}.attention_output", attended, own[f"{out}.dense.weight"], own[f"{out}.dense.bias"])
    norm = own[f"{out}.LayerNorm.weight"], own[f"{out}.LayerNorm.bias"]
    x = graph.add_and_norm(f"{name}.attention", mixed, x, *norm, epsilon)

    wide = graph.linear(f"{name}.feed_forward_in", x, own["intermediate.dense.weight"], own["intermediate.dense.bias"])
    operator, attributes = ACTIVATIONS[config["hidden_act"]]
    wide = graph.node(operator, [wide], f"{name}.activation", **attributes)
    narrow = graph.linear(f"{name}.feed_forward_out", wide, own["output.dense.weight"], own["output.dense.bias"])
    norm = own["output.LayerNorm.weight"], own["output.LayerNorm.bias"]
    return graph.add_and_norm(f"{name}.feed_forward", narrow, x, *norm, epsilon)


def pooled(graph: Graph, hidden: str, pooling: str) -> str:
    """A row's vector (B, H): the mean over the tokens that are no padding, or the first token."""
    axis = graph.constant("axis", np.array([1], dtype=np.int64))
    if pooling == "cls":
        first = graph.constant("first", np.array(0, dtype=np.int64))
        return graph.node("Gather", [hidden, first], "pooled", axis=1)
    real = graph.node("Cast", ["attention_mask"], "real", to=TensorProto.FLOAT)
    shares = graph.node("LpNormalization", [graph.node("Unsqueeze", [real, axis], "real_B1T")], "shares", p=1)
    return graph.node("Squeeze", [graph.node("MatMul", [shares, hidden], "pooled_B1H"), axis], "pooled")
