"""GPT-2 and Llama as ONNX graphs of ONNX Runtime's own operators, made from their weights, with a cache.

Shapes are read from the weights, layer by layer, so that pruned layers (fewer heads, a narrower feed-forward) need
nothing of their own.
R sequences, T tokens, H hidden width, U heads of queries, K heads of keys and values, D size of a head.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
import onnx

from stages.backends.onnxruntime_int8.graph import ACTIVATIONS, Graph, Precision
from stages.backends.onnxruntime_int8.writing.parts import (
    TABLE,
    VOCABULARY,
    cache_of,
    cached_attention,
    embedded,
    floats,
    linear,
    logits,
    of_steps,
    rms_norm,
    room_of,
    shared_constants,
    split,
    widened,
)
from stages.backends.onnxruntime_int8.writing.weights import Config, Weights, behind, vocabulary_of

PARTS = ("query_key_value", "attention_output", "feed_forward_in", "feed_forward_out")
TURNED = 16  # the attention that turns queries and keys wants heads of a multiple of this size
GPT2, LLAMA = "wte.weight", "embed_tokens.weight"  # the names of the embeddings, by which a layout is known
ALTERED = {  # settings of GPT-2 that change its formula, and what they are where they do not
    "scale_attn_weights": True,
    "scale_attn_by_inverse_layer_idx": False,
    "reorder_and_upcast_attn": False,
    "add_cross_attention": False,
}


def faults(weights: Weights, config: Config) -> str:
    """Why `build` cannot write this model's graph; "" where it can."""
    if config["model_type"] == "gpt2":
        named = [name for name, usual in ALTERED.items() if config.get(name, usual) != usual]
        activation, known = config["activation_function"], behind(weights, GPT2)
    else:
        rope = _rope(config)["rope_type"]
        named = [] if rope in ("default", "linear", "llama3") else [f"rope_type '{rope}'"]
        activation, known = config["hidden_act"], behind(weights, LLAMA)
        activation = "gelu" if activation == "silu" else activation
    if known is None:
        return "its weights have other names than this kind of model has"
    if activation not in ACTIVATIONS:
        named.append(f"the activation '{activation}'")
    return f"its config.json sets {', '.join(named)}" if named else ""


def matrices(weights: Weights, config: Config) -> tuple[str, ...]:
    """The matrices that can be int8, from the input to the output. Tied embeddings make the logits, too."""
    known = behind(weights, GPT2 if config["model_type"] == "gpt2" else LLAMA)
    assert known is not None
    table = known[GPT2 if config["model_type"] == "gpt2" else LLAMA]
    layers = tuple(f"layer.{i}.{part}" for i in range(_n_layers(config)) for part in PARTS)
    return (TABLE, *layers, *(() if vocabulary_of(weights, table)[1] else (VOCABULARY,)))


def _n_layers(config: Config) -> int:
    return config["n_layer"] if config["model_type"] == "gpt2" else config["num_hidden_layers"]


def head_size(config: Config) -> int:
    """D."""
    if config["model_type"] == "gpt2":
        return config["n_embd"] // config["n_head"]
    return config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]


def build(weights: Weights, config: Config, precision: Precision) -> onnx.ModelProto:
    """The graph. Inputs: those of `of_steps`, and the cache; outputs: `logits` (N, V), and the cache with T more."""
    graph = Graph(precision)
    shared_constants(graph)
    if config["model_type"] == "gpt2":
        hidden, cache, table = _gpt2(graph, weights, config)
    else:
        hidden, cache, table = _llama(graph, weights, config)
    made, tied = vocabulary_of(weights, table)
    logits(graph, hidden, made, tied=tied)
    inputs = [*of_steps(positions=config["model_type"] == "gpt2"), *cache_of(cache, "past")]
    outputs = [floats("logits", ["N", len(made)]), *cache_of(cache, "present")]
    return graph.model("decoder", inputs, outputs)


def _gpt2(graph: Graph, weights: Weights, config: Config) -> tuple[str, list[tuple[int, int]], np.ndarray]:
    known = behind(weights, GPT2)
    assert known is not None
    table, epsilon, size = known[GPT2], config["layer_norm_epsilon"], head_size(config)
    words = embedded(graph, table, tied=vocabulary_of(weights, table)[1])
    places = graph.node("Gather", [graph.constant("position_table", known["wpe.weight"]), "positions"], "places_seen")
    hidden, cache = graph.node("Add", [words, places], "hidden"), []
    operator, attributes = ACTIVATIONS[config["activation_function"]]

    def norm(name: str, x: str, of: str) -> str:
        constants = [graph.constant(f"{name}.{kind}", known[f"{of}.{kind}"]) for kind in ("weight", "bias")]
        return graph.node("LayerNormalization", [x, *constants], name, axis=-1, epsilon=epsilon)

    for i in range(_n_layers(config)):
        name, own = f"layer.{i}", f"h.{i}."

        def product(part: str, x: str, of: str, name: str = name, own: str = own) -> str:
            # GPT-2 has its matrices the other way round than all others.
            weight, bias = known[f"{own}{of}.weight"].T, known[f"{own}{of}.bias"]
            if part == "query_key_value":
                weight, bias = widened(weight, size), widened(bias, size)
            if part == "attention_output":
                weight = widened(weight.T, size).T
            return linear(graph, f"{name}.{part}", x, weight, bias)

        normed = norm(f"{name}.attention.norm", hidden, f"{own}ln_1")
        joint = product("query_key_value", normed, "attn.c_attn")
        heads = len(known[f"{own}attn.c_attn.bias"]) // (3 * size)
        cache.append((heads, room_of(size)))
        attended = cached_attention(
            graph, name, [joint], i, heads=heads, key_heads=heads, scale=1 / math.sqrt(size)
        )  # fmt: skip
        mixed = product("attention_output", attended, "attn.c_proj")
        hidden = graph.node("Add", [hidden, mixed], f"{name}.attention.residual")
        wide = product("feed_forward_in", norm(f"{name}.feed_forward.norm", hidden, f"{own}ln_2"), "mlp.c_fc")
        active = graph.node(operator, [wide], f"{name}.activation", **attributes)
        narrow = product("feed_forward_out", active, "mlp.c_proj")
        hidden = graph.node("Add", [hidden, narrow], f"{name}.feed_forward.residual")
    return norm("final.norm", hidden, "ln_f"), cache, table


def _llama(graph: Graph, weights: Weights, config: Config) -> tuple[str, list[tuple[int, int]], np.ndarray]:
    known = behind(weights, LLAMA)
    assert known is not None
    table, epsilon, size = known[LLAMA], config["rms_norm_eps"], head_size(config)
    hidden, cache = embedded(graph, table, tied=vocabulary_of(weights, table)[1]), []
    angles, turned = _angles(graph, config), partial(widened, size=size, whole=TURNED, parts=2)
    for i in range(_n_layers(config)):
        name, own = f"layer.{i}", f"layers.{i}."

        def product(part: str, x: str, *of: str, name: str = name, own: str = own) -> str:
            weight = np.concatenate([known[f"{own}{one}.weight"] for one in of])
            biases = [known[f"{own}{one}.bias"] for one in of if f"{own}{one}.bias" in known]
            bias = np.concatenate(biases) if biases else None
            if part == "query_key_value":
                weight, bias = turned(weight), None if bias is None else turned(bias)
            if part == "attention_output":
                weight = turned(weight.T).T
            return linear(graph, f"{name}.{part}", x, weight, bias)

        normed = rms_norm(graph, f"{name}.attention.norm", hidden, known[f"{own}input_layernorm.weight"], epsilon)
        joint = product("query_key_value", normed, *(f"self_attn.{part}_proj" for part in "qkv"))
        heads, key_heads = (len(known[f"{own}self_attn.{part}_proj.weight"]) // size for part in "qk")
        cache.append((key_heads, room_of(size, TURNED)))
        attended = cached_attention(
            graph, name, [joint], i, heads=heads, key_heads=key_heads, scale=1 / math.sqrt(size), angles=angles
        )  # fmt: skip
        mixed = product("attention_output", attended, "self_attn.o_proj")
        hidden = graph.node("Add", [hidden, mixed], f"{name}.attention.residual")
        normed = rms_norm(
            graph, f"{name}.feed_forward.norm", hidden, known[f"{own}post_attention_layernorm.weight"], epsilon
        )  # fmt: skip
        both = product("feed_forward_in", normed, "mlp.gate_proj", "mlp.up_proj")
        gated = _gated(graph, name, both, len(known[f"{own}mlp.up_proj.weight"]), config["hidden_act"])
        narrow = product("feed_forward_out", gated, "mlp.down_proj")
        hidden = graph.node("Add", [hidden, narrow], f"{name}.feed_forward.residual")
    return rms_norm(graph, "final.norm", hidden, known["norm.weight"], epsilon), cache, table


def _gated(graph: Graph, name: str, both: str, width: int, activation: str) -> str:
    gate, up = split(graph, both, f"{name}.gates", [width, width])
    if activation == "silu":
        active = graph.node("QuickGelu", [gate], f"{name}.activation", "com.microsoft", alpha=1.0)
    else:
        operator, attributes = ACTIVATIONS[activation]
        active = graph.node(operator, [gate], f"{name}.activation", **attributes)
    return graph.node("Mul", [active, up], f"{name}.gated")


def _rope(config: Config) -> dict[str, Any]:
    """The settings of the angles; earlier versions of transformers had them elsewhere in config.json."""
    found = config.get("rope_parameters") or config.get("rope_scaling") or {}
    kind = found.get("rope_type", found.get("type", "default"))
    return {"rope_theta": config.get("rope_theta", 10000.0), **found, "rope_type": kind}


def _angles(graph: Graph, config: Config) -> tuple[str, str]:
    """The constants of cosines and sines (positions, D / 2) of the angles of each position; of what fills a head 0."""
    rope, size = _rope(config), head_size(config)
    # Turns and angles are float32 as in torch; functions are of float64, whose float32 is the same on all machines.
    turns = (1.0 / rope["rope_theta"] ** (np.arange(0, size, 2) / size)).astype(np.float32)
    turns = _stretched(turns, rope).astype(np.float32)
    turns = np.pad(turns, (0, (room_of(size, TURNED) - size) // 2))
    angles = (np.arange(config["max_position_embeddings"], dtype=np.float32)[:, None] * turns).astype(np.float64)
    return (
        graph.constant("angles.cos", np.cos(angles).astype(np.float32)),
        graph.constant("angles.sin", np.sin(angles).astype(np.float32)),
    )


def _stretched(turns: np.ndarray, rope: dict[str, Any]) -> np.ndarray:
    """Turns of models whose context was made longer. Source: transformers, modeling_rope_utils."""
    if rope["rope_type"] == "linear":
        return turns / rope["factor"]
    if rope["rope_type"] != "llama3":
        return turns
    low, high, before = (rope[n] for n in ("low_freq_factor", "high_freq_factor", "original_max_position_embeddings"))
    waves = 2 * math.pi / turns
    share = (before / waves - low) / (high - low)
    between = (1 - share) * turns / rope["factor"] + share * turns
    slow = np.where(waves > before / low, turns / rope["factor"], turns)
    return np.where((waves <= before / low) & (waves >= before / high), between, slow)
