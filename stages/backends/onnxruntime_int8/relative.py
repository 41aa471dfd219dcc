"""A DeBERTa-v3 as an ONNX graph, made from its weights: BERT's layers, whose attention also sees distances of tokens.

To the score of a query i and a key j comes what each says to the distance i - j. All that stands in tables, which are
made here of the embeddings of distances: at run time only the distances that a row has are looked at.
B rows, T tokens, M tokens at most, U heads of the size D, H hidden width.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from stages.backends.onnxruntime_int8.graph import (
    ACTIVATIONS,
    MICROSOFT,
    OF_LAYER,
    Graph,
    Precision,
    Weights,
    behind_attention,
    finished,
    matrices,
)
from stages.core.contracts import Head

__all__ = ["build", "matrices", "understands"]

KINDS = ("weight", "bias")
SELF = ("query", "key", "value")
EMBEDDINGS = ("encoder.embeddings.word_embeddings.weight", *(f"encoder.embeddings.LayerNorm.{kind}" for kind in KINDS))
DISTANCES, NORM = "encoder.encoder.rel_embeddings.weight", "encoder.encoder.LayerNorm"
OF_POSITIONS = {"c2p": "pos_key", "p2c": "pos_query"}  # the matrices of its own where keys and queries lend none


def understands(weights: Weights, config: Mapping[str, Any]) -> bool:
    """Whether `build` supports this model: the layout of DeBERTa-v3, without a convolution, and a known activation."""
    if config["model_type"] != "deberta-v2" or not config.get("relative_attention"):
        return False
    if not config["pos_att_type"] or not set(config["pos_att_type"]) <= {"c2p", "p2c"}:
        return False
    expected = {*EMBEDDINGS, DISTANCES}
    if _normed(config):
        expected |= {f"{NORM}.{kind}" for kind in KINDS}
    if Head.of(config["winnow"]).kind != "vector":
        expected |= {"head.weight", "head.bias"}
    own = [] if config.get("share_att_key") else [OF_POSITIONS[kind] for kind in config["pos_att_type"]]
    for i in range(config["num_hidden_layers"]):
        prefix = f"encoder.encoder.layer.{i}."
        expected |= {prefix + _theirs(name) for name in OF_LAYER}
        expected |= {f"{prefix}attention.self.{part}_proj.{kind}" for part in own for kind in KINDS}
    return weights.keys() == expected and config["hidden_act"] in ACTIVATIONS


def _normed(config: Mapping[str, Any]) -> bool:
    return "layer_norm" in config.get("norm_rel_ebd", "none").lower()


def _theirs(name: str) -> str:
    """The name of a weight of a layer that BERT calls `name`."""
    for part in SELF:
        name = name.replace(f"self.{part}.", f"self.{part}_proj.")
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
    words, *norm = (weights[name] for name in EMBEDDINGS)
    constants = [graph.constant(f"embeddings.norm.{kind}", one) for kind, one in zip(KINDS, norm, strict=True)]
    epsilon = config["layer_norm_eps"]
    hidden = graph.node(
        "LayerNormalization", [graph.words(words), *constants], "embeddings.norm", axis=-1, epsilon=epsilon
    )  # fmt: skip
    mask = graph.node("Cast", ["attention_mask"], "mask", to=TensorProto.INT32)
    _lengths(graph, max_tokens)
    for i in range(config["num_hidden_layers"]):
        prefix = f"encoder.encoder.layer.{i}."
        own = {name: weights[prefix + _theirs(name)] for name in OF_LAYER}
        tables = _tables(weights, config, prefix, max_tokens)
        mixed = _attention(graph, f"layer.{i}", hidden, mask, own, tables, config)
        hidden = behind_attention(graph, f"layer.{i}", mixed, hidden, own, config)
    return finished(graph, "relative", hidden, weights, config, tapped=matrices(config) if tapped else ())


def _tables(weights: Weights, config: Mapping[str, Any], prefix: str, max_tokens: int) -> dict[str, np.ndarray]:
    """What queries (c2p) and keys (p2c) are multiplied with, (U, D, 2 M): a column for each distance, and one of zeros.

    For queries the largest distance comes first, for keys the smallest.
    """
    rows = rows_of_distances(config, np.arange(1 - max_tokens, max_tokens))
    # In float64, so that what is left in float32 does not depend on the order in which a machine adds up.
    read_RH = _embeddings_of_distances(weights, config)[rows]
    size = config["hidden_size"] // config["num_attention_heads"]
    scale = 1 / np.sqrt(size * (1 + len(config["pos_att_type"])))
    found = {}
    for kind, lent in (("c2p", "key"), ("p2c", "query")):
        if kind in config["pos_att_type"]:
            part = lent if config.get("share_att_key") else OF_POSITIONS[kind]
            weight, bias = (weights[f"{prefix}attention.self.{part}_proj.{one}"].astype(np.float64) for one in KINDS)
            table_RUD = ((read_RH @ weight.T + bias) * scale).reshape(len(rows), -1, size)
            in_turn = table_RUD[::-1] if kind == "c2p" else table_RUD
            found[kind] = np.pad(in_turn, ((0, 1), (0, 0), (0, 0))).transpose(1, 2, 0).astype(np.float32)
    return found


def _span(config: Mapping[str, Any]) -> tuple[int, int]:
    """How many rows there are for distances in one direction, and up to which they are told apart."""
    buckets, most = config.get("position_buckets", -1), config.get("max_relative_positions", -1)
    most = most if most >= 1 else config["max_position_embeddings"]
    return (buckets if buckets > 0 else most), most


def _embeddings_of_distances(weights: Weights, config: Mapping[str, Any]) -> np.ndarray:
    table_RH = weights[DISTANCES][: 2 * _span(config)[0]].astype(np.float64)
    if not _normed(config):
        return table_RH
    centred = table_RH - table_RH.mean(1, keepdims=True)
    normed = centred / np.sqrt(np.square(centred).mean(1, keepdims=True) + config["layer_norm_eps"])
    return normed * weights[f"{NORM}.weight"] + weights[f"{NORM}.bias"]


def rows_of_distances(config: Mapping[str, Any], distances_R: np.ndarray) -> np.ndarray:
    """The row of the table of each distance: near ones have one each, far ones share them, by their logarithm.

    Computed in float32, as transformers does: rounding decides which of two rows it is.
    Source: He et al. 2021, arXiv:2006.03654, and DeBERTa's code for version 2.
    """
    span, most = _span(config)
    found = distances_R
    if config.get("position_buckets", -1) > 0 and most > 0:
        middle = span // 2
        far = np.where(np.abs(distances_R) < middle, middle - 1, np.abs(distances_R)).astype(np.float32)
        steps = np.log(far / np.float32(middle)) / np.log(np.float32((most - 1) / middle)) * np.float32(middle - 1)
        shared = (np.ceil(steps) + middle) * np.sign(distances_R)
        found = np.where(far <= middle, distances_R, shared)
    return np.clip(found.astype(np.int64) + span, 0, 2 * span - 1)


def _lengths(graph: Graph, max_tokens: int) -> None:
    """The numbers by which tables are cut to the distances of T tokens, and lines shifted."""

    def constant(name: str, *numbers: int) -> str:
        return graph.constant(name, np.array(numbers, dtype=np.int64))

    tokens = graph.node("Shape", ["input_ids"], "tokens", start=1, end=2)
    one, most = constant("one", 1), constant("most", max_tokens)
    graph.node("Sub", [most, tokens], "first_distance")
    graph.node("Add", [most, tokens], "behind_distances")
    graph.node("Sub", [tokens, one], "shift")
    line = graph.node("Add", [tokens, "shift"], "line")
    graph.node("Add", [graph.node("Mul", [tokens, line], "lines"), "shift"], "behind_lines")
    graph.node("Concat", [constant("as_before", 0, 0), tokens, line], "in_lines", axis=0)
    for name, numbers in (("flat", (0, 0, -1)), ("begin", (0,)), ("axis_2", (2,)), ("axis_3", (3,))):
        constant(name, *numbers)


def _attention(
    graph: Graph,
    name: str,
    x: str,
    mask: str,
    own: Weights,
    tables: Mapping[str, np.ndarray],
    config: Mapping[str, Any],
) -> str:
    size = config["hidden_size"] // config["num_attention_heads"]
    heads = len(own["attention.self.query.bias"]) // size
    query, key, value = parts_of_attention(graph, name, x, own)
    said = [
        _said_to_distances(graph, of, tables[kind], heads)
        for kind, of in (("c2p", query), ("p2c", key))
        if kind in tables
    ]
    if "p2c" in tables:
        said[-1] = graph.node("Transpose", [said[-1]], f"{key}.by_query", perm=[0, 1, 3, 2])
    bias = graph.node("Add", said, f"{name}.distances") if len(said) == 2 else said[0]
    return attended(graph, name, (query, key, value), mask, bias, heads, scale=1 / np.sqrt(size * (1 + len(tables))))


def parts_of_attention(graph: Graph, name: str, x: str, own: Weights) -> tuple[str, str, str]:
    """Queries, keys and values (B, T, H) of `x`, by one matrix."""
    weight_NH, bias_N = (np.concatenate([own[f"attention.self.{part}.{kind}"] for part in SELF]) for kind in KINDS)
    joint = graph.linear(f"{name}.query_key_value", x, weight_NH, bias_N)
    query, key, value = (f"{name}.{part}" for part in SELF)
    graph.nodes.append(
        helper.make_node("Split", [joint], [query, key, value], name=f"{name}.parts", axis=2, num_outputs=3)
    )
    return query, key, value


def attended(
    graph: Graph, name: str, parts: tuple[str, str, str], mask: str, bias: str, heads: int, *, scale: float
) -> str:
    """The attention of queries to keys, with `bias` (B or 1, U or 1, T, T) added to its scores."""
    return graph.node(
        "MultiHeadAttention", [*parts, "", mask, bias], f"{name}.attended", MICROSOFT, num_heads=heads,
        scale=float(scale), mask_filter_value=float(np.finfo(np.float32).min / 2),
    )  # fmt: skip


def _said_to_distances(graph: Graph, of: str, table: np.ndarray, heads: int) -> str:
    """(B, U, T, T): the product of each vector of `of` (B, T, H) with the column of its distance to each other token.

    Products are with all distances that occur, in lines of 2 T. Of line i the distances to tokens 0, 1, ... begin
    T - 1 - i further on: read in lines of 2 T - 1 from T - 1 on, all begin at the left (Dai et al. 2019, appendix B).
    """
    shape = graph.constant(f"{of}.heads", np.array([0, 0, heads, -1], dtype=np.int64))
    apart = graph.node(
        "Transpose", [graph.node("Reshape", [of, shape], f"{of}.apart")], f"{of}.heads_first", perm=[0, 2, 1, 3]
    )
    whole = graph.constant(f"{of}.table", table)
    columns = graph.node("Slice", [whole, "first_distance", "behind_distances", "axis_2"], f"{of}.columns")
    products = graph.node("MatMul", [apart, columns], f"{of}.products")
    flat = graph.node("Reshape", [products, "flat"], f"{of}.flat")
    shifted = graph.node("Slice", [flat, "shift", "behind_lines", "axis_2"], f"{of}.shifted")
    lines = graph.node("Reshape", [shifted, "in_lines"], f"{of}.lines")
    return graph.node("Slice", [lines, "begin", "tokens", "axis_3"], f"{of}.said")
