"""A model of any family as an ONNX graph, by torch's exporter: the input of backends that read ONNX."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import torch

from stages.core.contracts import INPUTS, Family
from stages.core.model_folder import describe, plugin_of
from stages.models import FAMILIES

OPSET = 18
EXAMPLE_TOKENS = 16


def export(source: Path, path: Path) -> Any:
    """Write the model in `source` as an ONNX graph with free numbers of rows and tokens. Returns the graph.

    Its inputs are those of INPUTS: the third for models of pairs alone.
    """
    description = describe(source)
    family: Family = plugin_of(source, "family", FAMILIES)
    model: Any = family.open(source)
    ids = torch.ones(2, EXAMPLE_TOKENS, dtype=torch.int64)
    batch, tokens = torch.export.Dim("batch", min=1, max=4096), torch.export.Dim("tokens", min=2, max=512)
    inputs = dict(zip(INPUTS[:3], (ids, torch.ones_like(ids), torch.zeros_like(ids)), strict=True))
    if not description.get("pairs"):
        inputs.pop("token_type_ids")
    program = torch.onnx.export(
        model, tuple(inputs.values()), dynamo=True, external_data=False, opset_version=OPSET,
        input_names=list(inputs), output_names=["logits"],
        dynamic_shapes={name: {0: batch, 1: tokens} for name in inputs},
    )  # fmt: skip
    assert program is not None
    graph = program.model_proto
    del graph.graph.value_info[:]  # their shapes contradict those that the quantizer infers
    onnx.save(without_traces(graph), path)
    return model


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
