"""Two towers as two ONNX graphs, so that images and texts can be asked for apart: model.onnx of texts, images.onnx.

    input_ids, attention_mask (B, T) int64  ── tower of texts ───┐
                                                                 ├─ a matrix, length ──> logits (B, P)
    pixel_values (B, S, S, 3) uint8 ───────── tower of images ───┘

Their layers are written from their weights (clip.py, convnext.py), as `graph.py` writes a BERT's. Patches of pixels go
through one matrix product instead of a convolution, with the mean and the deviation of pixels in its weights.
B rows, T tokens, S pixels of a side, W width of a tower, P numbers of a vector.
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
from stages.backends.onnxruntime_int8 import clip, convnext
from stages.backends.onnxruntime_int8.graph import Precision, Range, Weights
from stages.backends.onnxruntime_int8.ranges import Row, learn
from stages.backends.onnxruntime_int8.tower_parts import PIXELS
from stages.core.contracts import Image, Quantizable, Text
from stages.core.model_folder import describe
from stages.core.params.compress import QuantizeParams

log = logging.getLogger("winnow")

TEXTS, IMAGES = "model.onnx", "images.onnx"  # the files
LARGEST_SCALE = float(np.log(100))  # as in training: stages/models/towers.py


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
        "image": _of_images(_own(weights, "image"), config["image"]),
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


def _of_images(own: Weights, config: Mapping[str, Any]) -> Tower:
    if config["model_type"] == "convnext":
        return Tower(convnext.matrices(config), partial(convnext.build, own, config))
    return Tower(clip.image_matrices(config), partial(clip.of_images, own, config))


def _of_texts(
    weights: Weights, config: Mapping[str, Any], max_tokens: int, written: Callable[..., Any]
) -> Tower:  # fmt: skip
    own = _own(weights, "text")
    if config["model_type"] == "clip_text_model":
        return Tower(clip.text_matrices(config), partial(clip.of_texts, own, config, max_tokens=max_tokens))
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
