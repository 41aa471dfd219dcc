"""Quantizes a model to int8 for OpenVINO: NNCF's post-training quantization, with its preset for transformers."""

from __future__ import annotations

import logging
import os
import re
import tempfile
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

os.environ["NNCF_CI"] = "1"  # before NNCF is imported: it then sends no telemetry
import nncf
import openvino
from nncf.quantization.advanced_parameters import OverflowFix, QuantizationParameters

from stages.backends.batching import calibration_inputs
from stages.backends.guard import guarded
from stages.backends.onnx_export import export
from stages.backends.openvino_int8.runner import open_runner
from stages.backends.operators import refuse_without_operators
from stages.backends.quiet import quiet
from stages.core.contracts import Quantizable, QuantizationRows, Text
from stages.core.model_folder import describe
from stages.core.params.compress import QuantizeParams

log = logging.getLogger("winnow")


def quantize(source: Path, folder: Path, params: QuantizeParams, rows: QuantizationRows) -> dict[str, Any]:
    """Write model.xml and model.bin (inputs and output as those of onnxruntime_int8) to `folder`.

    `source` is the folder of a model that PyTorch runs; `folder` holds its tokenizer.json and model.json. Returns the
    result of `guarded`.
    """
    made = prepare(source, params, rows.calibration)
    return guarded(made, folder, backend="openvino_int8", open_runner=open_runner, params=params, rows=rows)


def prepare(source: Path, params: QuantizeParams, texts: Sequence[Text]) -> Quantizable:
    """The model in `source`, if torch can export it; its matrices have the names of OpenVINO's nodes."""
    refuse_without_operators(source, "openvino_int8")
    if params.activations == "dynamic":
        log.info("quantize: OpenVINO's activations are static: their ranges come from the calibration rows")
    logging.getLogger("nncf").setLevel(logging.ERROR)  # set_log_level would mute all root handlers
    rows = calibration_inputs(texts, source, describe(source))
    with tempfile.TemporaryDirectory() as scratch, quiet():
        export(source, Path(scratch) / "model.onnx")
        exact = openvino.Core().read_model((Path(scratch) / "model.onnx").read_bytes())
    taken = {one.get_any_name() for one in exact.inputs}

    def write(folder: Path, kept: Collection[str]) -> None:
        weights = QuantizationParameters(per_channel=params.per_channel)
        with quiet():
            model = nncf.quantize(
                exact.clone(),
                nncf.Dataset(rows, lambda row: {name: array for name, array in row.items() if name in taken}),
                subset_size=len(rows),
                model_type=nncf.ModelType.TRANSFORMER,
                ignored_scope=nncf.IgnoredScope(names=list(kept)),
                advanced_parameters=nncf.AdvancedQuantizationParameters(
                    overflow_fix=OverflowFix.ENABLE,  # weights of 7 bits: without VNNI larger products are cut off
                    weights_quantization_params=weights,
                ),
            )
        _name_by_place(model)
        openvino.save_model(model, folder / "model.xml", compress_to_fp16=False)

    return Quantizable(matrices=_matrices(exact), write=write, activations="static")


def _name_by_place(model: openvino.Model) -> None:
    """Give stable names to the nodes that OpenVINO numbers by the nodes made before in the process."""
    for place, node in enumerate(model.get_ordered_ops()):
        kind = node.get_type_name()
        if re.fullmatch(rf"{kind}_\d+", node.get_friendly_name()):
            node.set_friendly_name(f"{kind}.{place}")


def _matrices(model: openvino.Model) -> tuple[str, ...]:
    """The products with a constant and the look-ups in one, in the order of the graph."""
    return tuple(
        node.get_friendly_name()
        for node in model.get_ordered_ops()
        if node.get_type_name() in ("MatMul", "Gather")
        and any(_is_table(node.input_value(i).get_node()) for i in range(node.get_input_size()))
    )


def _is_table(node: openvino.Node) -> bool:
    return node.get_type_name() == "Constant" and len(node.get_output_shape(0)) > 1
