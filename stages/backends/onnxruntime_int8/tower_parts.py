"""What the graphs of towers share: the input of pixels, patches of it, norms, and the output.

B images, S pixels of a side, W width of a tower.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from stages.backends.onnxruntime_int8.graph import Graph, Weights

PIXELS, PATCHES = "pixel_values", "patches"


def patches(graph: Graph, size: int, patch: int) -> str:
    """pixel_values as rows of pixels of one patch each, (B, n, 3 * patch * patch) float32."""
    side = size // patch
    shares = graph.node("Cast", [PIXELS], "shares", to=TensorProto.FLOAT)
    apart = graph.constant("apart", np.array([-1, side, patch, side, patch, 3], dtype=np.int64))
    cut = graph.node("Reshape", [shares, apart], "cut")
    by_patch = graph.node("Transpose", [cut], "by_patch", perm=[0, 1, 3, 2, 4, 5])
    flat = graph.constant("flat", np.array([-1, side * side, 3 * patch * patch], dtype=np.int64))
    return graph.node("Reshape", [by_patch, flat], "patches.rows")


def of_patches(
    weight_W3pp: np.ndarray, bias_W: np.ndarray | None, config: Mapping[str, Any]
) -> tuple[np.ndarray, np.ndarray]:
    """The matrix (W, 3 * patch * patch) and the bias (W,) for pixels as they are, from 0 to 255.

    `config`: the tower's, which has the mean and the deviation of pixels.
    """
    mean, deviation = (np.array(config["winnow"][name], dtype=np.float64) for name in ("mean", "deviation"))
    scaled = weight_W3pp.astype(np.float64) / deviation[:, None, None]
    bias = (0 if bias_W is None else bias_W) - (scaled * mean[:, None, None]).sum((1, 2, 3))
    matrix = (scaled / 255).transpose(0, 2, 3, 1).reshape(len(scaled), -1)
    return matrix.astype(np.float32), bias.astype(np.float32)


def input_of_pixels(size: int) -> onnx.ValueInfoProto:
    """The input of images: (B, S, S, 3) uint8."""
    return helper.make_tensor_value_info(PIXELS, TensorProto.UINT8, ["B", size, size, 3])


def finished(
    graph: Graph, name: str, pooled: str, inputs: list[onnx.ValueInfoProto], tapped: Sequence[str]
) -> onnx.ModelProto:
    """The graph whose output `logits` (B, W) is `pooled`; the inputs of the matrices `tapped` are outputs too."""
    graph.node("Identity", [pooled], "logits")
    taps = [helper.make_tensor_value_info(tap, TensorProto.FLOAT, None) for tap in graph.taps(tapped)]
    return graph.model(name, inputs, [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["B", "W"]), *taps])


def norm(graph: Graph, name: str, x: str, weights: Weights, source: str, epsilon: float) -> str:
    """`x` (..., W), brought to the mean 0 and the deviation 1, by the weights that are called `source`."""
    constants = [graph.constant(f"{name}.norm.{kind}", weights[f"{source}.{kind}"]) for kind in ("weight", "bias")]
    return graph.node("LayerNormalization", [x, *constants], f"{name}.norm", axis=-1, epsilon=epsilon)
