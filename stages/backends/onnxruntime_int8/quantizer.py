"""Quantizes a model to int8 for ONNX Runtime: exported, its graph fused, then weights and embeddings to int8.

Activations are quantized as they come (dynamic quantization), so no calibration rows are needed.
"""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.transformers.optimizer import optimize_model

from stages import plugins
from stages.contracts import Family
from stages.files import read_json
from stages.models import FAMILIES
from stages.params import QuantizeParams

OPSET = 18
EXAMPLE_TOKENS = 16


def quantize(source: Path, folder: Path, params: QuantizeParams) -> None:
    """Write model.onnx (inputs input_ids, attention_mask (B, T) int64; output logits (B, C)) to `folder`.

    `source` is the folder of a model that PyTorch runs.
    """
    description = read_json(source / "model.json")
    family: Family = plugins.load(FAMILIES, description["family"], key=f"{source}: family")
    model: Any = family.open(source)
    with tempfile.TemporaryDirectory() as scratch, _quiet():
        exported, fused, quantized = (Path(scratch) / name for name in ("exported.onnx", "fused.onnx", "int8.onnx"))
        export(model, exported)
        fuse(exported, fused, model.encoder.config)
        quantize_dynamic(
            fused,
            quantized,
            weight_type=QuantType.QInt8,
            per_channel=params.per_channel,
            extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},  # fused operators have no shape inference
        )
        onnx.save(without_traces(onnx.load(quantized)), folder / "model.onnx")


def export(model: torch.nn.Module, path: Path) -> None:
    """Write `model` as an ONNX graph in which the number of rows and of tokens are free."""
    ids = torch.ones(2, EXAMPLE_TOKENS, dtype=torch.int64)
    batch, tokens = torch.export.Dim("batch", min=1, max=4096), torch.export.Dim("tokens", min=2, max=512)
    program = torch.onnx.export(
        model, (ids, torch.ones_like(ids)), dynamo=True, external_data=False, opset_version=OPSET,
        input_names=["input_ids", "attention_mask"], output_names=["logits"],
        dynamic_shapes={"input_ids": {0: batch, 1: tokens}, "attention_mask": {0: batch, 1: tokens}},
    )  # fmt: skip
    assert program is not None
    graph = program.model_proto
    del graph.graph.value_info[:]  # their shapes contradict those that the quantizer infers
    onnx.save(without_traces(graph), path)


def fuse(source: Path, target: Path, config: Any) -> None:
    """Fuse attention, layer norms, GELU and embeddings to single operators where ONNX Runtime knows the pattern."""
    optimized = optimize_model(
        str(source), model_type="bert", num_heads=config.num_attention_heads, hidden_size=config.hidden_size,
        opt_level=0, use_gpu=False,
    )  # fmt: skip
    graph = optimized.model
    del graph.graph.value_info[:]
    if not any(opset.domain == "com.microsoft" for opset in graph.opset_import):
        graph.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))
    onnx.save(graph, target)


def without_traces(model: onnx.ModelProto) -> onnx.ModelProto:
    """`model` without the exporter's stack traces and metadata, which hold paths of the machine that made it."""
    del model.metadata_props[:]
    model.doc_string = model.graph.doc_string = ""
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for function in model.functions:
        for node in function.node:
            del node.metadata_props[:]
    for value in (*model.graph.input, *model.graph.output, *model.graph.initializer):
        del value.metadata_props[:]
    del model.graph.metadata_props[:]
    return model


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Exporter and optimizer write progress to stdout and warn of things that are so by design."""
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)
