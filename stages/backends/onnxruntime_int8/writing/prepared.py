"""Models that write, prepared for int8: which graphs they have, and how they are written to a folder."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from stages.backends.onnxruntime_int8.graph import Precision
from stages.backends.onnxruntime_int8.writing import decoders, t5
from stages.backends.onnxruntime_int8.writing.files import save
from stages.backends.onnxruntime_int8.writing.stepper import ENCODER, MODEL
from stages.backends.onnxruntime_int8.writing.weights import Weights
from stages.core.contracts import Quantizable

DECODERS, ENCODER_DECODERS = ("gpt2", "llama"), ("t5",)


def writes(config: dict[str, Any]) -> bool:
    """Whether a model of this config.json writes text, and is of a kind whose graphs are known."""
    return config["model_type"] in (*DECODERS, *ENCODER_DECODERS)


def prepare(weights: Weights, config: dict[str, Any], *, per_channel: bool) -> Quantizable:
    """The model of these weights. Raises ValueError for a formula that no graph is written for."""
    kind = t5 if config["model_type"] in ENCODER_DECODERS else decoders
    if fault := kind.faults(weights, config):
        raise ValueError(
            f"quantize: no int8 graph of this {config['model_type']} model can be written: {fault}."
            " Take another model (model.name)."
        )

    def write(folder: Path, kept: Collection[str]) -> None:
        precision = Precision(kept, None, per_channel)
        if kind is decoders:
            graphs = {MODEL: decoders.build(weights, config, precision)}
        else:
            graphs = {
                ENCODER: t5.build_encoder(weights, config, precision),
                MODEL: t5.build_decoder(weights, config, precision),
            }
        save(graphs, folder)

    return Quantizable(matrices=kind.matrices(weights, config), write=write, activations="dynamic")
