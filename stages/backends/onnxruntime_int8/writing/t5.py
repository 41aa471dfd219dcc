"""T5 as two ONNX graphs, made from its weights: an encoder with the keys and values of the source, and a decoder.

    encoder: source ──> layers ──> keys and values of the source for each of the decoder's layers, once a text
    decoder: token  ──> layers, with a cache of the written tokens' keys and values ──> logits

R sequences, S tokens of a source, T tokens of what is written, H hidden width, U heads, D size of a head.
"""

from __future__ import annotations

import math

import numpy as np
import onnx
from onnx import TensorProto, helper

from stages.backends.onnxruntime_int8.graph import ACTIVATIONS, MICROSOFT, Graph, Precision
from stages.backends.onnxruntime_int8.writing.parts import (
    TABLE,
    VOCABULARY,
    cache_of,
    cached_attention,
    embedded,
    floats,
    linear,
    logits,
    numbers,
    of_steps,
    rms_norm,
    room_of,
    shared_constants,
    split,
    widened,
)
from stages.backends.onnxruntime_int8.writing.weights import Config, Weights, behind, vocabulary_of

TABLES = ("shared.weight", "encoder.embed_tokens.weight")  # the names of the embeddings
FEED_FORWARD = ("feed_forward_in", "feed_forward_out")
HIDDEN = np.finfo(np.float32).min / 2  # what is added to the score of a token that is not seen


def faults(weights: Weights, config: Config) -> str:
    """Why `build` cannot write this model's graphs; "" where it can."""
    if _known(weights) is None:
        return "its weights have other names than this kind of model has"
    if _activation(config) not in ACTIVATIONS:
        return f"its config.json sets the activation '{_activation(config)}'"
    return ""


def _known(weights: Weights) -> dict[str, np.ndarray] | None:
    """The weights by T5's own names, the table of the embeddings as `shared.weight`."""
    for name in TABLES:
        if (found := behind(weights, name)) is not None:
            return {TABLES[0]: found[name], **found}
    return None


def _activation(config: Config) -> str:
    kind = config.get("feed_forward_proj", "relu").removeprefix("gated-")
    return "gelu_new" if config.get("feed_forward_proj") == "gated-gelu" else kind


def matrices(weights: Weights, config: Config) -> tuple[str, ...]:
    """The matrices that can be int8, from the input to the output. Tied embeddings make the logits, too."""
    known = _known(weights)
    assert known is not None
    encoders, decoders = config["num_layers"], config.get("num_decoder_layers") or config["num_layers"]
    of_self = ("query_key_value", "attention_output")
    of_source = ("source_query", "source_output")
    tied = vocabulary_of(weights, known[TABLES[0]])[1]
    return (
        TABLE,
        *(f"encoder.{i}.{part}" for i in range(encoders) for part in (*of_self, *FEED_FORWARD)),
        *(f"decoder.{i}.source_key_value" for i in range(decoders)),
        *(f"decoder.{i}.{part}" for i in range(decoders) for part in (*of_self, *of_source, *FEED_FORWARD)),
        *(() if tied else (VOCABULARY,)),
    )


def build_encoder(weights: Weights, config: Config, precision: Precision) -> onnx.ModelProto:
    """The encoder. Inputs: `input_ids` (R, S) int64, `source_mask` (R, S) int32, 0 behind a source's end.

    Outputs: `source.LAYER.key` and `source.LAYER.value` (R, U, S, D) of each of the decoder's layers.
    """
    known = _known(weights)
    assert known is not None
    graph = Graph(precision)
    shared_constants(graph)
    table, size = known[TABLES[0]], config["d_kv"]
    hidden = embedded(graph, table, tied=vocabulary_of(weights, table)[1])
    bias = _distances_within_source(
        graph, known["encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"], config
    )
    for i in range(config["num_layers"]):
        name, own = f"encoder.{i}", f"encoder.block.{i}.layer."
        normed = _norm(graph, f"{name}.attention.norm", hidden, known, f"{own}0.layer_norm", config)
        joint, heads = _joint(graph, f"{name}.query_key_value", normed, known, f"{own}0.SelfAttention.", "qkv", size)
        parts = split(graph, joint, f"{name}.parts", [heads * size] * 3)
        own_bias = _of_own_heads(graph, name, bias, config)
        attended = graph.node(
            "MultiHeadAttention", [*parts, "", "source_mask", own_bias], f"{name}.attended", MICROSOFT,
            num_heads=heads, scale=1.0, mask_filter_value=float(HIDDEN),
        )  # fmt: skip
        mixed = linear(graph, f"{name}.attention_output", attended, known[f"{own}0.SelfAttention.o.weight"])
        hidden = graph.node("Add", [hidden, mixed], f"{name}.attention.residual")
        hidden = _feed_forward(graph, name, hidden, known, f"{own}1.", config)
    read = _norm(graph, "encoder.final.norm", hidden, known, "encoder.final_layer_norm", config)
    outputs = []
    for i in range(_decoders(config)):
        outputs += _source_keys(graph, i, read, known, size)
    inputs = [numbers("input_ids", ["R", "S"]), numbers("source_mask", ["R", "S"], small=True)]
    return graph.model("encoder", inputs, outputs)


def _decoders(config: Config) -> int:
    return config.get("num_decoder_layers") or config["num_layers"]


def _joint(graph: Graph, name: str, x: str, known: Weights, prefix: str, parts: str, size: int) -> tuple[str, int]:
    """`x` times the matrices of `parts` (q, k, v), side by side; and the number of heads of each."""
    own = [known[f"{prefix}{part}.weight"] for part in parts]
    return linear(graph, name, x, np.concatenate(own)), len(own[0]) // size


def _source_keys(graph: Graph, layer: int, read: str, known: Weights, size: int) -> list[onnx.ValueInfoProto]:
    """The outputs of the keys and values of the source for a layer of the decoder."""
    prefix = f"decoder.block.{layer}.layer.1.EncDecAttention."
    joint, heads = _joint(graph, f"decoder.{layer}.source_key_value", read, known, prefix, "kv", size)
    shape = graph.constant(f"source.{layer}.shape", np.array([0, 0, 2 * heads, size], dtype=np.int64))
    apart = graph.node("Reshape", [joint, shape], f"source.{layer}.apart")
    by_head = graph.node("Transpose", [apart], f"source.{layer}.by_head", perm=[0, 2, 1, 3])
    names = [f"source.{layer}.{part}" for part in ("key", "value")]
    halves = [by_head, graph.constant(f"source.{layer}.halves", np.array([heads, heads], dtype=np.int64))]
    graph.nodes.append(helper.make_node("Split", halves, names, name=f"source.{layer}.split", axis=1))
    return [floats(name, ["R", heads, "S", size]) for name in names]


def build_decoder(weights: Weights, config: Config, precision: Precision) -> onnx.ModelProto:
    """The decoder. Inputs: those of `of_steps`, `source_mask` (R, S) int32, the source's keys and values, the cache.

    Outputs: `logits` (N, V), and the cache with T more.
    """
    known = _known(weights)
    assert known is not None
    graph = Graph(precision)
    shared_constants(graph)
    table, size = known[TABLES[0]], config["d_kv"]
    made, tied = vocabulary_of(weights, table)
    hidden, cache, sources = embedded(graph, table, tied=tied), [], []
    relative = known["decoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"]
    bias = _distances_to_written(graph, relative, config)
    for i in range(_decoders(config)):
        name, own = f"decoder.{i}", f"decoder.block.{i}.layer."
        normed = _norm(graph, f"{name}.attention.norm", hidden, known, f"{own}0.layer_norm", config)
        of_self = {part: known[f"{own}0.SelfAttention.{part}.weight"] for part in "qkvo"}
        heads, three = len(of_self["q"]) // size, [widened(of_self[part], size) for part in "qkv"]
        joint = linear(graph, f"{name}.query_key_value", normed, np.concatenate(three))
        cache.append((heads, room_of(size)))
        attended = cached_attention(
            graph,
            name,
            [joint],
            i,
            heads=heads,
            key_heads=heads,
            scale=1.0,
            bias=_of_own_heads(graph, name, bias, config),
        )
        mixed = linear(graph, f"{name}.attention_output", attended, widened(of_self["o"].T, size).T)
        hidden = graph.node("Add", [hidden, mixed], f"{name}.attention.residual")

        normed = _norm(graph, f"{name}.source.norm", hidden, known, f"{own}1.layer_norm", config)
        query, heads = _joint(graph, f"{name}.source_query", normed, known, f"{own}1.EncDecAttention.", "q", size)
        kept = [f"source.{i}.key", f"source.{i}.value"]
        sources += [floats(one, ["R", heads, "S", size]) for one in kept]
        seen = graph.node(
            "MultiHeadAttention", [query, *kept, "", "source_mask"], f"{name}.source.attended", MICROSOFT,
            num_heads=heads, scale=1.0, mask_filter_value=float(HIDDEN),
        )  # fmt: skip
        told = linear(graph, f"{name}.source_output", seen, known[f"{own}1.EncDecAttention.o.weight"])
        hidden = graph.node("Add", [hidden, told], f"{name}.source.residual")
        hidden = _feed_forward(graph, name, hidden, known, f"{own}2.", config)
    hidden = _norm(graph, "decoder.final.norm", hidden, known, "decoder.final_layer_norm", config)
    # T5 whose embeddings make the logits scales what they are multiplied with; transformers 5 says so by another name.
    scaled = config.get("scale_decoder_outputs", config.get("tie_word_embeddings", True))
    logits(graph, hidden, made, tied=tied, factor=config["d_model"] ** -0.5 if scaled else 1.0)
    mask = numbers("source_mask", ["R", "S"], small=True)
    inputs = [*of_steps(positions=True), mask, *sources, *cache_of(cache, "past")]
    return graph.model("decoder", inputs, [floats("logits", ["N", len(made)]), *cache_of(cache, "present")])


def _norm(graph: Graph, name: str, x: str, known: Weights, of: str, config: Config) -> str:
    return rms_norm(graph, name, x, known[f"{of}.weight"], config["layer_norm_epsilon"])


def _feed_forward(graph: Graph, name: str, x: str, known: Weights, own: str, config: Config) -> str:
    """`x` plus what the feed-forward part makes of it; two matrices read it where neurons have gates."""
    normed = _norm(graph, f"{name}.feed_forward.norm", x, known, f"{own}layer_norm", config)
    operator, attributes = ACTIVATIONS[_activation(config)]
    prefix = f"{own}DenseReluDense."
    if f"{prefix}wi.weight" in known:
        wide = linear(graph, f"{name}.feed_forward_in", normed, known[f"{prefix}wi.weight"])
        active = graph.node(operator, [wide], f"{name}.activation", **attributes)
    else:
        gates = [known[f"{prefix}wi_{number}.weight"] for number in (0, 1)]
        both = linear(graph, f"{name}.feed_forward_in", normed, np.concatenate(gates))
        gate, up = split(graph, both, f"{name}.gates", [len(one) for one in gates])
        active = graph.node(
            "Mul", [graph.node(operator, [gate], f"{name}.activation", **attributes), up], f"{name}.gated"
        )  # fmt: skip
    narrow = linear(graph, f"{name}.feed_forward_out", active, known[f"{prefix}wo.weight"])
    return graph.node("Add", [x, narrow], f"{name}.feed_forward.residual")


def _distances_to_written(graph: Graph, table_BU: np.ndarray, config: Config) -> str:
    """(P, U, T, tokens in the cache): what is added to the score of each written token, by its distance back."""
    most = config.get("relative_attention_max_distance", 128)
    rows = buckets(-np.arange(most + 1), both_sides=False, count=len(table_BU), most=most)
    total = graph.node("Cast", ["total"], "total.number", to=TensorProto.INT64)
    graph.constant("zero", np.array(0, dtype=np.int64))
    graph.constant("step", np.array(1, dtype=np.int64))
    keys = graph.node("Range", ["zero", total, "step"], "keys")
    queries = graph.node("Unsqueeze", ["positions", "last_axis"], "queries")
    return _of_heads(graph, table_BU[rows], graph.node("Sub", [queries, keys], "distances"), (0, most), (0, 3, 1, 2))


def _distances_within_source(graph: Graph, table_BU: np.ndarray, config: Config) -> str:
    """(1, U, S, S): what is added to the score of a token of the source, by its distance on either side."""
    most = config.get("relative_attention_max_distance", 128)
    rows = buckets(np.arange(-most, most + 1), both_sides=True, count=len(table_BU), most=most)
    size = graph.node("Shape", ["input_ids"], "source.tokens", start=1, end=2)
    graph.constant("zero", np.array(0, dtype=np.int64))
    graph.constant("step", np.array(1, dtype=np.int64))
    graph.constant("first_axis", np.array([0], dtype=np.int64))
    keys = graph.node("Range", ["zero", graph.node("Squeeze", [size, "first_axis"], "source.count"), "step"], "keys")
    queries = graph.node("Unsqueeze", [graph.node("Unsqueeze", [keys, "last_axis"], "column"), "first_axis"], "queries")
    apart = graph.node("Sub", [keys, queries], "distances")
    return _of_heads(graph, table_BU[rows], apart, (-most, most), (0, 3, 1, 2))


def _of_own_heads(graph: Graph, name: str, bias: str, config: Config) -> str:
    """Of the numbers for all heads, which a stack's layers share, those of the heads that layer `name` has left."""
    stack, layer = name.split(".")
    left = config.get("winnow", {}).get("heads", {}).get(stack)
    if left is None or left[int(layer)] == list(range(config["num_heads"])):
        return bias
    own = graph.constant(f"{name}.heads", np.array(left[int(layer)], dtype=np.int64))
    return graph.node("Gather", [bias, own], f"{name}.bias", axis=1)


def _of_heads(graph: Graph, rows_EU: np.ndarray, distances: str, ends: tuple[int, int], order: tuple[int, ...]) -> str:
    low, high = (
        graph.constant(f"distances.{name}", np.array(end, dtype=np.int64))
        for name, end in zip(("low", "high"), ends, strict=True)
    )
    within = graph.node("Clip", [distances, low, high], "distances.within")
    at = graph.node("Sub", [within, low], "distances.rows")
    found = graph.node("Gather", [graph.constant("distances.table", rows_EU), at], "distances.found")
    return graph.node("Transpose", [found], "distances.bias", perm=list(order))


def buckets(apart_E: np.ndarray, *, both_sides: bool, count: int, most: int) -> np.ndarray:
    """The row of the table for each place of a key less that of its query: far ones share rows, by their logarithm.

    Computed in float32, as transformers does: rounding decides which of two rows it is.
    Source: Raffel et al. 2020, arXiv:1910.10683, section 2.1, and T5's code.
    """
    rows = np.zeros(len(apart_E), dtype=np.int64)
    if both_sides:
        count //= 2
        rows += np.where(apart_E > 0, count, 0)
        back = np.abs(apart_E)
    else:
        back = -np.minimum(apart_E, 0)
    near = count // 2
    steps = np.log(np.maximum(back, 1).astype(np.float32) / np.float32(near)) / np.float32(math.log(most / near))
    far = np.minimum(near + (steps * np.float32(count - near)).astype(np.int64), count - 1)
    return rows + np.where(back < near, back, far)
