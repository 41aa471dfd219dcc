"""An MPNet as an ONNX graph, made from its weights: BERT's layers, with a number for each distance added to the scores.

All layers have the same numbers, one for each head and range of distances.
B rows, T tokens, M tokens at most, U heads.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto

from stages.backends.onnxruntime_int8.graph import (
    ACTIVATIONS,
    OF_EMBEDDINGS,
    OF_LAYER,
    Graph,
    Precision,
    Weights,
    behind_attention,
    embeddings,
    finished,
    matrices,
)
from stages.backends.onnxruntime_int8.relative import attended, parts_of_attention
from stages.core.contracts import Head
from stages.models.model_files import positions

__all__ = ["build", "matrices", "understands"]

POSITIONS, TYPES = "position_embeddings.weight", "token_type_embeddings.weight"
NEARNESS = "encoder.encoder.relative_attention_bias.weight"
FARTHEST = 128  # from this distance on, all are one range
THEIRS = {
    "attention.self.query.": "attention.attn.q.",
    "attention.self.key.": "attention.attn.k.",
    "attention.self.value.": "attention.attn.v.",
    "attention.output.dense.": "attention.attn.o.",
    "attention.output.LayerNorm.": "attention.LayerNorm.",
}


def understands(weights: Weights, config: Mapping[str, Any]) -> bool:
    """Whether `build` supports this model: MPNet's layout, and a known activation."""
    if config["model_type"] != "mpnet":
        return False
    expected = {NEARNESS, *(f"encoder.embeddings.{name}" for name in OF_EMBEDDINGS if name != TYPES)}
    if Head.of(config["winnow"]).kind != "vector":
        expected |= {"head.weight", "head.bias"}
    layers = range(config["num_hidden_layers"])
    expected |= {f"encoder.encoder.layer.{i}.{_theirs(name)}" for i in layers for name in OF_LAYER}
    return weights.keys() == expected and config["hidden_act"] in ACTIVATIONS


def _theirs(name: str) -> str:
    """The name of a weight of a layer that BERT calls `name`."""
    for berts, theirs in THEIRS.items():
        name = name.replace(berts, theirs)
    return name


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
    hidden = embeddings(graph, _with_first_position(weights, config), config, max_tokens, typed=False)
    mask = graph.node("Cast", ["attention_mask"], "mask", to=TensorProto.INT32)
    bias = _nearness(graph, weights[NEARNESS], max_tokens)
    heads = config["num_attention_heads"]
    scale = 1 / math.sqrt(config["hidden_size"] // heads)
    for i in range(config["num_hidden_layers"]):
        name, prefix = f"layer.{i}", f"encoder.encoder.layer.{i}."
        own = {berts: weights[prefix + _theirs(berts)] for berts in OF_LAYER}
        parts = parts_of_attention(graph, name, hidden, own)
        mixed = attended(graph, name, parts, mask, bias, heads, scale=scale)
        hidden = behind_attention(graph, name, mixed, hidden, own, config)
    return finished(graph, "biased", hidden, weights, config, tapped=matrices(config) if tapped else ())


def _with_first_position(weights: Weights, config: Mapping[str, Any]) -> Weights:
    """The weights with the position of the first token first, and one type of tokens, which adds nothing."""
    table = weights[f"encoder.embeddings.{POSITIONS}"]
    skipped = len(table) - positions({**config, "max_position_embeddings": len(table)})
    none = np.zeros((1, table.shape[1]), dtype=np.float32)
    return {
        **weights,
        f"encoder.embeddings.{POSITIONS}": table[skipped:],
        f"encoder.embeddings.{TYPES}": none,
    }


def _nearness(graph: Graph, table_RU: np.ndarray, max_tokens: int) -> str:
    """(1, U, T, T): what is added to the score of a query and a key that are so far apart."""
    of_distances = table_RU[ranges_of_distances(np.arange(1 - max_tokens, max_tokens), len(table_RU))].T
    places = graph.constant("all_places", np.arange(max_tokens, dtype=np.int64))
    tokens = graph.node("Shape", ["input_ids"], "own_tokens", start=1, end=2)
    own = graph.node("Slice", [places, graph.constant("begin", np.array([0], dtype=np.int64)), tokens], "own_places")
    first, second = (graph.constant(f"axis_{axis}", np.array([axis], dtype=np.int64)) for axis in (0, 1))
    sides = [graph.node("Unsqueeze", [own, axis], f"places_{axis}") for axis in (second, first)]
    apart = graph.node("Sub", sides, "distances")
    row = graph.node("Add", [apart, graph.constant("nearest", np.array(max_tokens - 1, dtype=np.int64))], "rows")
    said = graph.node("Gather", [graph.constant("nearness", of_distances), row], "of_heads", axis=1)
    return graph.node("Unsqueeze", [said, first], "bias")


def ranges_of_distances(distances_R: np.ndarray, count: int) -> np.ndarray:
    """The range of each distance from query to key: half of them before the query, near ones one each, as in T5."""
    half, near = count // 2, count // 4
    size = np.abs(distances_R)
    steps = np.log(np.maximum(size, 1).astype(np.float32) / np.float32(near)) / np.float32(math.log(FARTHEST / near))
    far = np.minimum(near + (steps * np.float32(half - near)).astype(np.int64), half - 1)
    return np.where(distances_R < 0, half, 0) + np.where(size < near, size, far)
