"""A ConvNeXt as an ONNX graph, written from its weights: a tower of images (Liu et al. 2022, arXiv:2201.03545).

    pixels ──> patches ──> blocks of stage 0 ──> 2 x 2 places become one ──> blocks of stage 1 ──> ... ──> their mean

Places stand in rows, n of them, as tokens do, so that all that is no convolution of single channels is a matrix product
that can be int8: patches, the layers of a block, and the step from a stage to the next.
B images, S pixels of a side, n places, W width of a stage.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx

from stages.backends.onnxruntime_int8.graph import ACTIVATIONS, Graph, Precision, Weights
from stages.backends.onnxruntime_int8.tower_parts import PATCHES, finished, input_of_pixels, norm, of_patches, patches

EPSILON = 1e-6  # of all norms but the last
REACH = 3  # of a block's convolution, whose kernel is 7 x 7: so many places to each side


def matrices(config: Mapping[str, Any]) -> tuple[str, ...]:
    """The matrices that can be int8, from the input to the output."""
    found = [PATCHES]
    for stage, depth in enumerate(config["depths"]):
        found += [] if stage == 0 else [_joined(stage)]
        found += [f"{_block(stage, number)}.{part}" for number in range(depth) for part in ("up", "down")]
    return tuple(found)


def _joined(stage: int) -> str:
    return f"stage.{stage}.joined"


def _block(stage: int, number: int) -> str:
    return f"stage.{stage}.block.{number}"


def build(
    weights: Weights, config: Mapping[str, Any], precision: Precision, *, tapped: bool = False
) -> onnx.ModelProto:
    """The tower: input pixel_values (B, S, S, 3) uint8, output logits (B, W), the pooled vector."""
    graph, size, patch = Graph(precision), config["image_size"], config["patch_size"]
    side, first = size // patch, "encoder.embeddings.patch_embeddings"
    own = of_patches(weights[f"{first}.weight"], weights[f"{first}.bias"], config)
    hidden = graph.linear(PATCHES, patches(graph, size, patch), *own)
    hidden = norm(graph, "before", hidden, weights, "encoder.embeddings.layernorm", EPSILON)
    for stage, depth in enumerate(config["depths"]):
        prefix = f"encoder.encoder.stages.{stage}."
        if stage:
            hidden, side = _join(graph, stage, hidden, side, weights, f"{prefix}downsampling_layer."), side // 2
        for number in range(depth):
            hidden = _add_block(
                graph, _block(stage, number), hidden, side, weights, f"{prefix}layers.{number}.", config
            )
    places = graph.constant("places", np.array([1], dtype=np.int64))
    mean = graph.node("ReduceMean", [hidden, places], "mean", keepdims=0)
    pooled = norm(graph, "after", mean, weights, "encoder.layernorm", config["layer_norm_eps"])
    return finished(graph, "images", pooled, [input_of_pixels(size)], matrices(config) if tapped else ())


def _join(graph: Graph, stage: int, x: str, side: int, weights: Weights, prefix: str) -> str:
    """(B, n, W) -> (B, n / 4, W of the next stage): each square of 2 x 2 places becomes one."""
    name, kernel_VW22 = _joined(stage), weights[f"{prefix}1.weight"]
    width = kernel_VW22.shape[1]
    normed = norm(graph, name, x, weights, f"{prefix}0", EPSILON)
    squares = _shaped(graph, f"{name}.squares", normed, [-1, side // 2, 2, side // 2, 2, width])
    ordered = graph.node("Transpose", [squares], f"{name}.ordered", perm=[0, 1, 3, 2, 4, 5])
    rows = _shaped(graph, f"{name}.rows", ordered, [-1, (side // 2) ** 2, 4 * width])
    matrix = np.ascontiguousarray(kernel_VW22.transpose(0, 2, 3, 1).reshape(len(kernel_VW22), -1))
    return graph.linear(name, rows, matrix, weights[f"{prefix}1.bias"])


def _add_block(
    graph: Graph, name: str, x: str, side: int, weights: Weights, prefix: str, config: Mapping[str, Any]
) -> str:
    """`x` (B, n, W) plus what a block makes of it."""
    kernel, bias = (weights[f"{prefix}dwconv.{kind}"] for kind in ("weight", "bias"))
    width = len(kernel)
    square = _shaped(graph, f"{name}.square", x, [-1, side, side, width])
    channels = graph.node("Transpose", [square], f"{name}.channels", perm=[0, 3, 1, 2])
    seen = graph.node(
        "Conv",
        [channels, graph.constant(f"{name}.kernel", kernel), graph.constant(f"{name}.kernel.bias", bias)],
        f"{name}.seen",
        group=width,
        pads=[REACH] * 4,
    )
    last = graph.node("Transpose", [seen], f"{name}.last", perm=[0, 2, 3, 1])
    normed = norm(
        graph, name, _shaped(graph, f"{name}.rows", last, [-1, side * side, width]), weights, f"{prefix}layernorm",
        EPSILON,
    )  # fmt: skip
    up, down = ([weights[f"{prefix}pwconv{part}.{kind}"] for kind in ("weight", "bias")] for part in (1, 2))
    operator, how = ACTIVATIONS[config["hidden_act"]]
    active = graph.node(operator, [graph.linear(f"{name}.up", normed, *up)], f"{name}.activation", **how)
    return graph.node("Add", [x, graph.linear(f"{name}.down", active, *down)], f"{name}.residual")


def _shaped(graph: Graph, name: str, x: str, shape: list[int]) -> str:
    return graph.node("Reshape", [x, graph.constant(f"{name}.shape", np.array(shape, dtype=np.int64))], name)
