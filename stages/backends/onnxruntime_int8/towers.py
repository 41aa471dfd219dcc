"""Two towers as two ONNX graphs, so that images and texts can be asked for apart: model.onnx of texts, images.onnx.

    input_ids, attention_mask (B, T) int64  ── tower of texts ───┐
                                                                 ├─ a matrix, length ──> logits (B, P)
    pixel_values (B, S, S, 3) uint8 ───────── tower of images ───┘

CLIP's layers are written from their weights, as `graph.py` writes a BERT's: norms stand before attention and neurons.
Patches of pixels go through one matrix product instead of a convolution, with the mean and the deviation of pixels in
its weights. B rows, T tokens, S pixels of a side, W width of a tower, P numbers of a vector.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from stages.backends.batching import calibration_inputs, distance_of
from stages.backends.onnxruntime_int8.graph import ACTIVATIONS, MICROSOFT, Graph, Precision, Range, Weights
from stages.backends.onnxruntime_int8.ranges import Row, learn
from stages.core.contracts import INPUTS, Image, Quantizable, Text
from stages.core.model_folder import describe
from stages.core.params.compress import QuantizeParams

log = logging.getLogger("winnow")

TEXTS, IMAGES = "model.onnx", "images.onnx"  # the files
PIXELS, PATCHES, EMBEDDINGS = "pixel_values", "patches", "embeddings"
LARGEST_SCALE = float(np.log(100))  # as in training: stages/models/towers.py
OF_ACTIVATIONS = {**ACTIVATIONS, "quick_gelu": ("QuickGelu", {"alpha": 1.702, "domain": MICROSOFT})}
PARTS = ("query_key_value", "attention_output", "feed_forward_in", "feed_forward_out")


class Tower(NamedTuple):
    """A tower whose graph can be written."""

    matrices: tuple[str, ...]
    """Those that can be int8, from the input to the output; the first, of texts the embeddings, has no range."""
    build: Callable[..., onnx.ModelProto]
    """build(precision, tapped=): a graph whose output `logits` is the pooled vector; the input of each matrix besides.
    """


def understands(config: Mapping[str, Any]) -> bool:
    """Whether this is the config.json of two towers."""
    return config.get("model_type") == "two_towers"


def prepare(
    source: Path, weights: Weights, config: Mapping[str, Any], params: QuantizeParams, texts: Sequence[Text],
    written: Callable[..., Any],
) -> Quantizable:  # fmt: skip
    """The two graphs of these weights; the names of matrices begin with `text.` or `image.`.

    `written(weights, config)`: how the graph of an encoder of texts is written, None where its layout is not known.
    Raises ValueError for such an encoder.
    """
    description = describe(source)
    towers = {
        "text": _of_texts(weights, config["text"], description["max_tokens"], written),
        "image": Tower(image_matrices(config["image"]), partial(of_images, _own(weights, "image"), config["image"])),
    }
    length = np.exp(np.minimum(weights["head.logit_scale"], LARGEST_SCALE) / 2).astype(np.float32)

    def whole(side: str, precision: Precision, *, tapped: bool = False) -> onnx.ModelProto:
        return projected(towers[side].build(precision, tapped=tapped), weights[f"head.{side}.weight"], length)

    def in_ranges(side: str, found: Mapping[str, Range]) -> onnx.ModelProto:
        return whole(side, Precision((), found, params.per_channel))

    ranges: Mapping[str, Mapping[str, Range] | None] = dict.fromkeys(towers)
    if params.activations == "static":
        rows, distance = _inputs(texts, source, description), distance_of(source, description)
        exact = {side: Precision(tower.matrices, None, params.per_channel) for side, tower in towers.items()}
        ranges = {
            side: learn(whole(side, exact[side], tapped=True), partial(in_ranges, side), rows[side], distance)
            for side in towers
        }

    def write(folder: Path, kept: Collection[str]) -> None:
        for side, name in (("text", TEXTS), ("image", IMAGES)):
            own = {matrix.removeprefix(f"{side}.") for matrix in kept if matrix.startswith(f"{side}.")}
            onnx.save(whole(side, Precision(own, ranges[side], params.per_channel)), folder / name)

    names = tuple(f"{side}.{matrix}" for side, tower in towers.items() for matrix in tower.matrices)
    return Quantizable(matrices=names, write=write, activations=params.activations)


def _own(weights: Weights, side: str) -> Weights:
    """The weights of a tower, by their names in it."""
    start = f"{side}."
    return {name.removeprefix(start): weight for name, weight in weights.items() if name.startswith(start)}


def _of_texts(
    weights: Weights, config: Mapping[str, Any], max_tokens: int, written: Callable[..., Any]
) -> Tower:  # fmt: skip
    own = _own(weights, "text")
    if config["model_type"] == "clip_text_model":
        return Tower(text_matrices(config), partial(of_texts, own, config, max_tokens=max_tokens))
    known = written(own, config)
    if known is None:
        raise ValueError(
            f"quantize: the graph of a {config['model_type']} tower of texts is not written. Take an encoder whose int8"
            " graph is, by docs/models.md."
        )
    return Tower(known.matrices, partial(known.build, max_tokens=max_tokens))


def _inputs(texts: Sequence[Text], source: Path, description: Mapping[str, Any]) -> dict[str, list[Row]]:
    """The inputs of each tower from the calibration rows."""
    parts = [part for pair in texts for part in ((pair,) if isinstance(pair, str) else pair)]
    images = [part for part in parts if isinstance(part, Image)]
    words = [part for part in parts if not isinstance(part, Image)]
    return {
        "text": list(calibration_inputs(words, source, description)),
        "image": [{PIXELS: image.pixels[None]} for image in images],
    }


def projected(model: onnx.ModelProto, weight_PW: np.ndarray, length: np.ndarray) -> onnx.ModelProto:
    """The graph with its output `logits` (B, W) times a matrix, and made so long; in place."""
    graph = model.graph
    for node in graph.node:
        if "logits" in node.output:
            node.name, node.output[:] = "pooled_row", ["pooled_row"]
    constants = {"projection": np.ascontiguousarray(weight_PW.T), "length": length}
    graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in constants.items())
    graph.node.extend(
        [
            helper.make_node("MatMul", ["pooled_row", "projection"], ["projected"], name="projected"),
            helper.make_node("LpNormalization", ["projected"], ["direction"], name="direction", axis=-1, p=2),
            helper.make_node("Mul", ["direction", "length"], ["logits"], name="logits"),
        ]
    )
    for output in graph.output:
        if output.name == "logits":
            output.CopyFrom(helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["B", "P"]))
    return model


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
    patches = graph.linear(PATCHES, _patches(graph, size, patch), *_of_patches(weights, config))
    rows = graph.node("Shape", [PIXELS], "rows", start=0, end=1)
    of_class = graph.constant("class", weights["encoder.embeddings.class_embedding"].reshape(1, 1, width))
    rest = graph.constant("one_token", np.array([1, width], dtype=np.int64))
    shape = graph.node("Concat", [rows, rest], "class_shape", axis=0)
    classes = graph.node("Expand", [of_class, shape], "classes")
    tokens = graph.node("Concat", [classes, patches], "tokens", axis=1)
    places = graph.constant("places", weights["encoder.embeddings.position_embedding.weight"][None, : side * side + 1])
    placed = graph.node("Add", [tokens, places], "placed")
    hidden = _norm(graph, "before", placed, weights, "encoder.pre_layrnorm", config)
    for number in range(config["num_hidden_layers"]):
        hidden = _layer(graph, number, hidden, "", weights, config)
    first = graph.node("Gather", [hidden, graph.constant("first", np.array(0, dtype=np.int64))], "pooled", axis=1)
    pooled = _norm(graph, "after", first, weights, "encoder.post_layernorm", config)
    inputs = [helper.make_tensor_value_info(PIXELS, TensorProto.UINT8, ["B", size, size, 3])]
    return _finished(graph, "images", pooled, inputs, image_matrices(config) if tapped else ())


def _patches(graph: Graph, size: int, patch: int) -> str:
    """pixel_values as rows of pixels of one patch each, (B, n, 3 * patch * patch) float32."""
    side = size // patch
    shares = graph.node("Cast", [PIXELS], "shares", to=TensorProto.FLOAT)
    apart = graph.constant("apart", np.array([-1, side, patch, side, patch, 3], dtype=np.int64))
    cut = graph.node("Reshape", [shares, apart], "cut")
    by_patch = graph.node("Transpose", [cut], "by_patch", perm=[0, 1, 3, 2, 4, 5])
    flat = graph.constant("flat", np.array([-1, side * side, 3 * patch * patch], dtype=np.int64))
    return graph.node("Reshape", [by_patch, flat], "patches.rows")


def _of_patches(weights: Weights, config: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """The matrix (W, 3 * patch * patch) and the bias (W,) for pixels as they are, from 0 to 255."""
    mean, deviation = (np.array(config["winnow"][name], dtype=np.float64) for name in ("mean", "deviation"))
    weight_W3pp = weights["encoder.embeddings.patch_embedding.weight"].astype(np.float64)
    scaled = weight_W3pp / deviation[:, None, None]
    bias = -(scaled * mean[:, None, None]).sum((1, 2, 3))
    matrix = (scaled / 255).transpose(0, 2, 3, 1).reshape(len(scaled), -1)
    return matrix.astype(np.float32), bias.astype(np.float32)


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
    pooled = _norm(graph, "after", read, weights, "encoder.final_layer_norm", config)
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, ["B", "T"]) for name in INPUTS[:2]]
    return _finished(graph, "texts", pooled, inputs, text_matrices(config)[1:] if tapped else ())


def _finished(
    graph: Graph, name: str, pooled: str, inputs: list[onnx.ValueInfoProto], tapped: Sequence[str]
) -> onnx.ModelProto:
    graph.node("Identity", [pooled], "logits")
    taps = [helper.make_tensor_value_info(tap, TensorProto.FLOAT, None) for tap in graph.taps(tapped)]
    return graph.model(name, inputs, [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["B", "W"]), *taps])


def _layer(
    graph: Graph, number: int, x: str, mask: str, weights: Weights, config: Mapping[str, Any], **attributes: int
) -> str:
    name, prefix = f"layer.{number}", f"encoder.encoder.layers.{number}."
    normed = _norm(graph, f"{name}.attention", x, weights, f"{prefix}layer_norm1", config)
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
    normed = _norm(graph, f"{name}.feed_forward", x, weights, f"{prefix}layer_norm2", config)
    wide = linear("feed_forward_in", normed, "mlp.fc1")
    operator, how = OF_ACTIVATIONS[config["hidden_act"]]
    active = graph.node(operator, [wide], f"{name}.activation", **how)
    return graph.node("Add", [x, linear("feed_forward_out", active, "mlp.fc2")], f"{name}.feed_forward.residual")


def _norm(graph: Graph, name: str, x: str, weights: Weights, source: str, config: Mapping[str, Any]) -> str:
    constants = [graph.constant(f"{name}.norm.{kind}", weights[f"{source}.{kind}"]) for kind in ("weight", "bias")]
    epsilon = config["layer_norm_eps"]
    return graph.node("LayerNormalization", [x, *constants], f"{name}.norm", axis=-1, epsilon=epsilon)
