"""The student `bilstm` as an ONNX graph, made from its weights: ONNX Runtime's own LSTM, dynamically quantized.

B rows, T tokens, E embedding width, H hidden units of a direction, X = 2H, K numbers of an output. Lengths are those of
the mask, so padding at a row's end changes nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from stages.backends.onnxruntime_int8.graph import EMBEDDINGS, MICROSOFT, Graph, Precision, Weights
from stages.core.contracts import INPUTS, Head, Quantizable
from stages.core.params.compress import QuantizeParams

DIRECTIONS = ("", "_reverse")
EPSILON = 1e-5  # that of torch's LayerNorm
OUTPUT_BEFORE_CELL = [0, 3, 1, 2]  # of a layer's four gates ONNX has input, output, forget, cell; torch the output last


def understands(config: Mapping[str, Any]) -> bool:
    """Whether `build` supports this model."""
    return "hidden_units" in config


def prepare(weights: Weights, config: Mapping[str, Any], params: QuantizeParams) -> Quantizable:
    """The model of these weights; its embeddings and each layer can stay in float32."""

    def write(folder: Path, kept: Collection[str]) -> None:
        onnx.save(build(weights, config, kept, per_channel=params.per_channel), folder / "model.onnx")

    names = (EMBEDDINGS, *(f"layer.{i}" for i in range(config["layers"])))
    # Threads share the rows of a batch, and DynamicQuantizeLSTM finds a range in each: answers would depend on both.
    return Quantizable(matrices=names, write=write, activations="dynamic", most_threads=1)


def build(weights: Weights, config: Mapping[str, Any], kept: Collection[str], *, per_channel: bool) -> onnx.ModelProto:
    """Inputs input_ids, attention_mask (B, T) int64; output logits as in `graph.build`. `kept` stay in float32."""
    graph = Graph(Precision(kept, None, per_channel))
    axis, end = (graph.constant(name, np.array([n], dtype=np.int64)) for name, n in (("axis", 1), ("end", 2)))
    real_BT1 = graph.node(
        "Unsqueeze", [graph.node("Cast", ["attention_mask"], "real", to=TensorProto.FLOAT), end], "real_BT1"
    )
    lengths = graph.node("ReduceSum", ["attention_mask", axis], "lengths", keepdims=0)
    lengths = graph.node("Cast", [lengths], "lengths_int32", to=TensorProto.INT32)
    norm = [graph.constant(name, weights[f"encoder.{name}"]) for name in ("norm.weight", "norm.bias")]
    words = graph.words(weights["encoder.embeddings.weight"])
    normed = graph.node("LayerNormalization", [words, *norm], "normed", axis=-1, epsilon=EPSILON)
    normed = graph.node("Mul", [normed, real_BT1], "normed_real")  # so that padding does not widen the range of int8
    states, last = graph.node("Transpose", [normed], "time_first", perm=[1, 0, 2]), ""
    for i in range(config["layers"]):
        states, last = _lstm(graph, f"layer.{i}", states, lengths, weights, config["hidden_units"])
    kind, pooled = Head.of(config).kind, last
    if kind == "token" or config["pooling"] != "last":
        pooled = states = graph.node("Transpose", [states], "states", perm=[1, 0, 2])
    if kind != "token" and config["pooling"] != "last":
        pooled = _mean(graph, states, axis) if config["pooling"] == "mean" else _largest(graph, states, axis)
    outputs = [graph.head(pooled, weights, kind)]
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, ["B", "T"]) for name in INPUTS[:2]]
    return graph.model("recurrent", inputs, outputs)


def _lstm(graph: Graph, name: str, x_TBE: str, lengths: str, weights: Weights, units: int) -> tuple[str, str]:
    """A layer of both directions: its states (T, B, X), and the final state of each direction, together (B, X)."""
    prefix = f"encoder.{name.replace('layer', 'layers')}."

    def both(kind: str) -> np.ndarray:
        """(2, 4H, ...), the gates in ONNX's order."""
        stacked = np.stack([weights[f"{prefix}{kind}_l0{end}"] for end in DIRECTIONS])
        return stacked.reshape(2, 4, units, -1)[:, OUTPUT_BEFORE_CELL].reshape(stacked.shape)

    into, back = both("weight_ih"), both("weight_hh")
    bias = graph.constant(f"{name}.bias", np.concatenate([both("bias_ih"), both("bias_hh")], axis=1))
    outputs = [f"{name}.states_T2BH", f"{name}.last_2BH"]
    shared: dict[str, Any] = {"direction": "bidirectional", "hidden_size": units}
    if name in graph.precision.kept:
        constants = [graph.constant(f"{name}.input", into), graph.constant(f"{name}.hidden", back)]
        graph.nodes.append(helper.make_node("LSTM", [x_TBE, *constants, bias, lengths], outputs, name=name, **shared))
    else:
        into_weight, *into_scale = graph.columns(f"{name}.input", into.transpose(0, 2, 1))
        back_weight, *back_scale = graph.columns(f"{name}.hidden", back.transpose(0, 2, 1))
        inputs = [x_TBE, into_weight, back_weight, bias, lengths, "", "", "", *into_scale, *back_scale]
        graph.nodes.append(
            helper.make_node("DynamicQuantizeLSTM", inputs, outputs, name=name, domain=MICROSOFT, **shared)
        )
    states = graph.node("Transpose", [outputs[0]], f"{name}.states_TB2H", perm=[0, 2, 1, 3])
    last = graph.node("Transpose", [outputs[1]], f"{name}.last_B2H", perm=[1, 0, 2])
    flat = graph.constant(f"{name}.flat", np.array([0, 0, -1], dtype=np.int64))
    row = graph.constant(f"{name}.row", np.array([0, -1], dtype=np.int64))
    return (
        graph.node("Reshape", [states, flat], f"{name}.states"),
        graph.node("Reshape", [last, row], f"{name}.last"),
    )


def _mean(graph: Graph, states_BTX: str, axis: str) -> str:
    """The mean of a row's states (B, X)."""
    shares_BT1 = graph.node("LpNormalization", ["real_BT1"], "shares", axis=1, p=1)
    return graph.node("ReduceSum", [graph.node("Mul", [states_BTX, shares_BT1], "shared"), axis], "pooled", keepdims=0)


def _largest(graph: Graph, states_BTX: str, axis: str) -> str:
    """The largest of a row's states (B, X). All lie between -1 and 1, so 2 is subtracted behind a row's end."""
    behind_BT1 = graph.node("Sub", ["real_BT1", graph.constant("one", np.float32(1))], "behind")
    low_BT1 = graph.node("Mul", [behind_BT1, graph.constant("two", np.float32(2))], "low")
    return graph.node("ReduceMax", [graph.node("Add", [states_BTX, low_BT1], "lowered"), axis], "pooled", keepdims=0)
