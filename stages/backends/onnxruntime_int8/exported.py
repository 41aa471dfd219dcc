"""Encoders whose graph is not written here, for ONNX Runtime: exported by torch, fused where patterns are found, int8.

Activations are quantized as they come (dynamic quantization), so no calibration rows are needed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection
from pathlib import Path
from typing import Any

import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.onnx_model import ONNXModel
from onnxruntime.transformers.fusion_options import FusionOptions
from onnxruntime.transformers.optimizer import optimize_model

from stages.backends.onnx_export import export, without_traces
from stages.backends.quiet import quiet
from stages.core.contracts import Quantizable
from stages.core.params.compress import QuantizeParams

WITH_MATRICES = ("Attention", "EmbedLayerNormalization", "Gather", "MatMul")


def prepare(source: Path, params: QuantizeParams) -> Quantizable:
    """The model of any family in the folder `source`; its matrices have the names of the exporter's nodes."""
    with tempfile.TemporaryDirectory() as scratch, quiet():
        exported, fused = (Path(scratch) / name for name in ("exported.onnx", "fused.onnx"))
        model = export(source, exported)
        fuse(exported, fused, model.encoder.config)
        graph = onnx.load(fused)
    # The quantizer does this first of all, and gives the products other names: one that was kept in float by the name
    # from before (the head's) was made int8 all the same.
    ONNXModel(graph).replace_gemm_with_matmul()

    def write(folder: Path, kept: Collection[str]) -> None:
        with tempfile.TemporaryDirectory() as scratch, quiet():
            quantized = Path(scratch) / "int8.onnx"
            quantize_dynamic(
                _copy(graph), quantized, weight_type=QuantType.QInt8, per_channel=params.per_channel,
                nodes_to_exclude=[*kept, *head],
                reduce_range=True,  # weights of 7 bits: see LARGEST_WEIGHT in graph.py
                extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},  # fused operators: no shape inference
            )  # fmt: skip
            onnx.save(without_traces(onnx.load(quantized)), folder / "model.onnx")

    weights = {tensor.name for tensor in graph.graph.initializer if len(tensor.dims) > 1}
    nodes = [n.name for n in graph.graph.node if n.op_type in WITH_MATRICES and weights & set(n.input)]
    answering = _makes_answers(graph.graph)
    head = [name for name in nodes if name in answering]
    return Quantizable(matrices=tuple(name for name in nodes if name not in head), write=write, activations="dynamic")


def _makes_answers(graph: onnx.GraphProto) -> set[str]:
    """The names of the product with the head's weights, which stay in float, and of the sum with its bias."""
    makers = {name: node for node in graph.node for name in node.output}
    found, node = set(), makers.get(graph.output[0].name)
    while node is not None and node.op_type in ("Add", "MatMul"):
        found.add(node.name)
        node = None if node.op_type == "MatMul" else next((makers[name] for name in node.input if name in makers), None)
    return found


def _copy(graph: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of the graph, as the quantizer changes its argument."""
    copied = onnx.ModelProto()
    copied.CopyFrom(graph)
    return copied


def fuse(source: Path, target: Path, config: Any) -> None:
    """Fuse attention, layer norms, GELU and embeddings to single operators where ONNX Runtime knows the pattern.

    A norm and the sum before it stay two: see `add_and_norm` in graph.py. The fusion breaks at norms without a bias.
    """
    options = FusionOptions("bert")
    options.enable_skip_layer_norm = False
    optimized = optimize_model(
        str(source), model_type="bert", num_heads=config.num_attention_heads, hidden_size=config.hidden_size,
        optimization_options=options, opt_level=0, use_gpu=False,
    )  # fmt: skip
    graph = optimized.model
    del graph.graph.value_info[:]
    if not any(opset.domain == "com.microsoft" for opset in graph.opset_import):
        graph.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))
    onnx.save(graph, target)
