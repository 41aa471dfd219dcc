"""What the graphs of models that write are made of: matrices, embeddings and logits, and the cache of keys and values.

Activations are quantized token by token: each token of a batch has a scale of its own. Where a tensor has one scale, as
in the operator that does all at once, the answer to a row hangs on the rows beside it, and the large values that
decoders have at the first token take the digits of all others.
R sequences, T tokens of each, N tokens of which logits are wanted, H hidden width, V tokens of the vocabulary,
D size of a head, K heads of keys and values.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from stages.backends.onnxruntime_int8.graph import MICROSOFT, Graph

TABLE, VOCABULARY = "embeddings", "vocabulary"
WHOLE = 8  # heads are of a multiple of this size
LEVELS = np.float32(127)  # of a quantized activation, on each side of 0
MIDDLE = np.uint8(128)  # what stands for 0


def shared_constants(graph: Graph) -> None:
    """The constants that `linear` needs; once a graph, before anything else."""
    graph.constant("level", np.float32(1) / LEVELS)
    graph.constant("middle", MIDDLE)
    graph.constant("last_axis", np.array([-1], dtype=np.int64))


def linear(graph: Graph, name: str, x: str, weight_NK: np.ndarray, bias_N: np.ndarray | None = None) -> str:
    """x times the matrix `name`, plus the bias."""
    if name in graph.precision.kept:
        product = graph.node("MatMul", [x, graph.constant(f"{name}.weight", weight_NK.T)], f"{name}.product")
    else:
        product = int8_product(graph, name, x, graph.columns(name, weight_NK.T))
    if bias_N is None:
        return product
    return graph.node("Add", [product, graph.constant(f"{name}.bias", bias_N)], f"{name}.sum")


def int8_product(graph: Graph, name: str, x: str, columns: list[str]) -> str:
    """x, quantized token by token, times int8 weights: constants as `Graph.columns` makes them."""
    weight, scale, zero_point = columns
    sizes = graph.node("Abs", [x], f"{name}.sizes")
    largest = graph.node("ReduceMax", [sizes, "last_axis"], f"{name}.largest", keepdims=1)
    # A token of zeros is divided by 0: whatever whole numbers come of that, its product is multiplied with 0 below.
    relative = graph.node("Div", [x, largest], f"{name}.relative")
    values = graph.node("QuantizeLinear", [relative, "level", "middle"], f"{name}.in")
    inputs = [values, weight, "level", scale, "middle", zero_point]
    product = graph.node("MatMulIntegerToFloat", inputs, f"{name}.integer_product", MICROSOFT)
    return graph.node("Mul", [product, largest], f"{name}.product")


def room_of(size: int, whole: int = WHOLE) -> int:
    """The size that heads of `size` have in the operator, which wants a multiple of `whole`."""
    return size + -size % whole


def widened(array_N: np.ndarray, size: int, whole: int = WHOLE, parts: int = 1) -> np.ndarray:
    """The rows of heads of `size`, filled up with rows of zeros to `room_of(size, whole)`: they change no product.

    Each of a head's `parts` is filled up by itself, as halves are where a number of the one is turned with the same of
    the other.
    """
    more = room_of(size, whole) - size
    if not more:
        return array_N
    heads = array_N.reshape(-1, parts, size // parts, *array_N.shape[1:])
    filled = np.pad(heads, [(0, 0), (0, 0), (0, more // parts), *[(0, 0)] * (array_N.ndim - 1)])
    return filled.reshape(-1, *array_N.shape[1:])


def embedded(graph: Graph, table_VH: np.ndarray, *, tied: bool) -> str:
    """The embeddings of `input_ids` (R, T): (R, T, H).

    `tied`: `logits` is given the same table. It then stands in the graph once, as the matrix that logits need.
    """
    if not tied:
        return graph.words(table_VH)
    if TABLE in graph.precision.kept:
        return graph.node("Gather", [graph.constant("words", table_VH), "input_ids"], "embedded")
    weight_HV, scale, _ = graph.columns(TABLE, table_VH.T)
    found = graph.node("Gather", [weight_HV, "input_ids"], "embedded.columns", axis=1)
    numbers = graph.node("Cast", [found], "embedded.numbers", to=TensorProto.FLOAT)
    rows = graph.node("Transpose", [numbers], "embedded.rows", perm=[1, 2, 0])
    if graph.precision.per_channel:
        scales = graph.node("Gather", [scale, "input_ids"], "embedded.scales")
        scale = graph.node("Unsqueeze", [scales, "last_axis"], "embedded.scale")
    return graph.node("Mul", [rows, scale], "embedded")


def logits(graph: Graph, hidden: str, table_VH: np.ndarray, *, tied: bool, factor: float = 1.0) -> None:
    """The output `logits` (N, V) of the tokens `places` (N,), which count through all of `hidden` (R, T, H).

    `factor`: what hidden vectors are multiplied with before. `tied`: the table is the one given to `embedded`.
    """
    flat = graph.constant("flat", np.array([-1, table_VH.shape[1]], dtype=np.int64))
    rows = graph.node("Reshape", [hidden, flat], "hidden.rows")
    read = graph.node("Gather", [rows, "places"], "hidden.wanted")
    if factor != 1.0:
        read = graph.node("Mul", [read, graph.constant("hidden.factor", np.float32(factor))], "hidden.scaled")
    name = TABLE if tied else VOCABULARY
    if name in graph.precision.kept:
        table = "words" if tied else graph.constant("vocabulary", table_VH)
        product = graph.node("Gemm", [read, table], "vocabulary.product", transB=1)
    else:
        columns = [f"{TABLE}.{part}" for part in ("weight", "scale", "zero_point")]
        product = int8_product(graph, VOCABULARY, read, columns if tied else graph.columns(VOCABULARY, table_VH.T))
    graph.node("Identity", [product], "logits")


def cached_attention(
    graph: Graph,
    name: str,
    parts: list[str],
    layer: int,
    *,
    heads: int,
    key_heads: int,
    scale: float,
    angles: tuple[str, str] | None = None,
    bias: str = "",
) -> str:
    """Attention of the queries to the keys of the same sequence up to their own place, in the cache and new ones.

    `parts`: queries, keys and values side by side in one, or three. `angles`: the constants by whose cosines and sines
    queries and keys are turned. `bias`: what is added to the scores, (1 or R, heads, T, tokens in the cache).
    The cache's arrays are inputs and outputs of the graph; where both are the same memory, nothing is copied.
    """
    query, key, value = parts if len(parts) == 3 else (*parts, "", "")
    inputs = [
        query, key, value, f"past.{layer}.key", f"past.{layer}.value", "lengths", "total",
        *(angles or ("", "")), "", bias,
    ]  # fmt: skip
    while not inputs[-1]:
        inputs.pop()
    outputs = [f"{name}.attended", f"present.{layer}.key", f"present.{layer}.value"]
    settings: dict[str, Any] = {
        "num_heads": heads,
        "kv_num_heads": key_heads,
        "scale": float(scale),
        "do_rotary": int(bool(angles)),
    }
    made = helper.make_node(
        "GroupQueryAttention", inputs, outputs, name=outputs[0], domain=MICROSOFT, **settings
    )  # fmt: skip
    graph.nodes.append(made)
    return outputs[0]


def cache_of(layers: list[tuple[int, int]], when: str) -> list[onnx.ValueInfoProto]:
    """The inputs (`when` "past") or outputs ("present") that are the cache, of layers of (K, D)."""
    return [
        floats(f"{when}.{i}.{part}", ["R", heads, "capacity", size])
        for i, (heads, size) in enumerate(layers)
        for part in ("key", "value")
    ]


def floats(name: str, shape: list[Any]) -> onnx.ValueInfoProto:
    """An input or output of float32."""
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def numbers(name: str, shape: list[Any], *, small: bool = False) -> onnx.ValueInfoProto:
    """An input of int64, or of int32 where it is `small`."""
    return helper.make_tensor_value_info(name, TensorProto.INT32 if small else TensorProto.INT64, shape)


def of_steps(*, positions: bool) -> list[onnx.ValueInfoProto]:
    """The inputs of a step besides the cache.

    `lengths`: of each sequence the tokens in the cache after this step, less one; `total`: the most of these.
    """
    own = [numbers("positions", ["P", "T"])] if positions else []
    lengths = [numbers("lengths", ["R"], small=True), numbers("total", [], small=True)]
    return [numbers("input_ids", ["R", "T"]), *own, *lengths, numbers("places", ["N"])]


def split(graph: Graph, x: str, name: str, sizes: list[int]) -> list[str]:
    """`x` (..., sum of sizes) cut along its last axis."""
    parts = [f"{name}.{number}" for number in range(len(sizes))]
    inputs = [x, graph.constant(f"{name}.sizes", np.array(sizes, dtype=np.int64))]
    graph.nodes.append(helper.make_node("Split", inputs, parts, name=name, axis=-1))
    return parts


def rms_norm(graph: Graph, name: str, x: str, weight: np.ndarray, epsilon: float) -> str:
    """`x` over the root of the mean of its squares, times the weights."""
    constant = graph.constant(f"{name}.weight", weight)
    return graph.node("SimplifiedLayerNormalization", [x, constant], name, axis=-1, epsilon=epsilon)
