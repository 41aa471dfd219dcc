"""A ModernBERT as an ONNX graph of ONNX Runtime's own operators, made from its weights as `graph.py` makes a BERT.

Norms stand before attention and neurons, positions are angles by which queries and keys are turned, neurons have gates,
and some layers see only the tokens nearby. Shapes are read from the weights, so pruned layers are nothing special.
B rows, T tokens, H hidden width.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from stages.backends.onnxruntime_int8.graph import (
    ACTIVATIONS,
    EMBEDDINGS,
    MICROSOFT,
    Graph,
    Precision,
    Weights,
    finished,
)
from stages.core.contracts import Head

PARTS = {
    "query_key_value": "attn.Wqkv",
    "attention_output": "attn.Wo",
    "feed_forward_in": "mlp.Wi",
    "feed_forward_out": "mlp.Wo",
}
HIDDEN = np.finfo(np.float32).min / 2  # what is added to the score of a token that is not seen


def understands(weights: Weights, config: Mapping[str, Any]) -> bool:
    """Whether `build` supports this model: ModernBERT's layout, a known activation, angles without stretching."""
    if config["model_type"] != "modernbert" or config["hidden_activation"] not in ACTIVATIONS:
        return False
    expected = {"encoder.embeddings.tok_embeddings", "encoder.embeddings.norm", "encoder.final_norm"}
    if Head.of(config["winnow"]).kind != "vector":
        expected.add("head")
    for i in range(config["num_hidden_layers"]):
        own = {*PARTS.values(), "mlp_norm", *(["attn_norm"] if i else [])}
        expected |= {f"encoder.layers.{i}.{name}" for name in own}
    angles = [config["rope_parameters"][kind] for kind in set(config["layer_types"])]
    return {name.rpartition(".")[0] for name in weights} == expected and all(
        one["rope_type"] == "default" for one in angles
    )


def matrices(config: Mapping[str, Any]) -> tuple[str, ...]:
    """The matrices that can be int8, from the input to the output; the head is tiny and stays in float32."""
    return (EMBEDDINGS, *(f"layer.{i}.{part}" for i in range(config["num_hidden_layers"]) for part in PARTS))


def build(
    weights: Weights,
    config: Mapping[str, Any],
    precision: Precision,
    *,
    max_tokens: int,
    pairs: bool = False,  # noqa: ARG001  it tells no types apart
    tapped: bool = False,
) -> onnx.ModelProto:
    """The graph, with the inputs and outputs of `graph.build`; types of tokens are never an input."""
    graph = Graph(precision)
    hidden = graph.words(weights["encoder.embeddings.tok_embeddings.weight"])
    hidden = _norm(graph, "embeddings.norm", hidden, weights, "encoder.embeddings.norm", config)
    mask = graph.node("Cast", ["attention_mask"], "mask", to=TensorProto.INT32)
    graph.constant("first_place", np.array([0], dtype=np.int64))
    for kind in sorted(set(config["layer_types"])):
        _angles(graph, kind, config, max_tokens)
    near = _nearby(graph, config, max_tokens) if "sliding_attention" in config["layer_types"] else ""
    for i, kind in enumerate(config["layer_types"]):
        sees = near if kind == "sliding_attention" else ""
        hidden = _layer(graph, i, hidden, mask, sees, weights, config)
    hidden = _norm(graph, "final.norm", hidden, weights, "encoder.final_norm", config)
    return finished(graph, "modern", hidden, weights, config, tapped=matrices(config) if tapped else ())


def _head_size(config: Mapping[str, Any]) -> int:
    return config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]


def _angles(graph: Graph, kind: str, config: Mapping[str, Any], max_tokens: int) -> None:
    """The constants KIND.cos and KIND.sin (max_tokens, head size / 2), of the angles of each position."""
    size, base = _head_size(config), config["rope_parameters"][kind]["rope_theta"]
    # Turns and angles are float32 as in torch; functions are of float64, whose float32 is the same on all machines.
    turns = (1.0 / base ** (np.arange(0, size, 2) / size)).astype(np.float32)
    angles = (np.arange(max_tokens, dtype=np.float32)[:, None] * turns).astype(np.float64)
    graph.constant(f"{kind}.cos", np.cos(angles).astype(np.float32))
    graph.constant(f"{kind}.sin", np.sin(angles).astype(np.float32))


def _nearby(graph: Graph, config: Mapping[str, Any], max_tokens: int) -> str:
    """(1, 1, T, T): 0 where two tokens see each other, as they are near; "" where no text is longer than that."""
    most = config["local_attention"] // 2
    if max_tokens <= most + 1:
        return ""
    places = graph.constant("all_places", np.arange(max_tokens, dtype=np.float32))
    tokens = graph.node("Shape", ["input_ids"], "tokens", start=1, end=2)
    own = graph.node("Slice", [places, "first_place", tokens], "places")
    axes = [graph.constant(name, np.array([0, 1, of], dtype=np.int64)) for name, of in (("down", 3), ("across", 2))]
    sides = [graph.node("Unsqueeze", [own, axis], f"places.{axis}") for axis in axes]
    distance = graph.node("Abs", [graph.node("Sub", sides, "difference")], "distance")
    far = graph.node("Greater", [distance, graph.constant("most", np.float32(most))], "far")
    scores = [graph.constant(name, np.float32(of)) for name, of in (("unseen", HIDDEN), ("seen", 0))]
    return graph.node("Where", [far, *scores], "nearby")


def _layer(graph: Graph, number: int, x: str, mask: str, near: str, weights: Weights, config: Mapping[str, Any]) -> str:
    name, prefix = f"layer.{number}", f"encoder.layers.{number}."

    def linear(part: str, of: str) -> str:
        weight = weights[f"{prefix}{PARTS[part]}.weight"]
        bias = weights.get(f"{prefix}{PARTS[part]}.bias", np.zeros(len(weight), dtype=np.float32))
        return graph.linear(f"{name}.{part}", of, weight, bias)

    # The first layer reads the embeddings, which are normed already.
    normed = x if number == 0 else _norm(graph, f"{name}.attention.norm", x, weights, f"{prefix}attn_norm", config)
    heads = len(weights[f"{prefix}{PARTS['query_key_value']}.weight"]) // (3 * _head_size(config))
    kind = config["layer_types"][number]
    attended = _attention(graph, name, linear("query_key_value", normed), mask, near, kind, heads)
    x = graph.node("Add", [x, linear("attention_output", attended)], f"{name}.attention.residual")
    normed = _norm(graph, f"{name}.feed_forward.norm", x, weights, f"{prefix}mlp_norm", config)
    wide, gate = _parts(graph, f"{name}.gates", linear("feed_forward_in", normed), 2)
    operator, attributes = ACTIVATIONS[config["hidden_activation"]]
    active = graph.node(operator, [wide], f"{name}.activation", **attributes)
    gated = graph.node("Mul", [active, gate], f"{name}.gated")
    return graph.node("Add", [x, linear("feed_forward_out", gated)], f"{name}.feed_forward.residual")


def _attention(graph: Graph, name: str, query_key_value: str, mask: str, near: str, kind: str, heads: int) -> str:
    query, key, value = _parts(graph, f"{name}.parts", query_key_value, 3)
    turned = [
        graph.node(
            "RotaryEmbedding", [one, "first_place", f"{kind}.cos", f"{kind}.sin"], f"{one}.turned", MICROSOFT
        )
        for one in (query, key)
    ]  # fmt: skip
    return graph.node(
        "MultiHeadAttention", [*turned, value, "", mask, near], f"{name}.attended", MICROSOFT,
        num_heads=heads, mask_filter_value=float(HIDDEN),
    )  # fmt: skip


def _parts(graph: Graph, name: str, x: str, count: int) -> list[str]:
    """`x` (B, T, count * H) as so many (B, T, H)."""
    parts = [f"{name}.{part}" for part in range(count)]
    graph.nodes.append(helper.make_node("Split", [x], parts, name=name, axis=2, num_outputs=count))
    return parts


def _norm(graph: Graph, name: str, x: str, weights: Weights, source: str, config: Mapping[str, Any]) -> str:
    constants = [
        graph.constant(f"{name}.{kind}", weights[f"{source}.{kind}"])
        for kind in ("weight", "bias")
        if f"{source}.{kind}" in weights
    ]
    return graph.node("LayerNormalization", [x, *constants], name, axis=-1, epsilon=config["norm_eps"])
